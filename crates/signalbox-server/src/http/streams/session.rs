//! A session's history as it happens, by its own strict sequence; it ends with the session.

use signalbox_store::{EventFilter, Page, Store, StoreError};
use signalbox_wire::id::{SessionId, TenantId};

use super::{Chunk, EntryView, PAGE_ENTRIES, Read, Source};

/// The history of one session.
pub(crate) struct SessionHistory<V> {
    tenant: TenantId,
    session: SessionId,
    /// The last entry that was sent.
    last: u64,
    /// Its place in the tenant's order, where it was sent by this stream.
    looked_at: u64,
    /// Where a look goes on that found nothing yet.
    position: Option<String>,
    view: V,
}

impl<V: EntryView> SessionHistory<V> {
    /// The history after entry `last`; 0 for all of it.
    pub(crate) fn new(tenant: TenantId, session: SessionId, last: u64, view: V) -> Self {
        Self { tenant, session, last, looked_at: 0, position: None, view }
    }

    async fn read_on(&mut self, store: &Store, reached: u64) -> Result<Read, StoreError> {
        let filter = EventFilter {
            session: Some(self.session.clone()),
            after: Some(self.looked_at),
            after_in_session: Some(self.last),
            ..EventFilter::default()
        };
        let page = Page { limit: PAGE_ENTRIES, after: self.position.take() };
        let listed = store.events(&self.tenant, &filter, &page).await?;
        if listed.items.is_empty() && listed.next.is_some() {
            self.position = listed.next;
            return Ok(Read::More);
        }
        let mut chunk = Chunk::default();
        for event in &listed.items {
            let Some((_, place)) = event.session else { continue };
            self.pass_over(&mut chunk, place.saturating_sub(1));
            chunk.event(place, &event.kind, &self.view.json(store, &self.tenant, event).await?);
            (self.last, self.looked_at) = (place, event.sequence);
            if chunk.is_full() {
                break;
            }
        }
        if chunk.is_empty() {
            self.pass_over(&mut chunk, reached);
        }
        Ok(Read::Chunk(chunk))
    }

    /// Goes on to `place`, saying so where entries are missing before it.
    fn pass_over(&mut self, chunk: &mut Chunk, place: u64) {
        if place > self.last {
            chunk.gap(self.last + 1, place);
            self.last = place;
        }
    }
}

impl<V: EntryView> Source for SessionHistory<V> {
    async fn read(&mut self, store: &Store, _: u64) -> Result<Read, StoreError> {
        // The row tells how long the history is, and is mostly at hand: a word about another session costs
        // no look at the log.
        let Some(row) = store.session(&self.tenant, &self.session).await? else { return Ok(Read::Over) };
        let session = &row.value.session;
        match session.sequence {
            reached if reached > self.last => self.read_on(store, reached).await,
            reached if reached == self.last && session.status.is_over() => Ok(Read::Over),
            _ => Ok(Read::Nothing),
        }
    }
}
