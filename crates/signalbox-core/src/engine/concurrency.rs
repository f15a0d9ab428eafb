//! Concurrency groups: sessions of one workflow that share a key and may not all run at once.
//!
//! A session holds its place from its start, or waits in the group's queue. Whoever ends gives the place to the
//! first that waits; that one begins with a timer of its own, so that a decision never reaches further than one
//! group.

use signalbox_wire::id::{SessionId, WorkflowId};

use super::payloads::or_need;
use super::unit_of_work::UnitOfWork;
use crate::definition::{Concurrency, Definition, OnBusy};
use crate::due::{Due, DueJob};
use crate::expression::{self, Scope, TaskFacts, Tasks};
use crate::limits::CONCURRENCY_QUEUE_MAX;
use crate::session::{ConcurrencyClaim, Parent, SessionEvent, SessionStatus};
use crate::{Halt, Rejected};

/// No tasks: what a key may depend on is the input alone.
struct Nothing;

impl Tasks for Nothing {
    fn facts(&self, _: &str) -> Option<TaskFacts<'_>> {
        None
    }

    fn steps(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The name of the group that a session of `definition` has to pass.
pub(super) fn group_of(
    definition: &Definition,
    concurrency: &Concurrency,
    input: &serde_json::Map<String, serde_json::Value>,
    work: &UnitOfWork<'_, '_>,
) -> Result<String, Halt> {
    let Some(key) = &concurrency.key else { return Ok(format!("{}/", definition.id)) };
    let scope =
        Scope { input, tasks: &Nothing, item: None, index: None, session: None, payloads: &work.payloads() };
    let workflow = definition.id.clone();
    let value = or_need(work.snapshot, expression::evaluate(key, scope))?
        .map_err(|fault| Rejected::ConcurrencyKey { workflow: workflow.clone(), fault: fault.to_string() })?;
    let text = match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    if text.len() > KEY_BYTES_MAX {
        let fault = format!("it has {} bytes, and {KEY_BYTES_MAX} are the most", text.len());
        return Err(Rejected::ConcurrencyKey { workflow, fault }.into());
    }
    Ok(format!("{}/{text}", definition.id))
}

/// The workflow and the key that a group's name is made of.
fn names(group: &str) -> Result<(WorkflowId, String), Rejected> {
    let (workflow, key) = group.split_once('/').unwrap_or((group, ""));
    let workflow =
        WorkflowId::parse(workflow).map_err(|fault| Rejected::InvalidTransition(fault.to_string()))?;
    Ok((workflow, key.to_owned()))
}

/// What becomes of a session that comes to its group.
pub(super) enum Admission {
    /// There is room.
    GoesOn,
    /// It waits for its turn.
    Waits,
    /// Those before it are cancelled.
    Replaces,
}

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 512;

impl UnitOfWork<'_, '_> {
    /// What becomes of a session that comes to a group now.
    pub(super) fn admission(&mut self, pass: &ConcurrencyClaim, on_busy: OnBusy) -> Result<Admission, Halt> {
        let current = self.group_mut(&pass.group)?;
        if current.holders.len() < pass.limit.max(1) as usize && current.queue.is_empty() {
            return Ok(Admission::GoesOn);
        }
        let is_full = current.queue.len() >= CONCURRENCY_QUEUE_MAX;
        let (workflow, key) = names(&pass.group)?;
        match on_busy {
            OnBusy::Reject => Err(Rejected::ConcurrencyFull { workflow, key }.into()),
            OnBusy::Queue if is_full => Err(Rejected::ConcurrencyQueueFull { workflow, key }.into()),
            OnBusy::Queue => Ok(Admission::Waits),
            OnBusy::Replace => Ok(Admission::Replaces),
        }
    }

    /// A session that waited for a place which one above it has would wait for ever: that one waits for it.
    pub(super) fn refuse_circle(
        &mut self,
        pass: &ConcurrencyClaim,
        admission: &Admission,
        parent: Option<&Parent>,
    ) -> Result<(), Halt> {
        if matches!(admission, Admission::GoesOn) {
            return Ok(());
        }
        let mut above = parent.map(|parent| parent.session.clone());
        while let Some(id) = above {
            let Some(state) = self.session(&id)? else { return Ok(()) };
            if state.session.plan.group.as_ref().is_some_and(|theirs| theirs.group == pass.group) {
                let (workflow, key) = names(&pass.group)?;
                return Err(Rejected::ConcurrencyFull { workflow, key }.into());
            }
            above = state.session.parent.as_ref().map(|parent| parent.session.clone());
        }
        Ok(())
    }

    /// Brings a session to its group; it goes on if it may.
    pub(super) fn enter_group(
        &mut self,
        session: &SessionId,
        pass: &ConcurrencyClaim,
        admission: Admission,
    ) -> Result<(), Halt> {
        let current = self.group_mut(&pass.group)?;
        current.limit = pass.limit.max(1);
        match admission {
            Admission::GoesOn => {
                current.holders.push(session.clone());
                self.advance(session)
            }
            Admission::Waits => {
                current.queue.push(session.clone());
                self.queue_session(session, &pass.group)?;
                self.let_in(&pass.group)
            }
            Admission::Replaces => self.replace(session, &pass.group),
        }
    }

    /// A session takes the place of all that came before it. Those that undo what they did keep theirs until they
    /// have, so it waits all the same.
    fn replace(&mut self, session: &SessionId, group: &str) -> Result<(), Halt> {
        let current = self.group_mut(group)?;
        let before: Vec<SessionId> = current.queue.drain(..).chain(current.holders.iter().cloned()).collect();
        current.queue.push(session.clone());
        self.queue_session(session, group)?;
        let reason = format!("session {session} took its place");
        for other in before {
            if self.session(&other)?.is_none() {
                self.leave_group(group, &other)?;
            } else {
                self.terminate(&other, SessionStatus::Cancelled, &reason)?;
            }
        }
        self.let_in(group)
    }

    fn queue_session(&mut self, session: &SessionId, group: &str) -> Result<(), Halt> {
        self.emit(session, &SessionEvent::Queued { key: group.to_owned() })
    }

    /// A session gives up its place; the first that waits gets it.
    pub(super) fn leave_group(&mut self, group: &str, session: &SessionId) -> Result<(), Halt> {
        let current = self.group_mut(group)?;
        current.holders.retain(|holder| holder != session);
        current.queue.retain(|waiting| waiting != session);
        self.let_in(group)
    }

    /// Gives the places that are free to those that wait; there may be more of them than before.
    fn let_in(&mut self, group: &str) -> Result<(), Halt> {
        let current = self.group_mut(group)?;
        let mut admitted = Vec::new();
        while current.holders.len() < current.limit as usize && !current.queue.is_empty() {
            let next = current.queue.remove(0);
            current.holders.push(next.clone());
            admitted.push(next);
        }
        for session in admitted {
            self.decision.arm(Due::new(DueJob::Begin { session }, self.context.now));
        }
        Ok(())
    }

    /// The turn of a session has come: one that waited at its group begins, one that had too much to do at once
    /// goes on.
    pub(super) fn admit(&mut self, session: &SessionId) -> Result<(), Halt> {
        let Some(state) = self.session(session)? else { return Ok(()) };
        if state.session.waits_for_group {
            self.emit(session, &SessionEvent::Admitted)?;
        }
        self.advance(session)
    }
}
