//! `/api/v1/tenants`: the platform key makes tenants, each with its first key, lists them, changes their limits, and
//! removes them.

pub(super) mod change;
pub(super) mod convert;
pub(super) mod create;
pub(super) mod get;
pub(super) mod list;
mod platform;
pub(super) mod remove;
