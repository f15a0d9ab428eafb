//! `GET /v1/keys`: the keys of a tenant, without the keys themselves.

use axum::extract::State;
use signalbox_store::Store;
use signalbox_wire::paging::{Cursor, Page, PageQuery};
use signalbox_wire::process::KeyView;

use super::convert::view;
use crate::http::context::{Administers, Context};
use crate::http::params::Query;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// What the list is called in its cursors.
const LIST: &str = "keys";

/// The keys of the tenant
#[utoipa::path(get, path = "/v1/keys", operation_id = "list_keys", tag = "API keys", params(PageQuery), responses((status = 200, description = "Without the keys themselves", body = Page<KeyView>)))]
pub(crate) async fn list(
    State(store): State<Store>,
    context: Context<Administers>,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let page = query.read(LIST)?;
    let listed =
        store.keys(context.tenant(), &signalbox_store::Page { limit: page.limit, after: page.after }).await?;
    let next_cursor = listed.next.map(|next| Cursor::encode(LIST, &next));
    Ok(Reply::ok(&Page { data: listed.items.iter().map(|key| view(key)).collect(), next_cursor }))
}
