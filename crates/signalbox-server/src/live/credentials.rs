//! The API keys by which connected agents came: where one is revoked, on whichever node, its connections end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_store::Store;
use signalbox_wire::id::{ConnectionId, KeyId, TenantId};
use tokio::time::timeout;

use super::admission::{self, Admitted};
use super::parts::Parts;
use crate::transport::outbox::{CloseReason, Outbox};

/// How often keys are looked at again although nobody said that one was revoked.
const LOOK_EVERY: Duration = Duration::from_secs(15);

type OfKeys = HashMap<(TenantId, KeyId), HashMap<ConnectionId, Outbox>>;

/// Which connections came by which key; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Credentials(Arc<Mutex<OfKeys>>);

/// A connection that ends with its key, until this is dropped.
pub(super) struct Registered {
    credentials: Credentials,
    key: Option<(TenantId, KeyId)>,
    connection: ConnectionId,
}

impl Credentials {
    /// Lets a connection end with the key by which its agent came.
    pub(super) fn register(&self, admitted: &Admitted, outbox: &Outbox) -> Registered {
        let key = admitted.api_key.clone().map(|key| (admitted.tenant.clone(), key));
        let connection = outbox.connection().clone();
        if let Some(key) = &key {
            let mut keys = self.0.lock();
            keys.entry(key.clone()).or_default().insert(connection.clone(), outbox.clone());
        }
        Registered { credentials: self.clone(), key, connection }
    }

    /// Ends connections whose keys are revoked, for as long as it is awaited.
    pub(super) async fn watch(&self, parts: &Parts) {
        let mut revoked = parts.drive.wake_ups().revoked_keys().await;
        loop {
            // Whether woken or not, all keys are looked at: a wake-up does not say which was revoked.
            let _ = timeout(LOOK_EVERY, revoked.next()).await;
            self.look(&parts.store).await;
        }
    }

    async fn look(&self, store: &Store) {
        let mut tenants: HashMap<TenantId, Vec<KeyId>> = HashMap::new();
        for (tenant, key) in self.0.lock().keys() {
            tenants.entry(tenant.clone()).or_default().push(key.clone());
        }
        for (tenant, keys) in tenants {
            match admission::revoked(store, &tenant, keys).await {
                Ok(revoked) => revoked.into_iter().for_each(|key| self.end(&(tenant.clone(), key))),
                // A store that cannot answer now proves nothing.
                Err(error) => tracing::debug!(%error, "the keys of connected agents could not be looked at"),
            }
        }
    }

    fn end(&self, key: &(TenantId, KeyId)) {
        let ended = self.0.lock().get(key).map(|of_key| of_key.values().cloned().collect::<Vec<Outbox>>());
        for outbox in ended.into_iter().flatten() {
            outbox.close(CloseReason::Unauthorized);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Some(key) = &self.key else { return };
        let mut keys = self.credentials.0.lock();
        if let Some(of_key) = keys.get_mut(key) {
            of_key.remove(&self.connection);
            if of_key.is_empty() {
                keys.remove(key);
            }
        }
    }
}
