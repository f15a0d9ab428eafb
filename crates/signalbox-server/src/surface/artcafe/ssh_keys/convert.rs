//! SSH keys as they are kept and as they are shown.

use signalbox_core::Rejected;
use signalbox_core::limits::bounded;
use signalbox_core::ssh_key::{SshKey, SshKeyKind};
use signalbox_wire::artcafe::{SshKeyStatus, SshKeyType, SshKeyView};
use signalbox_wire::id::KeyId;

use crate::http::problem::Refusal;

pub(super) fn view(key: &SshKey) -> SshKeyView {
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
        status: if key.is_active() { SshKeyStatus::Active } else { SshKeyStatus::Revoked },
        created_at: key.created_at,
        revoked_at: key.revoked.as_ref().map(|revoked| revoked.at),
        revoked_reason: key.revoked.as_ref().and_then(|revoked| revoked.reason.clone()),
    }
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
