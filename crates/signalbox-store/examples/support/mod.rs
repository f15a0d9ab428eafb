//! What the measurements read of the machine.

use std::error::Error;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use signalbox_wire::time::Timestamp;

/// The moment by the system's clock.
#[expect(clippy::disallowed_methods, reason = "a bench is an edge and reads the clock")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A moment to count from.
#[expect(clippy::disallowed_methods, reason = "a bench is an edge and reads the clock")]
pub(crate) fn stopwatch() -> Instant {
    Instant::now()
}

/// Processor time of the threads whose name begins with `name`.
pub(crate) fn cpu_micros(name: &str) -> Result<f64, Box<dyn Error>> {
    let mut micros = 0.0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let path = thread?.path();
        if std::fs::read_to_string(path.join("comm"))?.starts_with(name) {
            let nanos = std::fs::read_to_string(path.join("schedstat"))?;
            micros += nanos.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e3;
        }
    }
    Ok(micros)
}
