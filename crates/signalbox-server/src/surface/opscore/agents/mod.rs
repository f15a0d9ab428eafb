//! `/v1/opscore/agent/{agentId}/…`: agents report their state and write to the log; AgentKit tells of them.

pub(super) mod drain;
pub(super) mod logs;
pub(super) mod notification;
pub(super) mod notify;
pub(super) mod reports;
pub(super) mod signed;
pub(super) mod state;
mod unknown_words;
