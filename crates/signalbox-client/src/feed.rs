//! [`Feed`]: any stream of events of the server, as the texts that it sent. The invariant: whatever breaks, the caller gets
//! every entry once and in order, because the stream is resumed after the last one that it was given.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::info;

use crate::client::{Client, ListQuery};
use crate::edge;
use crate::error::Error;
use crate::sse::{Frame, Parser};

/// How long a stream may be silent before it is taken for dead; servers send a comment well before.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the head of the answer may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Refusals in a row after which the stream gives up.
const REFUSALS_MAX: u32 = 10;

/// A stream of the server's that does not end, followed live. See [`Client::follow`].
#[derive(Debug)]
pub struct Feed {
    client: Client,
    path: Vec<String>,
    query: ListQuery,
    last: String,
    body: Option<Incoming>,
    parser: Parser,
    waiting: VecDeque<Frame>,
    /// Tries in a row that brought nothing; what the next wait grows with.
    fruitless: u32,
    /// Tries in a row that were refused.
    refused: u32,
    resume_at: Option<Instant>,
    heard_at: Instant,
}

impl Client {
    /// Follows what a path of the API streams, such as `["v1", "opscore", "logs"]`: after the entry with the sequence
    /// `after`, or from now on where that is 0 and no filter says otherwise.
    #[must_use]
    pub fn follow(&self, path: &[&str], query: &ListQuery, after: u64) -> Feed {
        Feed {
            client: self.clone(),
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: query.clone(),
            last: if after > 0 { after.to_string() } else { String::new() },
            body: None,
            parser: Parser::default(),
            waiting: VecDeque::new(),
            fruitless: 0,
            refused: 0,
            resume_at: None,
            heard_at: Instant::now(),
        }
    }
}

impl Feed {
    /// The next entry as JSON, as the server sent it; `None` when there will be none. A call that is dropped loses no
    /// entry.
    ///
    /// # Errors
    /// [`Error`] when the server refuses the stream for good or ten times in a row.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                if !frame.id.is_empty() {
                    self.last = frame.id;
                }
                return Ok(Some(frame.data));
            }
            if self.body.is_none() && !self.open().await? {
                return Ok(None);
            }
            let Some(body) = &mut self.body else { continue };
            let heard = timeout_at(self.heard_at + SILENCE_MAX, body.frame()).await;
            self.take(heard.ok().flatten().and_then(Result::ok).and_then(|frame| frame.into_data().ok()))?;
        }
    }

    /// Opens the stream; `false` where it is over.
    async fn open(&mut self) -> Result<bool, Error> {
        loop {
            if let Some(resume_at) = self.resume_at {
                sleep_until(resume_at).await;
            }
            match self.request().await {
                Ok(Some(body)) => {
                    (self.body, self.parser) = (Some(body), Parser::default());
                    self.refused = 0;
                    self.heard_at = Instant::now();
                    return Ok(true);
                }
                Ok(None) => return Ok(false),
                Err(error) => {
                    self.put_off();
                    self.refused += 1;
                    let is_patient = self.client.policy.attempts_max > 1 && self.refused < REFUSALS_MAX;
                    if !is_patient || !error.is_transient() {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn request(&self) -> Result<Option<Incoming>, Error> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let mut call = self.client.get(&path).list(&self.query).header("accept", "text/event-stream");
        if !self.last.is_empty() {
            call = call.header("last-event-id", &self.last);
        }
        let request = call.into_request()?;
        let url = request.uri().to_string();
        let response = timeout(OPEN_TIMEOUT, self.client.transport.open(request))
            .await
            .map_err(|_| Error::Timeout { url: url.clone(), after: OPEN_TIMEOUT })??;
        if response.status() == http::StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
        if !kind.starts_with("text/event-stream") {
            return Err(Error::unreadable(&url, format!("'{kind}' is no event stream")));
        }
        Ok(Some(response.into_body()))
    }

    /// Takes what was read; nothing where the stream broke, ended or was silent for too long.
    fn take(&mut self, bytes: Option<bytes::Bytes>) -> Result<(), Error> {
        let Some(bytes) = bytes else {
            self.body = None;
            self.put_off();
            return Ok(());
        };
        self.heard_at = Instant::now();
        self.fruitless = 0;
        match self.parser.push(&bytes) {
            Ok(frames) => self.waiting.extend(frames),
            Err(fault) => {
                self.body = None;
                return Err(Error::unreadable(&format!("the stream of /{}", self.path.join("/")), fault));
            }
        }
        Ok(())
    }

    /// Puts the next try off, by the client's jitter and no less than the server asked for.
    fn put_off(&mut self) {
        self.fruitless += 1;
        let asked = self.parser.retry().unwrap_or_default().min(self.client.policy.wait_max);
        let wait = self.client.policy.jitter(self.fruitless, edge::fraction()) + asked;
        self.resume_at = Some(Instant::now() + wait);
        info!(target: crate::sse::TARGET, stream = self.path.join("/").as_str(), retry_in = ?wait, "the stream broke off and is resumed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::RetryPolicy;
    use crate::test_server::{CannedResponse, TestServer};

    fn stream(entries: &[u64]) -> CannedResponse {
        let body: String =
            entries.iter().map(|id| format!("id: {id}\nevent: x\ndata: {{\"n\":{id}}}\n\n")).collect();
        CannedResponse::new(200).header("content-type", "text/event-stream").body(body)
    }

    #[tokio::test]
    async fn a_broken_stream_is_resumed_after_the_last_entry() {
        let server = TestServer::start(vec![
            stream(&[1, 2]),
            CannedResponse::new(503),
            stream(&[3]),
            CannedResponse::new(204),
        ])
        .await;
        let policy = RetryPolicy { wait_first: Duration::from_millis(1), ..RetryPolicy::default() };
        let client = Client::new(&server.url(), Some("k")).unwrap().with_retry(policy);
        let mut feed = client.follow(&["v1", "x"], &ListQuery::new().filter("level", "error"), 0);
        for expected in [Some("{\"n\":1}"), Some("{\"n\":2}"), Some("{\"n\":3}"), None] {
            assert_eq!(feed.next().await.unwrap().as_deref(), expected);
        }
    }
}
