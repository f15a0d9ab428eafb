//! What commits hand over to the jobs: work that was born leased, when more is due, and what may meet.

use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_core::connection::Disconnected;
use signalbox_core::decision::MatchHint;
use signalbox_store::{Claimed, DueKind};
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::slots::Slot;
use crate::telemetry::metrics::Metrics;

/// Hints that may wait; over it they are left to the sweep.
const HINTS_MAX: usize = 10_000;

/// Connections that may wait to be closed.
const DISCONNECTED_MAX: usize = 10_000;

/// Sets jobs in motion; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox {
    deliveries: mpsc::UnboundedSender<(Claimed, Slot)>,
    hints: mpsc::Sender<(TenantId, MatchHint)>,
    disconnected: mpsc::Sender<(TenantId, Disconnected)>,
    alarms: Arc<Alarms>,
    metrics: Metrics,
}

/// The other end of the mailbox.
pub(crate) struct Post {
    pub(crate) deliveries: mpsc::UnboundedReceiver<(Claimed, Slot)>,
    pub(crate) hints: mpsc::Receiver<(TenantId, MatchHint)>,
    pub(crate) disconnected: mpsc::Receiver<(TenantId, Disconnected)>,
    pub(crate) alarms: Arc<Alarms>,
}

/// One for each kind of due work.
#[derive(Default)]
pub(crate) struct Alarms {
    deliveries: Alarm,
    calls: Alarm,
    timers: Alarm,
}

/// When the next claim is planned, and the bell that brings it forward.
pub(crate) struct Alarm {
    planned: Mutex<Timestamp>,
    bell: Notify,
}

/// Later than anything is due.
pub(crate) const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// A mailbox and its other end.
pub(crate) fn mailbox(metrics: Metrics) -> (Mailbox, Post) {
    // Every delivery in this channel holds a slot, so the slots bound it.
    let (deliveries, deliveries_end) = mpsc::unbounded_channel();
    let (hints, hints_end) = mpsc::channel(HINTS_MAX);
    let (disconnected, disconnected_end) = mpsc::channel(DISCONNECTED_MAX);
    let alarms = Arc::new(Alarms::default());
    let post = Post {
        deliveries: deliveries_end,
        hints: hints_end,
        disconnected: disconnected_end,
        alarms: Arc::clone(&alarms),
    };
    (Mailbox { deliveries, hints, disconnected, alarms, metrics }, post)
}

impl Default for Alarm {
    fn default() -> Self {
        Self { planned: Mutex::new(NEVER), bell: Notify::new() }
    }
}

impl Alarm {
    /// The next claim is at `at`, where it was planned for later.
    pub(crate) fn bring_forward(&self, at: Timestamp) {
        let mut planned = self.planned.lock();
        if at < *planned {
            *planned = at;
            self.bell.notify_one();
        }
    }

    /// A look for work begins: whatever is committed from here on may be missed by it, and must ring.
    pub(crate) fn begin(&self) {
        *self.planned.lock() = NEVER;
    }

    /// Plans the next look for `at`, or for earlier where that is asked already; answers for when.
    pub(crate) fn plan(&self, at: Timestamp) -> Timestamp {
        let mut planned = self.planned.lock();
        *planned = at.min(*planned);
        *planned
    }

    /// Waits until the next look was brought forward.
    pub(crate) async fn rings(&self) {
        self.bell.notified().await;
    }
}

impl Alarms {
    pub(crate) fn of(&self, kind: DueKind) -> &Alarm {
        match kind {
            DueKind::Delivery => &self.deliveries,
            DueKind::Call => &self.calls,
            DueKind::Timer => &self.timers,
        }
    }
}

impl Mailbox {
    /// Hands over something to send that was born leased, with the slot reserved for it.
    pub(crate) fn deliver(&self, claimed: Claimed, slot: Slot) {
        // Without a receiver the server is stopping: the lease is ended at its end, and another process takes over.
        let _ = self.deliveries.send((claimed, slot));
    }

    /// Something of this kind will be due at `at`.
    pub(crate) fn wake(&self, kind: DueKind, at: Timestamp) {
        self.alarms.of(kind).bring_forward(at);
    }

    /// A connection is no longer its agent's. Where this is lost, it is closed when it says something.
    pub(crate) fn disconnected(&self, tenant: TenantId, disconnected: Disconnected) {
        let _ = self.disconnected.try_send((tenant, disconnected));
    }

    /// Something may meet.
    pub(crate) fn hint(&self, tenant: TenantId, hint: MatchHint) {
        if self.hints.try_send((tenant, hint)).is_err() {
            self.metrics.hint_dropped();
        }
    }
}
