//! `POST /v1/opscore/sessions/{id}/resume`, and of all that match `POST /v1/opscore/sessions/resume`:
//! a paused session goes on.

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

/// Let a paused session go on
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/resume", tag = "Sessions",
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

many! {
    /// Resume all sessions that match
    resume_sessions(ManyBody), "/v1/opscore/sessions/resume", |session, _body, _caller| engine::Resume { session }
}
