//! `POST /api/v1/ssh-keys`: a public key that may sign in.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine::CreateSshKey;
use signalbox_core::quota::Limit;
use signalbox_core::ssh_key::SshKey;
use signalbox_wire::artcafe::{SshKeyBody, SshKeyView};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::KeyId;
use signalbox_wire::problem::Problem;
use signalbox_wire::ssh::PublicKey;

use super::convert::{self, kind_in};
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::Quotas;

/// Add an SSH key
///
/// Ed25519, ECDSA P-256 and P-384, and RSA of 2048 to 8192 bits are taken. A key of type `agent` signs in its agent; one of
/// type `access` or `deployment` signs in any agent of the tenant where `verify` names it, or the one that it names. A key of
/// an agent that was removed is replaced.
#[utoipa::path(post, path = "/api/v1/ssh-keys", operation_id = "create_ssh_key", tag = "Sign-in", request_body = SshKeyBody, responses(
    (status = 201, description = "Added", body = SshKeyView),
    (status = 403, description = "Not an admin key", body = Problem),
    (status = 404, description = "No such agent", body = Problem),
    (status = 409, description = "The key is here already", body = Problem),
    (status = 422, description = "The body does not fit, or the key is not taken", body = Problem),
    (status = 429, description = "The tenant has as many SSH keys as it may", body = Problem)))]
pub(crate) async fn create(
    State(drive): State<Drive>,
    State(quotas): State<Quotas>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: SshKeyBody = input.parse()?;
    let public = PublicKey::parse(&body.public_key)
        .map_err(|fault| Refusal::from(vec![Fault::new("/public_key", fault.to_string())]))?;
    let now = clock::now();
    let key = SshKey {
        id: KeyId::new(now, clock::seed_128()),
        name: body.name,
        public_key: public.to_openssh(),
        fingerprint: public.fingerprint(),
        kind: kind_in(body.key_type),
        agent: body.agent_id,
        // Known where it is decided.
        registered_at: None,
        created_at: now,
        created_by: context.caller.name.to_string(),
        revoked: None,
    };
    let _permit = quotas.check(context.tenant(), Limit::SshKeys, now).await?;
    let made = |key: &SshKey| Reply::json(StatusCode::CREATED, &convert::view_of_new(key));
    drive.answer(context.tenant(), context.claim.as_ref(), &CreateSshKey { key }, made).await
}
