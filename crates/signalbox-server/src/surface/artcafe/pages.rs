//! Pages in the words of this surface: `next_token`, where the others say `cursor` and `next_cursor`.

use serde::Deserialize;
use signalbox_store::Page;
use signalbox_wire::fault::Fault;
use signalbox_wire::paging::{PageQuery, PageRequest};

use crate::http::problem::Refusal;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TokenQuery {
    /// How many at most, 1 to 1000; 100 where absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next_token` of the page before.
    next_token: Option<String>,
}

impl TokenQuery {
    /// The page of `list` that is asked for.
    pub(crate) fn read(self, list: &str) -> Result<Page, Refusal> {
        let page = read(list, self.limit, self.next_token)?;
        Ok(Page { limit: page.limit, after: page.after })
    }
}

/// Reads which page of `list` is asked for.
pub(super) fn read(
    list: &str,
    limit: Option<String>,
    next_token: Option<String>,
) -> Result<PageRequest, Refusal> {
    let renamed = |fault: Fault| match fault.pointer.as_str() {
        "/cursor" => Fault::new("/next_token", "must be the next_token of an answer of this list"),
        _ => fault,
    };
    let query = PageQuery { limit, cursor: next_token };
    let read = query.read(list).map_err(|faults| faults.into_iter().map(renamed).collect::<Vec<Fault>>());
    Ok(read?)
}
