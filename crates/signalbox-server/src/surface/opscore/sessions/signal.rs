//! `POST /v1/opscore/sessions/{id}/signal`, and of all that match `POST /v1/opscore/sessions/signal`:
//! a session is told of something that a task waits for.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_store::Store;
use signalbox_wire::opscore::{ManyAnswer, SessionView, SignalBody, SignalManyBody};
use signalbox_wire::problem::Problem;

use super::control::control;
use super::many::{many, sweep};
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

/// Tell a session of something that a task waits for
///
/// The first task that waits for it is done, with the signal's payload as its result. A signal that comes before its
/// task waits is kept for it.
#[utoipa::path(post, path = "/v1/opscore/sessions/{id}/signal", tag = "Sessions",
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

many! {
    /// Tell all sessions that match of something that tasks wait for
    ///
    /// One that waits for no such signal, and will not, is refused.
    signal_sessions(SignalManyBody), "/v1/opscore/sessions/signal",
    |session, body, _caller| engine::Signal { session, name: body.signal.clone(), payload: body.payload.clone() }
}
