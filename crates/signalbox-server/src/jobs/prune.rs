//! Retention: removes what is older than the operator keeps, a little at a time beside the other commits.

use std::time::Duration;

use signalbox_store::Prune;
use signalbox_wire::time::Timestamp;

use super::context::Jobs;
use crate::clock::{self, Stopwatch};

/// Rows removed in one commit, so that nobody waits long behind it.
const ROWS_AT_ONCE: usize = 2_000;
/// Time between rounds when there is nothing left to remove.
const EVERY: Duration = Duration::from_secs(60);
/// Time between commits while there is.
const BREATH: Duration = Duration::from_millis(50);

/// How far the system's clock may run ahead of the time that has passed before it is taken to have jumped.
const JUMP: Duration = Duration::from_secs(3_600);

/// How long a clock that has jumped must run steadily before things are removed by it.
const TRUST_AFTER: Duration = Duration::from_secs(3_600);

/// Tells a clock that jumped forward, which makes everything look old, from time that has passed.
struct SteadyClock {
    last: (Timestamp, Stopwatch),
    jumped: Option<Stopwatch>,
}

impl SteadyClock {
    fn start() -> Self {
        Self { last: (clock::now(), Stopwatch::start()), jumped: None }
    }

    /// Whether things may be removed by the clock that says `now`.
    fn is_steady(&mut self, now: Timestamp) -> bool {
        let (then, watch) = std::mem::replace(&mut self.last, (now, Stopwatch::start()));
        if now.since(then) > watch.elapsed() + JUMP {
            self.jumped = Some(Stopwatch::start());
            tracing::warn!(%now, "the clock has jumped; nothing is removed until it has run steadily for an hour");
        }
        self.jumped.is_none_or(|jumped| jumped.elapsed() >= TRUST_AFTER)
    }
}

/// Prunes until the server drains.
pub(super) async fn run(app: Jobs) {
    let mut clock = SteadyClock::start();
    loop {
        let now = clock::now();
        if !clock.is_steady(now) {
            tokio::select! {
                () = app.draining.cancelled() => return,
                () = tokio::time::sleep(EVERY) => continue,
            }
        }
        let prune = Prune {
            events_before: now - app.config.retention_events,
            sessions_before: now - app.config.retention_sessions,
            messages_before: now - app.config.retention_messages,
            now,
            limit: ROWS_AT_ONCE,
        };
        let pause = match app.store.prune(prune).await {
            Ok(removed) if removed >= ROWS_AT_ONCE as u64 => BREATH,
            Ok(_) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "what is over its retention could not be removed");
                EVERY
            }
        };
        tokio::select! {
            () = app.draining.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_told_from_time_that_passes() {
        let mut clock = SteadyClock::start();
        let now = clock::now();
        assert!(clock.is_steady(now));
        assert!(clock.is_steady(now - JUMP * 2), "backwards nothing looks older than it is");
        assert!(!clock.is_steady(now + JUMP * 2), "hours in no time");
        assert!(!clock.is_steady(now + JUMP * 2), "and it is not believed at once");
    }
}
