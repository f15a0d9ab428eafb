//! `DELETE /api/v1/ssh-keys/{key_id}`: a key goes.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine::DeleteSshKey;
use signalbox_wire::problem::Problem;

use super::{convert, ended};
use crate::auth::Authenticator;
use crate::engine::Drive;
use crate::http::context::{Administers, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;

/// Delete an SSH key
///
/// As revoking it, and nothing of it is kept: it can be added again.
#[utoipa::path(delete, path = "/api/v1/ssh-keys/{key_id}", operation_id = "delete_ssh_key", tag = "Sign-in",
    params(("key_id" = String, Path, description = "Which key")), responses(
    (status = 204, description = "It is gone"),
    (status = 403, description = "Not an admin key", body = Problem),
    (status = 404, description = "No such key", body = Problem)))]
pub(crate) async fn delete(
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<StatusCode, Refusal> {
    let key = convert::id(&id)?;
    drive.run(context.tenant(), &DeleteSshKey { key: key.clone() }).await?;
    ended::tell(&drive, &authenticator, context.tenant(), key);
    Ok(StatusCode::NO_CONTENT)
}
