//! The commands of a session's machine, and the queue that they wait in.
//!
//! | command | what its step does | what it may add |
//! |---|---|---|
//! | `Advance` | makes one move that follows from the session's state | `Begin`, `Conclude`, `Advance` |
//! | `Begin` | a task begins, unless its condition says otherwise | one of the next seven, `FailTask` |
//! | `Expand` | a task with `forEach` gets its instances | `FailTask` |
//! | `MatchTask` | a task is given to an agent, or waits for one | `FailTask` |
//! | `CallTool` | a task is given to a tool | `FailTask` |
//! | `StartChild` | a session begins that does a task | `Advance` or `EnterGroup` of that session, `RetryTask`, `FailTask` |
//! | `Wait` | a task waits for a signal | – |
//! | `Sleep` | a task waits for time to pass | `FailTask` |
//! | `AskApproval` | a task waits for an approval | `FailTask` |
//! | `CompleteTask` | a task is done | `Advance` |
//! | `ReturnTask` | an agent went away with a task in its hands | `FailTask`, `Advance` |
//! | `RetryTask` | an attempt failed, and another follows after a wait | – |
//! | `FailTask` | a task fails for good | `Terminate`, `Advance` |
//! | `Terminate` | a session ends before its time, and undoes what was done | `FinishSession`, `Advance` |
//! | `Conclude` | nothing is left to do in a session | `FinishSession`, `Terminate` |
//! | `FinishSession` | a session is over | `CompleteTask`, `RetryTask`, `FailTask` of the session above it |
//! | `EnterGroup` | a session comes to its concurrency group | `Advance`, `ReplaceInGroup` |
//! | `ReplaceInGroup` | a session takes the place of those before it | `LeaveGroup`, `Terminate`, `AdmitNext` |
//! | `LeaveGroup` | a session gives up its place | – |
//! | `AdmitNext` | free places go to those that wait | – |
//!
//! A step changes the unit of work and adds commands; it calls no other step. What it adds comes before what was in the
//! queue already, in its order: what follows from a change happens before anything else does.

use std::sync::Arc;

use serde_json::Value;
use signalbox_wire::id::{AgentId, SessionId, TaskId, WorkflowId};

use crate::delivery::TaskAttempt;
use crate::engine::concurrency::Admission;
use crate::session::{ConcurrencyClaim, SessionStatus};
use crate::task::{Fault, Task};

/// Something that the machine does.
#[derive(Debug)]
pub(in crate::engine) enum Command {
    Advance { session: SessionId },
    Begin { session: SessionId, position: usize },
    Expand { session: SessionId, task: Arc<Task> },
    MatchTask { session: SessionId, task: TaskId, to: Option<AgentId> },
    CallTool { session: SessionId, task: Arc<Task> },
    StartChild { session: SessionId, task: Arc<Task>, workflow: WorkflowId },
    Wait { session: SessionId, task: Arc<Task> },
    Sleep { session: SessionId, task: Arc<Task> },
    AskApproval { session: SessionId, task: Arc<Task> },
    CompleteTask { session: SessionId, task: Arc<Task>, result: Option<Value> },
    ReturnTask { attempt: TaskAttempt, reason: String },
    RetryTask { session: SessionId, task: Arc<Task>, error: String },
    FailTask { session: SessionId, task: Arc<Task>, error: String },
    Terminate { session: SessionId, status: SessionStatus, reason: String },
    Conclude { session: SessionId },
    FinishSession { session: SessionId, end: SessionEnd },
    EnterGroup { session: SessionId, claim: ConcurrencyClaim, admission: Admission },
    ReplaceInGroup { session: SessionId, group: String },
    LeaveGroup { session: SessionId, group: String },
    AdmitNext { group: String },
}

/// How a session ends.
#[derive(Debug)]
pub(in crate::engine) enum SessionEnd {
    Completed(Option<Value>),
    Failed(String),
    Cancelled(String),
}

impl SessionEnd {
    /// An end before its time.
    pub(super) fn early(status: SessionStatus, reason: String) -> Self {
        match status {
            SessionStatus::Cancelled => Self::Cancelled(reason),
            _ => Self::Failed(reason),
        }
    }
}

impl Command {
    /// An attempt failed: another follows after a wait, or the task fails.
    pub(in crate::engine) fn attempt_failed(
        session: &SessionId,
        task: Arc<Task>,
        error: String,
        fault: Fault<'_>,
    ) -> Self {
        let session = session.clone();
        if task.may_retry(Some(fault)) {
            Self::RetryTask { session, task, error }
        } else {
            Self::FailTask { session, task, error }
        }
    }

    /// A session goes on as far as it can by itself.
    pub(in crate::engine) fn advance(session: &SessionId) -> Self {
        Self::Advance { session: session.clone() }
    }

    /// A task fails for good.
    pub(in crate::engine) fn fail(session: &SessionId, task: &Arc<Task>, error: String) -> Self {
        Self::FailTask { session: session.clone(), task: Arc::clone(task), error }
    }
}

/// The queue of a machine. Empty, it takes no memory.
#[derive(Debug, Default)]
pub(in crate::engine) struct Commands {
    /// What comes next stands last; what the present step has added stands behind that, in its order.
    stack: Vec<Command>,
}

impl Commands {
    /// Adds a command. One step's are done in the order in which it adds them.
    pub(in crate::engine) fn push(&mut self, command: Command) {
        // Where a session is to advance in any case, that is enough: a task that settles as soon as it begins is
        // followed by the move after it, and not by a machine of its own.
        if let Command::Advance { session } = &command
            && self
                .stack
                .iter()
                .any(|other| matches!(other, Command::Advance { session: other } if other == session))
        {
            return;
        }
        self.stack.push(command);
    }

    /// The next command, and how many wait behind it.
    pub(super) fn next(&mut self) -> Option<(Command, usize)> {
        let command = self.stack.pop()?;
        Some((command, self.stack.len()))
    }

    /// A step has ended before which so many waited.
    pub(super) fn end_step(&mut self, waiting: usize) {
        self.stack[waiting..].reverse();
    }

    pub(super) fn clear(&mut self) {
        self.stack.clear();
    }
}
