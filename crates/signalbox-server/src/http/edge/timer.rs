//! The timer of one connection: however many deadlines are set and dropped on it, one for each request, the
//! runtime's own timer is moved only when it goes off.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use tokio::time;

/// The timer of one connection. Its deadlines are to be waited for one at a time.
#[derive(Clone)]
pub(super) struct ConnectionTimer(Arc<Mutex<Pin<Box<time::Sleep>>>>);

struct Deadline {
    at: time::Instant,
    alarm: ConnectionTimer,
}

impl ConnectionTimer {
    /// A timer that goes off for the first time after `first`, which is looked at and forgotten.
    pub(super) fn new(first: Duration) -> Self {
        Self(Arc::new(Mutex::new(Box::pin(time::sleep(first)))))
    }
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline { at: time::Instant::now() + duration, alarm: self.clone() })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline { at: deadline.into(), alarm: self.clone() })
    }
}

impl Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.0.lock();
        loop {
            let is_set_in_time = alarm.deadline() <= self.at;
            match alarm.as_mut().poll(cx) {
                Poll::Pending if is_set_in_time => return Poll::Pending,
                Poll::Ready(()) if alarm.deadline() >= self.at => return Poll::Ready(()),
                _ => alarm.as_mut().reset(self.at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_deadline_comes_whether_the_alarm_was_set_before_or_after_it() {
        for first in [Duration::ZERO, Duration::from_millis(5), Duration::from_secs(3_600)] {
            let timer = ConnectionTimer::new(first);
            let started = time::Instant::now();
            time::timeout(LONG, timer.sleep(Duration::from_millis(20))).await.expect("in time");
            assert!(started.elapsed() >= Duration::from_millis(20), "{first:?}");
        }
    }

    #[tokio::test]
    async fn dropped_deadlines_do_not_end_those_that_follow() {
        let timer = ConnectionTimer::new(Duration::from_millis(1));
        for _ in 0..3 {
            let dropped = timer.sleep(Duration::from_millis(10));
            assert!(time::timeout(Duration::from_millis(1), dropped).await.is_err());
        }
        let started = time::Instant::now();
        time::timeout(LONG, timer.sleep(Duration::from_millis(50))).await.expect("in time");
        assert!(started.elapsed() >= Duration::from_millis(50));
    }
}
