//! What the expressions of a session see.

use std::cell::OnceCell;

use serde_json::Value;
use signalbox_wire::id::SessionId;

use super::known_payloads::{KnownPayloads, or_need};
use super::unit_of_work::UnitOfWork;
use crate::Halt;
use crate::expression::{Scope, SessionFacts, TaskFacts, Tasks, Unresolved};
use crate::session::SessionState;
use crate::task::Task;

impl UnitOfWork<'_, '_> {
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
        self.state.tasks.defined().map(|task| task.step.as_str()).collect()
    }
}

/// A session as expressions see it, made when the first of them looks: most never do.
struct SeenSession<'a> {
    state: &'a SessionState,
    value: OnceCell<Value>,
}

impl SessionFacts for SeenSession<'_> {
    fn seen(&self) -> &Value {
        self.value.get_or_init(|| self.state.session.seen())
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
    let session = SeenSession { state, value: OnceCell::new() };
    look(Scope {
        input: &state.session.input,
        tasks: &Seen { state, undone: undone.map(std::convert::AsRef::as_ref) },
        item: instance.map(|instance| &instance.item),
        index: instance.map(|instance| instance.index as u64),
        session: Some(&session),
        payloads,
    })
}
