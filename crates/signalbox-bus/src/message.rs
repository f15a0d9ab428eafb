//! A message on its way, and the way back for a reply to it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::Subject;

/// A message as a subscriber gets it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it was published.
    pub subject: Subject,
    /// What was published.
    pub payload: Bytes,
    /// The way back, where a reply is waited for.
    pub reply: Option<Reply>,
}

/// The way back to whoever sent a request. Of several replies the first one counts.
#[derive(Clone)]
pub struct Reply(Arc<dyn Fn(Bytes) + Send + Sync>);

impl Reply {
    /// A way back that `send` carries.
    pub fn new(send: impl Fn(Bytes) + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Replies. A reply that nobody waits for any more is dropped.
    pub fn send(&self, payload: Bytes) {
        (self.0)(payload);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}
