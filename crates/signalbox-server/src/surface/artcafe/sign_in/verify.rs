//! `POST /api/v1/auth/verify`: the answer to a challenge, for a token.
//!
//! Whatever is wrong, the answer is the same, and takes the same work: where the agent has no key of the kind that the
//! response could be of, a key of nobody is checked in its place. Only a signature with SHA-1 is told how to become better.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use signalbox_core::Rejected;
use signalbox_core::decision::SeenSignature;
use signalbox_core::engine::{SignIn, UseChallenge};
use signalbox_core::limits::bounded;
use signalbox_core::ssh_key::SshKey;
use signalbox_store::{Page, Store, StoreError};
use signalbox_wire::artcafe::{NotVerified, Verified, VerifyBody};
use signalbox_wire::id::TenantId;
use signalbox_wire::jwt::{self, Claims};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::ssh::{PublicKey, Refused, Response as Signature, Sha1};
use signalbox_wire::time::Timestamp;

use super::ring::ring;
use super::tries;
use crate::auth::{Authenticator, Ring};
use crate::clock;
use crate::engine::{Drive, DriveError};
use crate::http::context::Input;
use crate::http::peer::Peer;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::state::SignInTerms;

/// Active keys of an agent that are tried where the answer names none.
const KEYS_TRIED_MAX: usize = 32;
/// Keys of a tenant among which one that is not active is looked for.
const KEYS_LOOKED_AT_MAX: usize = 256;
/// Checks of signatures that an async worker makes in one go.
const CHECKED_INLINE_MAX: usize = 4;

/// Why nobody is signed in.
enum Failed {
    /// What the agent sent is not good, and why, for the log.
    Denied(&'static str),
    /// It is signed with SHA-1.
    Sha1,
    /// It is not known.
    Refusal(Refusal),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Refusal(error.into())
    }
}

/// Answer a challenge
///
/// The answer is a JWT that is good for an hour. Without `key_id` the active keys of the agent are tried. What is wrong is not told, except of a
/// signature with SHA-1.
#[utoipa::path(post, path = "/api/v1/auth/verify", operation_id = "auth_verify", tag = "Sign-in", security(()),
    request_body = VerifyBody, responses(
    (status = 200, description = "Signed in", body = Verified),
    (status = 401, description = "Not signed in", body = NotVerified),
    (status = 422, description = "The body does not fit", body = Problem),
    (status = 429, description = "Too many tries", body = Problem)))]
pub(crate) async fn verify(
    State(store): State<Store>,
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    State(terms): State<SignInTerms>,
    peer: Peer,
    input: Input,
) -> Result<Response, Refusal> {
    let body: VerifyBody = input.parse()?;
    tries::count(&terms, &body.agent_id, peer)?;
    let ring = ring(&drive, &authenticator, &terms).await?;
    let tenant = body.tenant_id.clone().unwrap_or_else(TenantId::default_tenant);
    let signed_in = sign_in((&store, &drive), &ring, terms.sha1, &tenant, &body).await;
    let reason = match signed_in {
        Ok(verified) => {
            let detail = "The token was shown in the first answer; ask for another challenge.";
            let shown_before = Problem::new(ProblemKind::KeyShownBefore, detail);
            return Ok(Reply::ok(&verified).shown_once(&shown_before).into_response());
        }
        Err(Failed::Refusal(refusal)) => return Err(refusal),
        Err(Failed::Sha1) => None,
        Err(Failed::Denied(reason)) => Some(reason),
    };
    tracing::info!(
        %tenant,
        agent = %bounded(body.agent_id.as_str()),
        reason = reason.unwrap_or("the signature is made with SHA-1"),
        peer = %peer.0,
        "an agent was not signed in"
    );
    Ok(denied(reason.is_none()))
}

async fn sign_in(
    (store, drive): (&Store, &Drive),
    ring: &Ring,
    sha1: Sha1,
    tenant: &TenantId,
    body: &VerifyBody,
) -> Result<Verified, Failed> {
    let now = clock::now();
    let signature =
        Signature::parse(&body.response).map_err(|_| Failed::Denied("the response is no signature"))?;
    if sha1 == Sha1::Refused && signature.says_sha1() {
        return Err(Failed::Sha1);
    }
    let challenge = ring.challenges.check(body.agent_id.as_str(), tenant.as_str(), &body.challenge, now);
    let challenge = challenge.map_err(|_| Failed::Denied("the challenge is not good"))?;
    let keys = candidates(store, tenant, body, &signature).await?;
    let is_long = keys.len() > CHECKED_INLINE_MAX || signature.takes_long();
    let seed = ring.challenges.seed_of(body.agent_id.as_str());
    let check = || signer(&keys, body.challenge.as_bytes(), &signature, (sha1, &seed));
    let key = match drive.long_work().run_if(is_long, check).await {
        Err(Failed::Denied(reason)) => {
            return Err(Failed::Denied(why(store, tenant, body, (&signature, sha1)).await.unwrap_or(reason)));
        }
        checked => checked?,
    };
    let seen = SeenSignature { signature: body.challenge.clone(), expires_at: challenge.expires_at };
    let of_all = TenantId::default_tenant();
    if !challenge.is_of_tenant && *tenant != of_all {
        drive.run(&of_all, &UseChallenge { seen: seen.clone() }).await.map_err(not_signed_in)?;
    }
    let operation = SignIn { agent: body.agent_id.clone(), key: key.id.clone(), seen };
    let registered_at = drive.run(tenant, &operation).await.map_err(not_signed_in)?;
    Ok(token(ring, tenant, body, (&key, registered_at), now)?)
}

fn not_signed_in(error: DriveError) -> Failed {
    match error {
        DriveError::Rejected(Rejected::Replayed) => Failed::Denied("the challenge was used before"),
        DriveError::Rejected(Rejected::UnknownAgent(_)) => Failed::Denied("the agent is not registered"),
        DriveError::Rejected(Rejected::SshKeyEnded(_)) => Failed::Denied(
            "the key is of an earlier registration of the agent; delete it, and add it for this one",
        ),
        DriveError::Rejected(_) => Failed::Denied("the key or the agent is gone"),
        DriveError::Store(StoreError::Removed) => Failed::Denied("the tenant is gone"),
        DriveError::Store(error) => error.into(),
    }
}

/// The keys that the signature may be of.
async fn candidates(
    store: &Store,
    tenant: &TenantId,
    body: &VerifyBody,
    signature: &Signature,
) -> Result<Vec<(Arc<SshKey>, PublicKey)>, StoreError> {
    let keys = match &body.key_id {
        Some(id) => store.ssh_key(tenant, id).await?.map(|row| row.value).into_iter().collect(),
        None => {
            let page = Page { limit: KEYS_TRIED_MAX, after: None };
            store.ssh_keys(tenant, Some(&body.agent_id), &page).await?.items
        }
    };
    let made_with = signature.fingerprint();
    let is_one = |key: &Arc<SshKey>| {
        key.is_for(&body.agent_id) && made_with.as_ref().is_none_or(|made_with| *made_with == key.fingerprint)
    };
    let parsed = |key: Arc<SshKey>| PublicKey::parse(&key.public_key).ok().map(|public| (key, public));
    Ok(keys.into_iter().filter(is_one).filter_map(parsed).collect())
}

/// The key that the challenge is signed with.
fn signer(
    keys: &[(Arc<SshKey>, PublicKey)],
    challenge: &[u8],
    signature: &Signature,
    (sha1, seed): (Sha1, &[u8]),
) -> Result<Arc<SshKey>, Failed> {
    for (key, public) in keys {
        match public.verify(challenge, signature, sha1) {
            Ok(()) => return Ok(Arc::clone(key)),
            Err(Refused::Sha1) => return Err(Failed::Sha1),
            Err(Refused::Mismatch) => {}
        }
    }
    for of_nobody in signature.stand_ins(keys.iter().map(|(_, public)| public), seed) {
        let _ = of_nobody.verify(challenge, signature, sha1);
    }
    Err(Failed::Denied("the signature is not of a key of the agent"))
}

/// Why no active key of the agent made a signature, where a key made it that is kept and not active. Looked for whatever is
/// wrong, among as many keys as are tried, so that the time of the answer tells no more than it did.
async fn why(
    store: &Store,
    tenant: &TenantId,
    body: &VerifyBody,
    (signature, sha1): (&Signature, Sha1),
) -> Option<&'static str> {
    let keys = match &body.key_id {
        Some(id) => store.ssh_key(tenant, id).await.ok()?.map(|row| row.value).into_iter().collect(),
        None => {
            let page = Page { limit: KEYS_LOOKED_AT_MAX, after: None };
            store.ssh_keys(tenant, None, &page).await.ok()?.items
        }
    };
    let of_agent = |key: &&Arc<SshKey>| key.agent.as_ref().is_none_or(|own| *own == body.agent_id);
    let ended = keys.iter().filter(|key| !key.is_active()).filter(of_agent).take(KEYS_TRIED_MAX);
    let made_it = |key: &&Arc<SshKey>| {
        let public = PublicKey::parse(&key.public_key).ok();
        public.is_some_and(|public| public.verify(body.challenge.as_bytes(), signature, sha1).is_ok())
    };
    ended.into_iter().find(made_it).map(|_| "the key is revoked; sign in with another one")
}

fn token(
    ring: &Ring,
    tenant: &TenantId,
    body: &VerifyBody,
    (key, registered_at): (&SshKey, Timestamp),
    now: Timestamp,
) -> Result<Verified, Refusal> {
    let claims = Claims {
        sub: body.agent_id.clone(),
        tenant_id: tenant.clone(),
        agent_id: body.agent_id.clone(),
        key_type: key.kind.name().to_owned(),
        key_id: key.id.clone(),
        registered_at,
        iat: now.as_seconds(),
        exp: now.as_seconds() + jwt::LIFETIME_S,
        jti: jwt::id(now, clock::seed_128()),
    };
    let token = ring.signing.sign(&claims).map_err(Refusal::failed)?;
    Ok(Verified { valid: true, token, expires_at: claims.expires_at() })
}

/// The one answer to whatever is wrong.
fn denied(is_sha1: bool) -> Response {
    let detail = if is_sha1 {
        "The signature is made with SHA-1 (ssh-rsa), which is not taken; sign with rsa-sha2-256, in paramiko \
         sign_ssh_data(data, algorithm=\"rsa-sha2-256\"), or use an Ed25519 key."
    } else {
        "Not signed in; sign the 64 characters of a fresh challenge, which counts once, with an active key of this agent."
    };
    let body = NotVerified { valid: false, problem: Problem::unauthorized(detail) };
    let mut response = Reply::json(StatusCode::UNAUTHORIZED, &body).into_response();
    let asks = HeaderValue::from_static("Bearer realm=\"signalbox\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, asks);
    response
}
