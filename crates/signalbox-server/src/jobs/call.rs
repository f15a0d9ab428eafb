//! One call of the tool that does a task.
//!
//! Run twice, it calls twice; the second outcome finds the attempt over and changes nothing. A process that dies
//! here leaves a lease that runs out.

use std::time::Duration;

use serde_json::Value;
use signalbox_core::definition::Kind;
use signalbox_core::engine::{SettleCall, TimerFired};
use signalbox_core::payload;
use signalbox_core::task::TaskStatus;
use signalbox_store::{Claimed, StoreError};
use signalbox_wire::agentkit::{ToolAnswer, ToolStatus};
use signalbox_wire::id::{SessionId, TaskId};
use signalbox_wire::problem_kind::ProblemKind;

use super::context::Jobs;
use super::keep::{keep, retry_soon};
use super::postpone::{ROOM_AGAIN, postpone};
use crate::clock;
use crate::engine::payloads;
use crate::engine::slots::Slot;
use crate::http::problem::Refusal;
use crate::tools::Origin;

/// What a call needs of its lease beside the time that the tool has to answer.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// What came of a call: the tool's result, or what kind of failure it was, and why.
type Called = Result<Value, (String, String)>;

/// Calls the tool of a claimed task.
pub(super) async fn run(
    app: &Jobs,
    claimed: &Claimed,
    (session, task, attempt): (&SessionId, &TaskId, u32),
    mut slot: Slot,
) {
    match is_over(app, claimed, session, task).await {
        Ok(false) => {}
        Ok(true) => {
            if let Err(error) = keep(app, claimed, &TimerFired { work: claimed.work.clone() }).await {
                tracing::warn!(%error, task = %task, "that a task took too long could not be kept");
            }
            return;
        }
        Err(error) => {
            tracing::warn!(%error, task = %task, "a tool is called later");
            return retry_soon(app, claimed).await;
        }
    }
    let outcome = match call(app, claimed, (session, task, attempt), &mut slot).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%error, task = %task, "a tool is called later");
            return retry_soon(app, claimed).await;
        }
    };
    let operation = SettleCall { session: session.clone(), task: task.clone(), attempt, outcome };
    if let Err(error) = keep(app, claimed, &operation).await {
        // The lease runs out and the tool is called again.
        tracing::warn!(%error, task = %task, "what came of calling a tool could not be kept");
    }
}

/// Whether the task has had its time while its call waited.
async fn is_over(
    app: &Jobs,
    claimed: &Claimed,
    session: &SessionId,
    task: &TaskId,
) -> Result<bool, StoreError> {
    let read = app.store.session(&claimed.tenant, session).await?;
    let ends = read.as_ref().and_then(|read| read.value.task(task)?.times_out_at(app.policy.task_timeout));
    Ok(ends.is_some_and(|ends| ends <= clock::now()))
}

/// What came of it; nothing where it is put off.
async fn call(
    app: &Jobs,
    claimed: &Claimed,
    (session, task, attempt): (&SessionId, &TaskId, u32),
    slot: &mut Slot,
) -> Result<Option<Called>, StoreError> {
    let tenant = &claimed.tenant;
    let read = app.store.session(tenant, session).await?;
    let current = read.as_ref().and_then(|read| read.value.task(task));
    let wanted = current.filter(|task| task.attempt == attempt && task.status == TaskStatus::Dispatched);
    let Some((Kind::Tool(tool), parameters)) = wanted.map(|task| (&task.kind, &task.parameters)) else {
        // The attempt is over; all that is left is to strike it out.
        return Ok(Some(Err(("NOT_WANTED".to_owned(), "the task is no longer with its tool".to_owned()))));
    };
    let arguments = Value::Object(parameters.clone().unwrap_or_default());
    // Put together only where there is room for it; until then it stays due.
    let bytes = payload::bytes(&arguments).min(app.config.payload_bytes_max);
    let Some(room) = app.transport.room_now(bytes) else {
        postpone(app, claimed, clock::now() + ROOM_AGAIN).await?;
        return Ok(None);
    };
    let arguments =
        match payloads::inline(&app.store, tenant, &arguments, app.config.payload_bytes_max).await? {
            Ok(arguments) => arguments,
            Err(fault) => {
                return Ok(Some(Err(("PAYLOAD".to_owned(), format!("the tool was not called: {fault}")))));
            }
        };
    if !claimed.lease.covers(clock::now(), LEASE_MARGIN * 2) {
        return Err(StoreError::Unavailable("too little of the lease is left for a call".into()));
    }
    // The call draws what its body takes.
    drop(room);
    let name = task.attempt_name(attempt);
    let trace = read.as_ref().and_then(|read| read.value.session.trace.as_deref());
    let origin = Origin { trace, attempt: Some((&name, attempt)) };
    let asked = app.tools.call(tenant, tool.as_str(), (&arguments, "/parameters"), origin);
    // It ends before its lease does: another would call the tool beside it.
    let most = claimed.lease.until.since(clock::now() + LEASE_MARGIN);
    let Ok(asked) = tokio::time::timeout(most, asked).await else {
        slot.leave(Some(false), clock::now());
        let error = format!("the tool gave no answer within {} s", most.as_secs());
        return Ok(Some(Err((ProblemKind::ToolTimeout.to_string(), error))));
    };
    if let Err(refusal) = &asked
        && let Some(error) = of_our_own(refusal)
    {
        return Err(error);
    }
    slot.leave(asked.as_ref().map_or_else(is_reached, |_| Some(true)), clock::now());
    Ok(Some(asked.map_or_else(|refusal| Err(unasked(&refusal)), answered)))
}

/// A failure of this server, which is none of the tool's.
fn of_our_own(refusal: &Refusal) -> Option<StoreError> {
    let is_ours = matches!(
        refusal.kind(),
        Some(
            ProblemKind::StoreUnavailable
                | ProblemKind::StoreBusy
                | ProblemKind::Contended
                | ProblemKind::OutboundFull
        )
    );
    is_ours.then(|| StoreError::Unavailable(refusal.0.detail.clone()))
}

/// Whether the tool is there: that it answered badly says so, too. What was refused before it was asked says nothing.
fn is_reached(refusal: &Refusal) -> Option<bool> {
    match refusal.kind()? {
        ProblemKind::ToolUnreachable | ProblemKind::ToolTimeout => Some(false),
        ProblemKind::ToolFailed | ProblemKind::ToolAnsweredBadly => Some(true),
        _ => None,
    }
}

fn answered(answer: ToolAnswer) -> Result<Value, (String, String)> {
    let code = answer.error_code.unwrap_or_default();
    match answer.status {
        ToolStatus::Error | ToolStatus::Unknown => {
            Err((code, answer.error_message.unwrap_or(answer.message)))
        }
        ToolStatus::Success => {
            let data = answer.data.map_or(Ok(Value::Null), |data| serde_json::from_str(data.get()));
            data.map_err(|error| (code, error.to_string()))
        }
    }
}

/// Why a tool could not be asked; its code is the problem's type.
fn unasked(refusal: &Refusal) -> (String, String) {
    let faults: Vec<String> = refusal.0.errors.iter().map(ToString::to_string).collect();
    let faults = if faults.len() > 1 { format!(" ({})", faults.join("; ")) } else { String::new() };
    (refusal.0.kind.to_string(), format!("{}{faults}", refusal.0.detail))
}
