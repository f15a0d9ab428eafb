//! `GET /v1/opscore/logs`: everything that happened in the tenant and all that its agents wrote, as pages of
//! what was or as a stream of what comes.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Deserialize;
use signalbox_store::{EventFilter, Store};
use signalbox_wire::id::{AgentId, SessionId};
use signalbox_wire::opscore::{LogLevel, LogView, Page};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;
use signalbox_wire::text::Text;

use super::entries::InLog;
use crate::http::context::{Context, Reads};
use crate::http::params::{self, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::http::streams::Streams;
use crate::http::streams::{self, Access, LogTail};
use crate::surface::opscore::convert;
use crate::surface::opscore::lookup::{self, Gathering};
use crate::surface::opscore::paths::PATH;

const LIST: &str = "logs";

/// Which entries.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// Those by or about this agent.
    agent: Option<String>,
    /// Those of this session.
    session: Option<String>,
    /// Those at least this severe: debug, info, warning, error or critical.
    level: Option<String>,
    /// Those that came in at or after this moment.
    since: Option<String>,
    /// Those that came in before this moment; not for a stream.
    until: Option<String>,
    /// Those that hold this text, compared without case.
    text: Option<String>,
    /// `newest` first, or `oldest` first; newest where absent. Not for a stream.
    order: Option<String>,
}

/// Show or follow the log
///
/// With `Accept: text/event-stream`, a stream of what comes from now on, or from `since` on, or after
/// `Last-Event-ID`. Each event's id is its place in the tenant's order. A `gap` event tells which places are no
/// longer kept.
#[utoipa::path(get, path = "/v1/opscore/logs", tag = "Logs",
    params(LogsQuery, PageQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "After which entry a stream is resumed")),
    responses(
        (status = 200, description = "A page of the log; or the stream", content(
            (Page<LogView> = "application/json"), (String = "text/event-stream"))),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn read_logs(
    State(store): State<Store>,
    State(streams): State<Streams>,
    context: Context<Reads>,
    Query(query): Query<LogsQuery>,
    Query(page): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut reader = Reader::default();
    let is_stream = streams::is_asked_for(&headers);
    let filter = filter(&mut reader, &query, is_stream);
    let page = reader.page(LIST, &page);
    reader.finish()?;
    if is_stream {
        return tail(&store, &streams, context, filter, &headers).await;
    }
    let mut gathering = Gathering::new(page);
    let events = lookup::events(&store, context.tenant(), &filter, &mut gathering).await?;
    let mut view = InLog::default();
    let mut data = Vec::with_capacity(events.len());
    for event in &events {
        data.push(view.entry(&store, context.tenant(), event).await?);
    }
    Ok(Reply::ok(&Page { data, next_cursor: gathering.next_cursor(LIST) }).into_response())
}

fn filter(reader: &mut Reader, query: &LogsQuery, is_stream: bool) -> EventFilter {
    let order = reader.read("order", query.order.as_deref(), order);
    if is_stream && query.until.is_some() {
        reader.read::<()>("until", query.until.as_deref(), |_| {
            Err("must not be given for a stream".to_owned())
        });
    }
    EventFilter {
        agent: reader.read("agent", query.agent.as_deref(), params::id(AgentId::parse)),
        session: reader.read("session", query.session.as_deref(), params::id(SessionId::parse)),
        level: reader.read("level", query.level.as_deref(), level).map(convert::level_in),
        kind: None,
        since: reader.read("since", query.since.as_deref(), params::timestamp),
        until: reader.read("until", query.until.as_deref().filter(|_| !is_stream), params::timestamp),
        text: reader.read("text", query.text.as_deref(), sought),
        after: None,
        after_in_session: None,
        newest_first: order.unwrap_or(true) && !is_stream,
    }
}

async fn tail(
    store: &Store,
    streams: &Streams,
    context: Context<Reads>,
    filter: EventFilter,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let tenant = context.tenant().clone();
    let newest = streams::newest(store, &tenant).await?;
    let tail = match streams::resumed_after(headers)? {
        Some(seen) if seen > newest => return Err(streams::not_of_this_stream().into()),
        Some(seen) => LogTail::resumed(store, tenant, filter, seen, InLog::default()).await?,
        None if filter.since.is_some() => LogTail::new(tenant, filter, 0, InLog::default()),
        None => LogTail::new(tenant, filter, newest, InLog::default()),
    };
    Ok(streams.follow(Access::new(headers, PATH, context.caller), tail).await)
}

/// Whether the newest come first.
fn order(text: &str) -> Result<bool, String> {
    match text {
        "newest" => Ok(true),
        "oldest" => Ok(false),
        _ => Err("must be newest or oldest".to_owned()),
    }
}

/// Reads a text to look for.
pub(crate) fn sought(text: &str) -> Result<String, String> {
    let rule = Text::new(1, 1024, signalbox_wire::text::no_control);
    rule.check(text).map(|()| text.to_owned())
}

fn level(text: &str) -> Result<LogLevel, String> {
    LogLevel::parse(text).ok_or_else(|| "must be debug, info, warning, error or critical".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> LogsQuery {
        serde_json::from_value(
            pairs
                .iter()
                .copied()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        )
        .expect("a query")
    }

    #[test]
    fn pages_begin_with_the_newest_and_streams_follow_the_order() {
        let mut reader = Reader::default();
        assert!(filter(&mut reader, &query(&[]), false).newest_first);
        assert!(!filter(&mut reader, &query(&[("order", "oldest")]), false).newest_first);
        assert!(!filter(&mut reader, &query(&[("order", "newest")]), true).newest_first);
        assert!(reader.finish().is_ok());
    }

    #[test]
    fn every_fault_is_told() {
        let mut reader = Reader::default();
        let all = [
            ("agent", ""),
            ("session", "a\nb"),
            ("level", "loud"),
            ("since", "noon"),
            ("until", "2024-01-01T00:00:00Z"),
            ("text", ""),
            ("order", "up"),
        ];
        filter(&mut reader, &query(&all), true);
        let refusal = reader.finish().expect_err("faults").0;
        assert_eq!(refusal.errors.len(), all.len(), "{:?}", refusal.errors);
    }
}
