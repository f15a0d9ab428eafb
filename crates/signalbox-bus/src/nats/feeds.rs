//! What this node is subscribed to. However many read one pattern here, NATS sends each message once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::subscription::Queue;
use crate::{Message, Pattern};

/// The patterns that are read on this node.
#[derive(Default)]
pub(super) struct Feeds {
    by_pattern: Mutex<HashMap<Pattern, Open>>,
    next_reader: AtomicU64,
}

struct Open {
    feed: Arc<Feed>,
    task: AbortHandle,
}

/// What comes by one pattern, and who reads it.
pub(super) struct Feed {
    readers: Mutex<Vec<(u64, Arc<Queue>)>>,
    is_taken: watch::Sender<bool>,
}

impl Feeds {
    /// Adds a reader; where it is the first of its pattern, `open` begins to fill its feed.
    pub(super) fn add(
        &self,
        pattern: &Pattern,
        queue: &Arc<Queue>,
        open: impl FnOnce(Arc<Feed>) -> AbortHandle,
    ) -> (Arc<Feed>, u64) {
        let id = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let mut by_pattern = self.by_pattern.lock();
        let found = by_pattern.entry(pattern.clone()).or_insert_with(|| {
            let feed = Arc::new(Feed { readers: Mutex::default(), is_taken: watch::Sender::new(false) });
            Open { task: open(Arc::clone(&feed)), feed }
        });
        found.feed.readers.lock().push((id, Arc::clone(queue)));
        (Arc::clone(&found.feed), id)
    }

    /// Removes a reader, and with the last one the feed.
    pub(super) fn remove(&self, pattern: &Pattern, id: u64) {
        let mut by_pattern = self.by_pattern.lock();
        let Some(found) = by_pattern.get(pattern) else { return };
        let is_last = {
            let mut readers = found.feed.readers.lock();
            readers.retain(|(reader, _)| *reader != id);
            readers.is_empty()
        };
        if is_last && let Some(last) = by_pattern.remove(pattern) {
            last.task.abort();
        }
    }

    /// NATS is away: readers are told before they get anything that comes after.
    pub(super) fn cut(&self) {
        self.each(Queue::cut);
    }

    /// Tells all readers that they may have missed something.
    pub(super) fn gap(&self) {
        self.each(Queue::gap);
    }

    fn each(&self, act: impl Fn(&Queue)) {
        for open in self.by_pattern.lock().values() {
            open.feed.readers.lock().iter().for_each(|(_, queue)| act(queue));
        }
    }
}

impl Feed {
    /// Gives a message to all readers.
    pub(super) fn push(&self, message: Message) {
        let readers = self.readers.lock();
        if let [(_, only)] = readers.as_slice() {
            return only.push(message);
        }
        readers.iter().for_each(|(_, queue)| queue.push(message.clone()));
    }

    /// NATS knows of it.
    pub(super) fn taken(&self) {
        self.is_taken.send_replace(true);
    }

    /// Waits until NATS knows of it.
    pub(super) async fn is_taken(&self) {
        // The sender is this feed's own.
        let _ = self.is_taken.subscribe().wait_for(|is_taken| *is_taken).await;
    }
}
