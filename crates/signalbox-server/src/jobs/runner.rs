//! The runner: takes what commits hand over, claims what is due, and starts each job.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_core::decision::Hint;
use signalbox_core::due::Work;
use signalbox_core::engine::TimerFired;
use signalbox_store::Claimed;
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

use super::slots::Slots;
use super::{deliver, hints, prune, sync};
use crate::app::App;
use crate::clock;

/// Hints that may wait; over it they are left to the sweep.
const HINTS_MAX: usize = 10_000;
/// Claims taken in one go.
const CLAIMS_MAX: usize = 256;
/// How long due work of other nodes may lie unnoticed.
const POLL: Duration = Duration::from_secs(1);
/// How long claiming rests after the store could not answer.
const REST: Duration = Duration::from_millis(500);

/// Sets jobs in motion; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox {
    deliveries: mpsc::UnboundedSender<(Vec<Claimed>, Slots)>,
    hints: mpsc::Sender<(TenantId, Hint)>,
    alarm: Arc<Alarm>,
    metrics: crate::metrics::Metrics,
}

/// The other end of the mailbox.
pub(crate) struct Post {
    deliveries: mpsc::UnboundedReceiver<(Vec<Claimed>, Slots)>,
    hints: mpsc::Receiver<(TenantId, Hint)>,
    alarm: Arc<Alarm>,
}

/// When the next claim is planned, and the bell that brings it forward.
struct Alarm {
    planned: Mutex<Timestamp>,
    bell: Notify,
}

/// Later than anything is due.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// A mailbox and its other end.
pub(crate) fn mailbox(metrics: crate::metrics::Metrics) -> (Mailbox, Post) {
    // Every delivery in this channel holds a slot, so the slots bound it.
    let (deliveries, deliveries_end) = mpsc::unbounded_channel();
    let (hints, hints_end) = mpsc::channel(HINTS_MAX);
    let alarm = Arc::new(Alarm { planned: Mutex::new(NEVER), bell: Notify::new() });
    let post = Post { deliveries: deliveries_end, hints: hints_end, alarm: Arc::clone(&alarm) };
    (Mailbox { deliveries, hints, alarm, metrics }, post)
}

impl Mailbox {
    /// Hands over deliveries that were born leased, with the room reserved for them.
    pub(crate) fn deliver(&self, claimed: Vec<Claimed>, slots: Slots) {
        // Without a receiver the server is stopping: the lease runs out and another process takes over.
        let _ = self.deliveries.send((claimed, slots));
    }

    /// Something will be due at `at`.
    pub(crate) fn wake(&self, at: Timestamp) {
        let mut planned = self.alarm.planned.lock();
        if at < *planned {
            *planned = at;
            self.alarm.bell.notify_one();
        }
    }

    /// Something may meet.
    pub(crate) fn hint(&self, tenant: TenantId, hint: Hint) {
        if self.hints.try_send((tenant, hint)).is_err() {
            self.metrics.hint_dropped();
        }
    }
}

/// Starts all jobs; they end when the server drains, and `tracker` tells when the last one has.
pub(crate) fn start(app: &App, post: Post, tracker: &TaskTracker) {
    tracker.spawn(deliveries(app.clone(), post.deliveries, tracker.clone()));
    tracker.spawn(claims(app.clone(), post.alarm, tracker.clone()));
    tracker.spawn(hints::run(app.clone(), post.hints, tracker.clone()));
    tracker.spawn(hints::sweep(app.clone()));
    tracker.spawn(prune::run(app.clone()));
    if app.config.dispatches_through().is_some() {
        tracker.spawn(sync::run(app.clone()));
    }
}

async fn deliveries(
    app: App,
    mut handed: mpsc::UnboundedReceiver<(Vec<Claimed>, Slots)>,
    tracker: TaskTracker,
) {
    loop {
        tokio::select! {
            () = app.draining.cancelled() => return,
            next = handed.recv() => match next {
                Some((claimed, slots)) => spawn_deliveries(&app, claimed, slots, &tracker),
                None => return,
            },
        }
    }
}

fn spawn_deliveries(app: &App, claimed: Vec<Claimed>, mut slots: Slots, tracker: &TaskTracker) {
    for claimed in claimed {
        let slot = slots.split();
        tracker.spawn(deliver::run(app.clone(), claimed, slot));
    }
}

/// Claims what is due and sleeps until something is.
async fn claims(app: App, alarm: Arc<Alarm>, tracker: TaskTracker) {
    while !app.draining.is_cancelled() {
        // Whatever is committed from here on may be missed by the claim below, and must ring.
        *alarm.planned.lock() = NEVER;
        let now = clock::now();
        let next = match claim(&app, &tracker).await {
            Ok(next) => next.unwrap_or(NEVER).min(now + POLL),
            Err(error) => {
                tracing::warn!(%error, "due work could not be claimed");
                now + REST
            }
        };
        let next = {
            let mut planned = alarm.planned.lock();
            *planned = next.min(*planned);
            *planned
        };
        tokio::select! {
            () = app.draining.cancelled() => return,
            () = tokio::time::sleep(next.since(clock::now())) => {}
            () = alarm.bell.notified() => {}
        }
    }
}

/// Claims once and starts what was claimed; answers when to come again.
async fn claim(app: &App, tracker: &TaskTracker) -> Result<Option<Timestamp>, signalbox_store::StoreError> {
    let now = clock::now();
    let Some((mut slots, room)) = app.deliveries.reserve_up_to(CLAIMS_MAX) else {
        app.deliveries.room().await;
        return Ok(Some(now));
    };
    let claimed = app.store.claim(now, app.policy.lease, room).await?;
    let is_full = claimed.len() == room;
    for claimed in claimed {
        let slot = slots.split();
        match &claimed.work {
            Work::Deliver { .. } => tracker.spawn(deliver::run(app.clone(), claimed, slot)),
            Work::Timeout { .. } | Work::Retry { .. } => tracker.spawn(fire(app.clone(), claimed, slot)),
        };
    }
    if is_full {
        return Ok(Some(now));
    }
    Ok(app.store.backlog().await?.next)
}

/// Tells the engine that a moment has come. If that fails the lease runs out and the moment comes again.
async fn fire(app: App, claimed: Claimed, _slot: Option<Slots>) {
    let operation = TimerFired { work: claimed.work };
    if let Err(error) = app.drive.run(&claimed.tenant, &operation).await {
        tracing::warn!(%error, work = %operation.work.id(), "a timer will be tried again");
    }
}
