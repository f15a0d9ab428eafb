//! Exponential backoff with full jitter: the wait before attempt n+1 is a random part of
//! `initial · factor^(n-1)`, capped, so that peers that failed together do not return together.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the wait grows from one attempt to the next.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Longest wait after the first attempt.
    pub initial: Duration,
    /// Growth of the longest wait with each attempt; at least 1.
    pub factor: f64,
    /// The longest wait there is.
    pub max: Duration,
}

impl Backoff {
    /// The longest wait after `attempt` (from 1) has failed.
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        if seconds.is_finite() && seconds < self.max.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.max
        }
    }

    /// The wait to take after `attempt` has failed: this part of the ceiling, from 0 to 1. Drawn at random, it is evenly
    /// spread.
    #[must_use]
    pub fn wait(&self, attempt: u32, fraction: f64) -> Duration {
        self.ceiling(attempt).mul_f64(fraction)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff =
        Backoff { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) };

    #[test]
    fn the_ceiling_doubles_up_to_its_cap() {
        let seconds: Vec<u64> = (1..=8).map(|attempt| BACKOFF.ceiling(attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(BACKOFF.ceiling(u32::MAX), BACKOFF.max);
    }

    proptest! {
        #[test]
        fn a_wait_is_a_part_of_its_ceiling(attempt in 1_u32..100, fraction in 0.0..1.0) {
            let wait = BACKOFF.wait(attempt, fraction);
            prop_assert!(wait <= BACKOFF.ceiling(attempt));
            prop_assert_eq!(BACKOFF.wait(attempt, 0.0), Duration::ZERO);
        }
    }
}
