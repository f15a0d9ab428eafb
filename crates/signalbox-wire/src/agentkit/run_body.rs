//! The body of a run as clients write it and the API's description shows it, and its answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::id::{AgentId, MessageId};

/// What a run may look like; the server reads
/// [`super::RunMessage`].
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RunBody {
    /// A message.
    Message(MessageBody),
    /// A task.
    Task(TaskBody),
}

/// A message to an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageBody {
    /// Who sends it.
    pub sender_id: String,
    /// What kind of message it is; `tool_invocation` calls a tool.
    #[schema(example = "text")]
    pub message_type: String,
    /// What it says.
    #[schema(value_type = Object)]
    pub payload: Map<String, Value>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// The conversation that it belongs to: `sessionId`, `priorMessages` and more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub session_context: Option<Map<String, Value>>,
    /// The task's name, for a task.
    #[serde(rename = "task_name", skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    /// The session that it belongs to.
    #[serde(rename = "opscore_session_id", skip_serializing_if = "Option::is_none")]
    pub opscore_session_id: Option<String>,
    /// The task that it belongs to.
    #[serde(rename = "opscore_task_id", skip_serializing_if = "Option::is_none")]
    pub opscore_task_id: Option<String>,
    /// The sender's own id of the message: the same id twice is one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// A task for an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct TaskBody {
    /// What to do.
    pub task_name: String,
    /// With what.
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// The session that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opscore_session_id: Option<String>,
    /// The task that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opscore_task_id: Option<String>,
}

/// What an accepted message answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunAccepted {
    /// Who gets it.
    #[serde(rename = "agentId")]
    #[schema(value_type = String)]
    pub agent_id: AgentId,
    /// Always `scheduled`.
    pub dispatch_status: Scheduled,
    /// Its id, the same at every attempt.
    #[serde(rename = "messageId")]
    #[schema(value_type = String)]
    pub message_id: MessageId,
}

/// The word `scheduled`, and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheduled {
    /// `scheduled`
    #[default]
    Scheduled,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}
