//! The channels of a tenant as they are now: asked for by many who subscribe at once, and looked up once for all of
//! those who asked before the look began.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use signalbox_store::{Page, Store, StoreError};
use signalbox_wire::id::{ChannelId, TenantId};
use tokio::sync::Mutex;

use crate::clock::Stopwatch;

/// Channels of one page.
const PAGE: usize = 1_000;

/// A durable channel, and how far it had come.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) id: ChannelId,
    pub(super) last_sequence: u64,
}

/// How long the list is believed where nothing was told of a change: a pattern is no reason to read it anew.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// The durable channels of a tenant.
#[derive(Default)]
pub(super) struct Listing {
    /// How many looks have begun.
    begun: AtomicU64,
    last: Mutex<Option<Look>>,
}

/// A look that has ended.
struct Look {
    number: u64,
    /// The generation of the names when it began.
    generation: u64,
    since: Stopwatch,
    found: Arc<[Listed]>,
}

/// The durable channels as they were a moment ago.
pub(super) struct Recent {
    pub(super) channels: Arc<[Listed]>,
    /// They were read since it was asked: how far they have come is how far they had come then, or further.
    pub(super) is_now: bool,
}

impl Listing {
    /// The durable channels as they are now, or were a little later. `generation` is that of their names.
    pub(super) async fn now(
        &self,
        store: &Store,
        tenant: &TenantId,
        generation: u64,
    ) -> Result<Arc<[Listed]>, StoreError> {
        Ok(self.look(store, tenant, generation, |_| false).await?.channels)
    }

    /// The durable channels as they are now, or were a moment ago where none was made or removed since.
    pub(super) async fn recent(
        &self,
        store: &Store,
        tenant: &TenantId,
        generation: u64,
    ) -> Result<Recent, StoreError> {
        let is_good = |look: &Look| look.generation == generation && look.since.elapsed() < BELIEVED_FOR;
        self.look(store, tenant, generation, is_good).await
    }

    async fn look(
        &self,
        store: &Store,
        tenant: &TenantId,
        generation: u64,
        is_good: impl Fn(&Look) -> bool,
    ) -> Result<Recent, StoreError> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some(look) = &*last {
            let is_now = look.number > before;
            if is_now || is_good(look) {
                return Ok(Recent { channels: Arc::clone(&look.found), is_now });
            }
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let since = Stopwatch::start();
        let found: Arc<[Listed]> = listed(store, tenant).await?.into();
        *last = Some(Look { number, generation, since, found: Arc::clone(&found) });
        Ok(Recent { channels: found, is_now: true })
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
