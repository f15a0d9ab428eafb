//! Retention: removes what is older than the operator keeps, a little at a time beside the other commits.

use std::time::Duration;

use signalbox_store::Prune;
use signalbox_wire::time::Timestamp;

use super::context::Jobs;
use crate::clock::{self, Stopwatch};

/// Rows removed in one round, in which every tenant has a share.
const ROWS_AT_ONCE: usize = 20_000;
/// How long commits may have to wait for one piece of a round.
const PIECE: Duration = Duration::from_millis(5);
/// Time between rounds when there is nothing left to remove.
const EVERY: Duration = Duration::from_secs(60);
/// The part of the time that rounds take while there is more, in percent: in the beginning, and at most, when the
/// backlog does not end.
const PART: (u32, u32) = (20, 80);

/// How fast a backlog is removed: the longer there is one, the faster, so that the database does not grow for ever.
struct Pace {
    percent: u32,
}

impl Pace {
    /// The time until the next round, after one that took so long.
    fn pause(&mut self, has_more: bool, took: Duration) -> Duration {
        if !has_more {
            self.percent = PART.0;
            return EVERY;
        }
        let pause = took * (100 - self.percent) / self.percent;
        self.percent = (self.percent * 5 / 4).min(PART.1);
        pause.min(EVERY)
    }
}

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
    let (mut clock, mut pace) = (SteadyClock::start(), Pace { percent: PART.0 });
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
            piece: PIECE,
        };
        let watch = Stopwatch::start();
        let pause = match app.store.prune(prune).await {
            Ok(pruned) => pace.pause(pruned.has_more, watch.elapsed()),
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
    fn a_backlog_that_does_not_end_is_removed_ever_faster() {
        let (mut pace, took) = (Pace { percent: PART.0 }, Duration::from_millis(100));
        let pauses: Vec<Duration> = (0..20).map(|_| pace.pause(true, took)).collect();
        assert_eq!((pauses[0], pauses[19]), (took * 4, took / 4));
        assert!(pauses.windows(2).all(|pair| pair[1] <= pair[0]), "{pauses:?}");
        assert_eq!(pace.pause(false, took), EVERY);
        assert_eq!(pace.pause(true, took), took * 4, "gently again");
    }

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
