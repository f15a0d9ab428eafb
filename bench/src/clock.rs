//! The two clocks of a measurement: monotonic for durations, wall time for what is written down and for the
//! instants that two processes compare.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "durations are what this crate measures")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "results are dated, and reports carry the time they are sent")]
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn unix_micros() -> u64 {
    u64::try_from(wall().as_micros()).unwrap_or(u64::MAX)
}

/// Today in UTC, as `2026-11-21`.
pub(crate) fn today() -> String {
    let mut text = rfc3339_second(unix_micros() / 1_000_000);
    text.truncate(10);
    text
}

/// A second since the epoch, as `2026-11-21T00:51:46`, without an offset.
pub(crate) fn rfc3339_second(unix_second: u64) -> String {
    let second = i64::try_from(unix_second).unwrap_or(0);
    let mut text = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
    text.truncate(19);
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_second_is_nineteen_characters() {
        assert_eq!(super::rfc3339_second(1_795_222_306), "2026-11-21T00:51:46");
        assert_eq!(super::rfc3339_second(0), "1970-01-01T00:00:00");
    }
}
