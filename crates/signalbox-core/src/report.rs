//! What an agent said of itself.

use serde::{Deserialize, Serialize};
use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

use crate::task_attempt::TaskAttempt;

/// One report of an agent's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The word it used, as sent.
    pub state: String,
    /// What it said besides, as sent.
    pub details: Option<RawObject>,
    /// When it says that this was so.
    pub timestamp: Timestamp,
    /// Whether it was about a task it held, not about the agent as a whole.
    pub about_task: bool,
    /// The moment that it counts as, where that is not its timestamp: of one that is too far ahead, of one from a process whose
    /// clock is behind, and of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_as: Option<Timestamp>,
    /// Of an answer to a delivery, which bears the server's time and does not come again: the timestamp that it is
    /// ordered by, which is that of what the agent said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_after: Option<Timestamp>,
    /// The attempt that it settles once the delivery of it is answered, while that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits_delivery: Option<Box<AwaitedDelivery>>,
}

/// The delivery that a report waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitedDelivery {
    /// The attempt that it carries.
    pub attempt: TaskAttempt,
    /// When the report was received.
    pub received_at: Timestamp,
}

/// A report that the order of timestamps alone would let count once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub(crate) timestamp: Timestamp,
    pub(crate) hash: u64,
}

impl Report {
    /// What an agent says of itself as a whole, with nothing besides.
    #[must_use]
    pub fn plain(state: String, timestamp: Timestamp) -> Self {
        Self {
            state,
            details: None,
            timestamp,
            about_task: false,
            counts_as: None,
            answered_after: None,
            awaits_delivery: None,
        }
    }

    /// The moment that it counts as.
    pub(crate) fn moment(&self) -> Timestamp {
        self.counts_as.unwrap_or(self.timestamp)
    }

    /// Whether it was given as the answer to a delivery.
    pub(crate) fn is_answer(&self) -> bool {
        self.answered_after.is_some()
    }

    /// What tells it from others.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let details = self.details_text().unwrap_or_default();
        // FNV-1a: it has to be the same in every process and every release.
        let bytes = self.state.bytes().chain([0]).chain(details.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Fingerprint { timestamp: self.timestamp, hash }
    }

    /// Whether it says the same as another, of the same moment.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp
            && self.state == other.state
            && self.details_text() == other.details_text()
    }

    pub(crate) fn details_text(&self) -> Option<&str> {
        self.details.as_ref().map(RawObject::as_str)
    }
}

/// What a reported state word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Ready for work: `idle`, `finished`, `completed`.
    Done,
    /// At work: `active`, `busy`.
    Working,
    /// Something went wrong: `error`, `failed`.
    Failed,
    /// Not available: `initializing`, `offline` and every unknown word.
    Away,
}

impl Meaning {
    /// The meaning of a state word, compared without case.
    #[must_use]
    pub fn of(state: &str) -> Self {
        let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(state));
        if is(&["idle", "finished", "completed"]) {
            Self::Done
        } else if is(&["active", "busy"]) {
            Self::Working
        } else if is(&["error", "failed"]) {
            Self::Failed
        } else {
            Self::Away
        }
    }
}
