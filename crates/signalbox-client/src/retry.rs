//! When a failed call is made again, as pure functions: [`RetryPolicy::wait`] takes the failure, the attempt
//! and a random fraction. The invariant: attempts are bounded, and a server's `Retry-After` is never undercut.

use std::time::Duration;

use crate::error::Error;

/// How often and how patiently a call is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included; 1 turns repeats off.
    pub attempts_max: u32,
    /// The upper bound of the first wait; it doubles with every further one.
    pub wait_first: Duration,
    /// What no wait of the client's own choice exceeds.
    pub wait_max: Duration,
    /// The longest `Retry-After` that is waited out; above it the error is returned at once.
    pub retry_after_max: Duration,
}

/// What a repeat of a call could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing new: a read, or a call under an idempotency key.
    Harmless,
    /// Perhaps the work twice: repeated only when the server cannot have seen it.
    Harmful,
    /// Not wanted: the caller asks how things stand now.
    Never,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            wait_first: Duration::from_millis(200),
            wait_max: Duration::from_secs(10),
            retry_after_max: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// A policy that never repeats.
    #[must_use]
    pub fn never() -> Self {
        Self { attempts_max: 1, ..Self::default() }
    }

    /// How long to wait before the attempt after `attempt` (from 1), or `None` to give up.
    pub(crate) fn wait(&self, error: &Error, attempt: u32, repeat: Repeat, random: f64) -> Option<Duration> {
        if attempt >= self.attempts_max || !repeat.allows(error) {
            return None;
        }
        match asked_wait(error) {
            Some(asked) if asked > self.retry_after_max => None,
            Some(asked) => Some(asked + self.wait_first.mul_f64(random)),
            None => Some(self.jitter(attempt, random)),
        }
    }

    /// Full jitter: anything between nothing and the doubled bound, so that clients that failed together
    /// do not come back together.
    pub(crate) fn jitter(&self, attempt: u32, random: f64) -> Duration {
        let doubled = self.wait_first.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        doubled.min(self.wait_max).mul_f64(random)
    }
}

impl Repeat {
    fn allows(self, error: &Error) -> bool {
        match self {
            Self::Harmless => error.is_transient(),
            Self::Harmful => matches!(error, Error::Unreachable { unsent: true, .. }),
            Self::Never => false,
        }
    }
}

fn asked_wait(error: &Error) -> Option<Duration> {
    match error {
        Error::Problem(problem) => problem.retry_after,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;

    fn answered(status: u16, retry_after: Option<u64>) -> Error {
        let retry_after = retry_after.map(Duration::from_secs);
        Error::Problem(Box::new(Problem { status, retry_after, ..Problem::default() }))
    }

    fn broken(unsent: bool) -> Error {
        Error::Unreachable { url: String::new(), reason: String::new(), unsent }
    }

    #[test]
    fn a_repeat_happens_only_where_it_is_safe() {
        let policy = RetryPolicy::default();
        let table = [
            (broken(true), Repeat::Harmful, true),
            (broken(false), Repeat::Harmful, false),
            (broken(false), Repeat::Harmless, true),
            (broken(true), Repeat::Never, false),
            (answered(503, None), Repeat::Harmless, true),
            (answered(503, None), Repeat::Harmful, false),
            (answered(409, None), Repeat::Harmless, false),
            (answered(500, None), Repeat::Harmless, false),
        ];
        for (error, repeat, expected) in table {
            assert_eq!(policy.wait(&error, 1, repeat, 0.5).is_some(), expected, "{error} {repeat:?}");
        }
    }

    #[test]
    fn waits_double_up_to_the_cap_and_end() {
        let policy = RetryPolicy::default();
        let bounds: Vec<_> = (1..=8).map(|attempt| policy.jitter(attempt, 1.0).as_millis()).collect();
        assert_eq!(bounds, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(policy.jitter(3, 0.0), Duration::ZERO);
        assert_eq!(policy.jitter(u32::MAX, 1.0), policy.wait_max);
        assert_eq!(policy.wait(&broken(true), 5, Repeat::Harmless, 0.5), None);
    }

    #[test]
    fn retry_after_is_never_undercut_and_a_long_one_is_not_waited_out() {
        let policy = RetryPolicy::default();
        let wait = |seconds, random| policy.wait(&answered(429, Some(seconds)), 1, Repeat::Harmless, random);
        assert_eq!(wait(3, 0.0), Some(Duration::from_secs(3)));
        assert!(wait(3, 0.9) > Some(Duration::from_secs(3)));
        assert_eq!(wait(61, 0.0), None);
    }
}
