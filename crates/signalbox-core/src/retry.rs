//! Exponential backoff with full jitter: the wait before attempt n+1 is a random part of
//! `initial · factor^(n-1)`, capped, so that peers that failed together do not return together.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::DecisionContext;

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

    /// The wait to take after `attempt` has failed: from nothing to the ceiling, evenly spread.
    pub fn wait(&self, attempt: u32, context: &mut DecisionContext<'_>) -> Duration {
        self.ceiling(attempt).mul_f64(context.fraction())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signalbox_wire::time::Timestamp;

    use super::*;
    use crate::limits::Policy;

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
        fn a_wait_is_below_its_ceiling_and_follows_from_the_seed(attempt in 1_u32..100, seed: u64) {
            let policy = Policy::default();
            let context = DecisionContext::new(Timestamp::from_seconds(0), seed, &policy);
            let wait = BACKOFF.wait(attempt, &mut context.clone());
            prop_assert!(wait <= BACKOFF.ceiling(attempt));
            prop_assert_eq!(wait, BACKOFF.wait(attempt, &mut context.clone()));
        }
    }
}
