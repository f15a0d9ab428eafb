//! What an operator does with a session: pause, resume, cancel, retry, signal.

use signalbox_wire::id::{SessionId, TaskId};

use super::Operation;
use super::dispatch::retry_timer;
use super::work::Work;
use crate::due::Due;
use crate::limits::bounded;
use crate::session::{SessionEvent, SessionState, SessionStatus};
use crate::task::{Task, TaskStatus};
use crate::{Decision, Halt, Rejected, Turn, View};

macro_rules! session_operation {
    ($(#[$doc:meta])* $name:ident $(, $(#[$field_doc:meta])* $field:ident: $type:ty)?; $body:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            /// Which session.
            pub session: SessionId,
            $($(#[$field_doc])* pub $field: $type,)?
        }

        impl Operation for $name {
            type Answer = SessionState;

            fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<(Decision, SessionState), Halt> {
                let mut work = Work::new(view, turn);
                let body: fn(&Self, &mut Work<'_, '_>) -> Result<(), Halt> = $body;
                body(self, &mut work)?;
                let state = work.known_session(&self.session)?.clone();
                Ok((work.finish(), state))
            }
        }
    };
}

session_operation! {
    /// Nothing more is dispatched until the session is resumed; what is in flight may finish.
    Pause;
    |this, work| {
        allow(work, &this.session, &[SessionStatus::Started, SessionStatus::Running], "paused")?;
        work.emit(&this.session, &SessionEvent::Paused)
    }
}

session_operation! {
    /// A paused session goes on where it was.
    Resume;
    |this, work| {
        let state = allow(work, &this.session, &[SessionStatus::Paused], "resumed")?;
        work.emit(&this.session, &SessionEvent::Resumed)?;
        match open_task(&state) {
            Some(task) => match task.retry_at.filter(|at| *at > work.turn.now) {
                Some(at) => {
                    // By another process's clock the wait may have ended during the pause, and used up its timer.
                    let timer = Due { work: retry_timer(&this.session, task), at };
                    work.decision.due.push(timer);
                    Ok(())
                }
                None => work.place(&this.session, &task.id),
            },
            None => work.emit(&this.session, &SessionEvent::Completed { result: last_result(&state) }),
        }
    }
}

session_operation! {
    /// The session is no longer wanted. Tasks in an agent's hands are taken from it.
    Cancel,
    /// Why.
    reason: Option<String>;
    |this, work| {
        let open = [SessionStatus::Started, SessionStatus::Running, SessionStatus::Paused];
        let state = allow(work, &this.session, &open, "cancelled")?;
        for task in state.tasks.iter().filter(|task| !task.status.is_settled()) {
            work.let_go(&this.session, task)?;
            let event = SessionEvent::TaskCancelled { task: task.id.clone(), step: task.step.clone(), attempt: task.attempt };
            work.emit(&this.session, &event)?;
        }
        let reason = this.reason.as_deref().map_or_else(|| "cancelled on request".to_owned(), bounded);
        work.emit(&this.session, &SessionEvent::Cancelled { reason })
    }
}

session_operation! {
    /// A failed session goes on from the task that failed, keeping what succeeded.
    RetrySession;
    |this, work| {
        let state = allow(work, &this.session, &[SessionStatus::Failed], "retried")?;
        work.emit(&this.session, &SessionEvent::Retried)?;
        let failed: Vec<Task> = state.tasks.iter().filter(|task| task.status == TaskStatus::Failed).cloned().collect();
        for task in failed {
            let retries = task.attempt + work.turn.policy.task_retries;
            reopen(work, &this.session, &task.id, &task.step, retries)?;
        }
        Ok(())
    }
}

session_operation! {
    /// Something from outside that a task waits for.
    Signal,
    /// Its name.
    name: String;
    |this, work| {
        work.known_session(&this.session)?;
        Err(Rejected::NothingWaits(this.session.clone()).into())
    }
}

fn reopen(
    work: &mut Work<'_, '_>,
    session: &SessionId,
    task: &TaskId,
    step: &str,
    retries: u32,
) -> Result<(), Halt> {
    let event = SessionEvent::TaskReopened { task: task.clone(), step: step.to_owned(), retries };
    work.emit(session, &event)?;
    work.place(session, task)
}

fn allow(
    work: &mut Work<'_, '_>,
    id: &SessionId,
    allowed: &[SessionStatus],
    wanted: &'static str,
) -> Result<SessionState, Halt> {
    let state = work.known_session(id)?;
    let status = state.session.status;
    if allowed.contains(&status) {
        return Ok(state.clone());
    }
    let allowed: Vec<&str> = allowed.iter().map(|status| status.name()).collect();
    let allowed = allowed.join(" or ");
    Err(Rejected::WrongStatus { session: id.clone(), status: status.name(), wanted, allowed }.into())
}

/// The task whose turn it is: the first in order that has not settled.
fn open_task(state: &SessionState) -> Option<&Task> {
    let is_next = |position: usize| state.tasks.iter().any(|task| task.next == Some(position));
    let mut position = state.tasks.iter().position(|task| !is_next(task.position));
    while let Some(task) = position.and_then(|position| state.tasks.get(position)) {
        if !task.status.is_settled() {
            return Some(task);
        }
        position = task.next;
    }
    None
}

fn last_result(state: &SessionState) -> Option<serde_json::Value> {
    let done = state.tasks.iter().filter(|task| task.status == TaskStatus::Completed);
    done.max_by_key(|task| task.ended_at).and_then(|task| task.result.clone())
}
