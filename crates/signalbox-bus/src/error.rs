//! Why the bus did not do what it was asked for.

use std::time::Duration;

use crate::address::BadAddress;
use crate::subject::Subject;

/// The largest payload, in bytes; NATS takes no more by default.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// A text is no prefix of subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be one or more parts of letters, digits, _ and - with dots between them, such as signalbox.eu, of at most 100 characters"
)]
pub struct BadPrefix;

/// Why the bus did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The address names no bus.
    #[error("the address of the bus {0}")]
    BadAddress(#[from] BadAddress),
    /// The payload is too large.
    #[error("a message of {bytes} bytes is too large for the bus; {PAYLOAD_BYTES_MAX} are the most")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Nobody answers on the subject.
    #[error("nobody answers on {0}")]
    NoResponders(Subject),
    /// Somebody listens on the subject, and no reply came in time.
    #[error("no reply came on {subject} within {} ms", within.as_millis())]
    TimedOut {
        /// Where the request went.
        subject: Subject,
        /// How long it was waited for.
        within: Duration,
    },
    /// The bus cannot be reached, or has more to send than it may hold.
    #[error("the bus is not available: {0}; what is durable goes on, try the rest again later")]
    Unavailable(String),
}
