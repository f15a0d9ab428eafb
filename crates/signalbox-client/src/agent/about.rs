//! [`About`]: what a piece of work is known by once its handler has it.

use super::call::{Call, Kind};

/// What a piece of work is known by once its handler has it.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) id: Option<String>,
    /// Of a task; for anything else a report would settle whatever task the agent happens to have.
    pub(super) task_id: Option<String>,
    pub(super) traceparent: Option<String>,
    pub(super) reply_to: Option<String>,
}

impl About {
    pub(super) fn of(call: &Call, reply_to: Option<String>) -> Self {
        Self {
            kind: call.kind,
            name: call.name.clone(),
            id: call.id.clone(),
            task_id: call.task_id.clone().filter(|_| call.kind == Kind::Task),
            traceparent: call.traceparent.clone(),
            reply_to,
        }
    }
}
