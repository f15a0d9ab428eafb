//! SSH keys as they are kept and as they are shown.

use std::collections::HashMap;
use std::sync::Arc;

use signalbox_core::Rejected;
use signalbox_core::agent::Agent;
use signalbox_core::limits::bounded;
use signalbox_core::ssh_key::{SshKey, SshKeyKind};
use signalbox_store::{Store, StoreError};
use signalbox_wire::artcafe::{SshKeyStatus, SshKeyType, SshKeyView};
use signalbox_wire::id::{AgentId, KeyId, TenantId};

use crate::http::problem::Refusal;

/// The agents that some keys are for, as they are registered now.
pub(super) async fn agents_of(
    store: &Store,
    tenant: &TenantId,
    keys: &[Arc<SshKey>],
) -> Result<HashMap<AgentId, Arc<Agent>>, StoreError> {
    let mut ids: Vec<AgentId> = keys.iter().filter_map(|key| key.agent.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let found = store.agents_among(tenant, &ids).await?;
    Ok(found.into_iter().map(|agent| (agent.id.clone(), agent)).collect())
}

/// A key as it is shown, with the agent that has the id of its own.
pub(super) fn view(key: &SshKey, agent: Option<&Agent>) -> SshKeyView {
    SshKeyView {
        key_id: key.id.clone(),
        name: key.name.clone(),
        fingerprint: key.fingerprint.clone(),
        public_key: key.public_key.clone(),
        key_type: match key.kind {
            SshKeyKind::Access => SshKeyType::Access,
            SshKeyKind::Agent => SshKeyType::Agent,
            SshKeyKind::Deployment => SshKeyType::Deployment,
        },
        agent_id: key.agent.clone(),
        status: match key.is_active() {
            true if key.is_orphaned(agent) => SshKeyStatus::Orphaned,
            true => SshKeyStatus::Active,
            false => SshKeyStatus::Revoked,
        },
        created_at: key.created_at,
        revoked_at: key.revoked.as_ref().map(|revoked| revoked.at),
        revoked_reason: key.revoked.as_ref().and_then(|revoked| revoked.reason.clone()),
    }
}

/// A key as it is shown when it was just added, for an agent that is there.
pub(super) fn view_of_new(key: &SshKey) -> SshKeyView {
    SshKeyView { status: SshKeyStatus::Active, ..view(key, None) }
}

pub(super) fn kind_in(key_type: SshKeyType) -> SshKeyKind {
    match key_type {
        SshKeyType::Access => SshKeyKind::Access,
        SshKeyType::Agent => SshKeyKind::Agent,
        SshKeyType::Deployment => SshKeyKind::Deployment,
    }
}

/// The id in a path.
pub(super) fn id(text: &str) -> Result<KeyId, Refusal> {
    KeyId::parse(text).map_err(|_| unknown(text))
}

/// That there is no such key.
pub(super) fn unknown(id: &str) -> Refusal {
    Rejected::UnknownSshKey(bounded(id)).into()
}
