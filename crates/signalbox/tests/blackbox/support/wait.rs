//! Waiting for what is expected, with a deadline and with the last thing seen in the message.

use std::thread;
use std::time::Duration;

use super::clock::now;

/// How long a thing may take that should take no time; far more than a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long work may stay with a process that was killed: as long as its leases, where others share the database.
pub(crate) const AFTER_A_CRASH: Duration = Duration::from_secs(120);

const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Asks again until `check` is content; its error says what was there instead.
pub(crate) fn eventually<T>(what: &str, check: impl FnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, check)
}

/// The same with a deadline of its own.
pub(crate) fn within<T>(patience: Duration, what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let start = now().instant;
    let mut pause = Duration::from_millis(2);
    loop {
        let seen = match check() {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(start.elapsed() < patience, "waited {patience:?} for {what}; there was {seen}");
        thread::park_timeout(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
