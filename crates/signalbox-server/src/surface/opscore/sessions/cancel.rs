//! `POST /v1/opscore/sessions/{id}/cancel`, and of all that match `POST /v1/opscore/sessions/cancel`:
//! a session ends before its time.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_store::Store;
use signalbox_wire::opscore::{CancelBody, ManyAnswer, ManyBody, SessionView};
use signalbox_wire::problem::Problem;

use super::control::control;
use super::many::{many, sweep};
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

/// End a session before its time
///
/// The body may be left out. Tasks in an agent's hands are taken from it: a late report of them changes nothing.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/cancel", tag = "Sessions",
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

many! {
    /// Cancel all sessions that match
    cancel_sessions(ManyBody), "/v1/opscore/sessions/cancel",
    |session, body, _caller| engine::Cancel { session, reason: body.reason.clone() }
}
