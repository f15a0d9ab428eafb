//! [`Waiting`]: one of those that may wait for Python, counted until it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One that waits.
pub(crate) struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Waiting {
    /// One more, where fewer than `max` wait.
    pub(crate) fn begin(counted: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        // Counted before it is looked at; dropping it takes it back.
        let waiting = Self(Arc::clone(counted));
        (counted.fetch_add(1, Ordering::Relaxed) < max).then_some(waiting)
    }
}
