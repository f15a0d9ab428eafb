//! Whether NATS is there, and if not, why.

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::BusError;

/// The connection to NATS.
pub(super) struct Link {
    /// The servers, for people.
    servers: String,
    state: watch::Sender<State>,
    /// Why there is none.
    reason: Mutex<String>,
}

/// Both change together: what is found out late about an earlier connection must not make a later one seem there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    is_up: bool,
    /// How often there was a connection, and how often it went: what is found out about an earlier one does not count.
    attempt: u64,
}

impl Link {
    pub(super) fn new(servers: String) -> Self {
        Self {
            servers,
            state: watch::Sender::new(State::default()),
            reason: Mutex::new("not connected yet".to_owned()),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.borrow().is_up
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
        let _ = self.state.subscribe().wait_for(|state| state.is_up == wanted).await;
    }

    /// A connection is there, and not tried yet.
    pub(super) fn comes(&self) -> u64 {
        let mut current = 0;
        self.state.send_modify(|state| {
            state.attempt += 1;
            current = state.attempt;
        });
        current
    }

    /// Whether the connection is still the one that this was found out about.
    pub(super) fn is_current(&self, attempt: u64) -> bool {
        self.state.borrow().attempt == attempt
    }

    /// The connection carries messages.
    pub(super) fn came(&self, attempt: u64) {
        let is_news = self.state.send_if_modified(|state| {
            let is_news = state.attempt == attempt && !state.is_up;
            state.is_up |= is_news;
            is_news
        });
        if is_news {
            tracing::info!(servers = self.servers, "the bus is there");
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
        "the connection was lost".clone_into(&mut self.reason.lock());
        let mut was_up = false;
        self.state.send_modify(|state| {
            was_up = std::mem::replace(&mut state.is_up, false);
            state.attempt += 1;
        });
        if was_up {
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
        self.state.send_modify(|state| state.is_up = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_out_about_an_earlier_connection_does_not_count() {
        let link = Link::new("nats://nowhere".to_owned());
        let first = link.comes();
        link.went();
        link.came(first);
        assert!(!link.is_up() && link.outage().is_some());
        let second = link.comes();
        link.came(first);
        assert!(!link.is_up());
        link.came(second);
        assert!(link.is_up() && link.outage().is_none());
        link.went();
        assert!(link.outage().is_some_and(|why| why.contains("lost")));
    }
}
