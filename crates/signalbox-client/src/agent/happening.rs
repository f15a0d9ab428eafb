//! What happens in an agent, and who is told of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::call::Kind;
use super::failure::Failure;

/// What happens in an agent, for its log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Happening {
    /// Work was taken.
    Taken {
        /// What it is.
        kind: Kind,
        /// The task's name, the message's type, the command or the subject.
        name: String,
        /// Which try of it this is.
        attempt: u32,
    },
    /// Work came again and was dropped.
    Repeated {
        /// The message.
        message_id: String,
    },
    /// The handler is done.
    Done {
        /// What it was.
        kind: Kind,
        /// The task's name, the message's type, the command or the subject.
        name: String,
        /// Why it failed, if it did.
        failure: Option<Failure>,
    },
    /// A report or an answer did not get through and is given up.
    Unreported {
        /// The state that was to be reported.
        state: String,
        /// Why.
        reason: String,
    },
    /// The agent is connected.
    Connected {
        /// The server's id of the connection.
        connection_id: String,
    },
    /// The agent is not connected, and will try again.
    Disconnected {
        /// Why.
        reason: String,
        /// After how long it tries again.
        retry_in: Duration,
    },
    /// Something is missing and does not come any more.
    Gap {
        /// What is missing and why, as the server tells it.
        data: Value,
    },
    /// Another agent subscribed to what this one is told the presence of, or ended that.
    Presence {
        /// Who, where and what, as the server tells it.
        data: Value,
    },
    /// The server refused something that the agent sent.
    Refused {
        /// What and why, as the server tells it.
        data: Value,
    },
    /// The agent is over and does not try again.
    Ended {
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
