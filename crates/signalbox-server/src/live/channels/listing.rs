//! The channels of a tenant as they are now: asked for by many who subscribe at once, and looked up once for all of
//! those who asked before the look began.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use signalbox_store::{Page, Store, StoreError};
use signalbox_wire::id::{ChannelId, TenantId};
use tokio::sync::Mutex;

/// Channels of one page.
const PAGE: usize = 1_000;

/// A durable channel, and how far it had come.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) id: ChannelId,
    pub(super) last_sequence: u64,
}

/// The durable channels of a tenant.
#[derive(Default)]
pub(super) struct Listing {
    /// How many looks have begun.
    begun: AtomicU64,
    /// The number of the last look that ended, and what it found.
    last: Mutex<(u64, Arc<[Listed]>)>,
}

impl Listing {
    /// The durable channels as they are now, or were a little later.
    pub(super) async fn now(&self, store: &Store, tenant: &TenantId) -> Result<Arc<[Listed]>, StoreError> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.0 > before {
            return Ok(Arc::clone(&last.1));
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let found: Arc<[Listed]> = listed(store, tenant).await?.into();
        *last = (number, Arc::clone(&found));
        Ok(found)
    }
}

async fn listed(store: &Store, tenant: &TenantId) -> Result<Vec<Listed>, StoreError> {
    let (mut found, mut page) = (Vec::new(), Page { limit: PAGE, after: None });
    loop {
        let listed = store.channels(tenant, &page).await?;
        let durable = listed.items.iter().filter(|channel| channel.is_durable());
        found.extend(durable.map(|channel| Listed {
            name: channel.name.clone(),
            id: channel.id.clone(),
            last_sequence: channel.last_sequence(),
        }));
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}
