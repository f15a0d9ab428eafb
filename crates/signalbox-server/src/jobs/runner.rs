//! The runner: takes what commits hand over, claims what is due, and starts each job.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_core::decision::MatchHint;
use signalbox_core::engine::TimerFired;
use signalbox_store::{Claimed, DueKind, StoreError};
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::context::Jobs;
use super::slots::Slots;
use super::{deliver, matching, prune, sync};
use crate::clock;

/// Hints that may wait; over it they are left to the sweep.
const HINTS_MAX: usize = 10_000;
/// Deliveries claimed in one go.
const CLAIMS_MAX: usize = 256;
/// Timers that may be firing at once.
const TIMERS_MAX: usize = 256;
/// How long due work of other nodes may lie unnoticed.
const POLL: Duration = Duration::from_secs(1);
/// How long claiming rests after the store could not answer.
const REST: Duration = Duration::from_millis(500);

/// Sets jobs in motion; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox {
    deliveries: mpsc::UnboundedSender<(Vec<Claimed>, Slots)>,
    hints: mpsc::Sender<(TenantId, MatchHint)>,
    alarms: Arc<Alarms>,
    metrics: crate::telemetry::metrics::Metrics,
}

/// The other end of the mailbox.
pub(crate) struct Post {
    deliveries: mpsc::UnboundedReceiver<(Vec<Claimed>, Slots)>,
    hints: mpsc::Receiver<(TenantId, MatchHint)>,
    alarms: Arc<Alarms>,
}

/// One for each kind of due work.
#[derive(Default)]
struct Alarms {
    deliveries: Alarm,
    calls: Alarm,
    timers: Alarm,
}

/// When the next claim is planned, and the bell that brings it forward.
struct Alarm {
    planned: Mutex<Timestamp>,
    bell: Notify,
}

/// Later than anything is due.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// A mailbox and its other end.
pub(crate) fn mailbox(metrics: crate::telemetry::metrics::Metrics) -> (Mailbox, Post) {
    // Every delivery in this channel holds a slot, so the slots bound it.
    let (deliveries, deliveries_end) = mpsc::unbounded_channel();
    let (hints, hints_end) = mpsc::channel(HINTS_MAX);
    let alarms = Arc::new(Alarms::default());
    let post = Post { deliveries: deliveries_end, hints: hints_end, alarms: Arc::clone(&alarms) };
    (Mailbox { deliveries, hints, alarms, metrics }, post)
}

impl Default for Alarm {
    fn default() -> Self {
        Self { planned: Mutex::new(NEVER), bell: Notify::new() }
    }
}

impl Alarm {
    /// The next claim is at `at`, where it was planned for later.
    fn bring_forward(&self, at: Timestamp) {
        let mut planned = self.planned.lock();
        if at < *planned {
            *planned = at;
            self.bell.notify_one();
        }
    }
}

impl Alarms {
    fn of(&self, kind: DueKind) -> &Alarm {
        match kind {
            DueKind::Delivery => &self.deliveries,
            DueKind::Call => &self.calls,
            DueKind::Timer => &self.timers,
        }
    }
}

impl Mailbox {
    /// Hands over deliveries that were born leased, with the room reserved for them.
    pub(crate) fn deliver(&self, claimed: Vec<Claimed>, slots: Slots) {
        // Without a receiver the server is stopping: the lease runs out and another process takes over.
        let _ = self.deliveries.send((claimed, slots));
    }

    /// Something of this kind will be due at `at`.
    pub(crate) fn wake(&self, kind: DueKind, at: Timestamp) {
        self.alarms.of(kind).bring_forward(at);
    }

    /// Something may meet.
    pub(crate) fn hint(&self, tenant: TenantId, hint: MatchHint) {
        if self.hints.try_send((tenant, hint)).is_err() {
            self.metrics.hint_dropped();
        }
    }
}

/// Starts all jobs; they end when the server drains, and `tracker` tells when the last one has.
pub(crate) fn start(app: &Jobs, post: Post, tracker: &TaskTracker) {
    tracker.spawn(deliveries(app.clone(), post.deliveries, tracker.clone()));
    for kind in DueKind::ALL {
        tracker.spawn(woken(app.clone(), kind, Arc::clone(&post.alarms)));
        tracker.spawn(claims(app.clone(), kind, Arc::clone(&post.alarms), tracker.clone()));
    }
    tracker.spawn(forget_revoked_keys(app.clone()));
    tracker.spawn(matching::run(app.clone(), post.hints, tracker.clone()));
    tracker.spawn(matching::sweep(app.clone()));
    tracker.spawn(prune::run(app.clone()));
    if app.config.dispatches_through().is_some() {
        tracker.spawn(sync::run(app.clone()));
    }
}

/// Passes on what other nodes tell: that work of a kind is due which this node may take.
async fn woken(app: Jobs, kind: DueKind, alarms: Arc<Alarms>) {
    let wake_ups = app.drive.wake_ups();
    let mut due = wake_ups.due_work(kind.name()).await;
    loop {
        let payload = tokio::select! {
            () = app.draining.cancelled() => return,
            payload = due.next() => payload,
        };
        if let Some(at) = wake_ups.due_at(&payload) {
            alarms.of(kind).bring_forward(at);
        }
    }
}

/// Forgets what is remembered of keys when some were revoked, on whatever node.
async fn forget_revoked_keys(app: Jobs) {
    let mut revoked = app.drive.wake_ups().revoked_keys().await;
    loop {
        tokio::select! {
            () = app.draining.cancelled() => return,
            _ = revoked.next() => app.authenticator.forget_all(),
        }
    }
}

async fn deliveries(
    app: Jobs,
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

fn spawn_deliveries(app: &Jobs, claimed: Vec<Claimed>, mut slots: Slots, tracker: &TaskTracker) {
    for claimed in claimed {
        let slot = slots.split();
        tracker.spawn(deliver::run(app.clone(), claimed, slot));
    }
}

/// Claims what is due of one kind and sleeps until something is.
async fn claims(app: Jobs, kind: DueKind, alarms: Arc<Alarms>, tracker: TaskTracker) {
    let alarm = alarms.of(kind);
    let timers = Arc::new(Semaphore::new(TIMERS_MAX));
    while !app.draining.is_cancelled() {
        // Whatever is committed from here on may be missed by the claim below, and must ring.
        *alarm.planned.lock() = NEVER;
        let now = clock::now();
        let claimed = async {
            match kind {
                DueKind::Delivery | DueKind::Call => claim_deliveries(&app, kind, &tracker).await,
                DueKind::Timer => claim_timers(&app, &timers, &tracker).await,
            }
        };
        let claimed = tokio::select! {
            () = app.draining.cancelled() => return,
            claimed = claimed => claimed,
        };
        let next = match claimed {
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

/// Claims deliveries once and starts them; answers when to come again.
async fn claim_deliveries(
    app: &Jobs,
    kind: DueKind,
    tracker: &TaskTracker,
) -> Result<Option<Timestamp>, StoreError> {
    let Some((slots, room)) = app.deliveries.reserve_up_to(CLAIMS_MAX) else {
        drop(app.deliveries.slot().await);
        return Ok(Some(clock::now()));
    };
    let now = clock::now();
    let claimed = app.store.claim(now, app.policy.lease, kind, room).await?;
    let is_full = claimed.len() == room;
    spawn_deliveries(app, claimed, slots, tracker);
    if is_full { Ok(Some(now)) } else { app.store.next_due(kind).await }
}

/// Claims timers once and fires them; answers when to come again.
async fn claim_timers(
    app: &Jobs,
    room: &Arc<Semaphore>,
    tracker: &TaskTracker,
) -> Result<Option<Timestamp>, StoreError> {
    // The semaphore is never closed.
    let Ok(first) = Arc::clone(room).acquire_owned().await else { return Ok(None) };
    let most = 1 + room.available_permits();
    let now = clock::now();
    let mut claimed = app.store.claim(now, app.policy.lease, DueKind::Timer, most).await?.into_iter();
    let is_full = claimed.len() == most;
    if let Some(timer) = claimed.next() {
        tracker.spawn(fire(app.clone(), timer, Some(first)));
    }
    for timer in claimed {
        tracker.spawn(fire(app.clone(), timer, Arc::clone(room).try_acquire_owned().ok()));
    }
    if is_full { Ok(Some(now)) } else { app.store.next_due(DueKind::Timer).await }
}

/// Tells the engine that a moment has come. If that fails the lease runs out and the moment comes again.
async fn fire(app: Jobs, claimed: Claimed, _room: Option<OwnedSemaphorePermit>) {
    let operation = TimerFired { work: claimed.work };
    if let Err(error) = app.drive.run(&claimed.tenant, &operation).await {
        tracing::warn!(%error, work = %operation.work.id(), "a timer will be tried again");
    }
}
