//! `/v1/opscore/sessions/…`: runs of workflows, one by one and many at once. A verb has a file, for one session and for
//! all that match.

pub(super) mod approve;
pub(super) mod cancel;
mod control;
pub(super) mod events;
pub(super) mod filter;
mod many;
pub(super) mod pause;
pub(super) mod purge;
pub(super) mod read;
pub(super) mod rerun;
pub(super) mod resume;
pub(super) mod retry;
pub(super) mod signal;
pub(super) mod timeline;
mod waits;
