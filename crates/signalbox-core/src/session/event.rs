//! What happens in a session: the entries of its history.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, ScheduleId, SessionId, TaskId, WorkflowId};
use signalbox_wire::quote;
use signalbox_wire::time::Timestamp;

use super::plan::{Ending, Parent, Plan};
use crate::event::{Level, NewEvent};
use crate::limits::bounded;
use crate::task::{Subject, Task};

/// What happened in a session; its history is a list of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[expect(missing_docs, reason = "the fields repeat those of Session and Task, where they are described")]
pub enum SessionEvent {
    /// It began, with these tasks.
    #[serde(rename = "session.started")]
    Started {
        workflow: WorkflowId,
        revision: u32,
        agent: Option<AgentId>,
        input: Map<String, Value>,
        trace: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<ScheduleId>,
        /// Shared with the state that it leads to: a long list is not copied.
        tasks: Vec<Arc<Task>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Parent>,
        #[serde(default, skip_serializing_if = "Plan::is_default")]
        plan: Plan,
    },
    /// As many sessions like it run as may: it waits for its turn.
    #[serde(rename = "session.queued")]
    Queued { key: String },
    /// Its turn has come.
    #[serde(rename = "session.admitted")]
    Admitted,
    /// A task's turn has come and no agent is available.
    #[serde(rename = "task.waiting")]
    TaskWaiting { task: TaskId, step: String, waiting_for: String },
    /// A task was given to an agent, a tool or a session of its own.
    #[serde(rename = "task.dispatched")]
    TaskDispatched {
        task: TaskId,
        step: String,
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        child: Option<SessionId>,
        parameters: Map<String, Value>,
    },
    /// A task waits for something that is not an agent: a signal, a person, a moment.
    #[serde(rename = "task.begun")]
    TaskBegun {
        task: TaskId,
        step: String,
        waiting_for: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Subject>,
    },
    /// A task is done once for each item of its list, by these.
    #[serde(rename = "task.expanded")]
    TaskExpanded { task: TaskId, step: String, tasks: Vec<Arc<Task>> },
    /// The agent works on it.
    #[serde(rename = "task.running")]
    TaskRunning { task: TaskId, step: String, attempt: u32, agent: AgentId },
    /// The agent still does.
    #[serde(rename = "task.progress")]
    TaskProgress {
        task: TaskId,
        step: String,
        attempt: u32,
        agent: AgentId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<Value>,
    },
    /// It is done.
    #[serde(rename = "task.completed")]
    TaskCompleted {
        task: TaskId,
        step: String,
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentId>,
        result: Option<Value>,
    },
    /// An attempt to hand the task to its agent failed; the next one comes at `retry_at`.
    #[serde(rename = "delivery.failed")]
    DeliveryFailed {
        task: TaskId,
        step: String,
        attempt: u32,
        agent: AgentId,
        tries: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        error: String,
        retry_at: Timestamp,
    },
    /// An attempt failed; the next one comes at `retry_at`.
    #[serde(rename = "task.retrying")]
    TaskRetrying { task: TaskId, step: String, attempt: u32, error: String, retry_at: Timestamp },
    /// Its agent went away; it goes to be routed again at once.
    #[serde(rename = "task.returned")]
    TaskReturned { task: TaskId, step: String, attempt: u32, agent: Option<AgentId>, reason: String },
    /// It failed for good.
    #[serde(rename = "task.failed")]
    TaskFailed { task: TaskId, step: String, attempt: u32, error: String },
    /// It is passed over: by its own condition, or because nothing led to it.
    #[serde(rename = "task.skipped")]
    TaskSkipped {
        task: TaskId,
        step: String,
        reason: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_unreached: bool,
    },
    /// It is no longer wanted.
    #[serde(rename = "task.cancelled")]
    TaskCancelled { task: TaskId, step: String, attempt: u32 },
    /// A task begins anew: one that failed gets more attempts (`retries` counts those that went before too), an
    /// approval has to be asked for again.
    #[serde(rename = "task.reopened")]
    TaskReopened { task: TaskId, step: String, retries: u32 },
    /// A signal came before the task that waits for it.
    #[serde(rename = "signal.kept")]
    SignalKept { signal: String, payload: Option<Value> },
    /// Nothing is dispatched until it is resumed.
    #[serde(rename = "session.paused")]
    Paused,
    /// It goes on.
    #[serde(rename = "session.resumed")]
    Resumed,
    /// A failed session goes on from the task that failed.
    #[serde(rename = "session.retried")]
    Retried,
    /// It will end so, once these tasks have undone what was done.
    #[serde(rename = "session.undoing")]
    Undoing { ending: Ending, tasks: Vec<Task> },
    /// It is over: everything done.
    #[serde(rename = "session.completed")]
    Completed { result: Option<Value> },
    /// It is over: a task failed.
    #[serde(rename = "session.failed")]
    Failed { error: String },
    /// It is over: no longer wanted.
    #[serde(rename = "session.cancelled")]
    Cancelled { reason: String },
}

impl SessionEvent {
    /// That a task is done, whoever did it.
    pub(crate) fn completed(task: &Task, result: Option<Value>) -> Self {
        Self::TaskCompleted {
            task: task.id.clone(),
            step: task.step.clone(),
            attempt: task.attempt,
            agent: task.agent.clone(),
            result,
        }
    }

    /// That a task has failed for good.
    pub(crate) fn failed(task: &Task, error: &str) -> Self {
        Self::TaskFailed {
            task: task.id.clone(),
            step: task.step.clone(),
            attempt: task.attempt,
            error: bounded(error),
        }
    }

    /// The event's type as the history and the log name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "session.started",
            Self::Queued { .. } => "session.queued",
            Self::Admitted => "session.admitted",
            Self::TaskWaiting { .. } => "task.waiting",
            Self::TaskDispatched { .. } => "task.dispatched",
            Self::TaskBegun { .. } => "task.begun",
            Self::TaskExpanded { .. } => "task.expanded",
            Self::TaskRunning { .. } => "task.running",
            Self::TaskProgress { .. } => "task.progress",
            Self::TaskCompleted { .. } => "task.completed",
            Self::DeliveryFailed { .. } => "delivery.failed",
            Self::TaskRetrying { .. } => "task.retrying",
            Self::TaskReturned { .. } => "task.returned",
            Self::TaskFailed { .. } => "task.failed",
            Self::TaskSkipped { .. } => "task.skipped",
            Self::TaskCancelled { .. } => "task.cancelled",
            Self::TaskReopened { .. } => "task.reopened",
            Self::SignalKept { .. } => "signal.kept",
            Self::Paused => "session.paused",
            Self::Resumed => "session.resumed",
            Self::Retried => "session.retried",
            Self::Undoing { .. } => "session.undoing",
            Self::Completed { .. } => "session.completed",
            Self::Failed { .. } => "session.failed",
            Self::Cancelled { .. } => "session.cancelled",
        }
    }

    /// The task it is about.
    #[must_use]
    pub fn task(&self) -> Option<&TaskId> {
        match self {
            Self::TaskWaiting { task, .. }
            | Self::TaskDispatched { task, .. }
            | Self::TaskBegun { task, .. }
            | Self::TaskExpanded { task, .. }
            | Self::TaskRunning { task, .. }
            | Self::TaskProgress { task, .. }
            | Self::TaskCompleted { task, .. }
            | Self::DeliveryFailed { task, .. }
            | Self::TaskRetrying { task, .. }
            | Self::TaskReturned { task, .. }
            | Self::TaskFailed { task, .. }
            | Self::TaskSkipped { task, .. }
            | Self::TaskCancelled { task, .. }
            | Self::TaskReopened { task, .. } => Some(task),
            _ => None,
        }
    }

    /// The attempt under way that it is about. A dispatch begins another.
    #[must_use]
    pub fn attempt(&self) -> Option<u32> {
        match self {
            Self::TaskRunning { attempt, .. }
            | Self::TaskProgress { attempt, .. }
            | Self::TaskCompleted { attempt, .. }
            | Self::DeliveryFailed { attempt, .. }
            | Self::TaskRetrying { attempt, .. }
            | Self::TaskReturned { attempt, .. }
            | Self::TaskFailed { attempt, .. }
            | Self::TaskCancelled { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }

    /// The agent it is about.
    #[must_use]
    pub fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::TaskRunning { agent, .. }
            | Self::TaskProgress { agent, .. }
            | Self::DeliveryFailed { agent, .. } => Some(agent),
            Self::TaskDispatched { agent, .. }
            | Self::TaskCompleted { agent, .. }
            | Self::TaskReturned { agent, .. } => agent.as_ref(),
            _ => None,
        }
    }

    /// How much it matters to somebody who reads the log.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::DeliveryFailed { .. }
            | Self::TaskRetrying { .. }
            | Self::TaskReturned { .. }
            | Self::Undoing { .. }
            | Self::Cancelled { .. } => Level::Warning,
            Self::TaskFailed { .. } | Self::Failed { .. } => Level::Error,
            Self::TaskProgress { .. } => Level::Debug,
            _ => Level::Info,
        }
    }

    /// The entry that the log keeps of it, as number `sequence` of its session, with the name of the agent that it is
    /// about: that may be gone when somebody reads of it.
    #[must_use]
    pub fn entry(
        &self,
        session: &SessionId,
        sequence: u64,
        at: Timestamp,
        agent_name: Option<&str>,
    ) -> NewEvent {
        let mut entry = NewEvent::new(self.kind(), self.level(), at, self);
        if let (Some(name), Some('}')) = (agent_name, entry.data.pop()) {
            entry.data.push_str(",\"agent_name\":");
            quote(&mut entry.data, name);
        }
        entry.data.push('}');
        entry.session = Some((session.clone(), sequence));
        entry.agent = self.agent().cloned();
        entry.task = self.task().cloned();
        entry
    }
}
