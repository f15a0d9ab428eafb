//! One run of a workflow: its tasks, its history, and which status may follow which.
//!
//! | status    | first dispatch | pause    | resume    | cancel      | all tasks done | a task failed |
//! |-----------|----------------|----------|-----------|-------------|----------------|---------------|
//! | started   | → running      | → paused | –         | → cancelled | → completed    | → failed      |
//! | running   | running        | → paused | –         | → cancelled | → completed    | → failed      |
//! | paused    | –              | –        | → running | → cancelled | → completed    | → failed      |
//! | failed    | –              | –        | –         | –           | –              | – (retry → running) |
//! | completed, cancelled | –   | –        | –         | –           | –              | –             |
//!
//! A session changes only by [`SessionState::apply`], with the events that its history keeps: replaying the
//! history therefore gives the state. A paused session dispatches nothing; what is in flight may finish.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use signalbox_wire::id::{AgentId, MessageId, ScheduleId, SessionId, TaskId, WorkflowId};
use signalbox_wire::time::Timestamp;

use crate::event::{Level, NewEvent};
use crate::task::{Task, TaskEvent, TaskStatus};

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

/// The session itself; its tasks are kept beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The workflow it runs.
    pub workflow: WorkflowId,
    /// The revision it started with and stays on.
    pub revision: u32,
    /// The agent of tasks that name neither an agent nor a capability.
    pub agent: Option<AgentId>,
    /// Where it stands.
    pub status: SessionStatus,
    /// What it was started with.
    pub input: Map<String, Value>,
    /// What came of it.
    pub result: Option<Value>,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// The `traceparent` of the request that started it.
    pub trace: Option<String>,
    /// The schedule that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleId>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// The length of its history.
    pub sequence: u64,
}

impl Session {
    /// What the expressions of its workflow see of it as `session`.
    #[must_use]
    pub fn seen(&self) -> Value {
        json!({
            "id": self.id.as_str(),
            "workflowId": self.workflow.as_str(),
            "startedAt": self.created_at.to_string(),
        })
    }
}

/// A session with all its tasks: what a decision about it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// The session.
    pub session: Session,
    /// Its tasks in the order of the definition's list.
    pub tasks: Vec<Task>,
}

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
        tasks: Vec<Task>,
    },
    /// A task's turn has come and no agent is available.
    #[serde(rename = "task.waiting")]
    TaskWaiting { task: TaskId, step: String, waiting_for: String },
    /// A task was given to an agent.
    #[serde(rename = "task.dispatched")]
    TaskDispatched {
        task: TaskId,
        step: String,
        attempt: u32,
        agent: AgentId,
        message: MessageId,
        parameters: Map<String, Value>,
    },
    /// The agent works on it.
    #[serde(rename = "task.running")]
    TaskRunning { task: TaskId, step: String, attempt: u32, agent: AgentId },
    /// It is done.
    #[serde(rename = "task.completed")]
    TaskCompleted { task: TaskId, step: String, attempt: u32, agent: AgentId, result: Option<Value> },
    /// An attempt to hand the task to its agent failed; the next one comes at `retry_at`.
    #[serde(rename = "delivery.failed")]
    DeliveryFailed {
        task: TaskId,
        step: String,
        attempt: u32,
        agent: AgentId,
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
    /// It is no longer wanted.
    #[serde(rename = "task.cancelled")]
    TaskCancelled { task: TaskId, step: String, attempt: u32 },
    /// A failed task gets more attempts: `retries` counts those that went before too.
    #[serde(rename = "task.reopened")]
    TaskReopened { task: TaskId, step: String, retries: u32 },
    /// Nothing is dispatched until it is resumed.
    #[serde(rename = "session.paused")]
    Paused,
    /// It goes on.
    #[serde(rename = "session.resumed")]
    Resumed,
    /// A failed session goes on from the task that failed.
    #[serde(rename = "session.retried")]
    Retried,
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

/// Why an event does not fit the state it was to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} does not fit: {reason}")]
pub struct Misfit {
    /// The event's type.
    pub event: &'static str,
    /// What stood against it.
    pub reason: String,
}

impl SessionState {
    /// The state that a history gives.
    ///
    /// # Errors
    /// [`Misfit`] when the history is not one that the machines allow.
    pub fn replay<'a>(
        id: &SessionId,
        history: impl IntoIterator<Item = (Timestamp, &'a SessionEvent)>,
    ) -> Result<Option<Self>, Misfit> {
        let mut state: Option<Self> = None;
        for (at, event) in history {
            match (&mut state, event) {
                (None, SessionEvent::Started { .. }) => state = Self::start(id, at, event),
                (Some(state), event) => state.apply(at, event)?,
                (None, event) => return Err(Misfit { event: event.kind(), reason: "no session yet".into() }),
            }
        }
        Ok(state)
    }

    /// The state after a `Started` event; `None` for any other.
    #[must_use]
    pub fn start(id: &SessionId, at: Timestamp, event: &SessionEvent) -> Option<Self> {
        let SessionEvent::Started { workflow, revision, agent, input, trace, schedule, tasks } = event else {
            return None;
        };
        let session = Session {
            id: id.clone(),
            workflow: workflow.clone(),
            revision: *revision,
            agent: agent.clone(),
            status: SessionStatus::Started,
            input: input.clone(),
            result: None,
            error: None,
            trace: trace.clone(),
            schedule: schedule.clone(),
            created_at: at,
            updated_at: at,
            ended_at: None,
            sequence: 1,
        };
        Some(Self { session, tasks: tasks.clone() })
    }

    /// The task with this id.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == *id)
    }

    /// Applies one event, whole or not at all.
    ///
    /// # Errors
    /// [`Misfit`] when the tables do not allow it.
    pub fn apply(&mut self, at: Timestamp, event: &SessionEvent) -> Result<(), Misfit> {
        use SessionEvent as E;
        let misfit = |reason: String| Misfit { event: event.kind(), reason };
        match event {
            E::Started { .. } => return Err(misfit("the session has started already".into())),
            E::Paused => {
                let open = [SessionStatus::Started, SessionStatus::Running];
                // A paused session gives up its places in the queue, or it would hold up those behind it.
                self.moves(&open, SessionStatus::Paused)
                    .map(|()| self.tasks.iter_mut().for_each(|task| task.queued_at = None))
            }
            E::Resumed => self.moves(&[SessionStatus::Paused], SessionStatus::Running),
            E::Retried => self.moves(&[SessionStatus::Failed], SessionStatus::Running).map(|()| {
                self.session.error = None;
                self.session.ended_at = None;
            }),
            E::Completed { result } => {
                self.ends(at, SessionStatus::Completed).map(|()| self.session.result.clone_from(result))
            }
            E::Failed { error } => {
                self.ends(at, SessionStatus::Failed).map(|()| self.session.error = Some(error.clone()))
            }
            E::Cancelled { reason } => {
                self.ends(at, SessionStatus::Cancelled).map(|()| self.session.error = Some(reason.clone()))
            }
            _ => self.apply_to_task(at, event),
        }
        .map_err(misfit)?;
        self.session.updated_at = at;
        self.session.sequence += 1;
        Ok(())
    }

    fn apply_to_task(&mut self, at: Timestamp, event: &SessionEvent) -> Result<(), String> {
        use SessionEvent as E;
        let Some(id) = event.task() else { return Err("it names no task".into()) };
        let status = self.session.status;
        if status.is_over() {
            return Err(format!("the session is {}", status.name()));
        }
        let is_paused = status == SessionStatus::Paused;
        let Some(task) = self.tasks.iter_mut().find(|task| task.id == *id) else {
            return Err(format!("the session has no task {id}"));
        };
        if event.attempt().is_some_and(|attempt| attempt != task.attempt) {
            return Err(format!("task {id} is in attempt {}", task.attempt));
        }
        match event {
            E::TaskWaiting { .. } if task.status == TaskStatus::Pending && !is_paused => {
                task.queued_at = Some(task.queued_at.unwrap_or(at));
                task.retry_at = None;
            }
            E::TaskDispatched { attempt, agent, message, parameters, .. } => {
                if is_paused || *attempt != task.attempt + 1 {
                    return Err(format!("attempt {attempt} of {id} cannot start now"));
                }
                step(task, TaskEvent::Dispatch)?;
                task.attempt = *attempt;
                task.agent = Some(agent.clone());
                task.message = Some(message.clone());
                task.parameters = Some(parameters.clone());
                (task.queued_at, task.retry_at, task.started_at) = (None, None, None);
                task.dispatched_at = Some(at);
                self.session.status = SessionStatus::Running;
            }
            E::TaskRunning { .. } => {
                step(task, TaskEvent::Run)?;
                task.started_at = Some(task.started_at.unwrap_or(at));
            }
            E::TaskCompleted { result, .. } => {
                step(task, TaskEvent::Complete)?;
                task.result.clone_from(result);
                task.error = None;
                task.ended_at = Some(at);
            }
            E::DeliveryFailed { .. } if task.status.is_held() => {}
            E::TaskRetrying { error, retry_at, .. } => {
                step(task, TaskEvent::GiveBack)?;
                task.error = Some(error.clone());
                task.retry_at = Some(*retry_at);
            }
            E::TaskReturned { reason, .. } => {
                step(task, TaskEvent::GiveBack)?;
                task.error = Some(reason.clone());
            }
            E::TaskFailed { error, .. } => {
                step(task, TaskEvent::Fail)?;
                task.error = Some(error.clone());
                (task.queued_at, task.retry_at) = (None, None);
                task.ended_at = Some(at);
            }
            E::TaskCancelled { .. } => {
                step(task, TaskEvent::Cancel)?;
                (task.queued_at, task.retry_at) = (None, None);
                task.ended_at = Some(at);
            }
            E::TaskReopened { retries, .. } if task.status == TaskStatus::Failed => {
                task.status = TaskStatus::Pending;
                task.retries = *retries;
                task.ended_at = None;
            }
            _ => return Err(format!("task {id} is {}", task.status.name())),
        }
        Ok(())
    }

    fn moves(&mut self, from: &[SessionStatus], to: SessionStatus) -> Result<(), String> {
        if !from.contains(&self.session.status) {
            return Err(format!("the session is {}", self.session.status.name()));
        }
        self.session.status = to;
        Ok(())
    }

    fn ends(&mut self, at: Timestamp, to: SessionStatus) -> Result<(), String> {
        let open = [SessionStatus::Started, SessionStatus::Running, SessionStatus::Paused];
        self.moves(&open, to)?;
        self.session.ended_at = Some(at);
        Ok(())
    }
}

fn step(task: &mut Task, event: TaskEvent) -> Result<(), String> {
    let next =
        task.status.after(event).ok_or_else(|| format!("task {} is {}", task.id, task.status.name()))?;
    task.status = next;
    Ok(())
}

impl SessionEvent {
    /// The event's type as the history and the log name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "session.started",
            Self::TaskWaiting { .. } => "task.waiting",
            Self::TaskDispatched { .. } => "task.dispatched",
            Self::TaskRunning { .. } => "task.running",
            Self::TaskCompleted { .. } => "task.completed",
            Self::DeliveryFailed { .. } => "delivery.failed",
            Self::TaskRetrying { .. } => "task.retrying",
            Self::TaskReturned { .. } => "task.returned",
            Self::TaskFailed { .. } => "task.failed",
            Self::TaskCancelled { .. } => "task.cancelled",
            Self::TaskReopened { .. } => "task.reopened",
            Self::Paused => "session.paused",
            Self::Resumed => "session.resumed",
            Self::Retried => "session.retried",
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
            | Self::TaskRunning { task, .. }
            | Self::TaskCompleted { task, .. }
            | Self::DeliveryFailed { task, .. }
            | Self::TaskRetrying { task, .. }
            | Self::TaskReturned { task, .. }
            | Self::TaskFailed { task, .. }
            | Self::TaskCancelled { task, .. }
            | Self::TaskReopened { task, .. } => Some(task),
            _ => None,
        }
    }

    /// The attempt under way that it is about. A dispatch begins another.
    fn attempt(&self) -> Option<u32> {
        match self {
            Self::TaskRunning { attempt, .. }
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
            Self::TaskDispatched { agent, .. }
            | Self::TaskRunning { agent, .. }
            | Self::DeliveryFailed { agent, .. }
            | Self::TaskCompleted { agent, .. } => Some(agent),
            Self::TaskReturned { agent, .. } => agent.as_ref(),
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
            | Self::Cancelled { .. } => Level::Warning,
            Self::TaskFailed { .. } | Self::Failed { .. } => Level::Error,
            _ => Level::Info,
        }
    }

    /// The entry that the log keeps of it, as number `sequence` of its session.
    #[must_use]
    pub fn entry(&self, session: &SessionId, sequence: u64, at: Timestamp) -> NewEvent {
        let mut entry = NewEvent::new(self.kind(), self.level(), at, self);
        entry.session = Some((session.clone(), sequence));
        entry.agent = self.agent().cloned();
        entry.task = self.task().cloned();
        entry
    }
}

#[cfg(test)]
mod tests;
