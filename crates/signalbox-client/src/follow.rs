//! [`EventStream`]: a session's history as it happens. The invariant: whatever breaks, the caller sees every
//! event once and in order, because the stream is resumed after the last one that it was given.

use std::collections::VecDeque;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use signalbox_wire::opscore::{EventData, EventView, GapView, LogLevel};
use signalbox_wire::time::Timestamp;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::info;

use crate::client::Client;
use crate::edge;
use crate::error::Error;
use crate::sse::{Frame, Parser};

/// How long a stream may be silent before it is taken for dead; servers send a comment well before.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the head of the answer may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Refusals in a row after which the stream gives up.
const REFUSALS_MAX: u32 = 10;

/// A session's events, followed live. See [`Client::follow_session`].
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    session_id: String,
    last: u64,
    parser: Parser,
    body: Option<Incoming>,
    waiting: VecDeque<Received>,
    /// The event that was given out last.
    text: String,
    /// Tries in a row that brought nothing; what the next wait grows with.
    fruitless: u32,
    /// Tries in a row that were refused; what the patience ends by.
    refused: u32,
    /// Before this, no further try: kept here so that a caller who gives up waiting now and then does not
    /// begin the wait anew each time.
    resume_at: Option<Instant>,
    last_report_at: Instant,
    over: bool,
}

/// An event, and the text that it was read from.
#[derive(Debug)]
struct Received {
    event: EventView,
    text: String,
}

impl EventStream {
    pub(crate) fn new(client: Client, session_id: &str, after: u64) -> Self {
        Self {
            client,
            session_id: session_id.to_owned(),
            last: after,
            parser: Parser::default(),
            body: None,
            waiting: VecDeque::new(),
            text: String::new(),
            fruitless: 0,
            refused: 0,
            resume_at: None,
            last_report_at: Instant::now(),
            over: false,
        }
    }

    /// The sequence of the last event that was given out.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The event that was given out last as JSON, as the server sent it: with what this client does not know.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The next event; `None` when the session is over and the server has closed the stream. A call that is
    /// dropped loses no event; one that is dropped while it connects will connect again. Where entries are no longer
    /// kept, one event of the kind `gap` tells of them, in the place of the last and as of now.
    ///
    /// # Errors
    /// [`Error`] when the server refuses the stream for good or ten times in a row; a further call tries
    /// again.
    pub async fn next(&mut self) -> Result<Option<EventView>, Error> {
        loop {
            if let Some(Received { event, text }) = self.waiting.pop_front() {
                self.text = text;
                self.last = self.last.max(event.sequence);
                self.over = event.ends_session() || (self.over && !event.kind.starts_with("session."));
                return Ok(Some(event));
            }
            if self.body.is_none() {
                if self.over {
                    return Ok(None);
                }
                self.open().await?;
                continue;
            }
            self.read().await?;
        }
    }

    async fn open(&mut self) -> Result<(), Error> {
        while self.body.is_none() && !self.over {
            if let Some(resume_at) = self.resume_at {
                sleep_until(resume_at).await;
            }
            match self.request().await {
                Ok(Some(body)) => self.opened(body),
                Ok(None) => self.over = true,
                Err(error) => self.failed(error)?,
            }
        }
        Ok(())
    }

    /// The stream; `None` when the session is over and nothing follows what was seen.
    async fn request(&self) -> Result<Option<Incoming>, Error> {
        let path = ["v1", "opscore", "sessions", &self.session_id, "events"];
        let mut call = self.client.get(&path).header("accept", "text/event-stream");
        if self.last > 0 {
            call = call.header("last-event-id", &self.last.to_string());
        }
        let request = call.into_request()?;
        let url = request.uri().to_string();
        let response = timeout(OPEN_TIMEOUT, self.client.transport.open(request))
            .await
            .map_err(|_| Error::Timeout { url: url.clone(), after: OPEN_TIMEOUT })??;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
        if !kind.starts_with("text/event-stream") {
            return Err(Error::unreadable(&url, format!("'{kind}' is no event stream")));
        }
        Ok(Some(response.into_body()))
    }

    /// Reads one chunk. A broken, ended or silent stream is dropped, to be opened again by the next turn.
    async fn read(&mut self) -> Result<(), Error> {
        let Some(body) = &mut self.body else { return Ok(()) };
        let Ok(Some(Ok(frame))) = timeout_at(self.last_report_at + SILENCE_MAX, body.frame()).await else {
            self.body = None;
            self.fruitless();
            return Ok(());
        };
        self.last_report_at = Instant::now();
        self.fruitless = 0;
        let Ok(bytes) = frame.into_data() else { return Ok(()) };
        let frames = self.parser.push(&bytes).map_err(|fault| self.unreadable(fault))?;
        for frame in frames {
            let event = read_event(&frame, edge::now()).map_err(|fault| self.unreadable(fault))?;
            if event.sequence > self.newest() {
                self.waiting.push_back(Received { event, text: frame.data });
            }
        }
        Ok(())
    }

    fn newest(&self) -> u64 {
        self.waiting.iter().map(|waiting| waiting.event.sequence).max().unwrap_or_default().max(self.last)
    }

    fn opened(&mut self, body: Incoming) {
        self.body = Some(body);
        self.parser = Parser::default();
        self.refused = 0;
        self.last_report_at = Instant::now();
    }

    /// Counts a refusal that may pass; another one, or one too many, ends the patience.
    fn failed(&mut self, error: Error) -> Result<(), Error> {
        self.fruitless();
        self.refused += 1;
        let patient = self.client.policy.attempts_max > 1 && self.refused < REFUSALS_MAX;
        if patient && error.is_transient() {
            return Ok(());
        }
        self.refused = 0;
        Err(error)
    }

    /// Puts the next try off, by the client's jitter and no less than the server asked for.
    fn fruitless(&mut self) {
        self.fruitless += 1;
        let asked = self.parser.retry().unwrap_or_default().min(self.client.policy.wait_max);
        let wait = self.client.policy.jitter(self.fruitless, edge::fraction()) + asked;
        self.resume_at = Some(Instant::now() + wait);
        if !self.over {
            info!(target: crate::sse::TARGET, stream = self.session_id.as_str(), retry_in = ?wait, "the stream broke off and is resumed");
        }
    }

    /// Drops the stream, so that a further call resumes after the last good event and skips none.
    fn unreadable(&mut self, reason: impl std::fmt::Display) -> Error {
        self.body = None;
        Error::unreadable(&format!("the event stream of {}", self.session_id), reason)
    }
}

/// A gap is told as the event that it stands for, so that a caller sees one kind of thing.
fn read_event(frame: &Frame, now: Timestamp) -> Result<EventView, serde_json::Error> {
    if frame.kind != GapView::KIND {
        return serde_json::from_str(&frame.data);
    }
    let gap: GapView = serde_json::from_str(&frame.data)?;
    Ok(EventView {
        sequence: gap.to,
        kind: gap.kind,
        timestamp: now,
        level: LogLevel::Warning,
        session_id: None,
        agent_id: None,
        task_id: None,
        message: gap.message,
        data: EventData::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::RetryPolicy;
    use crate::test_server::{CannedResponse, TestServer};

    fn event(sequence: u64, kind: &str) -> String {
        format!(
            r#"{{"sequence":{sequence},"type":"{kind}","timestamp":"2026-01-31T12:00:00Z","level":"info","message":"m","data":{{}}}}"#
        )
    }

    fn stream(events: &[(u64, &str)]) -> CannedResponse {
        let body: String = events
            .iter()
            .map(|(sequence, kind)| {
                format!("id: {sequence}\nevent: {kind}\ndata: {}\n\n", event(*sequence, kind))
            })
            .collect();
        CannedResponse::new(200).header("content-type", "text/event-stream").body(body)
    }

    fn client(server: &TestServer) -> Client {
        let policy = RetryPolicy { wait_first: Duration::from_millis(1), ..RetryPolicy::default() };
        Client::new(&server.url(), Some("k")).unwrap().with_retry(policy)
    }

    async fn collect(mut stream: EventStream) -> Vec<(u64, String)> {
        let mut seen = Vec::new();
        while let Some(event) = stream.next().await.unwrap() {
            seen.push((event.sequence, event.kind));
        }
        seen
    }

    #[tokio::test]
    async fn a_broken_stream_is_resumed_without_loss_or_repeat() {
        let server = TestServer::start(vec![
            stream(&[(1, "session.started"), (2, "task.running")]),
            CannedResponse::new(503),
            stream(&[(2, "task.running"), (3, "task.completed")]),
            CannedResponse::hang_up(),
            stream(&[(4, "session.completed")]),
        ])
        .await;
        let seen = collect(client(&server).follow_session("ses_1", 0)).await;
        assert_eq!(seen.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(seen[3].1, "session.completed");
        let resumed: Vec<_> =
            server.requests().iter().map(|request| request.header("last-event-id").to_owned()).collect();
        assert_eq!(resumed, ["", "2", "2", "3", "3"]);
        assert_eq!(server.requests()[0].target, "/v1/opscore/sessions/ses_1/events");
    }

    #[tokio::test]
    async fn a_refused_stream_is_an_error_at_once() {
        let server =
            TestServer::start(vec![CannedResponse::new(404).body(r#"{"detail":"Session not found: x"}"#)])
                .await;
        let error = client(&server).follow_session("x", 0).next().await.unwrap_err();
        assert_eq!(error.status(), Some(404));
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_no_stream_is_said_to_be_none() {
        let server =
            TestServer::start(vec![CannedResponse::new(200).header("content-type", "application/json")])
                .await;
        let error = client(&server).follow_session("x", 0).next().await.unwrap_err();
        assert!(error.to_string().contains("no event stream"), "{error}");
    }

    #[tokio::test]
    async fn an_event_that_cannot_be_read_is_an_error_and_nothing_after_it_is_skipped() {
        let broken = CannedResponse::new(200).header("content-type", "text/event-stream");
        let whole = event(1, "session.started");
        let broken =
            broken.body(format!("id: 1\ndata: {whole}\n\nid: 2\ndata: {{oops\n\nid: 3\ndata: {{}}\n\n"));
        let server = TestServer::start(vec![broken, stream(&[(2, "session.completed")])]).await;
        let mut events = client(&server).follow_session("x", 0);
        assert!(matches!(events.next().await, Err(Error::Unreadable { .. })));
        assert_eq!(events.next().await.unwrap().unwrap().sequence, 1);
        assert_eq!(events.next().await.unwrap().unwrap().sequence, 2);
        assert_eq!(server.requests()[1].header("last-event-id"), "1");
    }

    #[tokio::test]
    async fn patience_has_an_end() {
        let server = TestServer::start((0..20).map(|_| CannedResponse::new(503)).collect()).await;
        let error = client(&server).follow_session("x", 5).next().await.unwrap_err();
        assert_eq!(error.status(), Some(503));
        assert_eq!(server.requests().len(), 10);
    }

    #[tokio::test]
    async fn what_a_later_server_tells_is_read_and_its_text_is_kept() {
        let invented = event(1, "weather.changed").replace(r#""info""#, r#""loud""#);
        let invented = invented.replace(r#""data":{}"#, r#""data":{"wind":"strong"},"invented":true"#);
        let body = format!("id: 1\nevent: weather.changed\ndata: {invented}\n\n");
        let answer = CannedResponse::new(200).header("content-type", "text/event-stream").body(body);
        let server = TestServer::start(vec![answer]).await;
        let mut events = client(&server).follow_session("ses_1", 0);
        let read = events.next().await.unwrap().unwrap();
        assert_eq!((read.kind.as_str(), read.level), ("weather.changed", LogLevel::Unknown));
        assert_eq!(events.text(), invented);
    }

    #[test]
    fn a_gap_is_told_as_an_event_in_the_place_of_its_last_entry() {
        let data = serde_json::to_string(&GapView::new(3, 9)).unwrap();
        let frame = Frame { id: "9".into(), kind: "gap".into(), data };
        let event = read_event(&frame, Timestamp::from_seconds(5)).unwrap();
        assert_eq!((event.sequence, event.kind.as_str()), (9, "gap"));
        assert_eq!(event.message, "Entries 3 to 9 are no longer kept");
        assert_eq!((event.timestamp, event.ends_session()), (Timestamp::from_seconds(5), false));
    }
}
