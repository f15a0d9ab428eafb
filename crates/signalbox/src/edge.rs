//! The commands' only reach for the clock; everything else takes the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use signalbox_client::Timestamp;

/// The time now, in whole microseconds.
#[expect(clippy::disallowed_methods, reason = "a command stands at the edge and reads its own clock")]
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
