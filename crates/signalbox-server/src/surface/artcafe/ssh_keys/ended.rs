//! What follows when a key signs nobody in any more: its tokens end, on this node and on the others.

use signalbox_bus::Ended;
use signalbox_wire::id::{KeyId, TenantId};

use crate::auth::Authenticator;
use crate::engine::Drive;

/// Tells everybody who believes tokens of `key`.
pub(super) fn tell(drive: &Drive, authenticator: &Authenticator, tenant: &TenantId, key: KeyId) {
    authenticator.end(drive.wake_ups(), Ended::Key(tenant.clone(), key));
}
