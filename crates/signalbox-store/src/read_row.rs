//! A row as a database gives it and the cache holds it.

use std::sync::Arc;

use signalbox_core::chunks::Chunks;
use signalbox_core::session::SessionState;
use signalbox_core::snapshot::{Loaded, Versioned};

/// A row as read, and the length of its bodies.
#[derive(Debug, Clone)]
pub(crate) struct ReadRow {
    pub(crate) loaded: Loaded,
    /// The length of all its bodies.
    pub(crate) bytes: usize,
    /// The length of the body of each task; of a session alone.
    pub(crate) task_bytes: Option<Arc<TaskBytes>>,
}

/// How many bytes the body of each of a session's tasks takes, in their order, and all of them together.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskBytes {
    each: Chunks<usize>,
    sum: usize,
}

impl TaskBytes {
    /// Takes in the body of the task at `place`, or of one behind all others.
    pub(crate) fn set(&mut self, place: usize, bytes: usize) {
        match self.each.get_mut(place) {
            Some(known) => self.sum -= std::mem::replace(known, bytes),
            None => self.each.push(bytes),
        }
        self.sum += bytes;
    }

    /// The length of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.each.iter().copied()
    }
}

impl FromIterator<usize> for TaskBytes {
    fn from_iter<I: IntoIterator<Item = usize>>(bytes: I) -> Self {
        let each: Chunks<usize> = bytes.into_iter().collect();
        Self { sum: each.iter().sum(), each }
    }
}

impl ReadRow {
    /// A row other than a session.
    pub(crate) fn alone(loaded: Loaded, bytes: usize) -> Self {
        Self { loaded, bytes, task_bytes: None }
    }

    /// A session with its tasks, the length of its own body, and of theirs in their order.
    pub(crate) fn session(
        version: i64,
        state: SessionState,
        own_bytes: usize,
        task_bytes: TaskBytes,
    ) -> Self {
        let bytes = own_bytes + task_bytes.sum;
        let value = Arc::new(state);
        let task_bytes = Some(Arc::new(task_bytes));
        Self { loaded: Loaded::Session(Versioned { version, value }), bytes, task_bytes }
    }
}
