//! `GET /v1/opscore/sessions/{id}/events`: a session's history, as pages or as a stream that ends with it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use signalbox_core::Rejected;
use signalbox_store::{EventFilter, Store};
use signalbox_wire::id::SessionId;
use signalbox_wire::opscore::{EventView, Page};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;

use crate::http::context::{Context, Reads};
use crate::http::params::{Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::http::streams::Streams;
use crate::http::streams::{self, Access, SessionHistory};
use crate::surface::opscore::logs::entries::InHistory;
use crate::surface::opscore::lookup::{self, Gathering};
use crate::surface::opscore::paths::PATH;

const LIST: &str = "events";

/// Show or follow a session's history
///
/// With `Accept: text/event-stream`, a stream: each event's id is its place in the history, by which
/// `Last-Event-ID` resumes it. It ends when the session has; from then on there is nothing to resume, which 204
/// tells. A `gap` event tells which places are no longer kept.
#[utoipa::path(get, path = "/v1/opscore/sessions/{id}/events", tag = "Sessions",
    params(("id" = String, Path, description = "Which session"), PageQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "After which event a stream is resumed")),
    responses(
        (status = 200, description = "A page of the history, oldest first; or the stream", content(
            (Page<EventView> = "application/json"), (String = "text/event-stream"))),
        (status = 204, description = "The session is over and its last event was seen"),
        (status = 404, description = "No such session", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn session_events(
    State(store): State<Store>,
    State(streams): State<Streams>,
    context: Context<Reads>,
    Path(session): Path,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let id = lookup::session(&session)?;
    let read = store.session(context.tenant(), &id).await?;
    let state = read.ok_or_else(|| Rejected::UnknownSession(id.to_string()))?.value;
    let reached = state.session.sequence;
    if !streams::is_asked_for(&headers) {
        return Ok(page(&store, &context, id, &query).await?.into_response());
    }
    let after = streams::resumed_after(&headers)?.unwrap_or(0);
    if after > reached {
        return Err(streams::not_of_this_stream().into());
    }
    if after == reached && state.session.status.is_over() {
        // An empty stream would be opened again and again; this ends it (HTML Standard, 9.2.3).
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let history = SessionHistory::new(context.tenant().clone(), id, after, InHistory::default());
    Ok(streams.follow(Access::new(&headers, PATH, context.caller), history).await)
}

async fn page(
    store: &Store,
    context: &Context<Reads>,
    id: SessionId,
    query: &PageQuery,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let page = reader.page(LIST, query);
    reader.finish()?;
    let filter = EventFilter { session: Some(id), after_in_session: Some(0), ..EventFilter::default() };
    let mut gathering = Gathering::new(page);
    let events = lookup::events(store, context.tenant(), &filter, &mut gathering).await?;
    let (mut view, mut data) = (InHistory::default(), Vec::with_capacity(events.len()));
    for event in &events {
        data.push(view.entry(store, context.tenant(), event).await?);
    }
    Ok(Reply::ok(&Page { data, next_cursor: gathering.next_cursor(LIST) }))
}
