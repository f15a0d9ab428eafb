//! One attempt at a task, by name.

use serde::{Deserialize, Serialize};
use signalbox_wire::id::{SessionId, TaskId};

/// One attempt of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskAttempt {
    /// The session.
    pub session: SessionId,
    /// The task.
    pub task: TaskId,
    /// The attempt, from 1.
    pub attempt: u32,
}
