//! Pages of lists as this surface calls them: `limit` and `next_token`.

use signalbox_wire::fault::Fault;
use signalbox_wire::paging::{PageQuery, PageRequest};

use crate::http::problem::Refusal;

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
