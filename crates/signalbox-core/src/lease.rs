//! A worker's claim on due work: whoever holds an unexpired lease may act, nobody else.
//!
//! A lease has no thread and no heartbeat: work that is leased is short (one request with a deadline), and a
//! worker that finds its lease nearly over leaves the work to whoever claims it next.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use signalbox_wire::id::NodeId;
use signalbox_wire::time::Timestamp;

/// Who may act, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The process that holds it.
    pub node: NodeId,
    /// From this moment on the work is free again.
    pub until: Timestamp,
}

impl Lease {
    /// A lease for `node` from `now` for `length`.
    #[must_use]
    pub fn new(node: NodeId, now: Timestamp, length: Duration) -> Self {
        Self { node, until: now + length }
    }

    /// Whether work under this lease may be claimed by another.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    /// Whether at least `needed` remains, so that acting now cannot overlap with another worker.
    #[must_use]
    pub fn covers(&self, now: Timestamp, needed: Duration) -> bool {
        now + needed < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_at_its_moment_and_covers_what_ends_before() {
        let node = NodeId::parse("nod_a").expect("valid");
        let start = Timestamp::from_seconds(100);
        let held = Lease::new(node, start, Duration::from_secs(10));
        let (before, at, after) =
            (Timestamp::from_seconds(109), Timestamp::from_seconds(110), Timestamp::from_seconds(111));
        assert!(!held.is_over(before) && held.is_over(at) && held.is_over(after));
        assert!(held.covers(start, Duration::from_secs(9)) && !held.covers(start, Duration::from_secs(10)));
    }
}
