//! Server-sent events over the log: any node can serve any stream, and none misses an entry.
//!
//! A stream reads a page from the store after the last entry that it has looked at, sends it, and only then
//! reads on, so that a slow reader holds one page and nobody up. With nothing left to read it waits for a word
//! from the bus, or for a slow poll. The bus only wakes: what is sent is what is stored. Where entries are no
//! longer kept, a `gap` event says which.

mod chunk;
mod deadline;
mod log;
mod pulled;
mod session;

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use signalbox_bus::{WakeUps, Woken};
use signalbox_store::{Store, StoreError, StoredEvent};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::auth::{AuthError, Authenticator, Caller};
use crate::telemetry::metrics::{Metrics, Open};

pub(crate) use chunk::Chunk;
pub(crate) use deadline::WriteDeadline;
pub(crate) use log::{LogTail, newest};
pub(crate) use session::SessionHistory;

/// Entries of one page, at most: what a stream holds in memory while its reader is slow.
const PAGE_ENTRIES: usize = 32;
/// After so long without a word from the bus, the store is asked anyway.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// After so long without an entry, a comment shows that the stream is alive.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How often a stream's credentials are looked at again.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// The least time between two looks at the store that find nothing: a busy log wakes all who follow it.
const REST: Duration = Duration::from_millis(10);

/// Whether a request asks for a stream instead of a page.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| {
        media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// The entry that a stream is to be resumed after, where the request names one.
pub(crate) fn resumed_after(headers: &HeaderMap) -> Result<Option<u64>, Vec<Fault>> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.trim().parse().ok()) {
        Some(sequence) => Ok(Some(sequence)),
        None => Err(not_of_this_stream()),
    }
}

/// What is wrong with a `Last-Event-ID` that the stream cannot have sent.
pub(crate) fn not_of_this_stream() -> Vec<Fault> {
    vec![Fault::new("/headers/Last-Event-ID", "must be the id of an event of this stream")]
}

/// What streams are made from; cheap to clone.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) store: Store,
    pub(crate) wake_ups: WakeUps,
    pub(crate) authenticator: Authenticator,
    pub(crate) metrics: Metrics,
    /// Cancelled when the server begins to drain: streams end then.
    pub(crate) draining: CancellationToken,
}

/// Something whose entries can be read on from where it was left.
pub(crate) trait Source: Send + 'static {
    /// What there is to send now. `news` is how far the log has come by the last word of the bus.
    fn read(&mut self, store: &Store, news: u64) -> impl Future<Output = Result<Read, StoreError>> + Send;
}

/// What came of a look at a source.
pub(crate) enum Read {
    /// Something to send.
    Chunk(Chunk),
    /// Nothing to send so far, and more to look at.
    More,
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    Over,
}

/// Makes an entry's JSON in a surface's words.
pub(crate) trait EntryView: Send + 'static {
    fn json(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        event: &StoredEvent,
    ) -> impl Future<Output = Result<Vec<u8>, StoreError>> + Send;
}

/// By what right a stream is read; looked at again while it lasts, so that a revoked key ends it.
pub(crate) struct Access {
    headers: HeaderMap,
    path: &'static str,
    caller: Caller,
}

impl Access {
    /// The access of a request to `path` (or what it begins with) that was found to come from `caller`.
    pub(crate) fn new(headers: &HeaderMap, path: &'static str, caller: Caller) -> Self {
        let names = [header::AUTHORIZATION, HeaderName::from_static("x-tenant-id")];
        let headers =
            names.into_iter().filter_map(|name| Some((name.clone(), headers.get(&name)?.clone()))).collect();
        Self { headers, path, caller }
    }

    async fn holds(&self, authenticator: &Authenticator) -> bool {
        match authenticator.caller(&self.headers, self.path).await {
            Ok(caller) => caller == self.caller,
            Err(AuthError::Denied(_)) => false,
            // A store that cannot answer now proves nothing, and neither does a limit.
            Err(AuthError::Over(_) | AuthError::Store(_)) => true,
        }
    }
}

impl Streams {
    /// Answers with a stream of what `source` has and will have, until it is over or the server drains.
    pub(crate) async fn follow(&self, access: Access, source: impl Source) -> Response {
        let log = self.wake_ups.log(&access.caller.tenant).await;
        let revoked = self.wake_ups.revoked_keys().await;
        let now = Instant::now();
        let following = Following {
            _open: self.metrics.stream(),
            streams: self.clone(),
            log,
            revoked,
            access,
            source,
            news: 0,
            check_at: now + CHECK_EVERY,
            speak_at: now + KEEP_ALIVE_EVERY,
        };
        let mut response = Response::new(Body::new(pulled::Pulled::new(following)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A proxy that gathers an answer before it passes it on would hold the stream back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

/// A stream under way.
struct Following<S> {
    _open: Open,
    streams: Streams,
    log: Woken,
    revoked: Woken,
    access: Access,
    source: S,
    news: u64,
    check_at: Instant,
    speak_at: Instant,
}

impl<S: Source> pulled::Pull for Following<S> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.streams.draining.is_cancelled() || !self.may_go_on().await {
                return None;
            }
            if Instant::now() >= self.speak_at {
                return Some(self.speak(Bytes::from_static(chunk::KEEP_ALIVE)));
            }
            match self.source.read(&self.streams.store, self.news).await {
                Ok(Read::Chunk(chunk)) => return Some(self.speak(chunk.into_bytes())),
                Ok(Read::More) => {}
                Ok(Read::Nothing) => self.wait().await,
                Ok(Read::Over) => return None,
                Err(error) => {
                    // Whoever follows comes back and resumes.
                    tracing::warn!(%error, "a stream ends because the store cannot answer");
                    return None;
                }
            }
        }
    }
}

impl<S: Source> Following<S> {
    async fn may_go_on(&mut self) -> bool {
        let now = Instant::now();
        if now < self.check_at {
            return true;
        }
        self.check_at = now + CHECK_EVERY;
        self.access.holds(&self.streams.authenticator).await
    }

    fn speak(&mut self, piece: Bytes) -> Bytes {
        self.speak_at = Instant::now() + KEEP_ALIVE_EVERY;
        piece
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self) {
        let rested_at = Instant::now() + REST;
        tokio::select! {
            () = self.streams.draining.cancelled() => return,
            () = sleep_until(self.speak_at) => return,
            news = self.log.sequence() => self.news = news,
            _ = self.revoked.next() => {
                self.check_at = Instant::now();
                return;
            }
            () = sleep(POLL_EVERY) => {}
        }
        sleep_until(rested_at).await;
    }
}

#[cfg(test)]
mod tests;
