//! Commands: requests to agents over their connections.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text};
use crate::id::{AgentId, CommandId};
use crate::time::Timestamp;

/// Seconds that a command may take where it does not say.
pub const COMMAND_TIMEOUT_S: u64 = 300;
/// The most that it may ask for.
pub const COMMAND_TIMEOUT_MAX_S: u64 = 7 * 24 * 3_600;

/// `POST /api/v1/agents/{agent_id}/commands`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandBody {
    /// What is to be done, in a word that the agent knows.
    #[schema(min_length = 1, max_length = 256, example = "restart")]
    pub command: String,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub args: Option<Map<String, Value>>,
    /// Seconds until it must be answered, the time that the agent is offline included; 300 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 604_800)]
    pub timeout: Option<u64>,
}

/// `POST /api/v1/agents/{agent_id}/commands/{command_id}/cancel`; may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelCommandBody {
    /// Why it is no longer wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub reason: Option<String>,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandStatus {
    /// It waits for the agent to be connected.
    Queued,
    /// The agent has it.
    Sent,
    /// The agent has done it.
    Success,
    /// The agent has not, or it could not be sent.
    Error,
    /// It was not answered in time.
    Expired,
    /// It is no longer wanted.
    Cancelled,
}

/// What an accepted command answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandAccepted {
    /// Its id, which the command's envelope has too.
    #[schema(value_type = String)]
    pub command_id: CommandId,
    /// Where it stands.
    pub status: CommandStatus,
    /// Until when it must be answered.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandView {
    /// Its id.
    #[schema(value_type = String)]
    pub command_id: CommandId,
    /// Who is to do it.
    #[schema(value_type = String)]
    pub agent_id: AgentId,
    /// What is to be done.
    pub command: String,
    /// With what.
    #[schema(value_type = Object)]
    pub args: Map<String, Value>,
    /// Seconds until it must be answered.
    pub timeout: u64,
    /// Where it stands.
    pub status: CommandStatus,
    /// How far the agent said last that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// What the agent answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// What went wrong: in the agent's words, or why it ended without an answer, or why it was not sent last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// Who wanted it.
    pub by: Option<String>,
    /// How often it was sent, or tried to.
    pub attempts: u32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Until when it must be answered.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When the agent had it; null before.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    /// When it was answered, or ended without an answer; null before.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// A page of an agent's commands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandList {
    /// The page.
    pub commands: Vec<CommandView>,
    /// Where the next page begins; null on the last.
    #[serde(default)]
    pub next_token: Option<String>,
}

impl Body for CommandBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("command", Text::NAME);
        fields.optional_object("args");
        fields.optional_integer("timeout", 1..=COMMAND_TIMEOUT_MAX_S);
    }
}

impl Body for CancelCommandBody {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.optional_string("reason", Text::DESCRIPTION);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::tests::faults_of;

    #[test]
    fn what_does_not_fit_is_told() {
        assert_eq!(faults_of::<CommandBody>(r#"{"command":"restart","args":{},"timeout":300}"#), [""; 0]);
        let found = faults_of::<CommandBody>(r#"{"args":[],"timeout":0}"#);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(faults_of::<CancelCommandBody>(r#"{"reason":1}"#).len(), 1);
    }
}
