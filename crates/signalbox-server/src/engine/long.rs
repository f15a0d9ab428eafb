//! Decisions that take long: an expression over a large list, a large schema, a list of many items.
//!
//! An async worker that decided one would hold up every connection that it serves. They run where nobody waits for the
//! thread, a few at once, so that the processors are left to what is quick. Large folds do so today; no operation says of
//! itself yet that it takes long.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// The part of the processors that may be at decisions which take long.
const PROCESSORS_PART: usize = 2;

/// Room for decisions that take long.
pub(super) struct LongDecisions(Semaphore);

impl LongDecisions {
    /// Room for as many as half of the processors, at least one.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Semaphore::new((processors / PROCESSORS_PART).max(1)))
    }

    /// Decides once there is room. Those that wait are as many as there are requests and jobs under way.
    pub(super) async fn run<T>(&self, decide: impl FnOnce() -> T) -> T {
        // The semaphore is never closed.
        let _room = self.0.acquire().await;
        aside(decide)
    }
}

/// Decides where nobody else waits for the thread.
pub(super) fn aside<T>(decide: impl FnOnce() -> T) -> T {
    // A runtime of one thread, as in tests, has none to hand its other work to.
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(decide),
        _ => decide(),
    }
}
