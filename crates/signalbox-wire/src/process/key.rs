//! API keys: what is asked for, and how they are shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text};
use crate::duration::Period;
use crate::fault::Fields;
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
#[serde(rename_all = "camelCase")]
pub struct KeyBody {
    /// What its owner calls it.
    #[schema(min_length = 1, max_length = 256)]
    pub name: String,
    /// What it allows.
    pub scope: KeyScope,
    /// From when on it opens nothing; where neither this nor `expiresIn` is given, it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The same as a length of time from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Period>,
}

/// `POST /v1/keys/{keyId}/rotate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotateKeyBody {
    /// How long the secret before is good too; where absent it is good no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_earlier_for: Option<Period>,
    /// A new expiry; where neither this nor `expiresIn` is given, the old one stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The same as a length of time from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Period>,
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
    /// From when on it opens nothing; null where it does not expire.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last given another secret; null when it never was.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub rotated_at: Option<Timestamp>,
    /// Until when the secret before is good too; null when it is not.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub earlier_until: Option<Timestamp>,
    /// When it was last used, to within two minutes; null when it never was.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
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
            check_expiry(&mut fields);
        }
    }
}

impl Body for RotateKeyBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        if let Some(Err(fault)) = fields.optional("keepEarlierFor").map(Period::from_value) {
            fields.fault("keepEarlierFor", fault.to_string());
        }
        check_expiry(&mut fields);
    }
}

/// A key expires at a moment, or after a time, or not at all.
fn check_expiry(fields: &mut Fields<'_, '_>) {
    fields.optional_string("expiresAt", Text::TIMESTAMP);
    if let Some(Err(fault)) = fields.optional("expiresIn").map(Period::from_value) {
        fields.fault("expiresIn", fault.to_string());
    }
    if fields.optional("expiresAt").is_some() && fields.optional("expiresIn").is_some() {
        fields.fault("expiresIn", "must be left out where expiresAt is given");
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
    fn a_key_expires_at_a_moment_or_after_a_time() {
        let body = parse::<KeyBody>(br#"{"name": "n", "scope": "read", "expiresIn": "90d"}"#).unwrap();
        assert_eq!(body.expires_in.map(|period| period.to_string()).as_deref(), Some("90d"));
        let both = r#"{"keepEarlierFor": 0, "expiresAt": "never", "expiresIn": "soon"}"#;
        let found = faults_of::<RotateKeyBody>(both);
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[3], "/expiresIn must be left out where expiresAt is given");
    }

    #[test]
    fn a_key_is_named_as_on_the_surfaces_beside_it() {
        let view = KeyView {
            key_id: KeyId::parse("key_1").unwrap(),
            name: "n".into(),
            scope: KeyScope::Read,
            created_at: Timestamp::default(),
            expires_at: None,
            rotated_at: None,
            earlier_until: None,
            last_used_at: None,
            key: None,
        };
        let text = serde_json::to_string(&view).unwrap();
        assert!(text.contains("\"keyId\":\"key_1\"") && text.contains("\"createdAt\""), "{text}");
        assert!(!text.contains("\"key\":"), "{text}");
    }
}
