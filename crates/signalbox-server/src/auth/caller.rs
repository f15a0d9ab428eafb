//! The [`Caller`]: who calls, as handlers see it.

use std::sync::Arc;

use signalbox_core::decision::Scope;
use signalbox_store::StoreError;
use signalbox_wire::id::{AgentId, KeyId, TenantId};
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;

use crate::quota::QuotaError;

/// Who calls, in which tenant, and what that allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    pub(crate) scope: Scope,
    /// Who that is, by the name and id of the key: what is kept where it matters who did something.
    pub(crate) name: Arc<str>,
    /// Whether the platform key was used: it alone makes tenants.
    pub(crate) is_platform: bool,
    /// The agent that a token speaks for, and no other.
    pub(crate) agent: Option<AgentId>,
    /// When that agent had registered: who takes its id later is another.
    pub(crate) registered_at: Option<Timestamp>,
    /// The SSH key that a token was given for.
    pub(crate) key: Option<KeyId>,
    /// The API key that was used, where that can be revoked.
    pub(crate) api_key: Option<UsedKey>,
}

/// An API key that was used, by one of its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UsedKey {
    pub(crate) id: KeyId,
    /// SHA-256 of the secret, in hex: a key that is rotated has another.
    pub(crate) secret: Arc<str>,
}

/// Why a request has no caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    /// Its credentials are not good.
    #[error("{}", .0.detail)]
    Denied(#[from] Problem),
    /// They are good, and its tenant sends more requests than it may.
    #[error("{}", .0.detail)]
    Over(Problem),
    /// Whether they are is not known now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<QuotaError> for AuthError {
    fn from(error: QuotaError) -> Self {
        match error {
            QuotaError::Over(problem) => Self::Over(problem),
            QuotaError::Store(error) => Self::Store(error),
        }
    }
}
