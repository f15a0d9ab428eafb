//! The requests that wait for a reply. All replies of a node come to one subscription.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::BusError;

/// Requests that may wait for their reply.
const WAITING_MAX: usize = 65_536;

/// The requests that wait for a reply.
pub(super) struct Replies {
    /// Where replies come in, of this process alone.
    name: OnceLock<String>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
}

/// The wait for one reply. It ends when it is dropped.
pub(super) struct Pending<'a> {
    replies: &'a Replies,
    id: u64,
    receiver: oneshot::Receiver<Message>,
}

impl Replies {
    pub(super) fn new() -> Self {
        Self { name: OnceLock::new(), next: AtomicU64::new(0), waiting: Mutex::default() }
    }

    pub(super) fn named(&self, name: String) {
        let _ = self.name.set(name);
    }

    pub(super) fn name(&self) -> &str {
        self.name.get().map_or("none", String::as_str)
    }

    /// Begins to wait for a reply.
    pub(super) fn expect_one(&self) -> Result<Pending<'_>, BusError> {
        let (sender, receiver) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAITING_MAX {
            return Err(BusError::Unavailable(
                "more requests wait for a reply than there is room for".to_owned(),
            ));
        }
        waiting.insert(id, sender);
        Ok(Pending { replies: self, id, receiver })
    }

    /// Hands a reply to the request that it is for, where that still waits.
    pub(super) fn take(&self, reply: Message) {
        let id = reply.subject.rsplit('.').next().and_then(|id| id.parse().ok());
        if let Some(sender) = id.and_then(|id: u64| self.waiting.lock().remove(&id)) {
            let _ = sender.send(reply);
        }
    }

    /// The connection is lost, and with it all replies.
    pub(super) fn fail_all(&self) {
        self.waiting.lock().clear();
    }
}

impl Pending<'_> {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the reply; `None` where NATS says that nobody is there to give one.
    pub(super) async fn reply(mut self) -> Result<Option<Bytes>, BusError> {
        match (&mut self.receiver).await {
            Ok(reply) if reply.status == Some(StatusCode::NO_RESPONDERS) => Ok(None),
            Ok(reply) => Ok(Some(reply.payload)),
            Err(_) => {
                let lost = "the connection was lost while a reply was waited for; what was asked for may have been done";
                Err(BusError::Unavailable(lost.to_owned()))
            }
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.replies.waiting.lock().remove(&self.id);
    }
}
