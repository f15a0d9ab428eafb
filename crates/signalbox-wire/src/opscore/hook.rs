//! Hooks: addresses whose signed webhooks start sessions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text};
use crate::duration::Period;
use crate::id::{AgentId, HookId, WorkflowId};
use crate::time::Timestamp;

/// `POST /v1/opscore/hooks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookBody {
    /// Unique in the tenant: letters, digits and `_ . : -`.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:-]+$", example = "orders")]
    pub id: String,
    /// The workflow that it starts, at its newest revision.
    #[schema(value_type = String)]
    pub workflow_id: WorkflowId,
    /// The agent of tasks that name neither an agent nor a capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub note: Option<String>,
}

/// `POST /v1/opscore/hooks/{id}/rotate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotateHookBody {
    /// How long the secret before is good too; where absent it is good no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_earlier_for: Option<Period>,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: HookId,
    /// The workflow that it starts.
    #[schema(value_type = String)]
    pub workflow_id: WorkflowId,
    /// The agent of tasks that name neither an agent nor a capability.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// What it is for.
    pub note: Option<String>,
    /// Where its webhooks go, below the server's own address.
    #[schema(example = "/v1/opscore/hooks/default/orders/receive")]
    pub path: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its secret was last changed; null when it never was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub rotated_at: Option<Timestamp>,
    /// Until when the secret before is good too; null when it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub earlier_until: Option<Timestamp>,
    /// The secret, in the answer that made it and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The body of a webhook: any JSON object, which becomes the session's input.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct HookInput(pub Map<String, Value>);

impl Body for HookBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("id", Text::RESOURCE);
        fields.required_string("workflowId", Text::ID);
        fields.optional_string("agentId", Text::ID);
        fields.optional_string("note", Text::DESCRIPTION);
    }
}

impl Body for RotateHookBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        if let Some(Err(fault)) = fields.optional("keepEarlierFor").map(Period::from_value) {
            fields.fault("keepEarlierFor", fault.to_string());
        }
    }
}

impl Body for HookInput {
    fn check(value: &Value, faults: &mut Faults) {
        faults.object("", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn what_does_not_fit_is_told_at_once() {
        let bad = r#"{"id":"a/b","agentId":1,"note":{}}"#;
        let expected = [
            "/id must hold only letters, digits and _ . : -",
            "/workflowId is required",
            "/agentId must be a string, not a number",
            "/note must be a string, not an object",
        ];
        assert_eq!(faults_of::<HookBody>(bad), expected);
        assert_eq!(faults_of::<RotateHookBody>(r#"{"keepEarlierFor":"soon"}"#).len(), 1);
        assert_eq!(faults_of::<HookInput>("[1]"), [" must be an object, not an array"]);
    }

    #[test]
    fn any_object_is_an_input() {
        let input = parse::<HookInput>(br#"{"a":{"b":[1]},"n":null}"#).unwrap();
        assert_eq!(input.0.len(), 2);
        let rotate = parse::<RotateHookBody>(br#"{"keepEarlierFor":"1d"}"#).unwrap();
        assert_eq!(rotate.keep_earlier_for.map(|period| period.to_string()).as_deref(), Some("1d"));
    }
}
