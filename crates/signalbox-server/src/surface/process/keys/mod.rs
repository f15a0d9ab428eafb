//! `/v1/keys`: the API keys of a tenant. A key is shown once, when it is made.

mod convert;
pub(super) mod create;
pub(super) mod list;
pub(super) mod revoke;
pub(super) mod rotate;
