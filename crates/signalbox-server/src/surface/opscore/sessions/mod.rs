//! `/v1/opscore/sessions/…`: runs of workflows, one by one and many at once.

pub(super) mod control;
pub(super) mod events;
pub(super) mod filter;
pub(super) mod many;
pub(super) mod purge;
pub(super) mod read;
pub(super) mod rerun;
pub(super) mod timeline;
