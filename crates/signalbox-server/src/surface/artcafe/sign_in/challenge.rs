//! `POST /api/v1/auth/challenge`: what an agent is to sign.
//!
//! Whether the agent exists is not looked at: an unknown one gets a challenge in the same way.

use axum::extract::State;
use signalbox_wire::artcafe::{Challenge, ChallengeBody};
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;

use super::ring::ring;
use super::tries;
use crate::auth::Authenticator;
use crate::clock;
use crate::engine::Drive;
use crate::http::context::Input;
use crate::http::peer::Peer;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::state::SignInTerms;

/// Ask for a challenge
///
/// What is signed is the challenge's 64 characters. It can be answered once, for five minutes, and where `tenant_id` was
/// given in that tenant alone. Whether there is such an agent is not told.
#[utoipa::path(post, path = "/api/v1/auth/challenge", operation_id = "auth_challenge", tag = "Sign-in", security(()),
    request_body = ChallengeBody, responses(
    (status = 200, description = "What is to be signed", body = Challenge),
    (status = 422, description = "The body does not fit", body = Problem),
    (status = 429, description = "Too many tries", body = Problem)))]
pub(crate) async fn challenge(
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    State(terms): State<SignInTerms>,
    peer: Peer,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: ChallengeBody = input.parse()?;
    tries::count(&terms, &body.agent_id, peer)?;
    let ring = ring(&drive, &authenticator, &terms).await?;
    let tenant = body.tenant_id.as_ref().map(TenantId::as_str);
    let (challenge, expires_at) =
        ring.challenges.challenge(body.agent_id.as_str(), tenant, clock::now(), clock::seed_128());
    Ok(Reply::ok(&Challenge { challenge, expires_at }))
}
