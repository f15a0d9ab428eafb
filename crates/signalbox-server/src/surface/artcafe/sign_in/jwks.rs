//! `GET /.well-known/jwks.json`: the public keys that check the tokens.

use axum::extract::State;
use signalbox_wire::jwt::JwkSet;

use super::ring::ring;
use crate::auth::Authenticator;
use crate::engine::Drive;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::state::SignInTerms;

/// The public keys that check the tokens of agents
///
/// A JWK set of Ed25519 keys (RFC 8037), the newest first. Read it again where a token names a key that is not in it.
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "token_keys", tag = "Sign-in", security(()), responses(
    (status = 200, description = "The keys", body = JwkSet)))]
pub(crate) async fn jwks(
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    State(terms): State<SignInTerms>,
) -> Result<Reply, Refusal> {
    Ok(Reply::ok(&ring(&drive, &authenticator, &terms).await?.public()))
}
