//! SSH keys: what is sent, and how they are shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text};
use crate::id::{AgentId, KeyId};
use crate::ssh::{PUBLIC_KEY_CHARS_MAX, PublicKey};
use crate::time::Timestamp;

/// Who signs in with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SshKeyType {
    /// Whoever looks after the tenant's agents: any of them, where `verify` names the key.
    Access,
    /// One agent.
    Agent,
    /// What rolls agents out: any of them, where `verify` names the key, or the one that the key names.
    Deployment,
}

impl SshKeyType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Access, Self::Agent, Self::Deployment];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Agent => "agent",
            Self::Deployment => "deployment",
        }
    }
}

/// Whether a key may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SshKeyStatus {
    /// It may.
    Active,
    /// It may not, and never will.
    Revoked,
    /// It may not: the agent that it is for was removed. Added again for another registration, it is that one's.
    Orphaned,
}

/// `POST /api/v1/ssh-keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshKeyBody {
    /// What people call it.
    #[schema(min_length = 1, max_length = 256)]
    pub name: String,
    /// The one line of the `.pub` file. Ed25519, ECDSA P-256 and P-384, and RSA of 2048 to 8192 bits are taken.
    #[schema(min_length = 1, max_length = 8192, example = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… agent-1")]
    pub public_key: String,
    /// Who signs in with it.
    pub key_type: SshKeyType,
    /// The agent that it signs in; of type `agent` it is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    pub agent_id: Option<AgentId>,
}

/// `POST /api/v1/ssh-keys/{key_id}/revoke`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokeBody {
    /// Why, for whoever looks later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub reason: Option<String>,
}

/// A key as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshKeyView {
    /// Its id.
    #[schema(value_type = String)]
    pub key_id: KeyId,
    /// What people call it.
    pub name: String,
    /// Its fingerprint, as `ssh-keygen -l` prints it.
    #[schema(example = "SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s")]
    pub fingerprint: String,
    /// The key, without the comment that it came with.
    pub public_key: String,
    /// Who signs in with it.
    pub key_type: SshKeyType,
    /// The agent that it signs in; null where it may be any.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// Whether it may sign in.
    pub status: SshKeyStatus,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_reason: Option<String>,
}

/// A page of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshKeyList {
    /// The page, by id: the key that was added first comes first.
    pub ssh_keys: Vec<SshKeyView>,
    /// Where the next page begins; null on the last.
    #[serde(default)]
    pub next_token: Option<String>,
}

impl Body for SshKeyBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("name", Text::NAME);
        if let Some(key) = fields.required_string("public_key", 1..=PUBLIC_KEY_CHARS_MAX)
            && let Err(fault) = PublicKey::parse(key)
        {
            fields.fault("public_key", fault.to_string());
        }
        let key_type = fields.required_string("key_type", 1..=64);
        if key_type.is_some_and(|given| SshKeyType::ALL.iter().all(|known| known.name() != given)) {
            fields.fault("key_type", "must be one of access, agent and deployment");
        }
        fields.optional_string("agent_id", Text::ID);
        if key_type == Some(SshKeyType::Agent.name()) && fields.optional("agent_id").is_none() {
            fields.fault("agent_id", "is required of a key of type agent: the agent that it signs in");
        }
    }
}

impl Body for RevokeBody {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.optional_string("reason", 0..=1024);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body::tests::faults_of;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";

    #[test]
    fn a_key_of_an_agent_names_it() {
        let body = |more: Value| {
            let mut body = json!({"name": "n", "public_key": KEY, "key_type": "agent"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            faults_of::<SshKeyBody>(&body.to_string())
        };
        assert_eq!(body(json!({"agent_id": "a"})), Vec::<String>::new());
        assert_eq!(body(json!({"key_type": "access"})), Vec::<String>::new());
        assert!(body(json!({}))[0].starts_with("/agent_id is required"));
        assert_eq!(
            body(json!({"key_type": "root", "agent_id": "a"})),
            ["/key_type must be one of access, agent and deployment"]
        );
        let faults = body(json!({"public_key": "ssh-dss AAAA", "name": ""}));
        assert_eq!(faults.len(), 3, "all at once: {faults:?}");
        assert!(faults.iter().any(|fault| fault.contains("which is broken")), "{faults:?}");
    }
}
