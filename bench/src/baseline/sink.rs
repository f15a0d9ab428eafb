//! Where deliveries end: an endpoint that answers 200 and remembers which messages came, and when the last did.
//!
//! A repeat of a message is told apart by `x-message-id`, so that at-least-once delivery cannot pass for speed.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock;

/// Room for the messages of a round, so that growing the set does not show in its latency.
const MESSAGES_EXPECTED: usize = 1 << 21;

/// What a sink has received since it was last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Messages by their id; one without an id counts each time.
    pub(crate) messages: u64,
    /// Deliveries of a message that had come before.
    pub(crate) repeats: u64,
    pub(crate) last_unix_us: u64,
}

#[derive(Default)]
struct Log {
    seen: Seen,
    ids: HashSet<u64>,
}

#[derive(Clone, Default)]
struct Sink {
    log: Arc<Mutex<Log>>,
    hasher: RandomState,
}

/// POST to any path counts; `GET /seen` tells, `POST /reset` forgets.
pub(crate) fn routes() -> Router {
    let sink = Sink::default();
    sink.log.lock().ids.reserve(MESSAGES_EXPECTED);
    Router::new()
        .route("/seen", get(async |State(sink): State<Sink>| Json(sink.log.lock().seen.clone())))
        .route("/reset", post(async |State(sink): State<Sink>| sink.forget()))
        .fallback(post(async |State(sink): State<Sink>, headers: HeaderMap, _body: Bytes| {
            sink.receive(&headers)
        }))
        .with_state(sink)
}

impl Sink {
    fn receive(&self, headers: &HeaderMap) -> StatusCode {
        let id = headers.get("x-message-id").map(|id| self.hasher.hash_one(id.as_bytes()));
        let now_us = clock::unix_micros();
        let mut log = self.log.lock();
        if id.is_none_or(|id| log.ids.insert(id)) {
            log.seen.messages += 1;
            log.seen.last_unix_us = now_us;
        } else {
            log.seen.repeats += 1;
        }
        StatusCode::OK
    }

    fn forget(&self) -> StatusCode {
        let mut log = self.log.lock();
        log.seen = Seen::default();
        log.ids.clear();
        StatusCode::OK
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_repeat_is_counted_apart_and_does_not_move_the_end() {
        let sink = Sink::default();
        let mut headers = HeaderMap::new();
        sink.receive(&headers);
        sink.receive(&headers);
        headers.insert("x-message-id", HeaderValue::from_static("msg_1"));
        sink.receive(&headers);
        let last = sink.log.lock().seen.clone();
        sink.receive(&headers);
        assert_eq!(sink.log.lock().seen, Seen { messages: 3, repeats: 1, ..last });
        sink.forget();
        assert_eq!(sink.log.lock().seen, Seen::default());
        sink.receive(&headers);
        assert_eq!(sink.log.lock().seen.messages, 1);
    }
}
