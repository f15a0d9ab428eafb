//! Work that is left for later.

use std::time::Duration;

use signalbox_store::{Claimed, DueKind, StoreError};
use signalbox_wire::time::Timestamp;

use super::context::Jobs;

/// How long what is sent waits where it found no room among the bytes under way.
pub(super) const ROOM_AGAIN: Duration = Duration::from_secs(1);

/// Leaves the work for later without counting an attempt. Once the lease is over the work is another's, and stays so.
pub(super) async fn postpone(app: &Jobs, claimed: &Claimed, at: Timestamp) -> Result<(), StoreError> {
    if app.store.postpone(std::slice::from_ref(claimed), at).await? > 0 {
        app.drive.wake(DueKind::of(&claimed.work), at);
    }
    Ok(())
}
