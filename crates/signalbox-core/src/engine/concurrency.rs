//! Concurrency groups: sessions of one workflow that share a key and may not all run at once.
//!
//! A session holds its place from its start, or waits in the group's queue. Whoever ends gives the place to the
//! first that waits; that one begins with a timer of its own, so that a decision never reaches further than one
//! group.

use signalbox_wire::id::{SessionId, WorkflowId};

use super::known_payloads::or_need;
use super::unit_of_work::UnitOfWork;
use crate::definition::{Concurrency, Definition, OnBusy};
use crate::due::{Due, DueJob};
use crate::expression::{self, Scope, TaskFacts, Tasks};
use crate::limits::CONCURRENCY_QUEUE_MAX;
use crate::session::{ConcurrencyClaim, Parent, SessionEvent};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// A session waits for its turn at its group.
    pub(super) fn queue_session(&mut self, session: &SessionId, group: &str) -> Result<(), Halt> {
        self.emit(session, &SessionEvent::Queued { key: group.to_owned() })
    }

    /// A session gives up its place; the first that waits gets it.
    pub(super) fn leave_group(&mut self, group: &str, session: &SessionId) -> Result<(), Halt> {
        let current = self.group_mut(group)?;
        current.holders.retain(|holder| holder != session);
        current.queue.retain(|waiting| waiting != session);
        self.admit_next(group)
    }

    /// Gives the places that are free to those that wait; there may be more of them than before.
    pub(super) fn admit_next(&mut self, group: &str) -> Result<(), Halt> {
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
}
