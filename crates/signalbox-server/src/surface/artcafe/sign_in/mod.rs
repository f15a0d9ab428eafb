//! Signing in with an SSH key: a challenge, its answer, and the public keys that check the tokens.

pub(super) mod challenge;
pub(super) mod jwks;
mod ring;
mod tries;
pub(super) mod verify;
