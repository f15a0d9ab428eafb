//! What a request names and asks for: ids that may be unknown, and pages of what there is.

use serde::Serialize;
use serde_json::value::RawValue;
use signalbox_core::Rejected;
use signalbox_core::limits::bounded;
use signalbox_store::{EventFilter, Page, Store, StoreError, StoredEvent};
use signalbox_wire::id::{AgentId, HookId, ScheduleId, SessionId, TenantId, WorkflowId};
use signalbox_wire::paging::Cursor;

use crate::http::problem::Refusal;

/// Entries that are read in one go for a page, at most: each may be as large as a request's body.
const GO_ENTRIES: usize = 50;
/// Goes for one page, at most: a filter that seldom matches gets a short page instead of a long wait.
const GOES_MAX: usize = 40;
/// Bytes after which a page ends, whatever its limit.
const PAGE_BYTES: usize = 4 << 20;

/// The agent that a path names.
pub(super) fn agent(text: &str) -> Result<AgentId, Refusal> {
    AgentId::parse(text).map_err(|_| Rejected::UnknownAgent(bounded(text)).into())
}

/// The workflow that a path names.
pub(super) fn workflow(text: &str) -> Result<WorkflowId, Refusal> {
    WorkflowId::parse(text).map_err(|_| Rejected::UnknownWorkflow(bounded(text)).into())
}

/// The session that a path names.
pub(super) fn session(text: &str) -> Result<SessionId, Refusal> {
    SessionId::parse(text).map_err(|_| Rejected::UnknownSession(bounded(text)).into())
}

/// The hook that a path names.
pub(super) fn hook(text: &str) -> Result<HookId, Refusal> {
    HookId::parse(text).map_err(|_| Rejected::UnknownHook(bounded(text)).into())
}

/// The schedule that a path names.
pub(super) fn schedule(text: &str) -> Result<ScheduleId, Refusal> {
    ScheduleId::parse(text).map_err(|_| Rejected::UnknownSchedule(bounded(text)).into())
}

/// A page that is gathered in small goes, so that neither its length nor its entries' size decide how much
/// memory it takes.
pub(super) struct Gathering {
    left: usize,
    goes: usize,
    bytes: usize,
    next: Option<String>,
}

impl Gathering {
    pub(super) fn new(page: Page) -> Self {
        Self { left: page.limit, goes: 0, bytes: 0, next: page.after }
    }

    /// What to read next; `None` when the page is as long as it gets.
    pub(super) fn go(&self) -> Option<Page> {
        let goes_on = self.goes == 0 || self.next.is_some();
        let has_room = self.left > 0 && self.goes < GOES_MAX && self.bytes < PAGE_BYTES;
        (goes_on && has_room).then(|| Page { limit: GO_ENTRIES.min(self.left), after: self.next.clone() })
    }

    /// Counts what a go brought.
    pub(super) fn took(&mut self, entries: usize, bytes: usize, next: Option<String>) {
        self.left = self.left.saturating_sub(entries);
        self.goes += 1;
        self.bytes += bytes;
        self.next = next;
    }

    /// Where the next page of `list` begins.
    pub(super) fn next_cursor(self, list: &str) -> Option<String> {
        self.next.map(|next| Cursor::encode(list, &next))
    }
}

/// A page of the log.
pub(super) async fn events(
    store: &Store,
    tenant: &TenantId,
    filter: &EventFilter,
    gathering: &mut Gathering,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut events = Vec::new();
    while let Some(go) = gathering.go() {
        let listed = store.events(tenant, filter, &go).await?;
        let bytes = listed.items.iter().map(|event| event.data.len()).sum();
        gathering.took(listed.items.len(), bytes, listed.next);
        events.extend(listed.items);
    }
    Ok(events)
}

/// An entry of a page as it is written.
pub(super) fn written(entry: &impl Serialize) -> Result<Box<RawValue>, Refusal> {
    serde_json::value::to_raw_value(entry)
        .map_err(|error| Refusal::failed(format!("an entry could not be written as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_an_id_is_unknown() {
        let status = |refused: Option<Refusal>| refused.map(|refusal| refusal.0.status);
        for text in ["", "a\nb", &"x".repeat(5_000)] {
            assert_eq!(status(agent(text).err()), Some(404));
            assert_eq!(status(workflow(text).err()), Some(404));
            assert_eq!(status(session(text).err()), Some(404));
            assert_eq!(status(schedule(text).err()), Some(404));
            assert_eq!(status(hook(text).err()), Some(404));
        }
        assert!(agent("a").is_ok() && workflow("w").is_ok() && session("s").is_ok());
    }

    /// The limits of the goes of a page of `limit`, each bringing all that it asked for, of `bytes` each.
    fn goes(limit: usize, bytes: usize) -> Vec<usize> {
        let mut gathering = Gathering::new(Page { limit, after: None });
        let mut goes = Vec::new();
        while let Some(go) = gathering.go() {
            gathering.took(go.limit, go.limit * bytes, Some(goes.len().to_string()));
            goes.push(go.limit);
        }
        assert_eq!(gathering.next_cursor("a"), Some(Cursor::encode("a", &(goes.len() - 1).to_string())));
        goes
    }

    #[test]
    fn a_page_is_as_long_as_asked_unless_it_is_too_heavy_or_takes_too_long() {
        assert_eq!(goes(120, 1), [50, 50, 20]);
        assert_eq!(goes(1_000, 1 << 20), [50]);
        let mut gathering = Gathering::new(Page { limit: 10, after: None });
        for _ in 0..GOES_MAX {
            assert!(gathering.go().is_some());
            gathering.took(0, 0, Some("on".to_owned()));
        }
        assert!(gathering.go().is_none(), "it goes on with the next request");
        let mut gathering = Gathering::new(Page { limit: 10, after: None });
        gathering.took(3, 0, None);
        assert!(gathering.go().is_none() && gathering.next_cursor("a").is_none());
    }
}
