//! Agents in the words of this surface: what is asked for, and how they are shown.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text};
use crate::capability::{CAPABILITIES_MAX, CapabilityBody};
use crate::id::{AgentId, ConnectionId, NodeId};
use crate::time::Timestamp;

/// `POST /api/v1/agents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreateAgentBody {
    /// Its name, unique in the tenant.
    #[schema(min_length = 1, max_length = 256, example = "summariser")]
    pub name: String,
    /// What kind of agent it is, in a word of its owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64, example = "worker")]
    pub r#type: Option<String>,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<CapabilityBody>>,
    /// Anything else about it; `concurrency` is how many tasks it takes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// The caller's own id for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// Its own version; `1` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub version: Option<String>,
    /// Where messages are POSTed; without it the agent is reached over the connection that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048)]
    pub contact_endpoint: Option<String>,
}

/// `PUT /api/v1/agents/{agent_id}/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentStatusBody {
    /// How the agent is from now on.
    pub status: AgentPresence,
}

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentPresence {
    /// Ready for work.
    Online,
    /// Not there: it has neither a contact endpoint nor a connection, or said that it goes.
    Offline,
    /// At work, or not ready for more.
    Busy,
    /// Something is wrong with it.
    Error,
}

impl AgentPresence {
    /// The word that Ops-Core has for it.
    #[must_use]
    pub fn state(self) -> &'static str {
        match self {
            Self::Online => "idle",
            Self::Offline => "offline",
            Self::Busy => "active",
            Self::Error => "error",
        }
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ConnectableAgent)]
pub struct AgentView {
    /// Its id.
    #[schema(value_type = String)]
    pub agent_id: AgentId,
    /// Its name.
    pub name: String,
    /// What kind of agent it is; `agent` where nobody said.
    pub r#type: String,
    /// How it is.
    pub status: AgentPresence,
    /// What it can do.
    pub capabilities: Vec<CapabilityView>,
    /// The last sign of life; null before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Timestamp>,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Anything else about it.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Its own version.
    pub version: String,
    /// Where messages are POSTed; null where it is reached over its connection.
    pub contact_endpoint: Option<String>,
    /// Whether it holds a connection.
    pub connected: bool,
    /// Since when it holds one; null where it holds none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub connected_since: Option<Timestamp>,
    /// Which connection it holds; null where it holds none.
    #[schema(value_type = Option<String>)]
    pub connection_id: Option<ConnectionId>,
    /// The node that it is connected to; null where it holds no connection.
    #[schema(value_type = Option<String>)]
    pub node: Option<NodeId>,
    /// When its last connection ended; null while it holds one, and where it never held one.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disconnected_at: Option<Timestamp>,
    /// What its heartbeats tell; null before the first that told anything. Only where one agent is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<FiguresView>,
}

/// A capability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CapabilityView {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// What it takes.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Map<String, Value>>,
    /// Its own version.
    pub version: Option<String>,
}

/// What an agent's heartbeats tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FiguresView {
    /// How much of its processors it used last.
    pub cpu_usage: Option<f64>,
    /// How much memory it used last.
    pub memory_usage: Option<f64>,
    /// Whatever else it told last.
    #[schema(value_type = Object)]
    pub metrics: Map<String, Value>,
    /// What it told of its load for a while, the newest last.
    pub samples: Vec<SampleView>,
}

/// An agent's load at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SampleView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How much of its processors it used.
    pub cpu_usage: Option<f64>,
    /// How much memory it used.
    pub memory_usage: Option<f64>,
}

/// A page of agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ConnectableAgentList)]
pub struct AgentList {
    /// The page.
    pub agents: Vec<AgentView>,
    /// Where the next page begins; null on the last.
    #[serde(default)]
    pub next_token: Option<String>,
}

impl Body for CreateAgentBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("name", Text::NAME);
        fields.optional_string("type", Text::VERSION);
        fields.optional_array("capabilities", CAPABILITIES_MAX, CapabilityBody::check);
        fields.optional_object("metadata");
        fields.optional_string("agent_id", Text::AGENT_ID);
        fields.optional_string("version", Text::VERSION);
        fields.optional_string("contact_endpoint", Text::ENDPOINT);
    }
}

impl Body for AgentStatusBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        let status = fields.required_string("status", Text::STATE);
        if status.is_some_and(|status| !["online", "offline", "busy", "error"].contains(&status)) {
            fields.fault("status", "must be online, offline, busy or error");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn all_faults_are_told_at_once() {
        let found = faults_of::<CreateAgentBody>(
            r#"{"type":"","capabilities":[{"version":"1"}],"metadata":[],"contact_endpoint":"x"}"#,
        );
        assert_eq!(found.len(), 5, "{found:?}");
        let found = faults_of::<AgentStatusBody>(r#"{"status":"idle"}"#);
        assert_eq!(found, ["/status must be online, offline, busy or error"]);
        let least = parse::<CreateAgentBody>(br#"{"name":"a"}"#).unwrap();
        assert_eq!((least.r#type, least.capabilities, least.contact_endpoint), (None, None, None));
    }

    #[test]
    fn a_status_is_told_in_the_words_of_the_other_surface() {
        for (word, state) in
            [("online", "idle"), ("busy", "active"), ("offline", "offline"), ("error", "error")]
        {
            let body = parse::<AgentStatusBody>(json!({"status": word}).to_string().as_bytes()).unwrap();
            assert_eq!(body.status.state(), state);
        }
    }
}
