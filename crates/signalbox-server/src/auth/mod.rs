//! Who calls: one place turns a request's credentials into a [`Caller`] before a handler sees it.
//!
//! Keys are high-entropy and stored as SHA-256; a caller's key is hashed and looked up by that hash, so no
//! comparison of secrets depends on their content. What was found is remembered for a moment.

mod anonymous;
mod authenticator;
pub(crate) mod bootstrap;
mod caller;
mod ended;
mod key_uses;
mod token_ring;
mod tokens;
mod tries;

pub(crate) use anonymous::{AnonymousAccess, foreign_origin};
pub(crate) use authenticator::{Authenticator, good_until};
pub(crate) use caller::{AuthError, Caller, UsedKey};
pub(crate) use token_ring::Ring;
pub(crate) use tries::Tries;

use signalbox_core::decision::{ApiKey, Scope};
use signalbox_wire::id::KeyId;
use signalbox_wire::keys::{self, Secret};
use signalbox_wire::time::Timestamp;

use crate::clock;

/// The record of a new key, which ends where that is said.
pub(crate) fn api_key(secret: &Secret, name: String, scope: Scope, expires_at: Option<Timestamp>) -> ApiKey {
    let now = clock::now();
    ApiKey {
        id: KeyId::new(now, clock::seed_128()),
        hash: keys::hash_hex(secret.expose()),
        name,
        scope,
        created_at: now,
        expires_at,
        rotated_at: None,
        previous: None,
        last_used_at: None,
    }
}
