//! Leases that this process may hold without knowing: it was to get them by a commit or a claim whose answer it never
//! had. They are ended again and again until they would be over anyway, since what was lost may still come about.
//!
//! A lease is known by its end: no two of one process end in the same microsecond, or nearly never, and then work is
//! done twice, as it may be.

use std::time::Duration;

use parking_lot::Mutex;
use signalbox_wire::time::Timestamp;
use tokio::time::Instant;

/// Leases that are remembered, at most; others run out.
const LEASES_MAX: usize = 16_384;
/// How often they are ended.
const EVERY: Duration = Duration::from_secs(1);

/// The ends of such leases.
#[derive(Debug, Default)]
pub(crate) struct LostLeases(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    untils: Vec<i64>,
    ended: Option<Instant>,
}

impl LostLeases {
    /// Nobody knows what became of what was to be held until then.
    pub(crate) fn add(&self, untils: impl IntoIterator<Item = Timestamp>) {
        let mut state = self.0.lock();
        for until in untils.into_iter().map(Timestamp::as_micros) {
            if state.untils.len() < LEASES_MAX && !state.untils.contains(&until) {
                state.untils.push(until);
                state.ended = None;
            }
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().untils.is_empty()
    }

    /// The leases that are to be ended now, if it is time.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<i64> {
        let mut state = self.0.lock();
        if state.untils.is_empty() || state.ended.is_some_and(|ended| ended.elapsed() < EVERY) {
            return Vec::new();
        }
        state.ended = Some(Instant::now());
        let due = state.untils.clone();
        state.untils.retain(|until| *until > now.as_micros());
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_is_ended_until_it_is_over() {
        let (lost, at) = (LostLeases::default(), Timestamp::from_seconds);
        assert_eq!(lost.due(at(0)), [0; 0]);
        lost.add([at(60), at(60)]);
        assert_eq!(lost.due(at(1)), [at(60).as_micros()]);
        assert_eq!(lost.due(at(1)), [0; 0], "not all the time");
        tokio::time::advance(EVERY).await;
        assert_eq!(lost.due(at(60)).len(), 1);
        tokio::time::advance(EVERY).await;
        assert_eq!(lost.due(at(61)), [0; 0]);
    }
}
