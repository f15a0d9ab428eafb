//! A row as a database gives it and the cache holds it.

use std::sync::Arc;

use signalbox_core::session::SessionState;
use signalbox_core::snapshot::{Loaded, Versioned};

/// A row as read, and the length of its bodies.
#[derive(Debug, Clone)]
pub(crate) struct ReadRow {
    pub(crate) loaded: Loaded,
    /// The length of all its bodies.
    pub(crate) bytes: usize,
    /// The length of the body of each task, in their order; of a session alone.
    pub(crate) task_bytes: Arc<[usize]>,
}

impl ReadRow {
    /// A row other than a session.
    pub(crate) fn alone(loaded: Loaded, bytes: usize) -> Self {
        Self { loaded, bytes, task_bytes: Arc::default() }
    }

    /// A session with its tasks, the length of its own body, and of theirs in their order.
    pub(crate) fn session(
        version: i64,
        state: SessionState,
        own_bytes: usize,
        task_bytes: Arc<[usize]>,
    ) -> Self {
        let bytes = own_bytes + task_bytes.iter().sum::<usize>();
        let value = Arc::new(state);
        Self { loaded: Loaded::Session(Versioned { version, value }), bytes, task_bytes }
    }
}
