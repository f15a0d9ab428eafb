//! What follows when a key signs nobody in any more: its tokens end, on this node and on the others.

use signalbox_wire::id::KeyId;

use crate::auth::Authenticator;
use crate::engine::Drive;

/// Tells everybody who believes tokens of `key`.
pub(super) fn tell(drive: &Drive, authenticator: &Authenticator, key: &KeyId) {
    authenticator.forget_all();
    authenticator.tokens().may_have_ended(Some(key));
    drive.wake_ups().ssh_key_ended(key);
}
