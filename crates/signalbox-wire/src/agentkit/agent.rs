//! Registering, changing and showing an agent.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Body, Faults, Fields, Text, present};
use crate::capability::{CAPABILITIES_MAX, CapabilityBody};
use crate::id::{AgentId, MessageId, SessionId};
use crate::presence::Presence;
use crate::time::Timestamp;

/// `POST /v1/agents/register` and `POST /v1/agents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisterBody {
    /// Unique in the tenant.
    #[schema(min_length = 1, max_length = 256, example = "summariser")]
    pub agent_name: String,
    /// The agent's own version.
    #[schema(min_length = 1, max_length = 64, example = "1.0.0")]
    pub version: String,
    /// Where messages are POSTed; without it the agent is reached over its WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048, example = "http://127.0.0.1:9000/run")]
    pub contact_endpoint: Option<String>,
    /// What the agent can do.
    pub capabilities: Vec<CapabilityBody>,
    /// Anything else about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// The caller's own id for the agent; read by `POST /v1/agents` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
}

/// `PATCH /v1/agents/{agentId}`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PatchAgentBody {
    /// The new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub version: Option<String>,
    /// The new endpoint; null takes it away, so that the agent is reached over its WebSocket.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    pub contact_endpoint: Option<Option<String>>,
    /// All capabilities from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<CapabilityBody>>,
    /// All metadata from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

/// What a registration answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// The agent's id.
    #[schema(value_type = String, example = "agt_01jd2x7m8q0000000000000000")]
    pub agent_id: AgentId,
    /// Which of the agent's registrations this is, from 1; absent where the agent is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// A registered agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// Its id.
    #[schema(value_type = String)]
    pub agent_id: AgentId,
    /// Its name.
    pub agent_name: String,
    /// Its own version.
    pub version: String,
    /// What it can do, as it was registered.
    pub capabilities: Vec<CapabilityBody>,
    /// Where messages are POSTed; null when it is reached over its WebSocket.
    pub contact_endpoint: Option<String>,
    /// Anything else about it.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub registration_time: Timestamp,
    /// Counts the registrations of the agent, from 1: it grows when the name is taken over, and a PATCH does not change it.
    #[serde(default)]
    pub generation: u64,
    /// The newest state that it reported; null before the first.
    #[serde(default)]
    pub state: Option<String>,
    /// The moment of that report, by the agent's clock; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub reported_at: Option<Timestamp>,
    /// How many tasks it holds.
    #[serde(default)]
    pub active_tasks: u32,
    /// How many tasks it may hold at once.
    #[serde(default)]
    pub concurrency: u32,
    /// Whether it would be given another task now.
    #[serde(default)]
    pub available: bool,
    /// The tasks that it holds, the first 100 of them; where one agent is asked for with `?held=true`, and absent where it
    /// holds none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_tasks: Vec<HeldTaskView>,
    /// The last sign of life; null before the first.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Timestamp>,
    /// Whether it is being drained: it gets no new task.
    #[serde(default)]
    pub draining: bool,
    /// The last delivery to it that failed, while none has gone well since; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_failure: Option<DeliveryFailureView>,
    /// Whether it is connected; absent for one that has a contact endpoint and holds no connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
    /// Since when that is so; absent for one that never was connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub presence_since: Option<Timestamp>,
}

/// A task in an agent's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldTaskView {
    /// The session that it belongs to.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// Its id in the definition.
    pub task_id: String,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// When it was given to the agent.
    #[schema(value_type = String, format = DateTime)]
    pub dispatched_at: Timestamp,
    /// When its time is over: it is then given out again or fails; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub times_out_at: Option<Timestamp>,
}

/// A try to get something to an agent that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryFailureView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What was sent.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// What kind of thing that is: `message` or `task`.
    pub kind: String,
    /// Which try it was, from 1.
    pub attempt: u32,
    /// The status of the answer, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed.
    pub error: String,
}

impl Body for RegisterBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("agentName", Text::NAME);
        fields.required_string("version", Text::VERSION);
        fields.required_array("capabilities", CAPABILITIES_MAX, CapabilityBody::check);
        fields.optional_string("agentId", Text::AGENT_ID);
        check_place(&mut fields);
    }
}

impl Body for PatchAgentBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        if fields.optional("agentName").is_some() {
            fields.fault("agentName", "cannot be changed; register the agent anew under the other name");
        }
        fields.optional_string("version", Text::VERSION);
        fields.optional_array("capabilities", CAPABILITIES_MAX, CapabilityBody::check);
        check_place(&mut fields);
    }
}

fn check_place(fields: &mut Fields<'_, '_>) {
    fields.optional_string("contactEndpoint", Text::ENDPOINT);
    fields.optional_object("metadata");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn all_faults_of_a_registration_are_told_at_once() {
        let found = faults_of::<RegisterBody>(
            r#"{"agentName":"","contactEndpoint":"ftp://x","capabilities":["a",5,{"version":1}],"metadata":[],
                "agentId":"a\nb"}"#,
        );
        let expected = [
            "/agentName must not be empty",
            "/version is required",
            "/capabilities/1 must be a string or an object with a name",
            "/capabilities/2/name is required",
            "/capabilities/2/version must be a string, not a number",
            "/agentId must not contain control characters",
            "/contactEndpoint must be an http or https URL, such as http://127.0.0.1:9000/run",
            "/metadata must be an object, not an array",
        ];
        assert_eq!(found, expected);
        let missing = ["/agentName is required", "/version is required", "/capabilities is required"];
        assert_eq!(faults_of::<RegisterBody>("{}"), missing);
    }

    #[test]
    fn capabilities_come_back_as_they_were_registered() {
        let capabilities = json!(["plain", {"name": "rich", "parameters": {"x": {"type": "string"}}}]);
        let body = json!({"agentName": "ä", "version": "1", "capabilities": capabilities, "metadata": null});
        let read = parse::<RegisterBody>(body.to_string().as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&read.capabilities).unwrap(), capabilities);
        assert_eq!(read.capabilities.iter().map(CapabilityBody::name).collect::<Vec<_>>(), ["plain", "rich"]);
        assert_eq!((read.metadata, read.contact_endpoint), (None, None));
    }

    #[test]
    fn a_patch_tells_null_from_absent() {
        let read = |text: &str| parse::<PatchAgentBody>(text.as_bytes()).unwrap().contact_endpoint;
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"contactEndpoint":null}"#), Some(None));
        assert_eq!(read(r#"{"contactEndpoint":"http://a"}"#), Some(Some("http://a".to_owned())));
        let found = faults_of::<PatchAgentBody>(r#"{"version":2,"contactEndpoint":"x","capabilities":{}}"#);
        assert_eq!(found.len(), 3, "{found:?}");
        let found = faults_of::<PatchAgentBody>(r#"{"version":"2","agentName":"other"}"#);
        assert_eq!(found, ["/agentName cannot be changed; register the agent anew under the other name"]);
    }

    #[test]
    fn an_id_that_is_a_path_of_its_own_is_refused() {
        for id in ["register", ".", "..", "..."] {
            let body =
                json!({"agentName": "a", "version": "1", "capabilities": [], "agentId": id}).to_string();
            assert_eq!(faults_of::<RegisterBody>(&body).len(), 1, "{id}");
        }
        let body = r#"{"agentName":"a","version":"1","capabilities":[],"agentId":".a."}"#;
        assert_eq!(faults_of::<RegisterBody>(body), [""; 0]);
    }
}
