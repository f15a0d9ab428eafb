//! Which handlers are at work, so that a task that is no longer wanted can be stopped.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

/// The handlers at work, by the task that each is for: a task that is no longer wanted ends its handler.
#[derive(Debug, Clone, Default)]
pub(super) struct AtWork(Arc<Mutex<HashMap<String, AbortHandle>>>);

impl AtWork {
    /// Ends the handler of a task, where it is at work.
    pub(super) fn stop(&self, task: &str) {
        if let Some(handler) = self.0.lock().remove(task) {
            handler.abort();
        }
    }

    pub(super) fn begin(&self, task: String, handler: AbortHandle) {
        self.0.lock().insert(task, handler);
    }

    pub(super) fn end(&self, task: &str) {
        self.0.lock().remove(task);
    }
}
