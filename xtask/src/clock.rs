//! How long a step takes: the one place where xtask reads the clock.

use std::fmt;
use std::time::Instant;

/// Runs from its creation; displays the seconds since then.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "durations of development steps, shown to a person")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl fmt::Display for Stopwatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.1} s", self.0.elapsed().as_secs_f64())
    }
}
