//! Timers that have come: those of one session fire together in one place, so that a session with many holds up no
//! other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_core::due::DueJob;
use signalbox_core::engine::TimerFired;
use signalbox_core::task::TaskStatus;
use signalbox_store::{Claimed, DueKind, StoreError};
use signalbox_wire::id::{SessionId, TaskId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::context::Jobs;
use super::keep::keep;
use super::postpone::postpone;
use crate::clock;

/// Timers that may be claimed and wait for those of their session, for each place.
const WAITING_PER_PLACE: usize = 4;

/// Room for timers; cheap to clone.
#[derive(Clone)]
pub(super) struct Timers(Arc<Inner>);

struct Inner {
    places: Arc<Semaphore>,
    claimed: Arc<Semaphore>,
    sessions: Mutex<HashMap<Group, VecDeque<(Claimed, OwnedSemaphorePermit)>>>,
}

/// What fires together.
type Group = (TenantId, String);

impl Timers {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Inner {
            places: Arc::new(Semaphore::new(places)),
            claimed: Arc::new(Semaphore::new(places.saturating_mul(WAITING_PER_PLACE))),
            sessions: Mutex::default(),
        }))
    }

    /// Claims timers once and fires them; answers when to come again.
    pub(super) async fn claim(
        &self,
        app: &Jobs,
        tracker: &TaskTracker,
    ) -> Result<Option<Timestamp>, StoreError> {
        // The semaphores are never closed.
        drop(Arc::clone(&self.0.places).acquire_owned().await);
        let Ok(mut room) = Arc::clone(&self.0.claimed).acquire_owned().await else { return Ok(None) };
        let most = self.0.places.available_permits().min(1 + self.0.claimed.available_permits()).max(1);
        if let Ok(more) = u32::try_from(most - 1)
            .map_or(Err(()), |more| Arc::clone(&self.0.claimed).try_acquire_many_owned(more).map_err(|_| ()))
        {
            room.merge(more);
        }
        let now = clock::now();
        let claimed = app.store.claim(now, app.policy.lease, DueKind::Timer, room.num_permits()).await?;
        let is_full = claimed.len() >= room.num_permits();
        for claimed in claimed {
            if let Some(held) = room.split(1) {
                self.enqueue(app, claimed, held, tracker);
            }
        }
        if is_full { Ok(Some(now)) } else { app.store.next_due(DueKind::Timer).await }
    }

    fn enqueue(&self, app: &Jobs, claimed: Claimed, held: OwnedSemaphorePermit, tracker: &TaskTracker) {
        let group = (claimed.tenant.clone(), group(&claimed.work));
        let mut sessions = self.0.sessions.lock();
        if let Some(queue) = sessions.get_mut(&group) {
            queue.push_back((claimed, held));
            return;
        }
        sessions.insert(group.clone(), VecDeque::from([(claimed, held)]));
        drop(sessions);
        tracker.spawn(self.clone().fire_all(app.clone(), group));
    }

    /// Fires what one group has until nothing is left. Those that are there together are decided in as few commits as
    /// their session's line allows.
    async fn fire_all(self, app: Jobs, group: Group) {
        let _place = Arc::clone(&self.0.places).acquire_owned().await;
        loop {
            let next: Vec<_> = {
                let mut sessions = self.0.sessions.lock();
                match sessions.get_mut(&group).map(std::mem::take).filter(|queue| !queue.is_empty()) {
                    Some(queue) => queue.into(),
                    None => {
                        sessions.remove(&group);
                        return;
                    }
                }
            };
            let mut firing = JoinSet::new();
            for (claimed, held) in next {
                firing.spawn(fire(app.clone(), claimed, held));
            }
            // One that panics takes none of the others with it; its lease runs out.
            while firing.join_next().await.is_some() {}
        }
    }
}

async fn fire(app: Jobs, claimed: Claimed, _held: OwnedSemaphorePermit) {
    let operation = TimerFired { work: claimed.work.clone() };
    if let Err(error) = keep(&app, &claimed, &operation).await {
        // The lease runs out and the moment comes again.
        tracing::warn!(%error, work = %operation.work.id(), "a timer will be tried again");
        return;
    }
    if let DueJob::Dispatch { session, task, attempt } | DueJob::Call { session, task, attempt } =
        &claimed.work
        && let Err(error) = give_back(&app, &claimed, (session, task, *attempt)).await
    {
        tracing::info!(%error, work = %claimed.work.id(), "it is sent when its lease is over");
    }
}

/// An attempt that was not sent yet came as a timer before its end: the operator has given tasks more time since. Whoever
/// sends what goes by its lane may have it at once, and not only after the lease.
async fn give_back(
    app: &Jobs,
    claimed: &Claimed,
    (session, task, attempt): (&SessionId, &TaskId, u32),
) -> Result<(), StoreError> {
    let read = app.store.session(&claimed.tenant, session).await?;
    let task = read.as_ref().and_then(|read| read.value.task(task));
    let task = task.filter(|task| task.attempt == attempt && task.status == TaskStatus::Dispatched);
    let now = clock::now();
    if task.and_then(|task| task.times_out_at(app.policy.task_timeout)).is_some_and(|ends| now < ends) {
        postpone(app, claimed, now).await?;
    }
    Ok(())
}

/// What fires together with this: all of its session, or it alone.
fn group(work: &DueJob) -> String {
    work.session().map_or_else(|| work.id(), ToString::to_string)
}
