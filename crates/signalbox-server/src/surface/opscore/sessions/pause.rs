//! `POST /v1/opscore/sessions/{id}/pause`, and of all that match `POST /v1/opscore/sessions/pause`:
//! nothing more of a session is dispatched until it is resumed.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_store::Store;
use signalbox_wire::opscore::{ManyAnswer, ManyBody, SessionView};
use signalbox_wire::problem::Problem;

use super::control::control;
use super::many::{many, sweep};
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

/// Dispatch nothing more of a session until it is resumed
///
/// What is in flight may finish.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/pause", tag = "Sessions",
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

many! {
    /// Pause all sessions that match
    pause_sessions(ManyBody), "/v1/opscore/sessions/pause", |session, _body, _caller| engine::Pause { session }
}
