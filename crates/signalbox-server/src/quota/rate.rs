//! How fast a tenant may ask: a token bucket that holds one second's worth, kept as the one moment at which it would be
//! full again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use signalbox_wire::time::Timestamp;

const SECOND_NS: u64 = 1_000_000_000;

/// A bucket; it begins full.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When it is full, in nanoseconds since 1970.
    full_at: AtomicU64,
}

impl Rate {
    /// Takes one of `most` in a second; where none is left, how long until one is. Of zero there is never one.
    pub(super) fn take(&self, most: u64, now: Timestamp) -> Result<(), Duration> {
        let now = u64::try_from(now.as_micros()).unwrap_or(0).saturating_mul(1_000);
        let Some(each) = SECOND_NS.checked_div(most) else { return Err(Duration::from_secs(1)) };
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(each);
            let missing = next.saturating_sub(now).saturating_sub(SECOND_NS);
            if missing > 0 {
                return Err(Duration::from_nanos(missing));
            }
            match self.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => full_at = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_goes_at_once_and_then_one_at_a_time() {
        let (rate, start) = (Rate::default(), Timestamp::from_seconds(1_000));
        let taken = (0..1_000).filter(|_| rate.take(10, start).is_ok()).count();
        assert_eq!(taken, 10);
        let wait = rate.take(10, start).expect_err("empty");
        assert_eq!(wait, Duration::from_millis(100));
        let later = start + wait;
        assert!(rate.take(10, later).is_ok());
        assert!(rate.take(10, later).is_err());
        // However long it rests, it holds no more than a second's worth.
        let rested = later + Duration::from_secs(3_600);
        assert_eq!((0..1_000).filter(|_| rate.take(10, rested).is_ok()).count(), 10);
    }

    #[test]
    fn over_a_minute_a_flood_gets_what_it_may_and_no_more() {
        let (rate, start) = (Rate::default(), Timestamp::from_seconds(1_000));
        let moments = (0..60_000_u64).map(|ms| start + Duration::from_millis(ms));
        let taken = moments.filter(|now| (0..20).filter(|_| rate.take(50, *now).is_ok()).count() > 0).count();
        assert!((50 * 59..=50 * 61).contains(&taken), "{taken}");
    }

    #[test]
    fn zero_is_zero_and_a_million_is_a_million() {
        let (rate, now) = (Rate::default(), Timestamp::from_seconds(1_000));
        assert_eq!(rate.take(0, now), Err(Duration::from_secs(1)));
        assert_eq!((0..1_000).filter(|_| rate.take(1_000_000, now).is_ok()).count(), 1_000);
    }
}
