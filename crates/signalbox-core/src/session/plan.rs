//! What is settled of a session as a whole: its status, the task that it does, what its workflow says of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use signalbox_wire::id::{SessionId, TaskId};

use crate::definition::Notify;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionStatus {
    /// Nothing has been dispatched yet.
    Started,
    /// Under way.
    Running,
    /// Dispatches nothing until it is resumed.
    Paused,
    /// Over: everything done.
    Completed,
    /// Over: a task failed.
    Failed,
    /// Over: no longer wanted.
    Cancelled,
}

impl SessionStatus {
    /// All statuses.
    pub const ALL: [Self; 6] =
        [Self::Started, Self::Running, Self::Paused, Self::Completed, Self::Failed, Self::Cancelled];

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The status in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The task that a session does for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The other session.
    pub session: SessionId,
    /// Its task.
    pub task: TaskId,
    /// In which attempt.
    pub attempt: u32,
    /// How many sessions are above this one.
    pub depth: u32,
}

/// What a workflow says of its sessions as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// What comes of it, with expressions in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Tasks that may be under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// The group that it has to pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<ConcurrencyClaim>,
    /// Who is told of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
}

impl Plan {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The group that a session has to pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcurrencyClaim {
    /// The group's name.
    pub group: String,
    /// How many may be past it at once.
    pub limit: u32,
}

/// How a session that undoes what it did will end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// `failed` or `cancelled`.
    pub status: SessionStatus,
    /// Why.
    pub reason: String,
}
