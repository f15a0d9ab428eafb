//! What calls send and answer, as a client sees it. Answers are read leniently: unknown fields are ignored
//! and states are text, so that a client of today understands a server of tomorrow.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::time::Timestamp;

/// What an agent tells of itself when it registers.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// Unique within the tenant.
    pub agent_name: String,
    /// The agent's own version.
    pub version: String,
    /// Where its messages are POSTed; `None` for an agent that keeps a WebSocket open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_endpoint: Option<String>,
    /// What it can do: names, or objects `{name, description?, parameters?, version?}`.
    pub capabilities: Vec<Value>,
    /// Anything else worth knowing about it.
    pub metadata: Map<String, Value>,
}

/// A registered agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentInfo {
    /// Its id.
    pub agent_id: String,
    /// Its name.
    pub agent_name: String,
    /// Its own version.
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
    /// What it can do, as it registered it.
    #[serde(default, deserialize_with = "or_default")]
    pub capabilities: Vec<Value>,
    /// Where its messages are POSTed.
    #[serde(default)]
    pub contact_endpoint: Option<String>,
    /// What else it told.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Map<String, Value>,
    /// When it registered.
    #[serde(default)]
    pub registration_time: Option<Timestamp>,
    /// Its newest reported state.
    #[serde(default)]
    pub state: Option<String>,
    /// Its last sign of life.
    #[serde(default)]
    pub last_seen: Option<Timestamp>,
}

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

/// The newest state that is held of an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentState {
    /// Whose.
    pub agent_id: String,
    /// The word as it was reported.
    pub state: String,
    /// What was reported with it.
    #[serde(default)]
    pub details: Value,
    /// When it was so.
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
}

/// One line for the central log.
#[derive(Debug, Clone, Serialize)]
pub struct LogEntry {
    /// `debug`, `info`, `warning`, `error` or `critical`.
    pub level: String,
    /// What happened.
    pub message: String,
    /// When; the server's clock when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// What belongs to it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// The session that it belongs to.
    #[serde(rename = "session_id", skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The task that it belongs to.
    #[serde(rename = "task_id", skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
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

/// A session that was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Triggered {
    /// The new session.
    pub session_id: String,
    /// The definition that it runs.
    pub workflow_id: String,
}

/// What a task asks approval for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Approval {
    /// Who may agree, in words.
    pub who: Option<String>,
    /// What it is about, in the words of the workflow.
    pub what: Option<String>,
    /// The parameters of each task that waits for it.
    pub parameters: Value,
    /// What names just this: it is sent with the approval, which is good for nothing else.
    pub digest: String,
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
    pub approval: Option<Approval>,
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

/// One page of a list.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Page<T> {
    /// The items, in the server's order.
    #[serde(rename = "data")]
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
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
    pub fn asked(&self, task: &str) -> Option<&Approval> {
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

impl LogEntry {
    /// A line at `level` as of the moment the server takes it.
    #[must_use]
    pub fn new(level: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level: level.into(),
            message: message.into(),
            timestamp: None,
            fields: Map::new(),
            session_id: None,
            task_id: None,
        }
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

    #[test]
    fn the_last_page_has_no_cursor() {
        for (body, more) in [
            (json!({"status": "success", "message": "m", "data": [1, 2], "next_cursor": "c"}), true),
            (json!({"data": [1, 2], "next_cursor": null}), false),
            (json!({"data": [1, 2]}), false),
        ] {
            let page: Page<u8> = serde_json::from_value(body).unwrap();
            assert_eq!(page.items, [1, 2]);
            assert_eq!(page.next_cursor.is_some(), more);
        }
    }

    #[test]
    fn a_registration_without_an_endpoint_leaves_it_out() {
        let registration =
            Registration { agent_name: "a".into(), version: "1".into(), ..Registration::default() };
        let body = serde_json::to_value(registration).unwrap();
        assert_eq!(body, json!({"agentName": "a", "version": "1", "capabilities": [], "metadata": {}}));
    }
}
