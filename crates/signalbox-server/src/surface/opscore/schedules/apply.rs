//! `/v1/opscore/schedules`: schedules are kept, listed, shown, changed and removed.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::Rejected;
use signalbox_core::engine;
use signalbox_store::Store;
use signalbox_wire::opscore::{Done, Page, PatchScheduleBody, ScheduleBody, ScheduleView};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;

use super::convert;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input, Reads};
use crate::http::params::{Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup::{self, Gathering};

const LIST: &str = "schedules";

/// Keep a schedule
///
/// Exactly one of `cron` and `every`. One that is known already is changed to what the body says; what it has done
/// and what waits stays. Where its rhythm changes, its next fire time is looked for anew.
#[utoipa::path(post, path = "/v1/opscore/schedules", tag = "Schedules", request_body = ScheduleBody,
    responses(
        (status = 201, description = "Kept under a new id", body = ScheduleView),
        (status = 200, description = "Changed, or the same as before", body = ScheduleView),
        (status = 404, description = "No such workflow or agent", body = Problem),
        (status = 422, description = "The body does not fit, or its input not the workflow's schema", body = Problem)))]
pub(crate) async fn apply_schedule(
    State(drive): State<Drive>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: convert::WholeSchedule = input.parse()?;
    let operation = convert::apply(body)?;
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, |(kept, is_new)| {
            let status = if *is_new { StatusCode::CREATED } else { StatusCode::OK };
            Reply::json(status, &convert::schedule(kept))
        })
        .await
}

/// List the schedules
#[utoipa::path(get, path = "/v1/opscore/schedules", tag = "Schedules", params(PageQuery),
    responses(
        (status = 200, description = "A page of the schedules, by id", body = Page<ScheduleView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_schedules(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let page = reader.page(LIST, &query);
    reader.finish()?;
    let (mut gathering, mut data) = (Gathering::new(page), Vec::new());
    while let Some(go) = gathering.go() {
        let listed = store.schedules(context.tenant(), &go).await?;
        let entries = listed.items.iter().map(|kept| lookup::written(&convert::schedule(kept)));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        gathering.took(entries.len(), entries.iter().map(|entry| entry.get().len()).sum(), listed.next);
        data.extend(entries);
    }
    Ok(Reply::ok(&Page { data, next_cursor: gathering.next_cursor(LIST) }))
}

/// Show a schedule
#[utoipa::path(get, path = "/v1/opscore/schedules/{id}", tag = "Schedules",
    params(("id" = String, Path, description = "Which schedule")),
    responses(
        (status = 200, description = "The schedule", body = ScheduleView),
        (status = 404, description = "No such schedule", body = Problem)))]
pub(crate) async fn get_schedule(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(schedule): Path,
) -> Result<Reply, Refusal> {
    let id = lookup::schedule(&schedule)?;
    let kept = store.schedule(context.tenant(), &id).await?;
    let kept = kept.ok_or_else(|| Rejected::UnknownSchedule(id.to_string()))?;
    Ok(Reply::ok(&convert::schedule(&kept.value)))
}

/// Change a schedule
///
/// What the body does not name stays; `null` takes `agentId` and `note` away.
#[utoipa::path(patch, path = "/v1/opscore/schedules/{id}", tag = "Schedules", request_body = PatchScheduleBody,
    params(("id" = String, Path, description = "Which schedule")),
    responses(
        (status = 200, description = "The schedule as it is now", body = ScheduleView),
        (status = 404, description = "No such schedule, workflow or agent", body = Problem),
        (status = 422, description = "The body does not fit, or its input not the workflow's schema", body = Problem)))]
pub(crate) async fn change_schedule(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(schedule): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: convert::WholeChange = input.parse()?;
    let operation = convert::change(lookup::schedule(&schedule)?, body);
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, |kept| {
            Reply::ok(&convert::schedule(kept))
        })
        .await
}

/// Remove a schedule
///
/// Its sessions go on; what waits does not start.
#[utoipa::path(delete, path = "/v1/opscore/schedules/{id}", tag = "Schedules",
    params(("id" = String, Path, description = "Which schedule")),
    responses(
        (status = 200, description = "Removed", body = Done),
        (status = 404, description = "No such schedule", body = Problem)))]
pub(crate) async fn delete_schedule(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(schedule): Path,
) -> Result<Reply, Refusal> {
    let operation = engine::DeleteSchedule { schedule: lookup::schedule(&schedule)? };
    drive.run(context.tenant(), &operation).await?;
    Ok(Reply::ok(&Done::new(format!("Schedule {schedule} deleted successfully."))))
}
