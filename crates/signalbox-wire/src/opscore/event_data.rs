//! What an entry of the log tells besides what all entries have: served forms, and no picture of what is stored.
//!
//! Names are in camelCase, durations as everywhere in this API, and what an event does not know is left out. Below
//! `input`, `parameters`, `progress`, `result`, `payload` and `details` stand values of clients, as they were sent.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::SessionStatus;
use crate::duration::Period;
use crate::id::{AgentId, MessageId, ScheduleId, SessionId, WorkflowId};
use crate::time::Timestamp;

/// What an event of a session's history tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EventData {
    /// The workflow that the session runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workflow_id: Option<WorkflowId>,
    /// Which revision of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_revision: Option<u32>,
    /// The agent of tasks that name neither an agent nor a capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// The name of the agent that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// What the session was started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input: Option<Map<String, Value>>,
    /// The schedule that started the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub schedule_id: Option<ScheduleId>,
    /// The session that it does a task of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent_session_id: Option<SessionId>,
    /// The session that does the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub child_session_id: Option<SessionId>,
    /// How long the session may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// Tasks of it that may be under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// What sessions that take turns share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<String>,
    /// Tasks that the session has from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<EventTask>>,
    /// Under which name the task is known to its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opscore_task_id: Option<String>,
    /// The attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The message that carries the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    /// What whoever does the task was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Map<String, Value>>,
    /// What the task waits for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// When its wait ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waits_until: Option<Timestamp>,
    /// What the task asks approval for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<EventApproval>,
    /// How far the task's agent says that it is, as said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// What came of the task or the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often the message that carries the task was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
    /// When the next attempt comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// Why it was so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether nothing led to the task that was passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_unreached: Option<bool>,
    /// How often the task may be tried again from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// The signal's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What the signal carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// How the session will end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<SessionStatus>,
}

/// A task that a session has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EventTask {
    /// Its id in the definition; one for an item of a list has its index behind it.
    pub task_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its item, where it is one of a task for each item of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<Value>,
}

/// What a task asks approval for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EventApproval {
    /// What it is about, in the words of the workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The parameters of each task that is guarded, by its id in the definition.
    pub parameters: Value,
    /// SHA-256 of them, in hex.
    pub digest: String,
}

/// What any other entry of the log tells; an entry that an agent wrote has its own fields instead.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogData {
    /// The agent's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// The agent's own version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where the agent is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_endpoint: Option<String>,
    /// What the agent can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// How often the agent has registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The state that the agent reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// As of when it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// What it said of it, as it said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub details: Option<Box<RawValue>>,
    /// The message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// What kind of message it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The HTTP status that it was answered with; of a removed session, how that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the next attempt comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// The session that it is about, or that came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The session that runs it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_session_id: Option<String>,
    /// The workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// Which revision of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// How many tasks it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// The schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<String>,
    /// The fire time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<String>,
    /// What the fire time came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Its number in the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The last fire time that was missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How many were missed, as far as they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many fire times waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// Why it was so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_id: Option<String>,
    /// The webhook's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<String>,
    /// Until when the secret before is good too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier_until: Option<String>,
    /// The tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Its fingerprint, of an SSH key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whom it signs in, of an SSH key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_type: Option<String>,
    /// How long sessions are kept after their end, where that was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Period>,
    /// How long entries of the log are kept, where that was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Period>,
    /// How long delivered messages are kept, where that was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Period>,
}
