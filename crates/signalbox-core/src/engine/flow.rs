//! A session goes on: tasks begin, are passed over, expand, and at last it is over.
//!
//! [`UnitOfWork::advance`] makes every move that follows from the session's state; whatever settles a task or lets a
//! session go on ends with it. Each move changes the session so that it is not made again. Where one decision would
//! become too large the session goes on in another, by a timer that is due at once.

use serde_json::Value;
use signalbox_wire::id::{SessionId, TaskId};

use super::payloads::{KnownPayloads, or_need};
use super::unit_of_work::UnitOfWork;
use crate::definition::Kind;
use crate::due::{Due, DueJob};
use crate::expression::{self, Scope, TaskFacts, Tasks, Unresolved};
use crate::limits::{EXPANSION_BYTES_MAX, ITEMS_MAX, TASKS_PER_SESSION_MAX};
use crate::session::{Move, SessionEvent, SessionState, SessionStatus};
use crate::steps::{STEPS_PER_MOVE, STEPS_PER_TASK_MADE, TASKS_PER_STEP};
use crate::task::{Instance, Task, TaskStatus};
use crate::{Halt, Rejected};

/// Random bits of an instance's id: one fewer than an id has, so that counting on from them stays within it.
const INSTANCE_BITS: u32 = 79;

impl UnitOfWork<'_, '_> {
    /// Lets a session go on as far as it can by itself.
    pub(super) fn advance(&mut self, session: &SessionId) -> Result<(), Halt> {
        // A task that settles as soon as it begins comes back here. Whoever is at this session already goes on with
        // it: calling on from each such task would take a stack as deep as the session has tasks.
        if !self.advancing.insert(session.clone()) {
            return Ok(());
        }
        let moved = self.move_on(session);
        self.advancing.remove(session);
        moved
    }

    fn move_on(&mut self, session: &SessionId) -> Result<(), Halt> {
        // Every task begins at most a few times in one decision; more would be a defect that never ends.
        for _ in 0..TASKS_PER_SESSION_MAX * 8 {
            let tasks = self.known_session(session)?.tasks.len() as u64;
            self.context.steps.take(tasks / TASKS_PER_STEP)?;
            match self.known_session(session)?.next_move() {
                None => return Ok(()),
                Some(Move::Begin(_)) if self.is_large() => {
                    let work = DueJob::Begin { session: session.clone() };
                    self.decision.arm(Due::new(work, self.context.now));
                    return Ok(());
                }
                Some(Move::Begin(position)) => self.begin(session, position)?,
                Some(Move::PassOver(position)) => {
                    self.skip_task(session, position, "nothing that happened leads to it", true)?;
                }
                Some(Move::Gather(position)) => self.gather(session, position)?,
                Some(Move::End) => self.conclude(session)?,
            }
        }
        Err(Rejected::InvalidTransition(format!("session {session} does not come to rest")).into())
    }

    fn begin(&mut self, session: &SessionId, position: usize) -> Result<(), Halt> {
        let Some(task) = self.known_session(session)?.tasks.get(position).cloned() else { return Ok(()) };
        self.begun += 1;
        self.context.steps.take(STEPS_PER_MOVE)?;
        if task.is_expanding() {
            return self.expand(session, &task);
        }
        if let Some(when) = task.rules.when.as_deref().filter(|_| task.attempt == 0) {
            match self.see(session, &task, |scope| expression::is_true(when, scope))? {
                Ok(true) => {}
                Ok(false) => return self.skip_task(session, position, "its condition is not true", false),
                Err(fault) => {
                    return self.fail_task(session, &task, &format!("The task's condition: {fault}"));
                }
            }
        }
        match &task.kind {
            Kind::Agent => self.match_task(session, &task.id),
            Kind::Tool(_) => self.call(session, &task),
            Kind::Workflow(workflow) => self.begin_child(session, &task, workflow),
            Kind::Wait { signal } => self.begin_wait(session, &task, signal),
            Kind::Approve { who, what } => self.ask(session, &task, who.as_deref(), what.as_deref()),
            Kind::Sleep(text) => self.begin_sleep(session, &task, text),
        }
    }

    /// The wait before the next attempt of a task is over.
    pub(super) fn try_again(&mut self, session: &SessionId, task: &TaskId) -> Result<(), Halt> {
        let state = self.known_session(session)?;
        let is_held_up = state.session.status == SessionStatus::Paused || state.session.waits_for_group;
        match state.task(task).map(|task| task.position).filter(|_| !is_held_up) {
            Some(position) => self.begin(session, position),
            None => Ok(()),
        }
    }

    pub(super) fn skip_task(
        &mut self,
        session: &SessionId,
        position: usize,
        reason: &str,
        is_unreached: bool,
    ) -> Result<(), Halt> {
        let Some(task) = self.known_session(session)?.tasks.get(position) else { return Ok(()) };
        let event = SessionEvent::TaskSkipped {
            task: task.id.clone(),
            step: task.step.clone(),
            reason: reason.to_owned(),
            is_unreached,
        };
        self.emit(session, &event)
    }

    /// A task for each item of a list gets its instances.
    fn expand(&mut self, session: &SessionId, task: &Task) -> Result<(), Halt> {
        let items: Vec<Value> = match self.items(session, task)? {
            Ok(items) => items.into_iter().map(|item| self.externalize(item)).collect::<Result<_, _>>()?,
            Err(fault) => return self.fail_task(session, task, &format!("The task's list: {fault}")),
        };
        let count = self.known_session(session)?.tasks.len();
        if items.len() > ITEMS_MAX || count + items.len() > TASKS_PER_SESSION_MAX {
            let error = format!(
                "The task's list has {} items; at most {ITEMS_MAX} are taken, and at most {TASKS_PER_SESSION_MAX} tasks in a session",
                items.len()
            );
            return self.fail_task(session, task, &error);
        }
        // Each item is a task with everything that the definition says of it.
        let bytes = serde_json::to_string(task).map_or(0, |text| text.len()) * items.len();
        if bytes > EXPANSION_BYTES_MAX {
            let error = format!(
                "The task is {bytes} bytes long for the {} items of its list; {EXPANSION_BYTES_MAX} are the most, so give it shorter parameters or fewer items",
                items.len()
            );
            return self.fail_task(session, task, &error);
        }
        self.context.steps.take(items.len() as u64 * STEPS_PER_TASK_MADE)?;
        self.context.steps.take_bytes(bytes as u64)?;
        let now = self.context.now;
        // Ids that rise with the list, so that those that wait equally long are served in its order.
        let base = self.context.bits() >> (u128::BITS - INSTANCE_BITS);
        let instances = items.into_iter().enumerate().map(|(index, item)| {
            let mut instance = Task {
                id: TaskId::new(now, base + index as u128),
                step: format!("{}[{index}]", task.step),
                position: count + index,
                after: Vec::new(),
                next: None,
                instance: Some(Instance { of: task.position, index, item }),
                ..task.clone()
            };
            instance.rules.for_each = None;
            instance
        });
        let event = SessionEvent::TaskExpanded {
            task: task.id.clone(),
            step: task.step.clone(),
            tasks: instances.collect(),
        };
        self.emit(session, &event)
    }

    /// The items that a task is done for.
    pub(super) fn items(
        &mut self,
        session: &SessionId,
        task: &Task,
    ) -> Result<Result<Vec<Value>, Unresolved>, Halt> {
        let Some(text) = &task.rules.for_each else { return Ok(Ok(Vec::new())) };
        self.see(session, task, |scope| expression::list(text, scope))
    }

    /// All instances of a task have settled: their results are its own, in the order of the list.
    fn gather(&mut self, session: &SessionId, position: usize) -> Result<(), Halt> {
        let state = self.known_session(session)?;
        let Some(task) = state.tasks.get(position).cloned() else { return Ok(()) };
        let done = |task: &Task| task.status == TaskStatus::Completed;
        let results = state.instances(&task).map(|instance| match &instance.result {
            Some(result) if done(instance) => result.clone(),
            _ => Value::Null,
        });
        let result = Value::Array(results.collect());
        let result = Some(self.externalize(result)?);
        self.emit(session, &completed(&task, result))
    }

    /// Nothing is left to do: the session is over.
    fn conclude(&mut self, session: &SessionId) -> Result<(), Halt> {
        let state = self.known_session(session)?;
        if let Some(ending) = state.session.ending.clone() {
            let stuck: Vec<String> = state
                .tasks
                .iter()
                .filter(|task| task.undoes.is_some() && task.status == TaskStatus::Failed)
                .map(|task| format!("; {} failed: {}", task.step, task.error.as_deref().unwrap_or_default()))
                .collect();
            let reason = crate::limits::bounded(&format!("{}{}", ending.reason, stuck.concat()));
            return self.finish_session(
                session,
                &match ending.status {
                    SessionStatus::Cancelled => SessionEvent::Cancelled { reason },
                    _ => SessionEvent::Failed { error: reason },
                },
            );
        }
        let result = match state.session.plan.output.clone() {
            None => Ok(last_result(state)),
            Some(output) => {
                let (state, payloads) = self.session_to_see(session)?;
                let given = see(state, None, &payloads, |scope| expression::render_any(&output, scope));
                or_need(self.snapshot, given)?.map(Some)
            }
        };
        match result {
            Ok(result) => {
                let result = result.map(|result| self.externalize(result)).transpose()?;
                self.finish_session(session, &SessionEvent::Completed { result })
            }
            Err(fault) => {
                self.terminate(session, SessionStatus::Failed, &format!("The workflow's output: {fault}"))
            }
        }
    }

    /// What an expression of `task` comes to.
    pub(super) fn see<T>(
        &mut self,
        session: &SessionId,
        task: &Task,
        look: impl FnOnce(Scope<'_>) -> Result<T, Unresolved>,
    ) -> Result<Result<T, Unresolved>, Halt> {
        let (state, payloads) = self.session_to_see(session)?;
        let seen = see(state, Some(task), &payloads, look);
        or_need(self.snapshot, seen)
    }
}

/// That a task is done, whoever did it.
pub(super) fn completed(task: &Task, result: Option<Value>) -> SessionEvent {
    SessionEvent::TaskCompleted {
        task: task.id.clone(),
        step: task.step.clone(),
        attempt: task.attempt,
        agent: task.agent.clone(),
        result,
    }
}

/// The tasks of a session as the expressions of one of them see them: a task that undoes another sees that one
/// under its own name, also where it is one of several instances.
struct Seen<'a> {
    state: &'a SessionState,
    undone: Option<&'a Task>,
}

impl Tasks for Seen<'_> {
    fn facts(&self, step: &str) -> Option<TaskFacts<'_>> {
        let undone = self.undone.filter(|undone| step_of(&undone.step) == step);
        let task = undone.or_else(|| {
            self.state.tasks.iter().find(|task| task.step == step).map(std::convert::AsRef::as_ref)
        })?;
        Some(TaskFacts {
            status: task.status.name(),
            is_settled: task.status.is_settled(),
            result: task.result.as_ref(),
            error: task.error.as_deref(),
        })
    }

    fn steps(&self) -> Vec<&str> {
        let defined = |task: &&std::sync::Arc<Task>| task.instance.is_none() && task.undoes.is_none();
        self.state.tasks.iter().filter(defined).map(|task| task.step.as_str()).collect()
    }
}

/// The id in the definition of a task or an instance of it.
fn step_of(step: &str) -> &str {
    step.split_once('[').map_or(step, |(step, _)| step)
}

/// What an expression of `task`, or of the session as a whole, comes to.
pub(super) fn see<T>(
    state: &SessionState,
    task: Option<&Task>,
    payloads: &KnownPayloads<'_>,
    look: impl FnOnce(Scope<'_>) -> T,
) -> T {
    let undone = task.and_then(|task| task.undoes).and_then(|position| state.tasks.get(position));
    let instance = undone.map(std::convert::AsRef::as_ref).or(task).and_then(|task| task.instance.as_ref());
    let session = state.session.seen();
    look(Scope {
        input: &state.session.input,
        tasks: &Seen { state, undone: undone.map(std::convert::AsRef::as_ref) },
        item: instance.map(|instance| &instance.item),
        index: instance.map(|instance| instance.index as u64),
        session: Some(&session),
        payloads,
    })
}

/// What the task that was done last came to.
fn last_result(state: &SessionState) -> Option<Value> {
    let done = state.tasks.iter().filter(|task| {
        task.status == TaskStatus::Completed && task.instance.is_none() && task.undoes.is_none()
    });
    done.max_by_key(|task| task.ended_at).and_then(|task| task.result.clone())
}
