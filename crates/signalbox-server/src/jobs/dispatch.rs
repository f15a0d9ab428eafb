//! One try to give an attempt of a task to its agent.
//!
//! Run twice, it sends twice with the same `x-message-id`. What is sent is made from the session as it is now; nothing is
//! kept of a delivery that goes well beyond the task itself.

use std::time::Duration;

use signalbox_core::agent::Held;
use signalbox_core::delivery::{Outcome, TaskAttempt};
use signalbox_core::engine::{SettleDispatch, TimerFired};
use signalbox_core::task::{Task, TaskStatus};
use signalbox_core::task_message;
use signalbox_store::{Claimed, StoreError};
use signalbox_wire::id::AgentId;

use super::context::Jobs;
use super::keep::keep;
use super::send::{Sent, send};
use crate::clock;
use crate::engine::slots::Slot;
use crate::engine::{DriveError, Taken};
use crate::telemetry;

/// How long it is kept in memory alone that an agent has taken a task: most are over by then, and it need not be
/// written at all.
const IN_MEMORY: Duration = Duration::from_secs(5);
/// What writing it needs of the lease.
const WRITE_MARGIN: Duration = Duration::from_secs(10);

/// Sends a claimed attempt to its agent.
pub(super) async fn run(
    app: &Jobs,
    claimed: &Claimed,
    meant: &TaskAttempt,
    slot: &mut Slot,
) -> Result<(), DriveError> {
    let read = app.store.session(&claimed.tenant, &meant.session).await?;
    let task = read.as_ref().and_then(|read| Some((read, read.value.task(&meant.task)?)));
    let now = clock::now();
    let over = TimerFired { work: claimed.work.clone() };
    let Some((read, task)) = task else { return keep(app, claimed, &over).await };
    let policy = app.drive.policy();
    if task.times_out_at(policy.task_timeout).is_some_and(|ends| ends <= now) && task.status.is_held() {
        return keep(app, claimed, &over).await;
    }
    let Some(agent) = task.agent.clone() else { return keep(app, claimed, &over).await };
    let message = task_message::of_task(&read.value, task, policy);
    let tries = task.tries() + 1;
    let settled = |outcome| SettleDispatch::at(now, agent.clone(), meant.clone(), tries, outcome);
    let is_to_be_sent = task.attempt == meant.attempt
        && (task.status == TaskStatus::Dispatched || comes_again(app, claimed, &agent, meant, task).await?);
    if !is_to_be_sent {
        let reason =
            "the task is no longer with this agent in this attempt, or the agent works on it already";
        return keep(app, claimed, &settled(Outcome::unwanted(reason))).await.map(drop);
    }
    let Some(Sent { carried, sent_at, answered_at }) = send(app, claimed, &message, slot).await? else {
        return Ok(());
    };
    let report = carried.report;
    let settled = SettleDispatch { sent_at, answered_at, report, ..settled(carried.outcome) };
    if is_kept_in_memory(app, claimed, &settled).await {
        return Ok(());
    }
    write(app, claimed, &settled).await
}

/// Whether an agent works on the attempt, as far as it said, and has connected anew since: it is sent once more.
async fn comes_again(
    app: &Jobs,
    claimed: &Claimed,
    agent: &AgentId,
    meant: &TaskAttempt,
    task: &Task,
) -> Result<bool, StoreError> {
    if task.status != TaskStatus::Running {
        return Ok(false);
    }
    let status = app.store.status(&claimed.tenant, agent).await?;
    let is_it = |held: &Held| held.is(meant) && held.comes_again;
    Ok(status.is_some_and(|status| status.value.held.iter().any(is_it)))
}

/// Keeps in memory that the agent has taken the task, where that is enough; whether it is.
async fn is_kept_in_memory(app: &Jobs, claimed: &Claimed, settled: &SettleDispatch) -> bool {
    let is_taken = matches!(settled.outcome, Outcome::Delivered { .. }) && settled.report.is_none();
    let now = clock::now();
    if !is_taken || app.draining.is_cancelled() || !claimed.lease.covers(now, IN_MEMORY + WRITE_MARGIN) {
        return false;
    }
    let taken = app.drive.taken();
    let kept = Taken { claimed: claimed.clone(), settled: settled.clone() };
    // First kept, then looked: a report that waits for this finds it here, or is found.
    let Some(id) = taken.keep(kept, now + IN_MEMORY) else { return false };
    let status = app.store.status(&claimed.tenant, &settled.agent).await;
    // Where the store does not answer it is written: that is tried for as long as the lease lasts. While the server drains
    // nobody may be left to write it.
    let may = !app.draining.is_cancelled()
        && status.is_ok_and(|status| status.is_some_and(|status| status.value.may_keep_taken_in_memory()));
    // What is not there any more is over meanwhile, or is being written.
    may || taken.take(&id).is_none()
}

/// Writes down what came of a try.
pub(super) async fn write(app: &Jobs, claimed: &Claimed, settled: &SettleDispatch) -> Result<(), DriveError> {
    if let Some(dead) = keep(app, claimed, settled).await? {
        telemetry::dead_letters::tell(&app.metrics, &app.store, &claimed.tenant, &dead).await;
    }
    Ok(())
}
