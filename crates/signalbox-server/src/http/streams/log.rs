//! A tenant's log as it grows, by the tenant's order, as far as a filter lets it through.
//!
//! What has been looked at moves on with the log, not with what was let through: a filter that seldom matches
//! looks at every entry once. What retention takes before it was looked at is told as a gap.

use signalbox_store::{EventFilter, Page, Store, StoreError, StoredEvent};
use signalbox_wire::id::TenantId;

use super::{Chunk, EntryView, PAGE_ENTRIES, Read, Source};

/// The end of a tenant's log.
pub(crate) struct LogTail<V> {
    tenant: TenantId,
    filter: EventFilter,
    /// Whether the filter lets everything through, so that a missing number is a missing entry.
    is_whole: bool,
    /// Everything up to here has been looked at.
    looked_at: u64,
    /// A look at what came since then, not finished yet.
    look: Option<Look>,
    gap: Option<(u64, u64)>,
    view: V,
}

struct Look {
    until: u64,
    position: Option<String>,
    /// Everything up to here was looked at, or told to be gone.
    passed: u64,
}

/// The newest entry of a tenant's log; 0 when there is none.
pub(crate) async fn newest(store: &Store, tenant: &TenantId) -> Result<u64, StoreError> {
    let filter = EventFilter { newest_first: true, ..EventFilter::default() };
    Ok(first(store, tenant, &filter).await?.map_or(0, |event| event.sequence))
}

async fn first(
    store: &Store,
    tenant: &TenantId,
    filter: &EventFilter,
) -> Result<Option<StoredEvent>, StoreError> {
    let page = Page { limit: 1, after: None };
    Ok(store.events(tenant, filter, &page).await?.items.into_iter().next())
}

impl<V: EntryView> LogTail<V> {
    /// What `filter` lets through after entry `looked_at`.
    pub(crate) fn new(tenant: TenantId, filter: EventFilter, looked_at: u64, view: V) -> Self {
        let is_whole = is_whole(&filter);
        Self { tenant, filter, is_whole, looked_at, look: None, gap: None, view }
    }

    /// The same after an entry that a reader has seen: what is missing from there on is told.
    pub(crate) async fn resumed(
        store: &Store,
        tenant: TenantId,
        filter: EventFilter,
        seen: u64,
        view: V,
    ) -> Result<Self, StoreError> {
        let next = EventFilter { after: Some(seen), ..EventFilter::default() };
        let next = first(store, &tenant, &next).await?.map(|event| event.sequence);
        let mut tail = Self::new(tenant, filter, seen, view);
        if let Some(next) = next.filter(|next| *next > seen + 1) {
            tail.gap = Some((seen + 1, next - 1));
            tail.looked_at = next - 1;
        }
        Ok(tail)
    }

    /// The look that is under way, or a new one where the log has grown.
    async fn look(&mut self, store: &Store, news: u64) -> Result<Option<Look>, StoreError> {
        if let Some(look) = self.look.take() {
            return Ok(Some(look));
        }
        let until = if news > self.looked_at { news } else { newest(store, &self.tenant).await? };
        if until <= self.looked_at {
            return Ok(None);
        }
        self.filter.after = Some(self.looked_at);
        Ok(Some(Look { until, position: None, passed: 0 }))
    }

    async fn add(
        &mut self,
        store: &Store,
        chunk: &mut Chunk,
        event: &StoredEvent,
        before: u64,
    ) -> Result<(), StoreError> {
        if self.is_whole && event.sequence > before + 1 {
            chunk.gap(before + 1, event.sequence - 1);
        }
        let json = self.view.json(store, &self.tenant, event).await?;
        chunk.event(event.sequence, "log", &json);
        Ok(())
    }

    /// The oldest entry that is kept, where what a filter lets through cannot tell. Asked for after a page was read: what
    /// is older and was not looked at by then is gone.
    async fn oldest(&mut self, store: &Store) -> Result<u64, StoreError> {
        if self.is_whole {
            return Ok(0);
        }
        Ok(store.first_sequence(&self.tenant).await?.unwrap_or(0))
    }

    /// Says that retention has passed what comes after `last`, where it has; how far everything is told of then.
    fn pass_over(chunk: &mut Chunk, last: u64, oldest: u64) -> u64 {
        if oldest <= last + 1 {
            return last;
        }
        chunk.gap(last + 1, oldest - 1);
        oldest - 1
    }
}

impl<V: EntryView> Source for LogTail<V> {
    async fn read(&mut self, store: &Store, news: u64) -> Result<Read, StoreError> {
        let mut chunk = Chunk::default();
        if let Some((from, to)) = self.gap.take() {
            chunk.gap(from, to);
            return Ok(Read::Chunk(chunk));
        }
        let Some(look) = self.look(store, news).await? else { return Ok(Read::Nothing) };
        let page = Page { limit: PAGE_ENTRIES, after: look.position };
        let listed = store.events(&self.tenant, &self.filter, &page).await?;
        let oldest = self.oldest(store).await?;
        let mut last = self.looked_at.max(look.passed);
        for event in &listed.items {
            if event.sequence >= oldest {
                last = Self::pass_over(&mut chunk, last, oldest);
            }
            self.add(store, &mut chunk, event, last).await?;
            last = last.max(event.sequence);
            if chunk.is_full() {
                self.looked_at = last;
                return Ok(Read::Chunk(chunk));
            }
        }
        last = Self::pass_over(&mut chunk, last, oldest);
        let is_done = listed.next.is_none();
        match listed.next {
            None => self.looked_at = look.until.max(last),
            Some(next) if listed.items.is_empty() => {
                // The places of a session's own order say nothing here.
                let place = next.parse().ok().filter(|_| self.filter.session.is_none());
                let passed = last.max(place.unwrap_or(0));
                self.look = Some(Look { until: look.until, position: Some(next), passed });
            }
            Some(_) => self.looked_at = last,
        }
        Ok(match (chunk.is_empty(), is_done) {
            (false, _) => Read::Chunk(chunk),
            (true, false) => Read::More,
            (true, true) => Read::Nothing,
        })
    }
}

fn is_whole(filter: &EventFilter) -> bool {
    let EventFilter {
        agent,
        session,
        level,
        kind,
        since,
        until,
        text,
        after: _,
        after_in_session: _,
        newest_first: _,
    } = filter;
    agent.is_none()
        && session.is_none()
        && level.is_none()
        && kind.is_none()
        && since.is_none()
        && until.is_none()
        && text.is_none()
}
