//! A bound on what may wait for one destination: over it, what is new is refused, and nothing that was accepted is lost.
//!
//! Counting for each message would cost more than accepting it. Each node counts what it accepts itself, and asks the
//! store once in a while what still waits: it may be over the bound by as much as it accepts between two questions.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_core::due::Lane;
use signalbox_store::{DueKind, Store, StoreError};
use signalbox_wire::id::TenantId;

/// Destinations counted at once; over it, counting begins anew.
const LANES_MAX: usize = 10_000;
/// The part of the bound that is accepted between two questions to the store.
const PART: usize = 64;

/// What waits for each destination; cheap to clone.
#[derive(Clone)]
pub(crate) struct Admission {
    store: Store,
    max: usize,
    accepted: Arc<Mutex<HashMap<(TenantId, Lane), usize>>>,
}

impl Admission {
    /// No destination may have more than `max` messages waiting.
    pub(crate) fn new(store: Store, max: usize) -> Self {
        Self { store, max, accepted: Arc::default() }
    }

    /// The most that may wait for one destination.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Whether one more message may be accepted for what is reached by `lane`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub(crate) async fn admits(&self, tenant: &TenantId, lane: Lane) -> Result<bool, StoreError> {
        let key = (tenant.clone(), lane);
        if self.counts(&key) {
            return Ok(true);
        }
        let waiting = self.store.waiting_in_lane(tenant, DueKind::Delivery, &key.1, self.max).await?;
        let is_admitted = waiting < self.max;
        if is_admitted {
            self.accepted.lock().insert(key, 1);
        }
        Ok(is_admitted)
    }

    /// Counts one more, unless it is time to ask.
    fn counts(&self, key: &(TenantId, Lane)) -> bool {
        let mut accepted = self.accepted.lock();
        if let Some(count) = accepted.get_mut(key) {
            *count += 1;
            return *count <= self.max.div_ceil(PART);
        }
        if accepted.len() >= LANES_MAX {
            accepted.clear();
        }
        // After a start nothing is known of what waits.
        accepted.insert(key.clone(), usize::MAX / 2);
        false
    }
}
