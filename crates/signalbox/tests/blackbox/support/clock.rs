//! The one place where the tests read a clock.

use std::time::{Duration, Instant, SystemTime};

/// Both clocks at one moment.
pub(crate) struct Now {
    pub(crate) instant: Instant,
    wall: SystemTime,
}

#[expect(clippy::disallowed_methods, reason = "tests from outside live in real time")]
pub(crate) fn now() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::now() }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> i64 {
    jiff::Timestamp::try_from(now().wall).expect("a date of today").as_second()
}

/// The time as the wire writes it.
pub(crate) fn iso() -> String {
    jiff::Timestamp::try_from(now().wall).expect("a date of today").to_string()
}

/// The time so many seconds from now, or before now.
pub(crate) fn iso_from_now(seconds: i64) -> String {
    let at = if seconds < 0 {
        now().wall - Duration::from_secs(seconds.unsigned_abs())
    } else {
        now().wall + Duration::from_secs(seconds.unsigned_abs())
    };
    jiff::Timestamp::try_from(at).expect("a date near today").to_string()
}
