//! A clock that goes on evenly, and never back: it moves with monotonic time, and comes only slowly to agree with a
//! reference that says something else.
//!
//! So a reference that jumps neither holds up what is planned nor makes it due: whatever it does, an hour of the
//! clock takes between 53 and 69 minutes.

use std::time::Duration;

/// One part of the time that passes is what a difference is made up by, at most.
const SLEW_PART: i64 = 8;

/// Such a clock. Moments are microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct SteadyClock {
    /// What it read at `anchor` of monotonic time.
    base: i64,
    anchor: Duration,
    /// How far it was behind its reference then.
    behind: i64,
}

impl SteadyClock {
    /// A clock that says `now` at this moment of monotonic time.
    pub(super) fn set(monotonic: Duration, now: i64) -> Self {
        Self { base: now, anchor: monotonic, behind: 0 }
    }

    /// What it reads.
    pub(super) fn at(&self, monotonic: Duration) -> i64 {
        let passed = micros(monotonic.saturating_sub(self.anchor));
        let most = passed / SLEW_PART;
        self.base.saturating_add(passed).saturating_add(self.behind.clamp(-most, most))
    }

    /// Goes towards what the reference says at this moment.
    pub(super) fn follow(&mut self, monotonic: Duration, reference: i64) {
        let now = self.at(monotonic);
        *self = Self { base: now, anchor: monotonic, behind: reference.saturating_sub(now) };
    }

    /// How far it is behind its reference, in microseconds; less than nothing when it is ahead.
    pub(super) fn behind(&self, monotonic: Duration) -> i64 {
        let most = micros(monotonic.saturating_sub(self.anchor)) / SLEW_PART;
        self.behind - self.behind.clamp(-most, most)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_jump_of_the_reference_neither_delays_nor_fires() {
        for jump in [-HOUR, HOUR] {
            let mut clock = SteadyClock::set(seconds(0), HOUR);
            for second in 1..=300 {
                let before = clock.at(seconds(second - 1));
                clock.follow(seconds(second), HOUR + jump + micros(seconds(second)));
                let step = clock.at(seconds(second)) - before;
                assert!((875_000..=1_125_000).contains(&step), "second {second} took {step} µs");
            }
            let off = clock.at(seconds(300)) - HOUR - micros(seconds(300));
            assert!(off.abs() <= 37_500_000, "five minutes are off by {off} µs");
        }
    }

    #[test]
    fn a_small_difference_is_made_up_and_then_there_is_none() {
        let mut clock = SteadyClock::set(seconds(0), 0);
        clock.follow(seconds(10), micros(seconds(11)));
        assert_eq!(clock.behind(seconds(10)), 1_000_000);
        assert_eq!(clock.behind(seconds(14)), 500_000);
        assert_eq!((clock.at(seconds(18)), clock.behind(seconds(18))), (micros(seconds(19)), 0));
        assert_eq!(clock.at(seconds(30)), micros(seconds(31)), "and no further");
    }

    #[test]
    fn it_never_goes_back() {
        let mut clock = SteadyClock::set(seconds(0), HOUR);
        let mut last = 0;
        for tenth in 0_u32..1_000 {
            let now = Duration::from_millis(u64::from(tenth) * 100);
            clock.follow(now, if tenth % 3 == 0 { 0 } else { 2 * HOUR });
            assert!(clock.at(now) >= last, "at {now:?}");
            last = clock.at(now);
        }
    }
}
