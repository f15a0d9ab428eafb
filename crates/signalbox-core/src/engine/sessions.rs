//! What an operator does with a session: pause, resume, cancel, retry.

use std::sync::Arc;

use signalbox_wire::id::SessionId;

use super::dispatch::retry_timer;
use super::guards::guards;
use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use super::unit_of_work::UnitOfWork;
use crate::definition::{Kind, OnBusy, OnFailure};
use crate::due::{Due, DueJob};
use crate::graph::Edge;
use crate::limits::bounded;
use crate::session::{SessionEvent, SessionState, SessionStatus};
use crate::task::{Task, TaskStatus};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

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
            type Output = SessionState;

            fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, SessionState), Halt> {
                let mut machine = Machine::new(snapshot, context);
                let body: fn(&Self, &mut Machine<'_, '_>) -> Result<(), Halt> = $body;
                body(self, &mut machine)?;
                let state = machine.work.known_session(&self.session)?.clone();
                Ok((machine.finish(), state))
            }
        }
    };
}

session_operation! {
    /// Nothing more is dispatched until the session is resumed; what is in flight may finish.
    Pause;
    |this, machine| {
        let state = allow(&mut machine.work, &this.session, &[SessionStatus::Started, SessionStatus::Running], "paused")?;
        for task in state.queued().into_iter().filter_map(|position| state.tasks.get(position)) {
            // It gives up its place in the queue, and waits for nobody meanwhile.
            machine.work.release(&this.session, task)?;
        }
        machine.work.emit(&this.session, &SessionEvent::Paused)
    }
}

session_operation! {
    /// A paused session goes on where it was.
    Resume;
    |this, machine| {
        let state = allow(&mut machine.work, &this.session, &[SessionStatus::Paused], "resumed")?;
        machine.work.emit(&this.session, &SessionEvent::Resumed)?;
        let now = machine.work.context.now;
        let pending = state.tasks.open().filter(|task| task.status == TaskStatus::Pending);
        let (later, due): (Vec<_>, Vec<_>) =
            pending.filter_map(|task| Some((task, task.retry_at?))).partition(|(_, at)| *at > now);
        // By another process's clock the wait may have ended during the pause, and used up its timer. Before any is tried
        // again: one that fails at once may end the session, and then none of these is to stay.
        for (task, at) in later {
            machine.work.decision.arm(Due::new(retry_timer(&this.session, task), at));
        }
        for (task, _) in due {
            let known = machine.work.known_session(&this.session)?.task(&task.id);
            if known.is_some_and(|task| task.retry_at.is_some()) {
                machine.try_again(&this.session, &task.id)?;
            }
        }
        machine.advance(&this.session)
    }
}

session_operation! {
    /// The session is no longer wanted. Tasks in an agent's hands are taken from it, and it is told.
    Cancel,
    /// Why.
    reason: Option<String>;
    |this, machine| {
        let open = [SessionStatus::Started, SessionStatus::Running, SessionStatus::Paused];
        let state = allow(&mut machine.work, &this.session, &open, "cancelled")?;
        if state.session.ending.is_some() {
            return Err(Rejected::Undone(this.session.clone()).into());
        }
        let reason = this.reason.as_deref().map_or_else(|| "cancelled on request".to_owned(), bounded);
        let (session, status) = (this.session.clone(), SessionStatus::Cancelled);
        machine.run(Command::Terminate { session, status, reason })
    }
}

session_operation! {
    /// A failed session goes on from the task that failed, keeping what succeeded.
    RetrySession;
    |this, machine| {
        let state = allow(&mut machine.work, &this.session, &[SessionStatus::Failed], "retried")?;
        if state.session.ending.is_some() {
            return Err(Rejected::Undone(this.session.clone()).into());
        }
        machine.work.emit(&this.session, &SessionEvent::Retried)?;
        if let Some(at) = machine.work.known_session(&this.session)?.session.deadline {
            machine.work.decision.arm(Due::new(DueJob::Deadline { session: this.session.clone() }, at));
        }
        for task in to_reopen(&state) {
            let retries = task.attempt + machine.work.context.policy.task_retries;
            let event = SessionEvent::TaskReopened { task: task.id.clone(), step: task.step.clone(), retries };
            machine.work.emit(&this.session, &event)?;
        }
        match &state.session.plan.group {
            Some(claim) => {
                let admission = machine.work.admission(claim, OnBusy::Queue)?;
                let (session, claim) = (this.session.clone(), claim.clone());
                machine.run(Command::EnterGroup { session, claim, admission })
            }
            None => machine.advance(&this.session),
        }
    }
}

/// The tasks that begin anew when a failed session is tried again: those that brought it down or were taken away
/// with it, and the approvals of these, which were good for once.
fn to_reopen(state: &SessionState) -> Vec<Arc<Task>> {
    let guards_one = |task: &Task| {
        matches!(task.kind, Kind::Approve { .. })
            && task.status == TaskStatus::Completed
            && state.tasks.iter().any(|other| {
                let is_guarded = |edge: &Edge| edge.from == task.position && guards(edge.kind);
                begins_anew(state, other) && other.after.iter().any(is_guarded)
            })
    };
    state.tasks.iter().filter(|task| begins_anew(state, task) || guards_one(task)).cloned().collect()
}

/// An instance goes the way of its whole; one whose failure did not matter stays as it is.
fn begins_anew(state: &SessionState, task: &Task) -> bool {
    let whole = task.instance.as_ref().and_then(|instance| state.tasks.get(instance.of));
    match (task.status, whole) {
        (TaskStatus::Cancelled, None) => true,
        (TaskStatus::Failed, None) => task.rules.on_failure.is_fail(),
        (TaskStatus::Failed, Some(whole)) if whole.rules.on_failure == OnFailure::Continue => false,
        (TaskStatus::Cancelled | TaskStatus::Failed, Some(whole)) => {
            !whole.status.is_settled() || begins_anew(state, whole)
        }
        _ => false,
    }
}

fn allow(
    work: &mut UnitOfWork<'_, '_>,
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
