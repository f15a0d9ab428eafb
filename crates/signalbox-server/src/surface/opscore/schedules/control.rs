//! `POST /v1/opscore/schedules/{id}/{pause|resume|trigger|backfill}`.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine::{ControlSchedule, ScheduleCommand};
use signalbox_core::schedule::Overlap;
use signalbox_wire::opscore::{BackfillAnswer, BackfillBody, FireView, ScheduleView, StartScheduleBody};
use signalbox_wire::problem::Problem;

use super::convert;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

/// Let a schedule's fire times come no more until it is resumed
///
/// Its sessions go on. Pausing what is paused changes nothing.
#[utoipa::path(post, path = "/v1/opscore/schedules/{id}/pause", tag = "Schedules",
    params(("id" = String, Path, description = "Which schedule")),
    responses(
        (status = 200, description = "Paused", body = ScheduleView),
        (status = 404, description = "No such schedule", body = Problem)))]
pub(crate) async fn pause_schedule(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(schedule): Path,
) -> Result<Reply, Refusal> {
    turn(&drive, &context, &schedule, ScheduleCommand::Pause).await
}

/// Let a paused schedule's fire times come again
///
/// From now on: those that went by meanwhile do not come; a backfill makes up for them.
#[utoipa::path(post, path = "/v1/opscore/schedules/{id}/resume", tag = "Schedules",
    params(("id" = String, Path, description = "Which schedule")),
    responses(
        (status = 200, description = "Active again", body = ScheduleView),
        (status = 404, description = "No such schedule", body = Problem)))]
pub(crate) async fn resume_schedule(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(schedule): Path,
) -> Result<Reply, Refusal> {
    turn(&drive, &context, &schedule, ScheduleCommand::Resume).await
}

/// Start a session of a schedule now
///
/// Also while it is paused. The body may be left out. The answer says what came of it: with `skip`, an open session
/// means that none was started.
#[utoipa::path(post, path = "/v1/opscore/schedules/{id}/trigger", tag = "Schedules", request_body = StartScheduleBody,
    params(("id" = String, Path, description = "Which schedule")),
    responses(
        (status = 202, description = "What came of it", body = FireView),
        (status = 404, description = "No such schedule", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn trigger_schedule(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(schedule): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: StartScheduleBody = input.parse_or_default()?;
    let control = ScheduleCommand::Trigger { overlap: body.overlap.map(convert::overlap) };
    let operation = ControlSchedule { schedule: lookup::schedule(&schedule)?, command: control };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, |controlled| {
            let mut fires = convert::fires(&controlled.schedule).into_iter();
            Reply::json(StatusCode::ACCEPTED, &fires.find(|fire| fire.number == controlled.filled.first))
        })
        .await
}

/// Start the sessions of fire times that went by
///
/// Those from `from` until before `to`, one after the other unless `overlap` says otherwise; also while the schedule
/// is paused. At most 1,000 at once, and no more than may wait.
#[utoipa::path(post, path = "/v1/opscore/schedules/{id}/backfill", tag = "Schedules", request_body = BackfillBody,
    params(("id" = String, Path, description = "Which schedule")),
    responses(
        (status = 202, description = "Taken", body = BackfillAnswer),
        (status = 404, description = "No such schedule", body = Problem),
        (status = 409, description = "Too many fire times wait already", body = Problem),
        (status = 422, description = "The body does not fit, or asks for too many", body = Problem)))]
pub(crate) async fn backfill_schedule(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(schedule): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: BackfillBody = input.parse()?;
    let overlap = body.overlap.map_or(Overlap::BufferAll, convert::overlap);
    let control = ScheduleCommand::Backfill { from: body.from, to: body.to, overlap };
    let operation = ControlSchedule { schedule: lookup::schedule(&schedule)?, command: control };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, |controlled| {
            let is_of_it = |number: u64| number >= controlled.filled.first;
            let waiting = controlled.schedule.waiting.iter().filter(|fire| is_of_it(fire.number)).count();
            Reply::json(
                StatusCode::ACCEPTED,
                &BackfillAnswer { fire_times: controlled.filled.count, waiting },
            )
        })
        .await
}

async fn turn(
    drive: &Drive,
    context: &Context<Administers>,
    schedule: &str,
    control: ScheduleCommand,
) -> Result<Reply, Refusal> {
    let operation = ControlSchedule { schedule: lookup::schedule(schedule)?, command: control };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, |controlled| {
            Reply::ok(&convert::schedule(&controlled.schedule))
        })
        .await
}
