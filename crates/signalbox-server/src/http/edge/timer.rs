//! The timer of one connection: however many deadlines are set and dropped on it, one for each request, the
//! runtime's own timer is moved only when it goes off.
//!
//! The deadline that is set while a request is awaited is that of an idle connection. Once the first bytes of the
//! request are there, its head must be complete within the shorter time for heads; so must the first of a connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time;

/// The timer of one connection. Its deadlines are to be waited for one at a time.
#[derive(Clone)]
pub(super) struct ConnectionTimer(Arc<Mutex<Alarm>>);

struct Alarm {
    sleep: Pin<Box<time::Sleep>>,
    head_within: Duration,
    /// When the head that has begun must be complete.
    head_by: Option<time::Instant>,
    /// The deadline that is waited for.
    awaited: Option<u64>,
    deadlines: u64,
}

struct Deadline {
    at: time::Instant,
    number: u64,
    alarm: ConnectionTimer,
}

impl ConnectionTimer {
    /// The timer of a connection on which a head may take `head_within`.
    pub(super) fn new(head_within: Duration) -> Self {
        let first = time::Instant::now() + head_within;
        Self(Arc::new(Mutex::new(Alarm {
            sleep: Box::pin(time::sleep_until(first)),
            head_within,
            head_by: Some(first),
            awaited: None,
            deadlines: 0,
        })))
    }

    /// Bytes have come: those of a head, where one is awaited.
    fn received(&self) {
        let mut alarm = self.0.lock();
        if alarm.awaited.is_some() && alarm.head_by.is_none() {
            alarm.head_by = Some(time::Instant::now() + alarm.head_within);
        }
    }
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until((time::Instant::now() + duration).into_std())
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let mut alarm = self.0.lock();
        if alarm.deadlines > 0 {
            alarm.head_by = None;
        }
        alarm.deadlines += 1;
        alarm.awaited = Some(alarm.deadlines);
        Box::pin(Deadline { at: deadline.into(), number: alarm.deadlines, alarm: self.clone() })
    }
}

impl Sleep for Deadline {}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut alarm = self.alarm.0.lock();
        if alarm.awaited == Some(self.number) {
            alarm.awaited = None;
        }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.0.lock();
        let at = alarm.head_by.map_or(self.at, |head_by| head_by.min(self.at));
        loop {
            let is_set_in_time = alarm.sleep.deadline() <= at;
            match alarm.sleep.as_mut().poll(cx) {
                Poll::Pending if is_set_in_time => return Poll::Pending,
                Poll::Ready(()) if alarm.sleep.deadline() >= at => return Poll::Ready(()),
                _ => alarm.sleep.as_mut().reset(at),
            }
        }
    }
}

/// A stream that tells its connection's timer of what it reads.
pub(super) struct Timed<S> {
    inner: S,
    timer: ConnectionTimer,
}

impl<S> Timed<S> {
    pub(super) fn new(inner: S, timer: ConnectionTimer) -> Self {
        Self { inner, timer }
    }

    /// The stream alone.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, into);
        if into.filled().len() > before {
            self.timer.received();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
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
            drop(timer.sleep(LONG));
            let started = time::Instant::now();
            time::timeout(LONG, timer.sleep(Duration::from_millis(20))).await.expect("in time");
            assert!(started.elapsed() >= Duration::from_millis(20), "{first:?}");
        }
    }

    #[tokio::test]
    async fn dropped_deadlines_do_not_end_those_that_follow() {
        let timer = ConnectionTimer::new(Duration::from_millis(1));
        drop(timer.sleep(LONG));
        for _ in 0..3 {
            let dropped = timer.sleep(Duration::from_millis(10));
            assert!(time::timeout(Duration::from_millis(1), dropped).await.is_err());
        }
        let started = time::Instant::now();
        time::timeout(LONG, timer.sleep(Duration::from_millis(50))).await.expect("in time");
        assert!(started.elapsed() >= Duration::from_millis(50));
    }

    #[tokio::test]
    async fn a_head_that_has_begun_has_less_time_than_an_idle_connection() {
        let timer = ConnectionTimer::new(Duration::from_millis(20));
        time::timeout(LONG, timer.sleep(LONG * 60)).await.expect("the first head is late");
        let idle = timer.sleep(Duration::from_millis(60));
        let started = time::Instant::now();
        time::timeout(LONG, idle).await.expect("in time");
        assert!(started.elapsed() >= Duration::from_millis(60), "nothing has come");
        let begun = timer.sleep(LONG * 60);
        timer.received();
        time::timeout(LONG, begun).await.expect("the head is late");
    }
}
