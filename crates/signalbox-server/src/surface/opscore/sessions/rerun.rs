//! `POST /v1/opscore/sessions/{id}/rerun`: a session is run again as a new one.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine;
use signalbox_core::engine::Rerun;
use signalbox_store::Store;
use signalbox_wire::opscore::{ManyAnswer, ManyBody, TriggerAnswer};
use signalbox_wire::problem::Problem;

use super::many::{many, sweep};
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

/// Run a session again
///
/// A new session on the same revision, with the same input and agent.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/rerun", tag = "Sessions",
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

many! {
    /// Run all sessions that match again, each as a new one
    ///
    /// The new sessions match the filter too, where it does not say `until`: go on with `next_cursor`.
    rerun_sessions(ManyBody), "/v1/opscore/sessions/rerun", |session, _body, caller| engine::Rerun { session, trace: caller.trace.clone() }
}
