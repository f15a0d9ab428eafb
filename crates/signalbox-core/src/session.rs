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
//! history therefore gives the state. A paused session dispatches nothing; what is in flight may finish. One that
//! undoes what it did is still running, or paused, and has its [`Ending`]; one that waits for its turn is started.

mod event;
mod plan;
mod ready;
mod tasks;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use signalbox_wire::id::{AgentId, ScheduleId, SessionId, TaskId, WorkflowId};
use signalbox_wire::outbound::SessionContext;
use signalbox_wire::time::Timestamp;

pub use self::event::SessionEvent;
pub use self::plan::{ConcurrencyClaim, Ending, Parent, Plan, SessionStatus};
pub use self::ready::Move;
use self::tasks::Run;
pub use self::tasks::Tasks;
use crate::definition::Kind;
use crate::task::{Task, TaskEvent, TaskStatus, Undelivered};

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Where it stands.
    pub status: SessionStatus,
    /// What it was started with.
    pub input: Map<String, Value>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The `traceparent` of the request that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The schedule that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleId>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The length of its history.
    pub sequence: u64,
    /// The task that it does, where it does one of another session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// What its workflow says of it as a whole.
    #[serde(default, skip_serializing_if = "Plan::is_default")]
    pub plan: Plan,
    /// It waits until fewer sessions like it run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_group: bool,
    /// How it will end, once what it did is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// When its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Signals that came before the tasks that wait for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<KeptSignal>,
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

    /// What a message about one of its tasks says of where the task belongs.
    pub(crate) fn context_of<'s>(&'s self, task: &'s Task) -> SessionContext<'s> {
        SessionContext { session_id: &self.id, workflow_id: &self.workflow, task_id: &task.step }
    }

    /// A session that has just begun.
    #[must_use]
    pub fn new(id: SessionId, workflow: WorkflowId, revision: u32, at: Timestamp) -> Self {
        Self {
            id,
            workflow,
            revision,
            agent: None,
            status: SessionStatus::Started,
            input: Map::new(),
            result: None,
            error: None,
            trace: None,
            schedule: None,
            created_at: at,
            updated_at: at,
            ended_at: None,
            sequence: 1,
            parent: None,
            plan: Plan::default(),
            waits_for_group: false,
            ending: None,
            deadline: None,
            signals: Vec::new(),
        }
    }
}

/// A signal that came before the task that waits for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptSignal {
    /// Its name.
    pub signal: String,
    /// What it carries.
    pub payload: Option<Value>,
}

/// A session with all its tasks: what a decision about it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// The session.
    pub session: Arc<Session>,
    /// Its tasks: those of the definition in the order of its list, then those that came with time.
    pub tasks: Tasks,
}

/// Why an event does not fit the state it was to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} does not fit: {reason}")]
pub struct InvalidTransition {
    /// The event's type.
    pub event: &'static str,
    /// What stood against it.
    pub reason: String,
}

impl SessionState {
    /// The state that a history gives.
    ///
    /// # Errors
    /// [`InvalidTransition`] when the history is not one that the machines allow.
    pub fn replay<'a>(
        id: &SessionId,
        history: impl IntoIterator<Item = (Timestamp, &'a SessionEvent)>,
    ) -> Result<Option<Self>, InvalidTransition> {
        let mut state: Option<Self> = None;
        for (at, event) in history {
            match (&mut state, event) {
                (None, SessionEvent::Started { .. }) => state = Self::start(id, at, event),
                (Some(state), event) => state.apply(at, event)?,
                (None, event) => {
                    return Err(InvalidTransition { event: event.kind(), reason: "no session yet".into() });
                }
            }
        }
        Ok(state)
    }

    /// The state after a `Started` event; `None` for any other.
    #[must_use]
    pub fn start(id: &SessionId, at: Timestamp, event: &SessionEvent) -> Option<Self> {
        let SessionEvent::Started { workflow, revision, agent, input, trace, schedule, tasks, parent, plan } =
            event
        else {
            return None;
        };
        let session = Session {
            agent: agent.clone(),
            input: input.clone(),
            trace: trace.clone(),
            schedule: schedule.clone(),
            parent: parent.clone(),
            deadline: plan.timeout.map(|timeout| at + timeout),
            plan: plan.clone(),
            ..Session::new(id.clone(), workflow.clone(), *revision, at)
        };
        Some(Self { session: Arc::new(session), tasks: tasks.iter().cloned().collect() })
    }

    /// The task with this id.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(self.tasks.position(id)?)
    }

    /// The tasks that `task` has expanded into.
    pub fn instances(&self, task: &Task) -> impl Iterator<Item = &Arc<Task>> {
        let runs = self.tasks.runs_of(task.position);
        runs.flat_map(Run::range).filter_map(|position| self.tasks.get(position))
    }

    /// Positions of the tasks that have a place in the queue.
    pub(crate) fn queued(&self) -> Vec<usize> {
        let is_queued =
            |position: &usize| self.tasks.get(*position).is_some_and(|task| task.queued_at.is_some());
        self.tasks.under_way().filter(is_queued).collect()
    }

    /// Applies one event, whole or not at all.
    ///
    /// # Errors
    /// [`InvalidTransition`] when the tables do not allow it.
    pub fn apply(&mut self, at: Timestamp, event: &SessionEvent) -> Result<(), InvalidTransition> {
        let invalid_transition = |reason: String| InvalidTransition { event: event.kind(), reason };
        let applied = match event.task() {
            Some(id) => self.apply_to_task(at, event, id),
            None => self.apply_to_session(at, event),
        };
        applied.map_err(invalid_transition)?;
        self.session_mut().updated_at = at;
        self.session_mut().sequence += 1;
        Ok(())
    }

    fn apply_to_session(&mut self, at: Timestamp, event: &SessionEvent) -> Result<(), String> {
        use SessionEvent as E;
        let open = [SessionStatus::Started, SessionStatus::Running, SessionStatus::Paused];
        match event {
            E::Queued { .. } => {
                self.moves(&open, self.session.status)?;
                self.session_mut().waits_for_group = true;
            }
            E::Admitted if self.session.waits_for_group => self.session_mut().waits_for_group = false,
            E::Paused => {
                self.moves(&open[..2], SessionStatus::Paused)?;
                // A paused session gives up its places in the queue, or it would hold up those behind it.
                for position in self.queued() {
                    self.tasks.change(position, |task| task.queued_at = None);
                }
            }
            E::Resumed => self.moves(&[SessionStatus::Paused], SessionStatus::Running)?,
            E::Retried => {
                self.moves(&[SessionStatus::Failed], SessionStatus::Running)?;
                self.session_mut().error = None;
                self.session_mut().ended_at = None;
                self.session_mut().deadline = self.session.plan.timeout.map(|timeout| at + timeout);
            }
            E::SignalKept { signal, payload } => {
                self.moves(&open, self.session.status)?;
                self.session_mut()
                    .signals
                    .push(KeptSignal { signal: signal.clone(), payload: payload.clone() });
            }
            E::Undoing { ending, tasks } if self.session.ending.is_none() => {
                self.moves(&open, self.session.status)?;
                let tasks: Vec<_> = tasks.iter().cloned().map(Arc::new).collect();
                self.append(tasks.iter())?;
                // Whoever cancels a paused session wants it undone now; one that fails by itself stays paused.
                if self.session.status != SessionStatus::Paused || ending.status == SessionStatus::Cancelled {
                    self.session_mut().status = SessionStatus::Running;
                }
                self.session_mut().ending = Some(ending.clone());
                self.session_mut().error = Some(ending.reason.clone());
            }
            E::Completed { result } => {
                self.ends(at, SessionStatus::Completed)?;
                self.session_mut().result.clone_from(result);
            }
            E::Failed { error } => {
                self.ends(at, SessionStatus::Failed)?;
                self.session_mut().error = Some(error.clone());
            }
            E::Cancelled { reason } => {
                self.ends(at, SessionStatus::Cancelled)?;
                self.session_mut().error = Some(reason.clone());
            }
            _ => return Err(format!("the session is {}", self.session.status.name())),
        }
        Ok(())
    }

    /// Tasks that come with time stand behind those that are there.
    fn append<'t>(&mut self, tasks: impl Iterator<Item = &'t Arc<Task>> + Clone) -> Result<(), String> {
        for (expected, task) in (self.tasks.len()..).zip(tasks.clone()) {
            if task.position != expected {
                return Err(format!("task {} cannot stand at {}", task.id, task.position));
            }
        }
        self.tasks.append(tasks.cloned());
        Ok(())
    }

    fn apply_to_task(&mut self, at: Timestamp, event: &SessionEvent, id: &TaskId) -> Result<(), String> {
        use SessionEvent as E;
        let status = self.session.status;
        if status.is_over() {
            return Err(format!("the session is {}", status.name()));
        }
        let may_begin = status != SessionStatus::Paused && !self.session.waits_for_group;
        let found = self.tasks.position(id).and_then(|position| Some((position, self.tasks.get(position)?)));
        let Some((position, before)) = found else {
            return Err(format!("the session has no task {id}"));
        };
        let is_expanded = matches!(event, E::TaskReopened { .. }) && self.instances(before).next().is_some();
        if let E::TaskExpanded { tasks, .. } = event
            && may_begin
            && before.status == TaskStatus::Pending
        {
            self.append(tasks.iter())?;
        }
        let (tasks, session) = (&mut self.tasks, &mut self.session);
        let changed = tasks.change(position, |task| {
            let goes = Goes { at, may_begin, is_expanded };
            change_task(task, session, event, &goes)
        });
        changed.unwrap_or(Ok(()))
    }

    fn session_mut(&mut self) -> &mut Session {
        Arc::make_mut(&mut self.session)
    }

    fn moves(&mut self, from: &[SessionStatus], to: SessionStatus) -> Result<(), String> {
        if !from.contains(&self.session.status) {
            return Err(format!("the session is {}", self.session.status.name()));
        }
        self.session_mut().status = to;
        Ok(())
    }

    fn ends(&mut self, at: Timestamp, to: SessionStatus) -> Result<(), String> {
        let open = [SessionStatus::Started, SessionStatus::Running, SessionStatus::Paused];
        self.moves(&open, to)?;
        self.session_mut().ended_at = Some(at);
        self.session_mut().waits_for_group = false;
        Ok(())
    }
}

/// What a change of a task goes by, besides the event.
struct Goes {
    at: Timestamp,
    may_begin: bool,
    /// It has instances.
    is_expanded: bool,
}

fn change_task(
    task: &mut Task,
    session: &mut Arc<Session>,
    event: &SessionEvent,
    goes: &Goes,
) -> Result<(), String> {
    use SessionEvent as E;
    let (at, id) = (goes.at, task.id.clone());
    if event.attempt().is_some_and(|attempt| attempt != task.attempt) {
        return Err(format!("task {id} is in attempt {}", task.attempt));
    }
    match event {
        E::TaskWaiting { .. } if task.status == TaskStatus::Pending && goes.may_begin => {
            task.queued_at = Some(task.queued_at.unwrap_or(at));
            task.retry_at = None;
        }
        E::TaskDispatched { attempt, agent, child, parameters, .. } => {
            if !goes.may_begin || *attempt != task.attempt + 1 {
                return Err(format!("attempt {attempt} of {id} cannot start now"));
            }
            step(task, TaskEvent::Dispatch)?;
            task.attempt = *attempt;
            task.agent.clone_from(agent);
            task.child.clone_from(child);
            task.parameters = Some(parameters.clone());
            (task.queued_at, task.retry_at, task.started_at) = (None, None, None);
            (task.last_report_at, task.progress, task.undelivered) = (None, None, None);
            task.dispatched_at = Some(at);
            Arc::make_mut(session).status = SessionStatus::Running;
        }
        E::TaskBegun { until, subject, .. } if goes.may_begin => {
            step(task, TaskEvent::Wait)?;
            task.until = *until;
            task.subject.clone_from(subject);
            task.started_at = Some(at);
            Arc::make_mut(session).status = SessionStatus::Running;
        }
        E::TaskExpanded { .. } if goes.may_begin => {
            step(task, TaskEvent::Expand)?;
            task.started_at = Some(at);
            Arc::make_mut(session).status = SessionStatus::Running;
        }
        E::TaskRunning { .. } => {
            step(task, TaskEvent::Run)?;
            task.started_at = Some(task.started_at.unwrap_or(at));
        }
        E::TaskProgress { progress, .. } if task.status == TaskStatus::Running => {
            task.last_report_at = Some(at);
            if progress.is_some() {
                task.progress.clone_from(progress);
            }
        }
        E::TaskCompleted { result, .. } => {
            step(task, TaskEvent::Complete)?;
            task.result.clone_from(result);
            task.error = None;
            task.ended_at = Some(at);
            forget_signal(session, &task.kind);
        }
        E::DeliveryFailed { tries, status, error, retry_at, .. } if task.status.is_held() => {
            task.undelivered = Some(Undelivered {
                tries: *tries,
                status: *status,
                error: error.clone(),
                retry_at: *retry_at,
            });
        }
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
        E::TaskSkipped { is_unreached, .. } => {
            step(task, TaskEvent::Skip)?;
            task.is_unreached = *is_unreached;
            task.ended_at = Some(at);
        }
        E::TaskCancelled { .. } => {
            step(task, TaskEvent::Cancel)?;
            (task.queued_at, task.retry_at) = (None, None);
            task.ended_at = Some(at);
        }
        E::TaskReopened { retries, .. } if may_reopen(task) => {
            task.status = if goes.is_expanded { TaskStatus::Running } else { TaskStatus::Pending };
            task.retries = *retries;
            (task.until, task.subject, task.ended_at) = (None, None, None);
            if matches!(task.kind, Kind::Approve { .. }) {
                task.result = None;
            }
        }
        _ => return Err(format!("task {id} is {}", task.status.name())),
    }
    Ok(())
}

/// A signal that was kept for a task is used up by it.
fn forget_signal(session: &mut Arc<Session>, kind: &Kind) {
    let Kind::Wait { signal } = kind else { return };
    if let Some(position) = session.signals.iter().position(|kept| kept.signal == *signal) {
        Arc::make_mut(session).signals.remove(position);
    }
}

/// A task that failed or was taken away may begin anew; so may an approval, which is good for once.
fn may_reopen(task: &Task) -> bool {
    match task.status {
        TaskStatus::Failed | TaskStatus::Cancelled => true,
        TaskStatus::Completed => matches!(task.kind, Kind::Approve { .. }),
        _ => false,
    }
}

fn step(task: &mut Task, event: TaskEvent) -> Result<(), String> {
    let next =
        task.status.after(event).ok_or_else(|| format!("task {} is {}", task.id, task.status.name()))?;
    task.status = next;
    Ok(())
}

#[cfg(test)]
mod tests;
