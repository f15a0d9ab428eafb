//! Tokens as credentials: whom one speaks for, and when it ends.
//!
//! A token's signature says who signed in and until when. Whether the key that signed in, the agent and the tenant are
//! still there is asked of the store: at each request that comes more than [`BELIEVED_FOR`] after the last look.
//! Connections that were opened with one are watched over with all others (`live/credentials.rs`).

use std::sync::Arc;
use std::time::Duration;

use signalbox_core::decision::Scope;
use signalbox_store::{Store, StoreError};
use signalbox_wire::jwt::{Claims, Unchecked};
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;

use super::caller::{AuthError, Caller};
use super::token_ring::TokenRing;
use crate::clock;

/// How long a token that was looked up is believed.
pub(super) const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// A token that is good now.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) caller: Caller,
    /// From when on it is over.
    pub(super) expires_at: Timestamp,
}

/// Checks tokens.
pub(crate) struct Tokens {
    store: Store,
    ring: TokenRing,
}

impl Tokens {
    pub(super) fn new(store: Store) -> Self {
        Self { store, ring: TokenRing::default() }
    }

    /// What tokens are signed and checked with.
    pub(crate) fn ring(&self) -> &TokenRing {
        &self.ring
    }

    /// Whom a token speaks for.
    pub(super) async fn token(&self, text: &str) -> Result<Token, AuthError> {
        let now = clock::now();
        let unchecked = Unchecked::parse(text).map_err(|_| bad_token())?;
        let key = self.ring.key(&self.store, &unchecked.kid, now).await?.ok_or_else(bad_token)?;
        let claims = key.check(&unchecked, now).map_err(|_| bad_token())?;
        if !self.stands(&claims).await? {
            return Err(bad_token().into());
        }
        Ok(Token { expires_at: claims.expires_at(), caller: caller(claims) })
    }

    /// Whether the registration that a token is for is still the agent's, and the key signs it in.
    async fn stands(&self, claims: &Claims) -> Result<bool, StoreError> {
        // The keys of a tenant that is removed go first.
        let Some(key) = self.store.ssh_key(&claims.tenant_id, &claims.key_id).await? else {
            return Ok(false);
        };
        let agent = self.store.agent(&claims.tenant_id, &claims.agent_id).await?;
        Ok(agent.is_some_and(|agent| {
            agent.value.registered_at == claims.registered_at && key.value.signs_in(&agent.value)
        }))
    }
}

/// What a token is refused with, whatever is wrong with it.
fn bad_token() -> Problem {
    Problem::unauthorized(
        "The token is not good here, or is over; sign in again with POST /api/v1/auth/challenge and /api/v1/auth/verify.",
    )
}

fn caller(claims: Claims) -> Caller {
    let name = format!("the agent {} by its SSH key {}", claims.agent_id, claims.key_id);
    Caller {
        tenant: claims.tenant_id,
        scope: Scope::Agent,
        name: Arc::from(name),
        is_platform: false,
        api_key: None,
        agent: Some(claims.agent_id),
        registered_at: Some(claims.registered_at),
        key: Some(claims.key_id),
    }
}
