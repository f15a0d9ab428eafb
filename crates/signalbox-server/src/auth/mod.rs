//! Who calls: one place turns a request's credentials into a [`Caller`] before a handler sees it.
//!
//! Keys are high-entropy and stored as SHA-256; a caller's key is hashed and looked up by that hash, so no
//! comparison of secrets depends on their content. What was found is remembered for a moment.

mod anonymous;
mod authenticator;
pub(crate) mod bootstrap;

pub(crate) use anonymous::{AnonymousAccess, foreign_origin};
pub(crate) use authenticator::{AuthError, Authenticator, Caller};

use signalbox_core::decision::{ApiKey, Scope};
use signalbox_wire::id::KeyId;
use signalbox_wire::keys::{self, Secret};

use crate::clock;

/// The record of a new key.
pub(crate) fn api_key(secret: &Secret, name: String, scope: Scope) -> ApiKey {
    let now = clock::now();
    ApiKey {
        id: KeyId::new(now, clock::seed_128()),
        hash: keys::hash_hex(secret.expose()),
        name,
        scope,
        created_at: now,
    }
}
