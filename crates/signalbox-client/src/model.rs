//! What the client reads more leniently than it is written: sessions, their events and deliveries have their statuses as
//! text here and keep fields that they do not know, so that a client of today understands a server of tomorrow.
//! Everything else that calls send and answer are the types of `signalbox-wire`.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::opscore::ApprovalView;
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

/// Where a message stands on its way to the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageStatus {
    /// The message.
    pub message_id: String,
    /// `scheduled`, `delivered`, `dead` or `cancelled`.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// Tries made.
    #[serde(default, deserialize_with = "or_default")]
    pub attempts: u32,
    /// Why the last try failed.
    #[serde(default)]
    pub last_error: Option<String>,
    /// Everything that the server tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A delivery that ran out of attempts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The message, or whatever else was to be delivered; also the letter's own id.
    pub message_id: String,
    /// What kind of delivery it was.
    #[serde(default, deserialize_with = "or_default")]
    pub kind: String,
    /// Whom it did not reach.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// Tries made.
    #[serde(default, deserialize_with = "or_default")]
    pub attempts: u32,
    /// Why the last one failed.
    #[serde(default)]
    pub last_error: Option<String>,
    /// Everything else that the server tells, the body among it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// One run of a workflow.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Session {
    /// Its id.
    pub session_id: String,
    /// The definition that it runs.
    pub workflow_id: String,
    /// `started`, `running`, `paused`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// When it was started.
    pub created_at: Option<Timestamp>,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// Its tasks, in order; a list of sessions may leave them out.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
    /// What it came to.
    pub result: Value,
    /// Why it failed.
    pub error: Value,
    /// Everything else that the server tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// One step of a session.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    /// Its id within the definition.
    pub task_id: String,
    /// `pending`, `waiting`, `dispatched`, `running`, `completed`, `failed`, `skipped` or `cancelled`.
    pub status: String,
    /// Who has or had it.
    pub agent_id: Option<String>,
    /// How often it was given out.
    #[serde(deserialize_with = "or_default")]
    pub attempt: u32,
    /// Its id towards the agent.
    pub opscore_task_id: Option<String>,
    /// What it asks approval for, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalView>,
    /// When it was last given out.
    pub dispatched_at: Option<Timestamp>,
    /// When the agent began.
    pub started_at: Option<Timestamp>,
    /// When it was settled.
    pub ended_at: Option<Timestamp>,
    /// What it came to.
    pub result: Value,
    /// Why it failed.
    pub error: Value,
    /// Everything else that the server tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// One entry of a session's history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// Its place in the history; what a stream is resumed from.
    pub sequence: u64,
    /// What happened, such as `task.completed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub timestamp: Option<Timestamp>,
    /// How serious it is.
    #[serde(deserialize_with = "or_default")]
    pub level: String,
    /// In which session.
    pub session_id: Option<String>,
    /// To which agent.
    pub agent_id: Option<String>,
    /// To which task of the definition.
    pub task_id: Option<String>,
    /// The same in words.
    #[serde(deserialize_with = "or_default")]
    pub message: String,
    /// What belongs to it.
    pub data: Value,
}

/// The envelope of the AgentKit surface.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Envelope<T> {
    pub(crate) data: T,
}

impl Session {
    /// Whether nothing more will happen in it unless someone retries it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "cancelled")
    }
}

impl Session {
    /// What the task with this name, as its workflow or its agent knows it, asks approval for now.
    #[must_use]
    pub fn asked(&self, task: &str) -> Option<&ApprovalView> {
        let is_meant =
            |known: &&Task| known.task_id == task || known.opscore_task_id.as_deref() == Some(task);
        let waits = |known: &&Task| known.status == "waiting";
        self.tasks.iter().filter(is_meant).find(waits)?.approval.as_ref()
    }
}

impl Event {
    /// Whether the session came to its end with this event.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(self.kind.as_str(), "session.completed" | "session.failed" | "session.cancelled")
    }
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

/// `null` where a value belongs means that there is none yet.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_session_is_read_with_what_it_has_not_got_yet() {
        let session: Session = serde_json::from_value(json!({
            "sessionId": "ses_1", "workflowId": "w", "status": "running", "createdAt": "2026-01-31T12:00:00Z",
            "endedAt": null, "result": null, "error": null, "invented": {"later": true},
            "tasks": [{"taskId": "a", "status": "waiting", "attempt": null, "agentId": null, "result": null}],
        }))
        .unwrap();
        assert!(!session.is_over());
        assert_eq!(session.tasks[0].attempt, 0);
        assert_eq!(session.tasks[0].result, Value::Null);
        assert_eq!(
            serde_json::to_value(&session).unwrap()["invented"],
            json!({"later": true}),
            "nothing is lost"
        );
    }
}
