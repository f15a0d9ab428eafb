//! A session, its tasks, and what can be asked of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Body, Faults, Fields, Text};
use crate::id::{AgentId, ScheduleId, SessionId, WorkflowId};
use crate::time::Timestamp;

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionStatus {
    /// It exists; nothing was dispatched yet.
    Started,
    /// A task was dispatched.
    Running,
    /// Nothing more is dispatched until it is resumed.
    Paused,
    /// Every task settled well.
    Completed,
    /// A task failed for good.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Its turn has not come, or an attempt is due.
    Pending,
    /// It was given to an agent.
    Dispatched,
    /// The agent reported that it works on it.
    Running,
    /// Nobody can do it at the moment, or it waits for a signal.
    Waiting,
    /// It is done.
    Completed,
    /// It ran out of attempts, or cannot be done.
    Failed,
    /// It was passed over.
    Skipped,
    /// Its session was cancelled.
    Cancelled,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// One run of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Its id.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// The workflow that it is a run of.
    #[schema(value_type = String)]
    pub workflow_id: WorkflowId,
    /// The version of the workflow that it runs, by its author; null when that names none.
    #[serde(default)]
    pub workflow_version: Option<String>,
    /// The revision of the workflow's definition that it runs; 0 from a server that does not say.
    #[serde(default)]
    pub workflow_revision: u32,
    /// The agent of tasks that name neither an agent nor a capability.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// The session that it does a task of; absent when it was triggered by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent_session_id: Option<SessionId>,
    /// The schedule that started it; absent when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub schedule_id: Option<ScheduleId>,
    /// How far it is.
    pub status: SessionStatus,
    /// What it waits for, in words: its turn among sessions like it, or what its tasks wait for, a person or a signal
    /// first; absent when it waits for nothing. A list tells it of open sessions where it is asked to by `waits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// When that ends or goes on by itself; absent when it does not wait or has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waits_until: Option<Timestamp>,
    /// How it will end, `failed` or `cancelled`, while it undoes what it did; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<SessionStatus>,
    /// When it was triggered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it ended; null before.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// What it was triggered with.
    #[schema(value_type = Object)]
    pub input: Map<String, Value>,
    /// What came of it; null before it completed.
    #[serde(default)]
    pub result: Option<Value>,
    /// Why it failed or was cancelled; null otherwise.
    #[serde(default)]
    pub error: Option<String>,
    /// Its tasks; absent in a list of sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<TaskView>>,
}

/// One step of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// Its id in the definition.
    pub task_id: String,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// How far it is.
    pub status: TaskStatus,
    /// Who does it; null while nobody does.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// The attempt that is under way or was the last, from 1; 0 before the first.
    pub attempt: u32,
    /// How often it is tried again.
    pub max_retries: u32,
    /// Under which name the agent was given it; null before it was.
    #[serde(default)]
    pub opscore_task_id: Option<String>,
    /// What the agent was given; null before its turn came.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Map<String, Value>>,
    /// What came of it; null before it completed.
    #[serde(default)]
    pub result: Option<Value>,
    /// Why its last attempt failed; null when none did.
    #[serde(default)]
    pub error: Option<String>,
    /// How far its agent says that it is, as said; absent when it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// The session that does it; absent when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub child_session_id: Option<SessionId>,
    /// What is to be approved; absent when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalView>,
    /// What it waits for, in words; null when it does not.
    #[serde(default)]
    pub waiting_for: Option<String>,
    /// When its wait ends by itself, its next attempt included; absent when it does not wait or has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waits_until: Option<Timestamp>,
    /// How the delivery of its attempt to its agent stands; absent unless it has failed and is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryView>,
    /// Its place among the tasks that wait for the same, from 1: they are served by priority, then by how long they
    /// wait. 1000 means that or a later one. Null when it does not wait for an agent, in an answer to anything but
    /// a question about one session, and for a session's tasks after the first 100 that wait.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000)]
    pub place_in_line: Option<u32>,
    /// When it was last given to an agent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub dispatched_at: Option<Timestamp>,
    /// When the agent reported that it works on it.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it settled.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// A delivery that has failed so far, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    /// How often it was tried.
    pub tries: u32,
    /// The HTTP status of the last answer; null when there was none.
    #[serde(default)]
    pub status: Option<u16>,
    /// Why the last try failed.
    pub error: String,
    /// When it is tried next.
    #[schema(value_type = String, format = DateTime)]
    pub next_at: Timestamp,
}

/// What somebody is asked to approve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// Who may, in words; null when the workflow does not say.
    pub who: Option<String>,
    /// What it is about, in the words of the workflow; null when it does not say.
    #[serde(default)]
    pub what: Option<String>,
    /// The parameters of each task that is guarded, by its id in the definition.
    pub parameters: Value,
    /// SHA-256 of them, in hex: whoever approves names it, and it is good for nothing else.
    pub digest: String,
}

/// `POST …/sessions/{id}/tasks/{taskId}/approve`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApproveBody {
    /// The digest of what was seen. It must be that of what is asked for now.
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-f]{64}$")]
    pub digest: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub comment: Option<String>,
}

/// `POST …/sessions/{id}/tasks/{taskId}/refuse`; may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefuseBody {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub comment: Option<String>,
    /// The digest of what was seen. Where it is given, it must be that of what is asked for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-f]{64}$")]
    pub digest: Option<String>,
}

/// `POST …/sessions/{id}/cancel`; may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelBody {
    /// Why; kept as the session's error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub reason: Option<String>,
}

/// `POST …/sessions/{id}/signal`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SignalBody {
    /// The signal's name; `name` is read too.
    #[serde(alias = "name")]
    #[schema(max_length = 256)]
    pub signal: String,
    /// What it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}

impl SessionStatus {
    /// The status as it is written; `unknown` where it is.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing more will happen unless it is asked for.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl SessionView {
    /// Whether nothing more will happen in it unless it is asked for.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        match self.status {
            SessionStatus::Unknown => self.ended_at.is_some(),
            known => known.is_terminal(),
        }
    }

    /// The task with this name, as its workflow or its agent knows it; none in a list of sessions, which has no tasks.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&TaskView> {
        self.tasks.iter().flatten().find(|task| task.is_named(name))
    }

    /// What the task with this name asks approval for now.
    #[must_use]
    pub fn asked(&self, task: &str) -> Option<&ApprovalView> {
        let waits = |known: &&TaskView| known.is_named(task) && known.status == TaskStatus::Waiting;
        self.tasks.iter().flatten().find(waits)?.approval.as_ref()
    }
}

impl TaskView {
    fn is_named(&self, name: &str) -> bool {
        self.task_id == name || self.opscore_task_id.as_deref() == Some(name)
    }
}

impl Body for CancelBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.optional_string("reason", Text::DESCRIPTION);
    }
}

impl Body for ApproveBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.optional_string("comment", Text::DESCRIPTION);
        if let Some(digest) = fields.required("digest") {
            check_digest(&mut fields, digest);
        }
    }
}

impl Body for RefuseBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.optional_string("comment", Text::DESCRIPTION);
        if let Some(digest) = fields.optional("digest") {
            check_digest(&mut fields, digest);
        }
    }
}

fn check_digest(fields: &mut Fields<'_, '_>, digest: &Value) {
    let is_hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digest.as_str().is_some_and(is_hex) {
        fields.fault("digest", "must be the digest that the session shows with the task: 64 hex digits");
    }
}

impl Body for SignalBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        let is_renamed = fields.optional("signal").is_none() && fields.optional("name").is_some();
        fields.required_string(if is_renamed { "name" } else { "signal" }, Text::NAME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::tests::faults_of;
    use crate::body::{parse, parse_or_default};

    #[test]
    fn a_request_that_says_nothing_may_be_empty() {
        assert_eq!(parse_or_default::<CancelBody>(b"").unwrap(), CancelBody::default());
        assert_eq!(parse_or_default::<RefuseBody>(b"").unwrap(), RefuseBody::default());
        assert_eq!(faults_of::<CancelBody>(r#"{"reason":5}"#), ["/reason must be a string, not a number"]);
    }

    #[test]
    fn a_signal_has_its_name_under_either_key() {
        for text in [r#"{"signal":"go","payload":[1]}"#, r#"{"name":"go","payload":[1]}"#] {
            let body = parse::<SignalBody>(text.as_bytes()).unwrap();
            assert_eq!((body.signal.as_str(), body.payload), ("go", Some(serde_json::json!([1]))));
        }
        assert_eq!(faults_of::<SignalBody>("{}"), ["/signal is required"]);
    }

    #[test]
    fn an_approval_names_what_was_seen() {
        let digest = "0a".repeat(32);
        let body = parse::<ApproveBody>(format!(r#"{{"digest":"{digest}"}}"#).as_bytes()).unwrap();
        assert_eq!(body, ApproveBody { digest, comment: None });
        assert_eq!(faults_of::<ApproveBody>(r#"{"by":"Ada"}"#), ["/digest is required"]);
        let wrong = "/digest must be the digest that the session shows with the task: 64 hex digits";
        for text in [r#"{"digest":"seen"}"#, r#"{"digest":5}"#] {
            assert_eq!(faults_of::<ApproveBody>(text), [wrong]);
            assert_eq!(faults_of::<RefuseBody>(text), [wrong]);
        }
    }

    #[test]
    fn a_session_of_a_later_server_is_read() {
        let session: SessionView = serde_json::from_value(serde_json::json!({
            "sessionId": "ses_1", "workflowId": "w", "status": "hibernating", "invented": {"later": true},
            "createdAt": "2026-01-31T12:00:00Z", "updatedAt": "2026-01-31T12:00:00Z", "endedAt": null, "input": {},
            "tasks": [
                {"taskId": "a", "status": "dreaming", "attempt": 0, "maxRetries": 3, "agentId": null},
                {"taskId": "b", "status": "waiting", "attempt": 0, "maxRetries": 3, "opscoreTaskId": "tsk_1",
                    "approval": {"who": null, "parameters": {}, "digest": "d"}},
            ],
        }))
        .unwrap();
        assert_eq!((session.status, session.is_over()), (SessionStatus::Unknown, false));
        assert_eq!(session.task("a").map(|task| task.status), Some(TaskStatus::Unknown));
        assert_eq!(session.asked("tsk_1").map(|asked| asked.digest.as_str()), Some("d"));
        assert_eq!((session.asked("a"), session.task("c")), (None, None));
        assert!(SessionView { ended_at: Some(session.created_at), ..session }.is_over());
    }

    #[test]
    fn statuses_are_written_as_they_are_named() {
        for status in [SessionStatus::Started, SessionStatus::Paused, SessionStatus::Cancelled] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
