//! API keys: what is asked for, and how they are shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text};
use crate::id::KeyId;
use crate::time::Timestamp;

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    /// To look.
    Read,
    /// To register, report and send, as agents do.
    Agent,
    /// To run the tenant.
    Admin,
}

impl KeyScope {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Agent => "agent",
            Self::Admin => "admin",
        }
    }
}

/// `POST /v1/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyBody {
    /// What its owner calls it.
    #[schema(min_length = 1, max_length = 256)]
    pub name: String,
    /// What it allows.
    pub scope: KeyScope,
}

/// A key; itself only in the answer that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// Its public name.
    #[schema(value_type = String)]
    pub key_id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// What it allows.
    pub scope: KeyScope,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The key itself, in the answer that made it and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Body for KeyBody {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.required_string("name", Text::NAME);
            if let Some(scope) = fields.required_string("scope", 1..=16)
                && !["read", "agent", "admin"].contains(&scope)
            {
                fields.fault("scope", "must be read, agent or admin");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn a_key_has_a_name_and_one_of_the_scopes() {
        for scope in [KeyScope::Read, KeyScope::Agent, KeyScope::Admin] {
            let text = format!(r#"{{"name": "n", "scope": "{}"}}"#, scope.name());
            assert_eq!(parse::<KeyBody>(text.as_bytes()).unwrap().scope, scope);
        }
        assert_eq!(faults_of::<KeyBody>("{}"), ["/name is required", "/scope is required"]);
        assert_eq!(
            faults_of::<KeyBody>(r#"{"name": "n", "scope": "root"}"#),
            ["/scope must be read, agent or admin"]
        );
    }

    #[test]
    fn a_key_is_named_as_on_the_surfaces_beside_it() {
        let view = KeyView {
            key_id: KeyId::parse("key_1").unwrap(),
            name: "n".into(),
            scope: KeyScope::Read,
            created_at: Timestamp::default(),
            key: None,
        };
        let text = serde_json::to_string(&view).unwrap();
        assert!(text.contains("\"keyId\":\"key_1\"") && text.contains("\"createdAt\""), "{text}");
        assert!(!text.contains("\"key\":"), "{text}");
    }
}
