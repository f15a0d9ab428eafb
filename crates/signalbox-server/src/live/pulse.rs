//! Signs of life, kept in memory and written for many agents at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_core::connection::{Connection, DisconnectCause, Disconnected};
use signalbox_core::engine::{Heartbeat, KeepFigures};
use signalbox_core::figures::Sample;
use signalbox_core::limits::FIGURES_AT_ONCE_MAX;
use signalbox_wire::id::{AgentId, TenantId};

use super::parts::Parts;

/// How often they are written.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// The last heartbeats that are not written yet, one of each agent; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Pulses(Arc<Mutex<HashMap<TenantId, HashMap<AgentId, Heartbeat>>>>);

impl Pulses {
    /// An agent showed that it is alive.
    pub(super) fn note(&self, tenant: &TenantId, heartbeat: Heartbeat) {
        let mut tenants = self.0.lock();
        if !tenants.contains_key(tenant) {
            tenants.insert(tenant.clone(), HashMap::new());
        }
        let Some(agents) = tenants.get_mut(tenant) else { return };
        match agents.get_mut(&heartbeat.agent) {
            Some(known) => follow(known, heartbeat),
            None => drop(agents.insert(heartbeat.agent.clone(), heartbeat)),
        }
    }

    /// Writes them from time to time, for as long as it is awaited.
    pub(super) async fn write(&self, parts: &Parts) {
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            self.write_now(parts).await;
        }
    }

    async fn write_now(&self, parts: &Parts) {
        let tenants = std::mem::take(&mut *self.0.lock());
        for (tenant, agents) in tenants {
            let mut waiting: Vec<Heartbeat> = agents.into_values().collect();
            while !waiting.is_empty() {
                let rest = waiting.split_off(waiting.len().min(FIGURES_AT_ONCE_MAX));
                let heartbeats = std::mem::replace(&mut waiting, rest);
                match parts.drive.run(&tenant, &KeepFigures { heartbeats }).await {
                    Ok(stale) => stale.into_iter().for_each(|(agent, id)| {
                        // Nobody told this node that the connection is its agent's no longer.
                        let connection =
                            Connection { node: parts.node.clone(), id, since: Default::default(), key: None };
                        let cause = DisconnectCause::Ended;
                        let ended = Disconnected { agent, connection, cause };
                        parts.connections.close(&tenant, &ended, &parts.node);
                    }),
                    // The next heartbeats tell the same.
                    Err(error) => tracing::debug!(%error, %tenant, "signs of life were not written"),
                }
            }
        }
    }
}

/// Takes in the next heartbeat of the same agent: what it does not tell anew stays.
fn follow(known: &mut Heartbeat, next: Heartbeat) {
    let Sample { cpu_usage, memory_usage, .. } = known.sample;
    let sample = Sample {
        cpu_usage: next.sample.cpu_usage.or(cpu_usage),
        memory_usage: next.sample.memory_usage.or(memory_usage),
        ..next.sample
    };
    let metrics = next.metrics.or_else(|| known.metrics.take());
    *known = Heartbeat { sample, metrics, ..next };
}
