//! What all that is about channels shares: the ways out, and what there is of each tenant.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use signalbox_bus::{Bus, BusError, Subject};
use signalbox_core::channel::Channel;
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::{MessageId, NodeId, TenantId};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::asking::Asking;
use super::hub::TenantHub;
use super::listing::Listing;
use super::names::{Names, Resolved};
use super::relay::Told;
use super::told_room::ToldRoom;
use crate::clock;
use crate::engine::{Admission, Drive};
use crate::quota::Quotas;
use crate::transport::connection::Connections;
use crate::transport::outbox::Frame;

/// Bytes of what is published, at most: what goes between nodes must fit into a message of the bus.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 512 << 10;
/// Channels, subscriptions and what is published; cheap to clone.
#[derive(Clone)]
pub(crate) struct Channels(pub(super) Arc<Inner>);

/// What channels are made from.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) drive: Drive,
    pub(crate) bus: Bus,
    pub(crate) node: NodeId,
    pub(crate) connections: Connections,
    pub(crate) quotas: Quotas,
    pub(crate) admission: Admission,
    pub(crate) draining: CancellationToken,
}

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) drive: Drive,
    pub(super) bus: Bus,
    pub(super) node: NodeId,
    pub(super) connections: Connections,
    pub(super) quotas: Quotas,
    pub(super) admission: Admission,
    pub(super) draining: CancellationToken,
    pub(super) asking: Asking,
    pub(super) tenants: Mutex<HashMap<TenantId, Arc<Tenant>>>,
    pub(super) numbers: AtomicU64,
    pub(super) told_room: ToldRoom,
}

/// What there is of one tenant while any of its agents is connected here.
pub(super) struct Tenant {
    pub(super) hub: TenantHub,
    pub(super) names: Names,
    pub(super) listing: Listing,
    /// What takes from the bus what other nodes tell, where there are others.
    pub(super) network: Mutex<Option<AbortHandle>>,
}

impl Drop for Tenant {
    fn drop(&mut self) {
        if let Some(network) = self.network.get_mut().take() {
            network.abort();
        }
    }
}

impl Channels {
    /// Channels without any subscriber yet.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, drive, bus, node, connections, quotas, admission, draining } = parts;
        let asking = Asking::new(node.clone());
        let (tenants, numbers) = (Mutex::default(), AtomicU64::new(1));
        Self(Arc::new(Inner {
            store,
            drive,
            bus,
            node,
            connections,
            quotas,
            admission,
            draining,
            asking,
            tenants,
            numbers,
            told_room: ToldRoom::new(),
        }))
    }

    /// Numbers connections, and what they begin to read.
    pub(super) fn number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// What there is of a tenant, where any of its agents is connected here.
    pub(super) fn tenant(&self, name: &TenantId) -> Option<Arc<Tenant>> {
        self.0.tenants.lock().get(name).cloned()
    }

    pub(super) fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.0.tenants.lock().values().cloned().collect()
    }

    /// A new id for something that is told.
    pub(super) fn new_id() -> MessageId {
        MessageId::new(clock::now(), clock::seed_128())
    }

    /// Tells other nodes.
    ///
    /// # Errors
    /// Why they cannot be told now. What is durable they find in the store.
    pub(super) fn tell(&self, subject: &Subject, told: &Told, frame: Option<&Frame>) -> Result<(), BusError> {
        let Some(bytes) = told.written(frame) else { return Ok(()) };
        let sent = self.0.bus.publish(subject, bytes);
        if let Err(error) = &sent {
            tracing::debug!(%error, %subject, "other nodes were not told");
        }
        sent
    }

    /// Tells the other nodes of a tenant's subscribers, as far as they can be told now.
    pub(super) fn tell_tenant(&self, tenant: &TenantId, told: impl FnOnce(NodeId) -> Told) {
        if self.0.bus.reaches_other_nodes() {
            let _ = self.tell(&Subject::subscribers(tenant), &told(self.0.node.clone()), None);
        }
    }

    /// A channel of this name was made, changed or removed: what is remembered of the name is forgotten, on every node.
    pub(crate) fn changed(&self, tenant: &TenantId, name: &str) {
        if let Some(tenant) = self.tenant(tenant) {
            tenant.names.forget(name);
        }
        self.tell_tenant(tenant, |from| Told::Channel { from, name: name.to_owned() });
    }

    /// The channel behind a name, as far as it is remembered from a moment ago.
    pub(super) async fn resolve(&self, tenant: &Tenant, name: &str) -> Result<Option<Resolved>, StoreError> {
        if let Some(known) = tenant.names.get(name) {
            return Ok(known);
        }
        let generation = tenant.names.generation();
        let channel = self.channel_named(&tenant.hub.tenant, name).await?;
        let resolved =
            channel.map(|channel| Resolved { id: channel.id.clone(), is_durable: channel.is_durable() });
        tenant.names.keep(name, resolved.clone(), generation);
        Ok(resolved)
    }

    /// The channel of a name, as it is now.
    pub(super) async fn channel_named(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Option<Arc<Channel>>, StoreError> {
        let Some(named) = self.0.store.channel_named(tenant, name).await? else { return Ok(None) };
        Ok(self.0.store.channel(tenant, &named.value.channel).await?.map(|read| read.value))
    }
}
