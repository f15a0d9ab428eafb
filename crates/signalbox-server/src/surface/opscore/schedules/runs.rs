//! `GET /v1/opscore/schedules/{id}/runs`: what came of a schedule's newest fire times.

use axum::extract::State;
use signalbox_core::Rejected;
use signalbox_store::Store;
use signalbox_wire::opscore::{FireView, Page};
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;

use super::convert;
use crate::http::context::{Context, Reads};
use crate::http::params::{Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

const LIST: &str = "runs";

/// List a schedule's fire times, newest first
///
/// Those that wait, and the newest 100 that do not any more: each with the session that it made, or why it made
/// none. The log has all of them.
#[utoipa::path(get, path = "/v1/opscore/schedules/{id}/runs", tag = "Schedules",
    params(("id" = String, Path, description = "Which schedule"), PageQuery),
    responses(
        (status = 200, description = "A page of the fire times", body = Page<FireView>),
        (status = 404, description = "No such schedule", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_runs(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(schedule): Path,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let page = reader.page(LIST, &query);
    reader.finish()?;
    let id = lookup::schedule(&schedule)?;
    let kept = store.schedule(context.tenant(), &id).await?;
    let kept = kept.ok_or_else(|| Rejected::UnknownSchedule(id.to_string()))?;
    let after = page.after.map(|after| after.parse().unwrap_or(0_u64));
    let mut fires = convert::fires(&kept.value);
    fires.retain(|fire| after.is_none_or(|after| fire.number < after));
    let has_more = fires.len() > page.limit;
    fires.truncate(page.limit);
    let next = fires.last().filter(|_| has_more).map(|fire| Cursor::encode(LIST, &fire.number.to_string()));
    Ok(Reply::ok(&Page { data: fires, next_cursor: next }))
}
