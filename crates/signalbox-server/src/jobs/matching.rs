//! Tasks that wait and agents that are available meet.
//!
//! A hint is acted on once the commit that gave it is durable, so of two that happen at once the later one
//! sees the earlier. The sweep finds what a crash or a full queue has lost.

use std::time::Duration;

use signalbox_core::decision::MatchHint;
use signalbox_core::engine::{MatchAgent, MatchTask};
use signalbox_core::routing;
use signalbox_store::DueKind;
use signalbox_wire::id::{AgentId, TenantId};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::context::Jobs;
use crate::clock;
use crate::engine::DriveError;

/// Meetings tried at once.
const AT_ONCE: usize = 64;
/// Decisions that serve others before one that is tried, at most; the sweep goes on from there.
const SERVED_BEFORE_MAX: usize = 10_000;
/// Time between sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Waiting tasks that one sweep looks at.
const SWEEP_LIMIT: usize = 1_000;

/// Acts on hints until the server drains.
pub(super) async fn run(app: Jobs, mut hints: mpsc::Receiver<(TenantId, MatchHint)>, tracker: TaskTracker) {
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    loop {
        let next = tokio::select! {
            () = app.draining.cancelled() => return,
            next = hints.recv() => next,
        };
        let (Some((tenant, hint)), Ok(permit)) = (next, std::sync::Arc::clone(&room).acquire_owned().await)
        else {
            return;
        };
        let app = app.clone();
        tracker.spawn(async move {
            let met = match hint {
                MatchHint::Agent(agent) => offer(&app, &tenant, agent).await,
                MatchHint::Task(session, task) => place(&app, &tenant, &MatchTask { session, task }).await,
                MatchHint::Connected(_) | MatchHint::Ended(_) => Ok(()),
            };
            if let Err(error) = met {
                tracing::warn!(%error, "a waiting task is left to the next sweep");
            }
            drop(permit);
        });
    }
}

/// Tries to give a waiting task to an agent, those that wait longer before it.
async fn place(app: &Jobs, tenant: &TenantId, task: &MatchTask) -> Result<(), DriveError> {
    for _ in 0..SERVED_BEFORE_MAX {
        // A list is as long as it is: a server that drains leaves the rest to whoever comes after it.
        if app.draining.is_cancelled() || !app.drive.run(tenant, task).await? {
            break;
        }
    }
    Ok(())
}

/// Offers an agent until it takes no more, or until nothing waits any longer for one that is gone.
async fn offer(app: &Jobs, tenant: &TenantId, agent: AgentId) -> Result<(), DriveError> {
    let registration = app.store.agent(tenant, &agent).await?;
    let lane = registration.as_ref().map(|read| read.value.lane());
    let room = app.deliveries.room(DueKind::Delivery);
    if lane.is_some_and(|lane| room.is_left_alone(tenant, &lane, clock::now())) {
        // The sweep offers it again when it can be reached.
        return Ok(());
    }
    let routes = match registration {
        Some(registration) => routing::keys_of(&registration.value),
        None => vec![routing::Route::Agent(agent.clone()).key()],
    };
    let operation = MatchAgent { agent };
    while app.store.maybe_waiting(tenant, &routes) && app.drive.run(tenant, &operation).await? {}
    Ok(())
}

/// Looks at every waiting task now and then, at once after a start.
pub(super) async fn sweep(app: Jobs) {
    loop {
        match app.store.waiting_tasks(SWEEP_LIMIT).await {
            Ok(waiting) => {
                for (tenant, task) in waiting {
                    let meant = MatchTask { session: task.session, task: task.task };
                    if let Err(error) = place(&app, &tenant, &meant).await {
                        tracing::warn!(%error, task = %meant.task, "a waiting task could not be looked at");
                    }
                    if app.draining.is_cancelled() {
                        return;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the waiting tasks could not be listed"),
        }
        tokio::select! {
            () = app.draining.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}
