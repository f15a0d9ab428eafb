//! `/v1/dead-letters/…`: messages that ran out of attempts, one by one and by a filter.

pub(super) mod each;
mod of_task;
pub(super) mod sweep;
