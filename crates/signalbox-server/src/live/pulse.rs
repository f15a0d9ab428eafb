//! Signs of life, kept in memory and written for many agents at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_core::connection::{Connection, DisconnectCause, Disconnected};
use signalbox_core::engine::{Heartbeat, KeepFigures};
use signalbox_core::figures::Sample;
use signalbox_core::limits::FIGURES_AT_ONCE_MAX;
use signalbox_store::StoreError;
use signalbox_wire::id::{AgentId, ConnectionId, TenantId};

use super::parts::Parts;
use crate::config::LiveSettings;
use crate::engine::DriveError;

/// How often they are written at most, however often agents send heartbeats.
const WRITE_EVERY_MIN: Duration = Duration::from_millis(50);
/// How often they are written at least.
const WRITE_EVERY_MAX: Duration = Duration::from_secs(10);
/// How long the last of them may take at the end: connections are closed only then.
const LAST_WRITE_WITHIN: Duration = Duration::from_secs(2);

/// How often signs of life are written: three times between two heartbeats of an agent.
pub(super) fn write_every(settings: &LiveSettings) -> Duration {
    (settings.heartbeat_interval / 3).clamp(WRITE_EVERY_MIN, WRITE_EVERY_MAX)
}

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

    /// Writes them from time to time until the server drains, and once more then.
    pub(super) async fn write(&self, parts: &Parts) {
        let every = write_every(&parts.settings);
        while !parts.draining.is_cancelled() {
            tokio::select! {
                () = parts.draining.cancelled() => {}
                () = tokio::time::sleep(every) => self.write_now(parts).await,
            }
        }
        if tokio::time::timeout(LAST_WRITE_WITHIN, self.write_now(parts)).await.is_err() {
            tracing::info!("not all of the last signs of life were written");
        }
    }

    async fn write_now(&self, parts: &Parts) {
        let tenants = std::mem::take(&mut *self.0.lock());
        for (tenant, agents) in tenants {
            let mut waiting: Vec<Heartbeat> = agents.into_values().collect();
            while !waiting.is_empty() {
                let rest = waiting.split_off(waiting.len().min(FIGURES_AT_ONCE_MAX));
                let heartbeats = std::mem::replace(&mut waiting, rest);
                keep(parts, &tenant, heartbeats).await;
            }
        }
    }
}

/// Writes some of one tenant, or each alone where one of them meets what cannot be read.
async fn keep(parts: &Parts, tenant: &TenantId, heartbeats: Vec<Heartbeat>) {
    let together = KeepFigures { heartbeats };
    match parts.drive.run(tenant, &together).await {
        Err(DriveError::Store(StoreError::Corrupt(_))) if together.heartbeats.len() > 1 => {
            for heartbeat in together.heartbeats {
                let alone = KeepFigures { heartbeats: vec![heartbeat] };
                kept(parts, tenant, parts.drive.run(tenant, &alone).await);
            }
        }
        done => kept(parts, tenant, done),
    }
}

/// Closes connections that are no longer their agents', which nobody has told this node yet.
fn kept(parts: &Parts, tenant: &TenantId, stale: Result<Vec<(AgentId, ConnectionId)>, DriveError>) {
    match stale {
        Ok(stale) => stale.into_iter().for_each(|(agent, id)| {
            let connection = Connection {
                node: parts.node.clone(),
                id,
                since: Default::default(),
                key: None,
                is_resumed: false,
            };
            let cause = DisconnectCause::Ended;
            parts.connections.close(tenant, &Disconnected { agent, connection, cause }, &parts.node);
        }),
        // The next heartbeats tell the same.
        Err(error) => tracing::debug!(%error, %tenant, "signs of life were not written"),
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
