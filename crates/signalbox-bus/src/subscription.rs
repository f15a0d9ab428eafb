//! A subscription: messages that wait for their reader, within a bound.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Message;

/// What of the messages that a reader has not taken yet is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffer {
    /// The newest message only, for wake-ups: one that says more replaces the one before.
    Newest,
    /// All, within these bounds; what comes over them is dropped, and the reader is told how many.
    Bounded {
        /// Messages, at most.
        messages: usize,
        /// Bytes of their payloads, at most.
        bytes: usize,
    },
}

/// What a reader gets.
#[derive(Debug)]
pub enum Received {
    /// The next message.
    Message(Message),
    /// So many messages came here while the buffer was full, and are gone. 0 where nobody knows how many, if any: the
    /// bus was away.
    Missed(u64),
}

impl Received {
    /// The message, where it is one.
    #[must_use]
    pub fn message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Missed(_) => None,
        }
    }
}

/// Messages to one reader. It ends when it is dropped.
pub struct Subscription {
    queue: Arc<Queue>,
    unsubscribe: Option<Box<dyn FnOnce() + Send + Sync>>,
}

/// The messages of one subscription that wait; a backend puts them in.
pub(crate) struct Queue {
    buffer: Buffer,
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    messages: usize,
    bytes: usize,
    missed: u64,
    /// The bus is away: whatever comes next comes after a gap.
    is_cut: bool,
}

/// What waits for the reader, in the order in which it came.
enum Entry {
    Message(Message),
    /// Messages may be missing here.
    Gap,
}

impl Waiting {
    /// One gap after another says no more than the first.
    fn push_gap(&mut self) {
        if !matches!(self.entries.back(), Some(Entry::Gap)) {
            self.entries.push_back(Entry::Gap);
        }
    }
}

impl Queue {
    pub(crate) fn new(buffer: Buffer) -> Arc<Self> {
        Arc::new(Self { buffer, waiting: Mutex::default(), news: Notify::new() })
    }

    /// Adds a message, or counts it as missed; never waits.
    pub(crate) fn push(&self, message: Message) {
        {
            let mut waiting = self.waiting.lock();
            if std::mem::take(&mut waiting.is_cut) {
                waiting.push_gap();
            }
            match self.buffer {
                Buffer::Newest => {
                    waiting.entries.clear();
                    waiting.messages = 0;
                }
                Buffer::Bounded { messages, bytes } => {
                    let is_full = waiting.messages >= messages
                        || waiting.bytes.saturating_add(message.payload.len()) > bytes;
                    // Once one is missed, those after it are too until the reader knows: it must see no gap that it
                    // is not told of.
                    if is_full || waiting.missed > 0 {
                        waiting.missed += 1;
                        drop(waiting);
                        self.news.notify_one();
                        return;
                    }
                    waiting.bytes += message.payload.len();
                }
            }
            waiting.messages += 1;
            waiting.entries.push_back(Entry::Message(message));
        }
        self.news.notify_one();
    }

    /// The bus is away: the reader is told before it gets anything that comes after.
    pub(crate) fn cut(&self) {
        self.waiting.lock().is_cut = true;
    }

    /// Messages may be missing from here: the reader is told now.
    pub(crate) fn gap(&self) {
        {
            let mut waiting = self.waiting.lock();
            waiting.is_cut = false;
            waiting.push_gap();
        }
        self.news.notify_one();
    }

    fn take(&self) -> Option<Received> {
        let mut waiting = self.waiting.lock();
        match waiting.entries.pop_front() {
            Some(Entry::Message(message)) => {
                waiting.messages = waiting.messages.saturating_sub(1);
                waiting.bytes = waiting.bytes.saturating_sub(message.payload.len());
                return Some(Received::Message(message));
            }
            Some(Entry::Gap) => return Some(Received::Missed(0)),
            None => {}
        }
        match std::mem::take(&mut waiting.missed) {
            0 => None,
            missed => Some(Received::Missed(missed)),
        }
    }
}

impl Subscription {
    pub(crate) fn new(queue: Arc<Queue>, unsubscribe: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { queue, unsubscribe: Some(Box::new(unsubscribe)) }
    }

    /// Waits for the next message, or for the news that some were missed. Nothing is lost when the wait is dropped.
    pub async fn recv(&mut self) -> Received {
        loop {
            if let Some(received) = self.queue.take() {
                return received;
            }
            self.queue.news.notified().await;
        }
    }

    /// What is there already.
    pub fn try_recv(&mut self) -> Option<Received> {
        self.queue.take()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(unsubscribe) = self.unsubscribe.take() {
            unsubscribe();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("buffer", &self.queue.buffer).finish_non_exhaustive()
    }
}
