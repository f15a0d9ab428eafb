//! [`StateReport`]: what an agent reports, before the call adds who it is and when.

use serde_json::{Map, Value};
use signalbox_wire::time::Timestamp;

/// What an agent reports of its state.
#[derive(Debug, Clone)]
pub struct StateReport {
    /// Such as `active`, `idle`, `completed` or `error`.
    pub state: String,
    /// What belongs to it, such as `opscore_task_id` and `result`.
    pub details: Option<Map<String, Value>>,
    /// When it was so; the client's clock at the time of the call when `None`.
    pub timestamp: Option<Timestamp>,
    /// The trace that the report belongs to, as the W3C header has it.
    pub traceparent: Option<String>,
}

impl StateReport {
    /// A report of `state` as of the moment it is sent.
    #[must_use]
    pub fn new(state: impl Into<String>) -> Self {
        Self { state: state.into(), details: None, timestamp: None, traceparent: None }
    }

    /// The same report with a detail added.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.details.get_or_insert_default().insert(name.into(), value.into());
        self
    }
}
