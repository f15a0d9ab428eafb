//! `/v1/agents/…`: agents register, change, leave, and get messages.

pub(super) mod change;
pub(super) mod read;
pub(super) mod register;
pub(super) mod run;
