//! The webhook by which AgentKit tells Ops-Core of agents that come and go.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text, or_default};
use crate::capability::{CAPABILITIES_MAX, CapabilityBody};
use crate::id::AgentId;

/// The event of an agent that was registered or changed.
pub const REGISTER: &str = "REGISTER";
/// The event of an agent that was removed.
pub const DEREGISTER: &str = "DEREGISTER";

/// `POST /v1/opscore/internal/agent/notify`; what is sent is this type too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NotifyBody {
    /// [`REGISTER`] or [`DEREGISTER`]; an unknown one is answered 400, not 422.
    #[schema(example = "REGISTER")]
    pub event_type: String,
    /// The agent.
    pub agent_details: AgentDetails,
}

/// The agent of a notification. Of one that is removed, the id is enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentDetails {
    /// Its id.
    #[schema(value_type = String)]
    pub agent_id: AgentId,
    /// Its name.
    #[serde(default, deserialize_with = "or_default")]
    pub agent_name: String,
    /// Its own version.
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
    /// What it can do; always strings when sent.
    #[serde(default, deserialize_with = "or_default")]
    pub capabilities: Vec<CapabilityBody>,
    /// Where messages are POSTed; null when it is reached over its WebSocket.
    #[serde(default)]
    pub contact_endpoint: Option<String>,
    /// Anything else about it.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// When it was registered, in the sender's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_time: Option<String>,
}

impl Body for NotifyBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        let event = fields.required_string("event_type", 1..=64);
        let Some(mut agent) = fields.required_object("agent_details") else { return };
        // One that is registered under an id of an older version can still go.
        let rule = if event == Some(REGISTER) { Text::AGENT_ID } else { Text::ID };
        agent.required_string("agentId", rule);
        if event == Some(REGISTER) {
            agent.required_string("agentName", Text::NAME);
            agent.required_string("version", Text::VERSION);
            agent.required_array("capabilities", CAPABILITIES_MAX, CapabilityBody::check);
            agent.optional_string("contactEndpoint", Text::ENDPOINT);
        }
        agent.optional_object("metadata");
        agent.optional_string("registrationTime", 0..=64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn all_faults_of_a_registration_are_told_at_once() {
        let found = faults_of::<NotifyBody>(
            r#"{"event_type":"REGISTER","agent_details":{"agentName":7,"capabilities":[{}],"contactEndpoint":"x"}}"#,
        );
        let expected = [
            "/agent_details/agentId is required",
            "/agent_details/agentName must be a string, not a number",
            "/agent_details/version is required",
            "/agent_details/capabilities/0/name is required",
            "/agent_details/contactEndpoint must be an http or https URL, such as http://127.0.0.1:9000/run",
        ];
        assert_eq!(found, expected);
        assert_eq!(faults_of::<NotifyBody>("{}").len(), 2);
    }

    #[test]
    fn of_an_agent_that_goes_the_id_is_enough() {
        let body =
            parse::<NotifyBody>(br#"{"event_type":"DEREGISTER","agent_details":{"agentId":"a"}}"#).unwrap();
        assert_eq!((body.event_type.as_str(), body.agent_details.agent_id.as_str()), (DEREGISTER, "a"));
        let gone = r#"{"event_type":"GONE","agent_details":{"agentId":"a","metadata":null,"version":null}}"#;
        assert_eq!(parse::<NotifyBody>(gone.as_bytes()).unwrap().event_type, "GONE");
    }

    #[test]
    fn what_is_sent_has_the_order_and_the_names_of_the_contract() {
        let body = NotifyBody {
            event_type: REGISTER.to_owned(),
            agent_details: AgentDetails {
                agent_id: AgentId::parse("a").unwrap(),
                agent_name: "A".to_owned(),
                version: "1".to_owned(),
                capabilities: vec![CapabilityBody::Name("c".to_owned())],
                contact_endpoint: None,
                metadata: Map::new(),
                registration_time: Some("2026-01-31T12:00:00Z".to_owned()),
            },
        };
        let expected = concat!(
            r#"{"event_type":"REGISTER","agent_details":{"agentId":"a","agentName":"A","version":"1","#,
            r#""capabilities":["c"],"contactEndpoint":null,"metadata":{},"registrationTime":"2026-01-31T12:00:00Z"}}"#
        );
        assert_eq!(serde_json::to_string(&body).unwrap(), expected);
    }
}
