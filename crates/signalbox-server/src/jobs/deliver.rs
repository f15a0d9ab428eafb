//! One attempt to deliver one message.
//!
//! Run twice, it sends twice with the same `x-message-id`; the second outcome finds the message settled, or
//! counted on, and changes nothing. A process that dies here leaves a lease that runs out.

use signalbox_core::Decision;
use signalbox_core::decision::Key;
use signalbox_core::delivery::{Message, MessageKind, MessageStatus, Outcome, TaskAttempt};
use signalbox_core::due::DueJob;
use signalbox_core::engine::SettleDelivery;
use signalbox_store::{Claimed, StoreError};
use signalbox_wire::id::{AgentId, MessageId};

use super::context::Jobs;
use super::keep::{keep, retry_soon};
use super::send::send;
use crate::clock;
use crate::engine::DriveError;
use crate::engine::slots::Slot;
use crate::telemetry;

/// Does something claimed that is sent.
pub(super) async fn run(app: Jobs, claimed: Claimed, mut slot: Slot) {
    if let DueJob::Call { session, task, attempt } = &claimed.work {
        return super::call::run(&app, &claimed, (session, task, *attempt), slot).await;
    }
    app.metrics.delivering(1);
    let done = match &claimed.work {
        DueJob::Deliver { message } => attempt(&app, &claimed, message, &mut slot).await,
        DueJob::Command { command } => super::command::run(&app, &claimed, command, &mut slot).await,
        DueJob::Dispatch { session, task, attempt } => {
            let meant = TaskAttempt { session: session.clone(), task: task.clone(), attempt: *attempt };
            super::dispatch::run(&app, &claimed, &meant, &mut slot).await
        }
        _ => Ok(()),
    };
    if let Err(error) = done {
        tracing::warn!(%error, work = %claimed.work.id(), "a delivery is made again");
        // What the store refused for good would be sent again and again: that waits for the end of its lease.
        if matches!(&error, DriveError::Store(error) if error.is_passing()) {
            retry_soon(&app, &claimed).await;
        }
    }
    app.metrics.delivering(-1);
}

async fn attempt(app: &Jobs, claimed: &Claimed, id: &MessageId, slot: &mut Slot) -> Result<(), DriveError> {
    let tenant = &claimed.tenant;
    let read = app.store.message(tenant, id).await?;
    let version = read.as_ref().map(|read| read.version);
    let scheduled = read.filter(|read| read.value.status == MessageStatus::Scheduled);
    let Some(message) = scheduled.map(|read| read.value) else {
        return finish(app, claimed, id, version).await;
    };
    let attempt = message.attempts + 1;
    let Some(sent) = send(app, claimed, &message, slot).await? else { return Ok(()) };
    let heals = matches!(sent.carried.outcome, Outcome::Delivered { .. })
        && has_failed(app, claimed, &message).await?;
    let settled = SettleDelivery { message: id.clone(), attempt, outcome: sent.carried.outcome, heals };
    keep(app, claimed, &settled).await?;
    if let Outcome::Failed { error, may_retry, .. } = &settled.outcome
        && (!may_retry || attempt >= message.attempts_max)
    {
        let dead = Message { attempts: attempt, last_error: Some(error.clone()), ..Message::clone(&message) };
        telemetry::dead_letters::tell(&app.metrics, &app.store, tenant, &dead).await;
    }
    Ok(())
}

/// Whether the last delivery to the message's agent failed, as far as this process knows.
async fn has_failed(app: &Jobs, claimed: &Claimed, message: &Message) -> Result<bool, StoreError> {
    let Some(agent) = marked(message) else { return Ok(false) };
    let status = app.store.status_hint(&claimed.tenant, agent).await?;
    Ok(status.is_some_and(|status| status.delivery_failure.is_some()))
}

/// The agent with which it is kept that a message could not be delivered. A webhook about an agent goes elsewhere.
fn marked(message: &Message) -> Option<&AgentId> {
    message.agent.as_ref().filter(|_| message.kind == MessageKind::Message)
}

/// Nothing is left to do, unless the message has changed since it was read: then whoever changed it has said
/// what is due.
async fn finish(
    app: &Jobs,
    claimed: &Claimed,
    id: &MessageId,
    version: Option<i64>,
) -> Result<(), DriveError> {
    match app.drive.commit(&claimed.tenant, finished(&claimed.work, id, version), clock::now()).await {
        Ok(()) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn finished(work: &DueJob, id: &MessageId, version: Option<i64>) -> Decision {
    let expects = vec![(Key::Message(id.clone()), version)];
    Decision { expects, done: vec![work.id()], ..Decision::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of anything else no status is read.
    #[test]
    fn only_a_message_marks_its_agent() {
        let of = |kind: &str| -> Message {
            let kept = serde_json::json!({"id": "m", "kind": kind, "agent": "a", "body": "{}", "status": "scheduled",
                "attempts": 0, "attempts_max": 3, "created_at": "2026-01-31T12:00:00Z"});
            serde_json::from_value(kept).expect("a message as it is kept")
        };
        assert_eq!(marked(&of("message")).map(AgentId::as_str), Some("a"));
        for kind in ["task", "webhook", "notice"] {
            assert_eq!(marked(&of(kind)), None, "{kind}");
        }
    }

    /// A redrive between the look at a dead letter and its removal from what is due must keep its delivery.
    #[test]
    fn what_is_finished_is_the_message_as_it_was_read() {
        let id = MessageId::parse("m").expect("valid");
        let work = DueJob::Deliver { message: id.clone() };
        for version in [None, Some(7)] {
            let decision = finished(&work, &id, version);
            assert_eq!(decision.expects, [(Key::Message(id.clone()), version)]);
            assert_eq!(decision.done, [work.id()]);
        }
    }
}
