//! One task of a session, and which status may follow which.
//!
//! | status     | dispatch     | run     | complete    | give back | fail     | skip      | cancel      |
//! |------------|--------------|---------|-------------|-----------|----------|-----------|-------------|
//! | pending    | → dispatched | –       | –           | –         | → failed | → skipped | → cancelled |
//! | dispatched | –            | running | → completed | → pending | → failed | –         | → cancelled |
//! | running    | –            | running | → completed | → pending | → failed | –         | → cancelled |
//! | waiting    | –            | –       | → completed | –         | → failed | → skipped | → cancelled |
//! | completed, failed, skipped, cancelled | – | – | –  | –         | –        | –         | –           |
//!
//! "Give back" covers a failed attempt that will be tried again and a task whose agent went away. A settled
//! task takes no further event, which is what makes settlement happen once.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, MessageId, TaskId};
use signalbox_wire::time::Timestamp;

use crate::routing::Route;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Not with an agent: its turn has not come, it waits for an agent, or for its next attempt.
    Pending,
    /// Given to an agent that has not yet said that it works on it.
    Dispatched,
    /// The agent works on it.
    Running,
    /// Waits for something that is not an agent.
    Waiting,
    /// Settled: done.
    Completed,
    /// Settled: failed for good.
    Failed,
    /// Settled: passed over.
    Skipped,
    /// Settled: no longer wanted.
    Cancelled,
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// It is given to an agent.
    Dispatch,
    /// The agent says that it works on it.
    Run,
    /// It is done.
    Complete,
    /// The attempt is over and there will be another.
    GiveBack,
    /// It failed for good.
    Fail,
    /// It is passed over.
    Skip,
    /// It is no longer wanted.
    Cancel,
}

impl TaskStatus {
    /// All statuses.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Dispatched,
        Self::Running,
        Self::Waiting,
        Self::Completed,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// The status after `event`; `None` where the table has none.
    #[must_use]
    pub fn after(self, event: TaskEvent) -> Option<Self> {
        use TaskEvent as E;
        match (self, event) {
            (Self::Pending, E::Dispatch) => Some(Self::Dispatched),
            (Self::Dispatched | Self::Running, E::Run) => Some(Self::Running),
            (Self::Dispatched | Self::Running | Self::Waiting, E::Complete) => Some(Self::Completed),
            (Self::Dispatched | Self::Running, E::GiveBack) => Some(Self::Pending),
            (Self::Pending | Self::Waiting, E::Skip) => Some(Self::Skipped),
            (Self::Pending | Self::Dispatched | Self::Running | Self::Waiting, E::Fail) => Some(Self::Failed),
            (Self::Pending | Self::Dispatched | Self::Running | Self::Waiting, E::Cancel) => {
                Some(Self::Cancelled)
            }
            _ => None,
        }
    }

    /// Whether nothing more can happen.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// Whether an agent holds the task.
    #[must_use]
    pub fn is_held(self) -> bool {
        matches!(self, Self::Dispatched | Self::Running)
    }

    /// The status in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A session's task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id, unique in the tenant.
    pub id: TaskId,
    /// Its id in the definition.
    pub step: String,
    /// Its position in the definition's list.
    pub position: usize,
    /// Its name.
    pub name: Option<String>,
    /// Which agents may do it.
    pub route: Route,
    /// What its agent is given, with `${…}` expressions still in it.
    pub template: Map<String, Value>,
    /// The position of the task that follows.
    pub next: Option<usize>,
    /// Where it stands.
    pub status: TaskStatus,
    /// Attempts so far.
    pub attempt: u32,
    /// Attempts that may follow the first.
    pub retries: u32,
    /// The agent of the last attempt.
    pub agent: Option<AgentId>,
    /// The message of the last attempt.
    pub message: Option<MessageId>,
    /// What the agent was given, rendered.
    pub parameters: Option<Map<String, Value>>,
    /// What came of it.
    pub result: Option<Value>,
    /// Why its last attempt failed.
    pub error: Option<String>,
    /// Since when it waits for an agent, when it does.
    pub queued_at: Option<Timestamp>,
    /// When its next attempt may start, while it waits for that.
    pub retry_at: Option<Timestamp>,
    /// When the last attempt was given to its agent.
    pub dispatched_at: Option<Timestamp>,
    /// When the agent said that it works on it.
    pub started_at: Option<Timestamp>,
    /// When it was settled.
    pub ended_at: Option<Timestamp>,
}

impl Task {
    /// The key under which it waits for an agent, when it does.
    #[must_use]
    pub fn waiting_key(&self) -> Option<String> {
        self.queued_at.map(|_| self.route.key())
    }

    /// Whether there may be another attempt.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.attempt <= self.retries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_status_and_event() {
        use TaskEvent::{Cancel, Complete, Dispatch, Fail, GiveBack, Run, Skip};
        use TaskStatus as S;
        let events = [Dispatch, Run, Complete, GiveBack, Fail, Skip, Cancel];
        let table: [(S, [Option<S>; 7]); 8] = [
            (
                S::Pending,
                [
                    Some(S::Dispatched),
                    None,
                    None,
                    None,
                    Some(S::Failed),
                    Some(S::Skipped),
                    Some(S::Cancelled),
                ],
            ),
            (
                S::Dispatched,
                [
                    None,
                    Some(S::Running),
                    Some(S::Completed),
                    Some(S::Pending),
                    Some(S::Failed),
                    None,
                    Some(S::Cancelled),
                ],
            ),
            (
                S::Running,
                [
                    None,
                    Some(S::Running),
                    Some(S::Completed),
                    Some(S::Pending),
                    Some(S::Failed),
                    None,
                    Some(S::Cancelled),
                ],
            ),
            (
                S::Waiting,
                [None, None, Some(S::Completed), None, Some(S::Failed), Some(S::Skipped), Some(S::Cancelled)],
            ),
            (S::Completed, [None; 7]),
            (S::Failed, [None; 7]),
            (S::Skipped, [None; 7]),
            (S::Cancelled, [None; 7]),
        ];
        for (status, row) in table {
            for (event, expected) in events.into_iter().zip(row) {
                assert_eq!(status.after(event), expected, "{status:?} and {event:?}");
            }
            assert_eq!(status.is_settled(), row.iter().all(Option::is_none), "{status:?}");
        }
    }
}
