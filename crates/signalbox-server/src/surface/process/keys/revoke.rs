//! `DELETE /v1/keys/{keyId}`: a key opens nothing any more.

use axum::extract::State;
use signalbox_bus::Ended;
use signalbox_core::engine::RevokeKey;
use signalbox_core::limits::bounded;
use signalbox_wire::id::KeyId;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::auth::Authenticator;
use crate::engine::Drive;
use crate::http::context::{Administers, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// Revoke a key
///
/// It opens nothing from now on, and the connections of agents that came by it are closed. A node that cannot be told may
/// take it for five seconds more.
#[utoipa::path(delete, path = "/v1/keys/{keyId}", operation_id = "revoke_key", tag = "API keys",
    params(("keyId" = String, Path, description = "Which key")), responses(
    (status = 200, description = "Revoked", body = signalbox_wire::envelope::Done),
    (status = 404, description = "No such key", body = Problem)))]
pub(crate) async fn revoke(
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let key = key_id(&id)?;
    drive.run(context.tenant(), &RevokeKey { key: key.clone() }).await?;
    authenticator.end(drive.wake_ups(), Ended::Key(context.tenant().clone(), key));
    Ok(Reply::ok(&signalbox_wire::envelope::Done::new(format!("Key {id} is revoked."))))
}

/// The key that a path names; one that is no id is unknown.
pub(super) fn key_id(named: &str) -> Result<KeyId, Problem> {
    KeyId::parse(named).map_err(|_| {
        let detail = format!("Key not found: {}; GET /v1/keys lists the keys with their ids", bounded(named));
        Problem::new(ProblemKind::UnknownKey, detail)
    })
}
