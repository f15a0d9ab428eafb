//! `POST /v1/opscore/sessions/{id}/tasks/{taskId}/{approve|refuse}`, and of all that match
//! `POST /v1/opscore/sessions/{approve|refuse}`: what a task asks approval for is agreed to or refused.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_store::Store;
use signalbox_wire::id::SessionId;
use signalbox_wire::opscore::{
    ApproveBody, ApproveManyBody, ManyAnswer, RefuseBody, RefuseManyBody, SessionView,
};
use signalbox_wire::problem::Problem;

use super::control::control;
use super::many::{many, sweep};
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

/// Agree to what a task asks approval for
///
/// With the `digest` that is shown with the task: an approval is good for exactly the parameters that were seen, and
/// for one run of the tasks that it guards. Who approves is told by the key of the request.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/tasks/{taskId}/approve", tag = "Sessions",
    params(("id" = String, Path, description = "Which session"),
        ("taskId" = String, Path, description = "Which task of it")), request_body = ApproveBody,
    responses(
        (status = 200, description = "Approved, and the session as it is then", body = SessionView),
        (status = 404, description = "No such session", body = Problem),
        (status = 409, description = "The task asks for no approval, or for another one", body = Problem),
        (status = 422, description = "The body does not fit, or names no digest", body = Problem)))]
pub(crate) async fn approve_task(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path((session, task)): Path<(String, String)>,
    input: Input,
) -> Result<Reply, Refusal> {
    let ApproveBody { digest, comment } = input.parse()?;
    let by = context.caller.name.to_string();
    let digest = Some(digest);
    answer(&store, &drive, &context, &session, |session| engine::Approve {
        session,
        task,
        is_approved: true,
        by,
        comment,
        digest,
    })
    .await
}

/// Refuse what a task asks approval for
///
/// The body may be left out. The task fails, with the reason as its error.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/tasks/{taskId}/refuse", tag = "Sessions",
    params(("id" = String, Path, description = "Which session"),
        ("taskId" = String, Path, description = "Which task of it")), request_body = RefuseBody,
    responses(
        (status = 200, description = "Refused, and the session as it is then", body = SessionView),
        (status = 404, description = "No such session", body = Problem),
        (status = 409, description = "The task asks for no approval, or for another one", body = Problem)))]
pub(crate) async fn refuse_task(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path((session, task)): Path<(String, String)>,
    input: Input,
) -> Result<Reply, Refusal> {
    let RefuseBody { comment, digest } = input.parse_or_default()?;
    let by = context.caller.name.to_string();
    answer(&store, &drive, &context, &session, |session| engine::Approve {
        session,
        task,
        is_approved: false,
        by,
        comment,
        digest,
    })
    .await
}

many! {
    /// Agree to what a task asks approval for, in all sessions that match
    ///
    /// Only tasks are approved that ask for just what was seen, which is what the `digest` says; one that asks for
    /// something else is refused.
    approve_sessions(ApproveManyBody), "/v1/opscore/sessions/approve", |session, body, caller| {
        let ApproveBody { digest, comment } = body.approval.clone();
        let (task, by) = (body.task_id.clone(), caller.caller.name.to_string());
        engine::Approve { session, task, is_approved: true, by, comment, digest: Some(digest) }
    }
}

many! {
    /// Refuse what a task asks approval for, in all sessions that match
    ///
    /// The tasks fail, with the comment as their error. With a `digest`, only those are refused that ask for just that.
    refuse_sessions(RefuseManyBody), "/v1/opscore/sessions/refuse", |session, body, caller| {
        let RefuseBody { comment, digest } = body.refusal.clone();
        let (task, by) = (body.task_id.clone(), caller.caller.name.to_string());
        engine::Approve { session, task, is_approved: false, by, comment, digest }
    }
}

async fn answer(
    store: &Store,
    drive: &Drive,
    context: &Context<Administers>,
    session: &str,
    answer: impl FnOnce(SessionId) -> engine::Approve,
) -> Result<Reply, Refusal> {
    let session = lookup::session(session)?;
    control(store, drive, context, &session, &answer(session.clone())).await
}
