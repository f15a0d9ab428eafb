//! What takes long: an expression over a large list, a costly schema, a list of many items, a large definition.
//!
//! An async worker that did it would hold up every connection that it serves. It runs where nobody waits for the
//! thread, a few at once, so that the processors are left to what is quick.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use crate::telemetry::metrics::Metrics;

/// The part of the processors that may be at what takes long.
const PROCESSORS_PART: usize = 2;

/// Room for what takes long; cheap to clone.
#[derive(Clone)]
pub(crate) struct LongWork(Arc<Inner>);

struct Inner {
    places: Semaphore,
    metrics: Metrics,
}

impl LongWork {
    /// Room for as much at once as half of the processors can do, at least one.
    pub(super) fn new(metrics: Metrics) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let places = Semaphore::new((processors / PROCESSORS_PART).max(1));
        Self(Arc::new(Inner { places, metrics }))
    }

    /// Does `work` once there is room. Those that wait are as many as there are requests and jobs under way.
    pub(crate) async fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        // The semaphore is never closed.
        let _place = self.0.places.acquire().await;
        self.0.metrics.long_work();
        aside(work)
    }

    /// Does `work`, and where it takes long there where nobody waits for the thread.
    pub(crate) async fn run_if<T>(&self, is_long: bool, work: impl FnOnce() -> T) -> T {
        if is_long { self.run(work).await } else { work() }
    }
}

/// Does `work` where nobody else waits for the thread.
pub(super) fn aside<T>(work: impl FnOnce() -> T) -> T {
    // A runtime of one thread, as in tests, has none to hand its other work to.
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use signalbox_wire::time::Timestamp;

    use super::*;

    /// Far longer than it takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_only_worker_serves_others_meanwhile() {
        let long = LongWork::new(Metrics::new(Timestamp::default()));
        let (tell, told) = mpsc::channel();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let held = tokio::spawn(async move {
            let work = move || {
                begun.send(()).expect("somebody waits");
                told.recv_timeout(PATIENCE)
            };
            long.run(work).await
        });
        // Both are tasks of the one worker; the second is what the first waits for.
        let other = tokio::spawn(async move {
            has_begun.await.expect("it begins");
            tell.send(()).expect("it is held");
        });
        other.await.expect("served");
        assert_eq!(held.await.expect("not lost"), Ok(()));
    }
}
