//! Due work: one queue for everything that must still happen, whatever it is.
//!
//! A piece of due work has an id that never changes, so that adding it twice is adding it once. It is done at
//! least once: whoever does it reports the outcome as the next event, and the decision on that event removes
//! it. Coming late, early or twice changes nothing.

use serde::{Deserialize, Serialize};
use signalbox_wire::id::{MessageId, SessionId, TaskId};
use signalbox_wire::time::Timestamp;

/// Something that must still happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// What it is.
    pub work: Work,
    /// Not before this moment.
    pub at: Timestamp,
}

/// The kinds of due work.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Send a message to its destination.
    Deliver {
        /// The message.
        message: MessageId,
    },
    /// The attempt has had its time.
    Timeout {
        /// The session.
        session: SessionId,
        /// The task.
        task: TaskId,
        /// The attempt that is timed.
        attempt: u32,
    },
    /// The wait before the next attempt is over.
    Retry {
        /// The session.
        session: SessionId,
        /// The task.
        task: TaskId,
        /// The attempt that failed.
        attempt: u32,
    },
}

impl Work {
    /// Its id: equal work has an equal id.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Deliver { message } => format!("deliver:{message}"),
            Self::Timeout { task, attempt, .. } => format!("timeout:{task}-{attempt}"),
            Self::Retry { task, attempt, .. } => format!("retry:{task}-{attempt}"),
        }
    }

    /// Its kind, as a metric's label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Deliver { .. } => "deliver",
            Self::Timeout { .. } => "timeout",
            Self::Retry { .. } => "retry",
        }
    }
}
