//! `POST /v1/opscore/sessions/{id}/{pause|resume|cancel|retry|signal}`: each answers the session as it is then.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_core::session::SessionState;
use signalbox_store::Store;
use signalbox_wire::id::SessionId;
use signalbox_wire::opscore::{ApproveBody, CancelBody, RefuseBody, SessionView, SignalBody};
use signalbox_wire::problem::Problem;

use crate::engine::{Drive, Driven};
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::convert::{self, Versions};
use crate::surface::opscore::lookup;

/// Dispatch nothing more of a session until it is resumed
///
/// What is in flight may finish.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/pause", tag = "Ops-Core",
    params(("id" = String, Path, description = "Which session")),
    responses(
        (status = 200, description = "Paused", body = SessionView),
        (status = 404, description = "No such session", body = Problem),
        (status = 409, description = "It is not under way", body = Problem)))]
pub(crate) async fn pause_session(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(session): Path,
) -> Result<Reply, Refusal> {
    let session = lookup::session(&session)?;
    control(&store, &drive, &context, &session, &engine::Pause { session: session.clone() }).await
}

/// Let a paused session go on
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/resume", tag = "Ops-Core",
    params(("id" = String, Path, description = "Which session")),
    responses(
        (status = 200, description = "Under way again", body = SessionView),
        (status = 404, description = "No such session", body = Problem),
        (status = 409, description = "It is not paused", body = Problem)))]
pub(crate) async fn resume_session(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(session): Path,
) -> Result<Reply, Refusal> {
    let session = lookup::session(&session)?;
    control(&store, &drive, &context, &session, &engine::Resume { session: session.clone() }).await
}

/// End a session before its time
///
/// The body may be left out. Tasks in an agent's hands are taken from it: a late report of them changes nothing.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/cancel", tag = "Ops-Core",
    params(("id" = String, Path, description = "Which session")), request_body = CancelBody,
    responses(
        (status = 200, description = "Cancelled", body = SessionView),
        (status = 404, description = "No such session", body = Problem),
        (status = 409, description = "It is over already", body = Problem)))]
pub(crate) async fn cancel_session(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(session): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: CancelBody = input.parse_or_default()?;
    let session = lookup::session(&session)?;
    control(
        &store,
        &drive,
        &context,
        &session,
        &engine::Cancel { session: session.clone(), reason: body.reason },
    )
    .await
}

/// Let a failed session go on from the task that failed
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/retry", tag = "Ops-Core",
    params(("id" = String, Path, description = "Which session")),
    responses(
        (status = 200, description = "Under way again, with what succeeded kept", body = SessionView),
        (status = 404, description = "No such session", body = Problem),
        (status = 409, description = "It has not failed", body = Problem)))]
pub(crate) async fn retry_session(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(session): Path,
) -> Result<Reply, Refusal> {
    let session = lookup::session(&session)?;
    control(&store, &drive, &context, &session, &engine::RetrySession { session: session.clone() }).await
}

/// Tell a session of something that a task waits for
///
/// The first task that waits for it is done, with the signal's payload as its result. A signal that comes before its
/// task waits is kept for it.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/signal", tag = "Ops-Core",
    params(("id" = String, Path, description = "Which session")), request_body = SignalBody,
    responses(
        (status = 200, description = "Taken, and the session as it is then", body = SessionView),
        (status = 404, description = "No such session", body = Problem),
        (status = 409, description = "No task of it waits for this signal, or will", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn signal_session(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(session): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let SignalBody { signal: name, payload } = input.parse()?;
    let session = lookup::session(&session)?;
    let operation = engine::Signal { session: session.clone(), name, payload };
    control(&store, &drive, &context, &session, &operation).await
}

/// Agree to what a task asks approval for
///
/// With the `digest` that is shown with the task: an approval is good for exactly the parameters that were seen, and
/// for one run of the tasks that it guards. Who approves is told by the key of the request.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/tasks/{taskId}/approve", tag = "Ops-Core",
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
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/tasks/{taskId}/refuse", tag = "Ops-Core",
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

async fn control<O>(
    store: &Store,
    drive: &Drive,
    context: &Context<Administers>,
    id: &SessionId,
    operation: &O,
) -> Result<Reply, Refusal>
where
    O: Driven<Output = SessionState>,
{
    // Looked up before: a session stays on the revision that it started with.
    let mut versions = Versions::default();
    if let Some(read) = store.session(context.tenant(), id).await? {
        versions.look_up(store, context.tenant(), &read.value.session).await?;
    }
    drive
        .answer(context.tenant(), context.claim.as_ref(), operation, move |state| {
            Reply::ok(&convert::session(&state.session, &versions, Some(&state.tasks)))
        })
        .await
}
