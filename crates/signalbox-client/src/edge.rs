//! The client's only reach for the clock and for randomness; everything else takes them as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use signalbox_wire::time::Timestamp;

/// The time now, in whole microseconds.
#[expect(clippy::disallowed_methods, reason = "a client stands at the edge and reads its own clock")]
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// A random fraction in `[0, 1)`, for jitter.
pub(crate) fn fraction() -> f64 {
    rand::random()
}

/// A key that no other call has: 128 random bits in hex.
pub(crate) fn unique_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Sixteen bytes that nobody can guess.
pub(crate) fn random_bytes() -> [u8; 16] {
    rand::random()
}
