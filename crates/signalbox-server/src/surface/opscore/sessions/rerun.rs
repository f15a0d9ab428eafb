//! `POST /v1/opscore/sessions/{id}/rerun`: a session is run again as a new one.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine::Rerun;
use signalbox_wire::opscore::TriggerAnswer;
use signalbox_wire::problem::Problem;

use crate::engine::Drive;
use crate::http::context::{Administers, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

/// Run a session again
///
/// A new session on the same revision, with the same input and agent.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/rerun", tag = "Ops-Core",
    params(("id" = String, Path, description = "Which session")),
    responses(
        (status = 202, description = "Started", body = TriggerAnswer),
        (status = 404, description = "No such session, or its agent or its revision is gone", body = Problem),
        (status = 409, description = "As many sessions like it run as may", body = Problem)))]
pub(crate) async fn rerun_session(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(session): Path,
) -> Result<Reply, Refusal> {
    let operation = Rerun { session: lookup::session(&session)?, trace: context.trace.clone() };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, |started| {
            let answer = TriggerAnswer::new(started.session.clone(), started.workflow.clone());
            Reply::json(StatusCode::ACCEPTED, &answer)
        })
        .await
}
