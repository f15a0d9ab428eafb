//! Which work is waiting or being done, so that what is no longer wanted can be stopped.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::context::Context;

/// The work that was taken and has not ended, by the task's or command's id. As much as waits or is handled, no more.
#[derive(Debug, Clone, Default)]
pub(super) struct AtWork(Arc<Mutex<HashMap<String, Context>>>);

impl AtWork {
    /// Ends the work, where it waits or is being done. It stays in here until its handler is gone.
    pub(super) fn stop(&self, id: &str) {
        if let Some(context) = self.0.lock().get(id) {
            context.cancel();
        }
    }

    pub(super) fn begin(&self, id: String, context: Context) {
        self.0.lock().insert(id, context);
    }

    pub(super) fn end(&self, id: &str) {
        self.0.lock().remove(id);
    }
}
