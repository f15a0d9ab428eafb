//! The circuit breaker of one destination: after repeated failures it is left alone for a while.
//!
//! | state     | success  | failure                                | time passes        |
//! |-----------|----------|----------------------------------------|--------------------|
//! | closed    | closed   | closed, or open after `threshold`      | closed             |
//! | open      | → closed | open (a straggler; the wait stands)    | → half-open at its end |
//! | half-open | → closed | → open, for twice as long up to `max`; a straggler's changes nothing | half-open |
//!
//! Half-open lets one attempt through at a time. Breakers live in memory: after a restart each destination
//! gets a fresh chance.

use std::time::Duration;

use signalbox_wire::time::Timestamp;

/// Failures in a row that open a breaker.
pub const THRESHOLD: u32 = 5;
/// The first pause of an open breaker.
pub const PAUSE_INITIAL: Duration = Duration::from_secs(2);
/// The longest pause of an open breaker.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Whether a destination may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    failures: u32,
    pause: Duration,
    open_until: Option<Timestamp>,
    open_since: Option<Timestamp>,
    probing: bool,
}

/// What a breaker says to one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Go ahead.
    Go,
    /// Not before this moment.
    Wait(Timestamp),
}

impl Breaker {
    /// Asks for permission to try the destination at `now`; a half-open breaker gives it once.
    pub fn ask(&mut self, now: Timestamp) -> Permission {
        match self.open_until {
            None => Permission::Go,
            // Over also where the clock was set back: no pause is longer than this.
            Some(until) if now < until && until <= now + PAUSE_MAX => Permission::Wait(until),
            Some(_) if self.probing => Permission::Wait(now + PAUSE_INITIAL),
            Some(_) => {
                self.probing = true;
                Permission::Go
            }
        }
    }

    /// An attempt reached the destination.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// An attempt failed at `now`: the one that a half-open breaker let through, or another, which says nothing new of
    /// a destination that is left alone.
    pub fn failed(&mut self, now: Timestamp, is_probe: bool) {
        if is_probe {
            self.probing = false;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
            self.open_until = Some(now + self.pause);
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= THRESHOLD && self.open_until.is_none() {
            self.pause = PAUSE_INITIAL;
            (self.open_since, self.open_until) = (Some(now), Some(now + self.pause));
        }
    }

    /// An attempt ended without saying anything about the destination: a probe may be sent again.
    pub fn abandoned(&mut self) {
        self.probing = false;
    }

    /// Whether it is open or half-open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// How long the destination has not been reached, where it is left alone.
    #[must_use]
    pub fn open_for(&self, now: Timestamp) -> Option<Duration> {
        self.open_since.map(|since| now.since(since))
    }

    /// Whether nothing but an attempt that is under way already may be tried at `now`.
    #[must_use]
    pub fn is_left_alone(&self, now: Timestamp) -> bool {
        self.probing || self.open_until.is_some_and(|until| now < until && until <= now + PAUSE_MAX)
    }

    /// There is a reason to think that the destination is back: the pause ends at `now`.
    pub fn try_again(&mut self, now: Timestamp) {
        self.open_until = self.open_until.map(|until| until.min(now));
    }

    /// Whether nothing is remembered, so that it may be forgotten.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..THRESHOLD {
            breaker.failed(at(0), false);
        }
        breaker
    }

    #[test]
    fn closed() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.ask(at(0)), Permission::Go);
        for _ in 1..THRESHOLD {
            breaker.failed(at(0), false);
            assert_eq!(breaker.ask(at(0)), Permission::Go);
        }
        breaker.succeeded();
        assert!(breaker.is_idle());
    }

    #[test]
    fn open_waits_ignores_stragglers_and_closes_on_success() {
        let mut breaker = open();
        assert_eq!(breaker.ask(at(1)), Permission::Wait(at(2)));
        breaker.failed(at(1), false);
        assert_eq!(breaker.ask(at(1)), Permission::Wait(at(2)));
        breaker.succeeded();
        assert_eq!(breaker.ask(at(1)), Permission::Go);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_hold_a_destination() {
        let mut breaker = open();
        let hour = Duration::from_secs(3_600);
        assert_eq!(breaker.ask(at(1) - hour), Permission::Go, "the pause cannot be that long");
        breaker.failed(at(1) - hour, true);
        assert_eq!(breaker.ask(at(1) - hour), Permission::Wait(at(5) - hour), "and begins anew");
    }

    #[test]
    fn half_open_lets_one_through() {
        let mut breaker = open();
        assert_eq!(breaker.ask(at(2)), Permission::Go);
        assert!(matches!(breaker.ask(at(2)), Permission::Wait(_)));
        breaker.failed(at(3), false);
        assert!(breaker.is_left_alone(at(3)), "a straggler says nothing of the attempt that is under way");
        breaker.failed(at(3), true);
        assert_eq!(breaker.open_for(at(4)), Some(Duration::from_secs(4)), "over failed attempts");
        assert_eq!(breaker.ask(at(4)), Permission::Wait(at(7)), "the pause has doubled");
        assert_eq!(breaker.ask(at(7)), Permission::Go);
        breaker.abandoned();
        assert_eq!(breaker.ask(at(8)), Permission::Go);
        breaker.succeeded();
        assert!(breaker.is_idle());
    }
}
