//! `GET /v1/tools`: which tools there are.
//!
//! The built-in ones come first; a position in the list says which of the two parts it is in.

use axum::extract::State;
use serde_json::value::{RawValue, to_raw_value};
use signalbox_store::{Page, Store};
use signalbox_wire::agentkit::{SuccessList, ToolView};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;

use crate::http::context::{Context, Reads};
use crate::http::params::{Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::{convert, pages};
use crate::tools::BuiltIn;

const LIST: &str = "tools";

const IN_BUILT_IN: &str = "built-in/";

const IN_REGISTERED: &str = "registered/";

/// List tools
#[utoipa::path(get, path = "/v1/tools", tag = "Tools", params(PageQuery),
    responses(
        (status = 200, description = "A page of the tools, the built-in ones first", body = SuccessList<ToolView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_tools(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let page = reader.page(LIST, &query);
    reader.finish()?;
    let (skipped, after) = position(page.after).map_err(|fault| vec![fault])?;
    let built_in: Vec<BuiltIn> = BuiltIn::ALL.into_iter().skip(skipped).take(page.limit).collect();
    let given = skipped + built_in.len();
    let rest = Page { limit: page.limit - built_in.len(), after };
    let (registered, next) = if given < BuiltIn::ALL.len() {
        (Vec::new(), Some(format!("{IN_BUILT_IN}{given}")))
    } else {
        registered(&store, context.tenant(), rest).await?
    };
    let mut views = Vec::with_capacity(built_in.len() + registered.len());
    for tool in built_in {
        views.push(to_raw_value(&tool.view()).map_err(|_| Problem::internal())?);
    }
    views.extend(registered);
    let next_cursor = next.map(|next| Cursor::encode(LIST, &next));
    Ok(Reply::ok(&SuccessList::new("Tools retrieved successfully.", views, next_cursor)))
}

/// A page of the registered tools, and the position after it; of no room, only whether there are any.
async fn registered(
    store: &Store,
    tenant: &TenantId,
    page: Page,
) -> Result<(Vec<Box<RawValue>>, Option<String>), Refusal> {
    if page.limit == 0 {
        let first = store.tools(tenant, &Page { limit: 1, ..page }).await?;
        return Ok((Vec::new(), (!first.items.is_empty()).then(|| IN_REGISTERED.to_owned())));
    }
    let list = |page: Page| async move { store.tools(tenant, &page).await };
    let listed = pages::gather(page, list, |tool| Some(convert::tool(tool))).await?;
    Ok((listed.items, listed.next.map(|next| format!("{IN_REGISTERED}{next}"))))
}

/// How many of the built-in tools a position has passed, and where it is among the registered ones.
fn position(after: Option<String>) -> Result<(usize, Option<String>), Fault> {
    let all = BuiltIn::ALL.len();
    let Some(after) = after else { return Ok((0, None)) };
    if let Some(passed) = after.strip_prefix(IN_BUILT_IN)
        && let Some(passed) = passed.parse().ok().filter(|passed| *passed < all)
    {
        return Ok((passed, None));
    }
    match after.strip_prefix(IN_REGISTERED) {
        Some("") => Ok((all, None)),
        Some(registered) => Ok((all, Some(registered.to_owned()))),
        None => Err(Fault::new("/cursor", "must be the next_cursor of an answer of this list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_in_one_of_the_two_parts() {
        let at = |text: &str| position(Some(text.to_owned())).ok();
        let all = BuiltIn::ALL.len();
        assert_eq!(position(None), Ok((0, None)));
        assert_eq!(at("built-in/1"), Some((1, None)));
        assert_eq!(at("registered/"), Some((all, None)));
        assert_eq!(at("registered/a/b"), Some((all, Some("a/b".to_owned()))));
        for foreign in ["", "echo", &format!("built-in/{all}"), "built-in/-1", "built-in/"] {
            assert_eq!(at(foreign), None, "{foreign}");
        }
    }
}
