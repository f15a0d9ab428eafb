//! `/v1/dead-letters/…`: messages that ran out of attempts, one by one and by a filter.

pub(super) mod discard;
mod filter;
pub(super) mod get;
pub(super) mod list;
mod of_task;
pub(super) mod redrive;
mod sweep;
