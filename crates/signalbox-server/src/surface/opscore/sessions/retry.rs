//! `POST /v1/opscore/sessions/{id}/retry`, and of all that match `POST /v1/opscore/sessions/retry`:
//! a failed session goes on from the task that failed.

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

/// Let a failed session go on from the task that failed
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/retry", tag = "Sessions",
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

many! {
    /// Let all failed sessions that match go on from the tasks that failed
    retry_sessions(ManyBody), "/v1/opscore/sessions/retry", |session, _body, _caller| engine::RetrySession { session }
}
