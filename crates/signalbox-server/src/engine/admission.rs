//! A bound on what may wait for one destination: over it, what is new is refused, and nothing that was accepted is lost.
//!
//! Counting for each message would cost more than accepting it. Each node counts what it accepts itself, and asks the
//! store once in a while what still waits: it may be over the bound by as much as it accepts between two questions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_core::due::Lane;
use signalbox_store::{DueKind, Store, StoreError};
use signalbox_wire::id::{AgentId, MessageId, TenantId};
use signalbox_wire::time::Timestamp;

use crate::quota::{QuotaError, Quotas, Taken};

/// Destinations counted at once; over it, counting begins anew.
const LANES_MAX: usize = 10_000;
/// The part of the bound that is accepted between two questions to the store.
const PART: usize = 64;

/// How long a destination that was found full is taken for full.
const FULL_FOR: Duration = Duration::from_secs(1);

/// What waits for each destination; cheap to clone.
#[derive(Clone)]
pub(crate) struct Admission {
    store: Store,
    max: usize,
    quotas: Quotas,
    known: Arc<Mutex<HashMap<(TenantId, Lane), Known>>>,
}

/// What a node knows of one destination.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// Messages accepted since the store was asked.
    Accepted(usize),
    /// It was full then.
    Full(Timestamp),
}

impl Admission {
    /// No destination may have more than `max` messages waiting.
    pub(crate) fn new(store: Store, max: usize, quotas: Quotas) -> Self {
        Self { store, max, quotas, known: Arc::default() }
    }

    /// Counts a message that a tenant sends, where it may send one more today.
    pub(crate) async fn count(&self, tenant: &TenantId, now: Timestamp) -> Result<Taken, QuotaError> {
        self.quotas.message(tenant, now).await
    }

    /// Whether a message may be accepted for an agent: not so many wait for where it is, or it is one that was accepted
    /// before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub(crate) async fn has_room(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        id: Option<&MessageId>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let registration = self.store.agent(tenant, agent).await?;
        // What else is wrong with the agent is for the operation to say.
        let Some(registration) = registration else { return Ok(true) };
        if self.admits(tenant, registration.value.lane(), now).await? {
            return Ok(true);
        }
        // A repeat adds nothing to what waits; whether it is one, the operation says.
        match id {
            Some(id) => Ok(self.store.message(tenant, id).await?.is_some()),
            None => Ok(false),
        }
    }

    /// What is said where there is no room.
    pub(crate) fn too_many(&self, agent: &AgentId) -> String {
        format!(
            "{} messages or more wait for agent {agent}, or for others at its address (waiting_per_destination_max); send \
             this one again when the agent has caught up.",
            self.max
        )
    }

    /// Whether one more message may be accepted for what is reached by `lane`.
    async fn admits(&self, tenant: &TenantId, lane: Lane, now: Timestamp) -> Result<bool, StoreError> {
        let key = (tenant.clone(), lane);
        match self.known.lock().get_mut(&key) {
            Some(Known::Accepted(count)) if *count < self.max.div_ceil(PART) => {
                *count += 1;
                return Ok(true);
            }
            Some(Known::Full(at)) if now.since(*at) < FULL_FOR => return Ok(false),
            _ => {}
        }
        let waiting = self.store.waiting_in_lane(tenant, DueKind::Delivery, &key.1, self.max).await?;
        let is_admitted = waiting < self.max;
        let mut known = self.known.lock();
        if known.len() >= LANES_MAX {
            known.clear();
        }
        known.insert(key, if is_admitted { Known::Accepted(1) } else { Known::Full(now) });
        Ok(is_admitted)
    }
}
