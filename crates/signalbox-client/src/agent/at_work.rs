//! Which work is waiting or being done, so that what is no longer wanted can be stopped.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::context::Context;

/// The work that was taken and has not ended, by the task's or command's id. As much as waits or is handled, no more.
#[derive(Debug, Clone, Default)]
pub(super) struct AtWork(Arc<Mutex<HashMap<String, Work>>>);

#[derive(Debug)]
struct Work {
    context: Context,
    /// By what a repeat of it is known.
    key: Option<String>,
}

impl AtWork {
    /// Ends the work, where it waits or is being done. It stays in here until it is told what came of it.
    pub(super) fn stop(&self, id: &str) {
        if let Some(work) = self.0.lock().get(id) {
            work.context.cancel();
        }
    }

    /// Ends all of it.
    pub(super) fn stop_all(&self) {
        for work in self.0.lock().values() {
            work.context.cancel();
        }
    }

    /// Whether this work is here, by the same key.
    pub(super) fn has(&self, id: &str, key: &str) -> bool {
        self.0.lock().get(id).is_some_and(|work| work.key.as_deref() == Some(key))
    }

    pub(super) fn begin(&self, id: String, context: Context, key: Option<String>) {
        self.0.lock().insert(id, Work { context, key });
    }

    pub(super) fn end(&self, id: &str) {
        self.0.lock().remove(id);
    }
}
