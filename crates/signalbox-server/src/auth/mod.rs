//! Who calls: one place turns a request's credentials into a [`Caller`] before a handler sees it.
//!
//! Keys are high-entropy and stored as SHA-256; a caller's key is hashed and looked up by that hash, so no
//! comparison of secrets depends on their content. What was found is remembered for a moment.

mod authority;
pub(crate) mod bootstrap;

pub(crate) use authority::{Authority, Caller};
