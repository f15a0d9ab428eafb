//! What happens in an agent, and who is told of it.

use std::fmt;
use std::sync::Arc;

/// What happens in an agent, for its log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// A message was taken.
    Taken {
        /// Its task's name, or its type.
        name: String,
        /// Which try of the delivery brought it.
        attempt: u32,
    },
    /// A message came again and was dropped.
    Repeated {
        /// The message.
        message_id: String,
    },
    /// The handler is done.
    Done {
        /// The task's name, or the message's type.
        name: String,
        /// Why it failed, if it did.
        failure: Option<String>,
    },
    /// A report did not get through and is given up.
    Unreported {
        /// The state that was to be reported.
        state: String,
        /// Why.
        reason: String,
    },
}

/// Who is told of an agent's happenings.
#[derive(Clone)]
pub(super) struct Observer(Arc<dyn Fn(Happening) + Send + Sync>);

impl Observer {
    pub(super) fn new(observer: impl Fn(Happening) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observer))
    }

    pub(super) fn tell(&self, happening: Happening) {
        (self.0)(happening);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
