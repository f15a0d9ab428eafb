//! `GET /v1/dead-letters`: the longest dead first.

use axum::extract::State;
use signalbox_store::{Page, Store};
use signalbox_wire::agentkit::{DeadLetterView, SuccessList};
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;

use super::filter::DeadLetterQuery;
use crate::http::context::{Context, Reads};
use crate::http::params::{Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::{convert, pages};

const LIST: &str = "dead-letters";

/// List dead letters, the longest dead first
#[utoipa::path(get, path = "/v1/dead-letters", tag = "Messages", params(DeadLetterQuery, PageQuery),
    responses(
        (status = 200, description = "A page of the dead letters", body = SuccessList<DeadLetterView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_dead_letters(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<DeadLetterQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let filter = query.read(&mut reader);
    let page = reader.page(LIST, &page);
    reader.finish()?;
    let (store, tenant, filter) = (&store, context.tenant(), &filter);
    let list = |page: Page| async move { store.dead_letters(tenant, filter, &page).await };
    let listed = pages::gather(page, list, |message| convert::dead_letter(message)).await?;
    let next_cursor = listed.next.map(|next| Cursor::encode(LIST, &next));
    Ok(Reply::ok(&SuccessList::new("Dead letters retrieved successfully.", listed.items, next_cursor)))
}
