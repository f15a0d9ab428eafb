//! What a path and a query say: ids that may be unknown, pages of lists, and their faults as problems.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;
use signalbox_core::Rejected;
use signalbox_core::limits::bounded;
use signalbox_store::{EventFilter, Listed, Page, StoreError, StoredEvent};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::{AgentId, SessionId, TenantId, WorkflowId};
use signalbox_wire::opscore;
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;
use signalbox_wire::text::Text;
use signalbox_wire::time::Timestamp;

use crate::app::App;
use crate::problem::Refusal;

/// Entries of the log that are read in one go for a page, at most.
const GO_ENTRIES: usize = 50;
/// Goes for one page, at most: a filter that seldom matches gets a short page instead of a long wait.
const GOES_MAX: usize = 40;
/// Bytes of entries after which a page ends, whatever its limit.
const PAGE_BYTES: usize = 4 << 20;

/// A path parameter.
pub(super) struct Path(pub(super) String);

impl FromRequestParts<App> for Path {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        match axum::extract::Path::<String>::from_request_parts(parts, app).await {
            Ok(axum::extract::Path(text)) => Ok(Self(text)),
            Err(_) => Err(Problem::bad_request("bad-path", "The path is not UTF-8; percent-encode it as such.").into()),
        }
    }
}

/// The query's parameters.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        match axum::extract::Query::<T>::from_request_parts(parts, app).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(vec![Fault::new("", format!("has a query that cannot be read: {}", rejection.body_text()))].into()),
        }
    }
}

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

/// Query parameters, read with all their faults at once.
#[derive(Default)]
pub(super) struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    /// Reads a parameter where it is there.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        given: Option<&str>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match read(given?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push(Fault::new(format!("/{name}"), message));
                None
            }
        }
    }

    /// Reads which page of `list` is asked for.
    pub(super) fn page(&mut self, list: &str, query: &PageQuery) -> Page {
        match query.read(list) {
            Ok(request) => Page { limit: request.limit, after: request.after },
            Err(faults) => {
                self.faults.extend(faults);
                Page::default()
            }
        }
    }

    /// Refuses where anything was wrong.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults.into()) }
    }
}

/// Reads an id.
pub(super) fn id<T, E>(parse: impl Fn(&str) -> Result<T, E>) -> impl Fn(&str) -> Result<T, String> {
    move |text| parse(text).map_err(|_| "must be an id of 1 to 256 characters, none of them a control character".to_owned())
}

/// Reads a point in time. An offset's `+` that came unencoded, and so as a space, is read as meant.
pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    let mended = || text.rsplit_once(' ').and_then(|(time, offset)| Timestamp::parse(&format!("{time}+{offset}")).ok());
    let read = Timestamp::parse(text).ok().or_else(mended);
    read.ok_or_else(|| "must be an RFC 3339 or ISO 8601 timestamp, such as 2026-01-31T12:00:00Z".to_owned())
}

/// Reads a text to look for.
pub(super) fn sought(text: &str) -> Result<String, String> {
    let rule = Text::new(1, 1024, signalbox_wire::text::no_control);
    rule.check(text).map(|()| text.to_owned())
}

/// A page of `list` as it is answered.
pub(super) fn listed<T, V>(list: &str, listed: Listed<T>, view: impl FnMut(T) -> V) -> opscore::Page<V> {
    let next_cursor = listed.next.map(|next| Cursor::encode(list, &next));
    opscore::Page { data: listed.items.into_iter().map(view).collect(), next_cursor }
}

/// A page of the log, gathered in small goes: entries may be large, and a go that is filtered may be short.
pub(super) async fn events(
    app: &App,
    tenant: &TenantId,
    filter: &EventFilter,
    page: Page,
) -> Result<Listed<StoredEvent>, StoreError> {
    let mut gathered = Listed { items: Vec::new(), next: page.after };
    let mut bytes = 0;
    for _ in 0..GOES_MAX {
        let go = Page { limit: GO_ENTRIES.min(page.limit - gathered.items.len()), after: gathered.next.take() };
        let listed = app.store.events(tenant, filter, &go).await?;
        bytes += listed.items.iter().map(|event| event.data.len()).sum::<usize>();
        gathered.items.extend(listed.items);
        gathered.next = listed.next;
        if gathered.next.is_none() || gathered.items.len() >= page.limit || bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_that_became_a_space_is_read_as_meant() {
        let expected = Timestamp::from_seconds(1_704_110_400);
        for text in ["2024-01-01T14:00:00+02:00", "2024-01-01T14:00:00 02:00", "2024-01-01 12:00:00", "2024-01-01T12:00:00Z"] {
            assert_eq!(timestamp(text), Ok(expected), "{text}");
        }
        for text in ["", " ", "noon", "2024-01-01T14:00:00 noon"] {
            assert!(timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_faults_of_a_query_are_told_at_once() {
        let mut reader = Reader::default();
        assert_eq!(reader.read("agent", Some("a"), id(AgentId::parse)), AgentId::parse("a").ok());
        assert!(reader.read("session", Some(""), id(SessionId::parse)).is_none());
        assert!(reader.read("text", Some("a\0"), sought).is_none());
        reader.page("logs", &PageQuery { limit: Some("0".into()), cursor: Some("x".into()) });
        let refusal = reader.finish().expect_err("faults");
        let pointers: Vec<&str> = refusal.0.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!((refusal.0.status, pointers), (422, vec!["/session", "/text", "/limit", "/cursor"]));
        assert_eq!(agent("a\nb").err().map(|refusal| refusal.0.status), Some(404));
    }
}
