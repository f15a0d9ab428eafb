//! Signing in with an SSH key: the challenge, and the answer to it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text};
use crate::id::{AgentId, KeyId, TenantId};
use crate::ssh::RESPONSE_CHARS_MAX;
use crate::time::Timestamp;

/// Characters of a challenge that are looked at; one has 64.
const CHALLENGE_CHARS_MAX: usize = 1_024;

/// `POST /api/v1/auth/challenge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChallengeBody {
    /// Who wants to sign in.
    #[schema(value_type = String, min_length = 1, max_length = 256)]
    pub agent_id: AgentId,
    /// In which tenant; `verify` has to say the same then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    pub tenant_id: Option<TenantId>,
}

/// What is to be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Challenge {
    /// 32 bytes in hex. What is signed is these 64 characters, without a line break after them.
    #[schema(min_length = 64, max_length = 64)]
    pub challenge: String,
    /// Until when it can be answered, once.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// `POST /api/v1/auth/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyBody {
    /// The agent's tenant; `default` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    pub tenant_id: Option<TenantId>,
    /// Which key signed; where absent, the active keys of the agent are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    pub key_id: Option<KeyId>,
    /// The challenge that was signed.
    #[schema(min_length = 1, max_length = 1024)]
    pub challenge: String,
    /// Base64 of the signature: the blob of SSH's protocol, a raw signature, or what `ssh-keygen -Y sign -n artcafe` makes.
    #[schema(min_length = 1, max_length = 16384)]
    pub response: String,
    /// Who signs in.
    #[schema(value_type = String, min_length = 1, max_length = 256)]
    pub agent_id: AgentId,
}

/// Who has signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    /// Always true.
    pub valid: bool,
    /// A JWT that is good for an hour, for `Authorization: Bearer <token>`.
    pub token: String,
    /// From when on it is over.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Why nobody has signed in: a problem, with `valid` beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotVerified {
    /// Always false.
    pub valid: bool,
    /// The problem.
    #[serde(flatten)]
    pub problem: crate::problem::Problem,
}

impl Body for ChallengeBody {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.required_string("agent_id", Text::ID);
            fields.optional_string("tenant_id", Text::ID);
        }
    }
}

impl Body for VerifyBody {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.optional_string("tenant_id", Text::ID);
            fields.optional_string("key_id", Text::ID);
            fields.required_string("challenge", 1..=CHALLENGE_CHARS_MAX);
            fields.required_string("response", 1..=RESPONSE_CHARS_MAX);
            fields.required_string("agent_id", Text::ID);
        }
    }
}
