//! After how long an agent tries again, as pure functions of what went wrong and a random fraction.
//!
//! Failed authentication: 5 s. A lost connection: 1 s, doubling up to 2 minutes. A fault of the server (5xx): 10 s. What
//! the server asks for (`Retry-After`) is not undercut, up to 10 minutes. To each is added up to a quarter by chance, so that agents that were
//! cut off together do not come back together.

use std::time::Duration;

use crate::error::Error;

/// The wait after failed authentication.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);
/// The wait after a fault of the server.
const AFTER_FAULT: Duration = Duration::from_secs(10);
/// The first wait after a lost connection.
const LOST_FIRST: Duration = Duration::from_secs(1);
/// The longest wait that a server may ask for.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// The longest wait after a lost connection.
const LOST_MAX: Duration = Duration::from_secs(120);

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) enum Fault {
    /// The connection could not be made, or broke.
    Lost,
    /// The token or key was not taken.
    Refused,
    /// The server cannot now, and may say when.
    Server(Option<Duration>),
    /// No further try will do.
    Final,
}

/// How often in a row a connection was lost.
#[derive(Debug, Default)]
pub(in crate::agent) struct Backoff {
    lost: u32,
}

impl Fault {
    /// What an error of signing in or of connecting is.
    pub(in crate::agent) fn of(error: &Error) -> Self {
        match error {
            Error::Problem(problem) => match problem.status {
                401 => Self::Refused,
                403 | 404 => Self::Final,
                429 | 500..=599 => Self::Server(problem.retry_after),
                408 => Self::Lost,
                _ => Self::Final,
            },
            Error::Unreachable { .. } | Error::Timeout { .. } | Error::Unreadable { .. } => Self::Lost,
            Error::Unusable { .. } | Error::Local { .. } => Self::Final,
        }
    }

    /// The kind of it alone.
    pub(super) fn without_wait(self) -> Self {
        match self {
            Self::Server(_) => Self::Server(None),
            other => other,
        }
    }

    /// What the code is that the server closed with; `None` for another connection that took over.
    pub(super) fn of_close(code: u16) -> Option<Self> {
        match code {
            4001 => None,
            4401 => Some(Self::Refused),
            4403 | 4404 => Some(Self::Final),
            _ => Some(Self::Lost),
        }
    }
}

impl Backoff {
    /// After how long to try again; `None` where that is of no use.
    pub(in crate::agent) fn wait(&mut self, fault: &Fault, random: f64) -> Option<Duration> {
        let wait = match fault {
            Fault::Final => return None,
            Fault::Refused => AFTER_REFUSAL,
            Fault::Server(asked) => after_fault(*asked),
            Fault::Lost => {
                let doubled = LOST_FIRST.saturating_mul(1 << self.lost.min(16));
                self.lost = self.lost.saturating_add(1);
                doubled.min(LOST_MAX)
            }
        };
        Some(wait.saturating_add(wait.mul_f64(random.clamp(0.0, 1.0) / 4.0)))
    }

    /// The connection is good: the next loss is the first again.
    pub(in crate::agent) fn good(&mut self) {
        self.lost = 0;
    }
}

/// The wait after a fault of the server that may say how long it takes.
pub(super) fn after_fault(asked: Option<Duration>) -> Duration {
    asked.unwrap_or_default().clamp(AFTER_FAULT, RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;

    fn answered(status: u16, retry_after: Option<u64>) -> Fault {
        let retry_after = retry_after.map(Duration::from_secs);
        Fault::of(&Error::Problem(Box::new(Problem { status, retry_after, ..Problem::default() })))
    }

    #[test]
    fn each_failure_has_its_wait() {
        let mut backoff = Backoff::default();
        let mut wait = |fault: &Fault| backoff.wait(fault, 0.0).map(|wait| wait.as_secs());
        let lost: Vec<_> = (0..9).map(|_| wait(&Fault::Lost).unwrap()).collect();
        assert_eq!(lost, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        for (status, retry_after, expected) in [
            (401, None, Some(5)),
            (503, None, Some(10)),
            (503, Some(30), Some(30)),
            (503, Some(2), Some(10)),
            (429, Some(60), Some(60)),
            (503, Some(31_536_000), Some(600)),
            (429, Some(u64::MAX), Some(600)),
            (403, None, None),
            (404, None, None),
        ] {
            assert_eq!(wait(&answered(status, retry_after)), expected, "{status} {retry_after:?}");
        }
        backoff.good();
        assert_eq!(backoff.wait(&Fault::Lost, 0.0), Some(LOST_FIRST));
        assert_eq!(backoff.wait(&Fault::Refused, 1.0), Some(AFTER_REFUSAL.mul_f64(1.25)));
    }

    #[test]
    fn close_codes_say_what_to_do() {
        assert_eq!(Fault::of_close(4001), None);
        for (code, fault) in [
            (4401, Fault::Refused),
            (4403, Fault::Final),
            (4404, Fault::Final),
            (1012, Fault::Lost),
            (1013, Fault::Lost),
            (4429, Fault::Lost),
            (1008, Fault::Lost),
        ] {
            assert_eq!(Fault::of_close(code), Some(fault), "{code}");
        }
    }
}
