//! Pages of lists whose entries may be large: read in small goes, and ended early when they grow heavy.

use std::future::Future;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use signalbox_store::{Listed, Page, StoreError};
use signalbox_wire::problem::Problem;

use crate::http::problem::Refusal;

/// Entries that are read in one go.
const GO_ENTRIES: usize = 50;
/// Bytes of JSON after which a page ends, whatever its limit.
const PAGE_BYTES: usize = 4 << 20;

/// Gathers a page: `list` reads a part of the list, `view` makes of an entry what is answered.
pub(super) async fn gather<T, V, F>(
    page: Page,
    list: impl Fn(Page) -> F,
    view: impl Fn(&T) -> Option<V>,
) -> Result<Listed<Box<RawValue>>, Refusal>
where
    V: Serialize,
    F: Future<Output = Result<Listed<T>, StoreError>>,
{
    let mut items = Vec::new();
    let mut left = page.limit;
    let mut after = page.after;
    let mut bytes = 0;
    loop {
        let listed = list(Page { limit: left.min(GO_ENTRIES), after }).await?;
        left = left.saturating_sub(listed.items.len());
        for view in listed.items.iter().filter_map(&view) {
            let text = to_raw_value(&view).map_err(|_| Problem::internal())?;
            bytes += text.get().len();
            items.push(text);
        }
        after = listed.next;
        if after.is_none() || left == 0 || bytes >= PAGE_BYTES {
            return Ok(Listed { items, next: after });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    /// A list of numbers, positions of which are the numbers themselves.
    fn numbers(until: usize) -> impl Fn(Page) -> std::future::Ready<Result<Listed<usize>, StoreError>> {
        move |page| {
            let first = page.after.map_or(0, |after| after.parse::<usize>().map_or(until, |last| last + 1));
            let end = (first + page.limit).min(until);
            let next = (end < until).then(|| (end - 1).to_string());
            ready(Ok(Listed { items: (first..end).collect(), next }))
        }
    }

    fn gathered(until: usize, limit: usize, size: usize) -> (usize, Option<String>) {
        let view = |number: &usize| Some(format!("{number:0>size$}"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let listed = runtime.block_on(gather(Page { limit, after: None }, numbers(until), view));
        let listed = listed.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        (listed.items.len(), listed.next)
    }

    #[test]
    fn a_page_is_as_long_as_it_was_asked_for() {
        assert_eq!(gathered(120, 1000, 1), (120, None));
        assert_eq!(gathered(120, 120, 1), (120, None));
        assert_eq!(gathered(120, 70, 1), (70, Some("69".to_owned())));
        assert_eq!(gathered(0, 7, 1), (0, None));
    }

    #[test]
    fn a_heavy_page_ends_early_and_says_where_it_goes_on() {
        assert_eq!(gathered(500, 500, 60 << 10), (100, Some("99".to_owned())));
    }
}
