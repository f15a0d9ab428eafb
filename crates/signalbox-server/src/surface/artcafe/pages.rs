//! Pages in the words of this surface: `next_token`, where the others say `cursor` and `next_cursor`.

use serde::Deserialize;
use signalbox_store::Page;
use signalbox_wire::fault::Fault;
use signalbox_wire::paging::PageQuery;

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
        let query = PageQuery { limit: self.limit, cursor: self.next_token };
        let page = query.read(list).map_err(|faults| {
            let renamed = |fault: Fault| match fault.pointer.as_str() {
                "/cursor" => Fault::new("/next_token", fault.message),
                _ => fault,
            };
            faults.into_iter().map(renamed).collect::<Vec<Fault>>()
        })?;
        Ok(Page { limit: page.limit, after: page.after })
    }
}
