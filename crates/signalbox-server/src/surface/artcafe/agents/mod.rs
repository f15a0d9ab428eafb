//! `/api/v1/agents`: the agents of all surfaces, in the words of this one, and their commands.

pub(super) mod commands;
mod convert;
pub(super) mod create;
pub(super) mod read;
pub(super) mod remove;
pub(super) mod status;
