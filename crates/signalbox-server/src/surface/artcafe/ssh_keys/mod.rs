//! `/api/v1/ssh-keys`: the public keys that agents sign in with.

mod convert;
pub(super) mod create;
pub(super) mod delete;
mod ended;
pub(super) mod list;
pub(super) mod revoke;
pub(super) mod show;
