//! What has waited for a destination that is left alone for as long as all its attempts would have taken: it ends.

use signalbox_core::delivery::TaskAttempt;
use signalbox_core::due::DueJob;
use signalbox_core::engine::{ExpireDelivery, ExpireDispatch, SettleCall};
use signalbox_store::{Claimed, DueKind, LaneClaim, StoreError, WaitingLane};
use signalbox_wire::problem_kind::ProblemKind;

use super::context::Jobs;
use super::keep::keep;
use crate::clock;
use crate::telemetry;

/// Pieces of work that are ended in one go.
const AT_ONCE: usize = 256;

/// Ends what has waited too long in one lane.
pub(super) async fn run(app: Jobs, kind: DueKind, lane: WaitingLane) {
    let ended = end(&app, kind, &lane).await;
    let has_more = match &ended {
        Ok(count) => *count >= AT_ONCE,
        Err(error) => {
            tracing::warn!(%error, lane = lane.lane.without_path(), "what waits too long could not be ended");
            false
        }
    };
    app.deliveries.room(kind).has_expired(&lane.tenant, &lane.lane, has_more);
}

async fn end(app: &Jobs, kind: DueKind, lane: &WaitingLane) -> Result<usize, StoreError> {
    let now = clock::now();
    let (tenant, name) = (lane.tenant.clone(), lane.lane.clone());
    let span = app.policy.delivery_span();
    let wanted = LaneClaim { tenant, lane: name, most: AT_ONCE, visible_by: now - span };
    let claimed = app.store.claim_lanes(now, app.policy.lease, kind, vec![wanted]).await?;
    let count = claimed.len();
    for claimed in claimed {
        if let Err(error) = one(app, &claimed, span.as_secs()).await {
            tracing::warn!(%error, work = %claimed.work.id(), "what waits too long could not be ended");
        }
    }
    Ok(count)
}

async fn one(app: &Jobs, claimed: &Claimed, seconds: u64) -> Result<(), crate::engine::DriveError> {
    let reason = match claimed.lane.of_agent() {
        Some(agent) => {
            format!("agent {agent} was not connected, and the time of all attempts ({seconds} s) is over")
        }
        None => format!(
            "its destination was left alone after repeated failures, and the time of all attempts ({seconds} s) is over"
        ),
    };
    match &claimed.work {
        DueJob::Deliver { message } => {
            let operation = ExpireDelivery { message: message.clone(), reason };
            if let Some(message) = keep(app, claimed, &operation).await? {
                telemetry::dead_letters::tell(&app.metrics, &app.store, &claimed.tenant, &message).await;
            }
            Ok(())
        }
        DueJob::Dispatch { session, task, attempt } => {
            let attempt = TaskAttempt { session: session.clone(), task: task.clone(), attempt: *attempt };
            if let Some(message) = keep(app, claimed, &ExpireDispatch { attempt, reason }).await? {
                telemetry::dead_letters::tell(&app.metrics, &app.store, &claimed.tenant, &message).await;
            }
            Ok(())
        }
        DueJob::Call { session, task, attempt } => {
            let (session, task, attempt) = (session.clone(), task.clone(), *attempt);
            let outcome =
                Err((ProblemKind::ToolUnreachable.to_string(), format!("the tool was not called: {reason}")));
            keep(app, claimed, &SettleCall { session, task, attempt, outcome }).await
        }
        _ => Ok(()),
    }
}
