//! What came of an attempt to deliver, and what an operator does with dead letters.

use std::sync::Arc;

use serde_json::json;
use signalbox_wire::id::MessageId;
use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

use super::operation::Operation;
use crate::agent::AgentStatus;
use crate::decision::{Key, Row};
use crate::delivery::{Message, MessageKind, MessageStatus, Outcome};
use crate::due::{Due, DueJob};
use crate::event::{Level, NewEvent};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot, Versioned};

/// An attempt to deliver has ended.
#[derive(Debug, Clone)]
pub struct SettleDelivery {
    /// The message.
    pub message: MessageId,
    /// The attempt, from 1: a repeat of an older one changes nothing.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the agent is known as one to which the last delivery failed, which this one ends where it went well.
    pub heals: bool,
}

/// The report that an agent gave of a task in its answer to the task's delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveredReport {
    /// The state, as sent.
    pub state: String,
    /// The details, as sent.
    pub details: Option<RawObject>,
}

impl Operation for SettleDelivery {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        vec![Key::Message(self.message.clone())]
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let work_id = DueJob::Deliver { message: self.message.clone() }.id();
        let read = snapshot.message(&self.message)?;
        let current = read.clone().filter(|read| read.value.attempts + 1 == self.attempt);
        let Some((next, read)) =
            current.and_then(|read| Some((read.value.after(&self.outcome, context)?, read)))
        else {
            return Ok((too_late(&self.message, work_id, read.as_ref()), ()));
        };
        let mut decision = Decision::default();
        match next.next_at {
            Some(at) => {
                let due = DueJob::Deliver { message: self.message.clone() };
                decision.arm(Due::new(due, at).by(next.lane.clone()));
            }
            None => decision.disarm(work_id),
        }
        decision.events.push(entry(&next, context.now));
        // Lost, it is delivered again, and known by its id.
        decision.may_wait = next.status == MessageStatus::Delivered;
        match &self.outcome {
            Outcome::Failed { .. } => mark(&mut decision, &next, snapshot, context)?,
            Outcome::Delivered { .. } if self.heals => mark(&mut decision, &next, snapshot, context)?,
            Outcome::Delivered { .. } | Outcome::Unwanted { .. } => {}
        }
        let version = context.version_after(Some(read.version));
        decision.put(Row::Message(Arc::new(next)), Some(read.version), version);
        Ok((decision, ()))
    }
}

/// Keeps with the agent that a message could not be delivered to it, or that one was.
fn mark(
    decision: &mut Decision,
    message: &Message,
    snapshot: &Snapshot,
    context: &DecisionContext<'_>,
) -> Result<(), Halt> {
    let Some(agent) = message.agent.as_ref().filter(|_| message.kind == MessageKind::Message) else {
        return Ok(());
    };
    let Some(read) = snapshot.status(agent)? else { return Ok(()) };
    let mut status = AgentStatus::clone(&read.value);
    match message.failure(context.now) {
        Some(failure) if !status.is_failure_news(&failure) && message.status == MessageStatus::Scheduled => {
            return Ok(());
        }
        Some(failure) => status.delivery_failure = Some(Box::new(failure)),
        None => status.reached(context.now),
    }
    let version = context.version_after(Some(read.version));
    decision.put(Row::Status(Arc::new(status)), Some(read.version), version);
    Ok(())
}

/// A message has waited for a destination that is left alone for as long as all its attempts would have taken.
#[derive(Debug, Clone)]
pub struct ExpireDelivery {
    /// The message.
    pub message: MessageId,
    /// What is said of it.
    pub reason: String,
}

impl Operation for ExpireDelivery {
    /// The dead letter, where it has become one now.
    type Output = Option<Arc<Message>>;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Message(self.message.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        let work_id = DueJob::Deliver { message: self.message.clone() }.id();
        let read = snapshot.message(&self.message)?;
        let expired = read.as_ref().and_then(|read| read.value.expired(&self.reason, context.now));
        let (Some(next), Some(read)) = (expired, &read) else {
            return Ok((too_late(&self.message, work_id, read.as_ref()), None));
        };
        let mut decision = Decision::default();
        decision.disarm(work_id);
        decision.events.push(entry(&next, context.now));
        mark(&mut decision, &next, snapshot, context)?;
        let version = context.version_after(Some(read.version));
        let next = Arc::new(next);
        decision.put(Row::Message(Arc::clone(&next)), Some(read.version), version);
        Ok((decision, Some(next)))
    }
}

/// What an outcome that changes nothing leaves to do: a message that is settled is no longer due. One that is
/// still scheduled is, for its next attempt.
fn too_late(id: &MessageId, work_id: String, read: Option<&Versioned<Message>>) -> Decision {
    let mut decision = Decision::default();
    if read.is_none_or(|read| read.value.status != MessageStatus::Scheduled) {
        decision.expects.push((Key::Message(id.clone()), read.map(|read| read.version)));
        decision.done.push(work_id);
    }
    decision
}

/// What the log keeps of how a message stands.
pub(super) fn entry(message: &Message, now: Timestamp) -> NewEvent {
    let (kind, level) = match message.status {
        MessageStatus::Delivered => ("message.delivered", Level::Debug),
        MessageStatus::Scheduled => ("message.retrying", Level::Warning),
        MessageStatus::Dead => ("message.dead", Level::Error),
        MessageStatus::Cancelled => ("message.cancelled", Level::Info),
    };
    let data = json!({
        "messageId": message.id,
        "kind": message.kind,
        "attempt": message.attempts,
        "status": message.last_status,
        "error": message.last_error,
        "nextAttemptAt": message.next_at,
        "sessionId": message.task.as_ref().map(|task| &task.session),
    });
    let mut entry = NewEvent::new(kind, level, now, &data);
    entry.agent.clone_from(&message.agent);
    entry.session = message.task.as_ref().map(|task| (task.session.clone(), 0));
    entry.task = message.task.as_ref().map(|task| task.task.clone());
    entry
}

/// A dead letter gets new attempts.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// Which.
    pub message: MessageId,
}

impl Operation for Redrive {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let read = dead_letter(snapshot, &self.message)?;
        if !read.value.may_be_redriven() {
            return Err(Rejected::DeadLetterOfTask(self.message.clone()).into());
        }
        let Some(next) = read.value.redriven(context) else {
            return Err(Rejected::UnknownDeadLetter(self.message.to_string()).into());
        };
        let mut decision = Decision::default();
        let work = DueJob::Deliver { message: self.message.clone() };
        decision.due.push(Due::new(work, context.now).by(next.lane.clone()));
        let mut event =
            NewEvent::new("message.redriven", Level::Info, context.now, &json!({"messageId": self.message}));
        event.agent.clone_from(&next.agent);
        decision.events.push(event);
        decision.put(
            Row::Message(Arc::new(next)),
            Some(read.version),
            context.version_after(Some(read.version)),
        );
        Ok((decision, ()))
    }
}

/// A dead letter is thrown away.
#[derive(Debug, Clone)]
pub struct Discard {
    /// Which.
    pub message: MessageId,
}

impl Operation for Discard {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let read = dead_letter(snapshot, &self.message)?;
        let mut decision = Decision::default();
        decision.remove(Key::Message(self.message.clone()), read.version);
        let mut event =
            NewEvent::new("message.discarded", Level::Info, context.now, &json!({"messageId": self.message}));
        event.agent.clone_from(&read.value.agent);
        decision.events.push(event);
        Ok((decision, ()))
    }
}

fn dead_letter(snapshot: &Snapshot, id: &MessageId) -> Result<Versioned<Message>, Halt> {
    let read = snapshot.message(id)?.filter(|read| read.value.status == MessageStatus::Dead);
    read.ok_or_else(|| Rejected::UnknownDeadLetter(id.to_string()).into())
}
