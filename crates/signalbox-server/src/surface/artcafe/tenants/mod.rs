//! `/api/v1/tenants`: the platform key makes tenants, each with its first key, lists them, and removes them.

pub(super) mod create;
pub(super) mod list;
mod platform;
pub(super) mod remove;
