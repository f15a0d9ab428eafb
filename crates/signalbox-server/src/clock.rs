//! The one clock and the one source of randomness. Everything else takes both as arguments.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use rand::Rng;
use signalbox_wire::time::Timestamp;

mod follow;
mod steady;

pub(crate) use follow::{complaints, run, set};
use steady::SteadyClock;

/// What the process works by.
static CLOCK: LazyLock<RwLock<SteadyClock>> =
    LazyLock::new(|| RwLock::new(SteadyClock::set(monotonic(), system().as_micros())));

/// The time now: what is decided by. It goes on evenly and never back, see [`steady`]; over PostgreSQL it is the
/// database's.
pub(crate) fn now() -> Timestamp {
    let monotonic = monotonic();
    Timestamp::from_micros(CLOCK.read().at(monotonic))
}

/// The time by the system's clock, wherever it has jumped to: what other machines compare theirs with.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
pub(crate) fn system() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Time that only passes, also while the machine sleeps.
fn monotonic() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    Duration::try_from(rustix::time::clock_gettime(clock)).unwrap_or_default()
}

/// A seed for one turn of the engine.
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws randomness")]
pub(crate) fn seed() -> u64 {
    rand::rng().next_u64()
}

/// What makes an id unlike every other.
pub(crate) fn seed_128() -> u128 {
    (u128::from(seed()) << 64) | u128::from(seed())
}

/// 32 random bytes for a secret.
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws randomness")]
pub(crate) fn secret_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// Measures how long something takes, unmoved by changes of the system's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
