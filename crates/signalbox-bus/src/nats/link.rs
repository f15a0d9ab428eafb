//! Whether NATS is there, and if not, why.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::BusError;

/// The connection to NATS.
pub(super) struct Link {
    /// The servers, for people.
    servers: String,
    is_up: watch::Sender<bool>,
    /// How often there was a connection: what is found out about an earlier one does not count.
    attempt: AtomicU64,
    /// Why there is none.
    reason: Mutex<String>,
}

impl Link {
    pub(super) fn new(servers: String) -> Self {
        Self {
            servers,
            is_up: watch::Sender::new(false),
            attempt: AtomicU64::new(0),
            reason: Mutex::new("not connected yet".to_owned()),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        *self.is_up.borrow()
    }

    /// Why NATS cannot be used, where it cannot.
    pub(super) fn outage(&self) -> Option<String> {
        (!self.is_up()).then(|| format!("NATS at {}: {}", self.servers, self.reason.lock()))
    }

    /// Waits until NATS is there.
    pub(super) async fn up(&self) {
        self.wait_until(true).await;
    }

    /// Waits until NATS is away.
    pub(super) async fn down(&self) {
        self.wait_until(false).await;
    }

    async fn wait_until(&self, wanted: bool) {
        // The sender is this link's own.
        let _ = self.is_up.subscribe().wait_for(|is_up| *is_up == wanted).await;
    }

    /// A connection is there, and not tried yet.
    pub(super) fn comes(&self) -> u64 {
        self.attempt.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Whether the connection is still the one that this was found out about.
    pub(super) fn is_current(&self, attempt: u64) -> bool {
        self.attempt.load(Ordering::SeqCst) == attempt
    }

    /// The connection carries messages.
    pub(super) fn came(&self, attempt: u64) {
        if self.is_current(attempt) {
            tracing::info!(servers = self.servers, "the bus is there");
            self.is_up.send_replace(true);
        }
    }

    /// The connection carries nothing.
    pub(super) fn refused(&self, attempt: u64, error: &BusError) {
        if self.is_current(attempt) {
            match error {
                BusError::Unavailable(reason) => self.failed(reason),
                other => self.failed(&other.to_string()),
            }
        }
    }

    /// The connection is lost.
    pub(super) fn went(&self) {
        self.attempt.fetch_add(1, Ordering::SeqCst);
        "the connection was lost".clone_into(&mut self.reason.lock());
        if self.is_up.send_replace(false) {
            tracing::warn!(servers = self.servers, "the bus is away; durable work goes on without it");
        }
    }

    /// An attempt to connect has failed.
    pub(super) fn failed(&self, reason: &str) {
        let mut known = self.reason.lock();
        if *known != reason {
            tracing::warn!(servers = self.servers, reason, "the bus cannot be reached; it is tried again");
            reason.clone_into(&mut known);
        }
    }

    /// There will never be a connection.
    pub(super) fn broke(&self, reason: String) {
        *self.reason.lock() = reason;
        self.is_up.send_replace(false);
    }
}
