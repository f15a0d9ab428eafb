//! `POST /api/v1/ssh-keys/{key_id}/revoke`: a key signs nobody in any more.

use axum::extract::State;
use signalbox_core::engine::RevokeSshKey;
use signalbox_core::ssh_key::SshKey;
use signalbox_wire::artcafe::{RevokeBody, SshKeyView};
use signalbox_wire::problem::Problem;

use super::{convert, ended};
use crate::auth::Authenticator;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// Revoke an SSH key
///
/// It signs nobody in any more; the tokens that it gave end within a second, and the connections that were opened with
/// them. The key stays in the list and cannot be added again; delete it to make that possible.
#[utoipa::path(post, path = "/api/v1/ssh-keys/{key_id}/revoke", operation_id = "revoke_ssh_key", tag = "Sign-in", request_body = RevokeBody,
    params(("key_id" = String, Path, description = "Which key")), responses(
    (status = 200, description = "Revoked, now or before", body = SshKeyView),
    (status = 403, description = "Not an admin key", body = Problem),
    (status = 404, description = "No such key", body = Problem),
    (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn revoke(
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    context: Context<Administers>,
    Path(id): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: RevokeBody = input.parse_or_default()?;
    let key = convert::id(&id)?;
    let operation =
        RevokeSshKey { key: key.clone(), by: context.caller.name.to_string(), reason: body.reason };
    let shown = |key: &SshKey| Reply::ok(&convert::view(key, None));
    let answer = drive.answer(context.tenant(), context.claim.as_ref(), &operation, shown).await?;
    ended::tell(&drive, &authenticator, context.tenant(), key);
    Ok(answer)
}
