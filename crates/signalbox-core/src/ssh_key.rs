//! SSH keys: what is kept of a public key that signs agents in.

use serde::{Deserialize, Serialize};
use signalbox_wire::id::{AgentId, KeyId};
use signalbox_wire::time::Timestamp;

use crate::agent::Agent;

/// Who signs in with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SshKeyKind {
    /// Whoever looks after the tenant's agents.
    Access,
    /// One agent.
    Agent,
    /// What rolls agents out.
    Deployment,
}

impl SshKeyKind {
    /// The name that a token has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Agent => "agent",
            Self::Deployment => "deployment",
        }
    }
}

/// A public key that signs agents in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKey {
    /// Its id.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// The key in OpenSSH's form, without a comment.
    pub public_key: String,
    /// Its fingerprint, `SHA256:…`.
    pub fingerprint: String,
    /// Who signs in with it.
    pub kind: SshKeyKind,
    /// The agent that it signs in; any of the tenant's where it says none.
    pub agent: Option<AgentId>,
    /// When that agent registered: it signs in this registration of it, and none that takes its id later.
    pub registered_at: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// Who added it.
    pub created_by: String,
    /// That it was revoked.
    pub revoked: Option<Revocation>,
}

/// That a key was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why, where that was said.
    pub reason: Option<String>,
}

/// A fingerprint that a key has taken in its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshFingerprint {
    /// The fingerprint.
    pub fingerprint: String,
    /// Whose it is.
    pub key: KeyId,
}

impl SshKey {
    /// Whether it may sign somebody in.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.revoked.is_none()
    }

    /// Whether it may sign in an agent with this id, as far as the id tells.
    #[must_use]
    pub fn is_for(&self, agent: &AgentId) -> bool {
        self.is_active() && self.agent.as_ref().is_none_or(|own| own == agent)
    }

    /// Whether it may sign this agent in.
    #[must_use]
    pub fn signs_in(&self, agent: &Agent) -> bool {
        self.is_for(&agent.id) && (self.agent.is_none() || self.registered_at == Some(agent.registered_at))
    }

    /// Whether it is an agent's whose registration is gone, `agent` being the one that has its id now.
    #[must_use]
    pub fn is_orphaned(&self, agent: Option<&Agent>) -> bool {
        self.agent.is_some() && agent.map(|agent| agent.registered_at) != self.registered_at
    }

    /// The agent whose active keys it is one of.
    #[must_use]
    pub fn active_agent(&self) -> Option<&AgentId> {
        self.agent.as_ref().filter(|_| self.is_active())
    }
}
