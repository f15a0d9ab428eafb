//! Starting a session of a workflow.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::WorkflowBody;
use crate::body::{Body, Fault, Faults, Text, or_default};
use crate::id::{AgentId, SessionId, WorkflowId};

/// `POST /v1/opscore/agent/{agentId}/workflow`: exactly one of the first two.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriggerBody {
    /// A definition that is kept already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workflow_definition_id: Option<WorkflowId>,
    /// A definition, which is kept under its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_definition: Option<WorkflowBody>,
    /// The session's input, also laid over the first task's parameters.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub initial_payload: Map<String, Value>,
}

/// `POST /v1/opscore/workflows/{id}/trigger`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartBody {
    /// The agent of tasks that name neither an agent nor a capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// The session's input, also laid over the first task's parameters.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub initial_payload: Map<String, Value>,
}

/// What a trigger answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriggerAnswer {
    /// The session that was started.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// The workflow that it is of.
    #[schema(value_type = String)]
    pub workflow_id: WorkflowId,
    /// Always `Workflow triggered successfully`.
    pub message: String,
    /// Fields of the body that are not known, and were ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Fault>,
}

impl TriggerAnswer {
    /// The answer for a session.
    #[must_use]
    pub fn new(session_id: SessionId, workflow_id: WorkflowId) -> Self {
        let message = "Workflow triggered successfully".to_owned();
        Self { session_id, workflow_id, message, warnings: Vec::new() }
    }
}

impl Body for TriggerBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        let by_id = fields.optional("workflowDefinitionId").is_some();
        let inline = fields.optional("workflowDefinition");
        if by_id == inline.is_some() {
            fields.fault("", "must have exactly one of workflowDefinitionId and workflowDefinition");
        }
        fields.optional_string("workflowDefinitionId", Text::ID);
        fields.optional_object("initialPayload");
        if let Some(definition) = inline {
            WorkflowBody::check_at(faults, "/workflowDefinition", definition);
        }
    }
}

impl Body for StartBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.optional_string("agentId", Text::ID);
        fields.optional_object("initialPayload");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn neither_and_both_are_faults() {
        let one = " must have exactly one of workflowDefinitionId and workflowDefinition";
        assert_eq!(faults_of::<TriggerBody>("{}"), [one]);
        let both = r#"{"workflowDefinitionId":"w","workflowDefinition":{"id":"w"},"initialPayload":[]}"#;
        let expected = [
            one,
            "/initialPayload must be an object, not an array",
            "/workflowDefinition/name is required",
            "/workflowDefinition/tasks is required",
        ];
        assert_eq!(faults_of::<TriggerBody>(both), expected);
    }

    #[test]
    fn either_is_taken() {
        let kept = r#"{"workflowDefinitionId":"w","workflowDefinition":null,"initialPayload":null}"#;
        let body = parse::<TriggerBody>(kept.as_bytes()).unwrap();
        assert_eq!(body.workflow_definition_id, WorkflowId::parse("w").ok());
        let inline = r#"{"workflowDefinition":{"id":"w","name":"W","tasks":[]},"initialPayload":{"x":1}}"#;
        let body = parse::<TriggerBody>(inline.as_bytes()).unwrap();
        assert_eq!(body.workflow_definition.unwrap().name, "W");
        assert_eq!(body.initial_payload.len(), 1);
        assert_eq!(faults_of::<StartBody>(r#"{"agentId":5}"#), ["/agentId must be a string, not a number"]);
    }
}
