//! What a run is to do, and what its threads tell each other.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::dialect::{Dialect, Seat};
use crate::clock;

/// How long the last deliveries may take after the publisher has stopped, and a write of its.
pub(super) const DRAINED_WITHIN: Duration = Duration::from_secs(20);
const LATENCY_MAX_US: u64 = 120_000_000;

/// How the publisher sends.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// As fast as it may, while nobody is further behind than so many messages.
    Backlog { window: u64 },
    /// So many messages a second, or fewer where somebody is further behind.
    Fixed { per_s: f64, window: u64 },
}

/// One run.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    pub(crate) dialect: Dialect,
    pub(crate) subject: String,
    /// Whether each message is acknowledged to its publisher.
    pub(crate) is_acknowledged: bool,
    pub(crate) publisher: Seat,
    pub(crate) subscribers: Vec<Seat>,
    pub(crate) threads: usize,
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What the threads of a run share.
pub(super) struct Board {
    pub(super) begin: Instant,
    /// Deliveries to each subscriber.
    pub(super) received: Vec<AtomicU64>,
    pub(super) ready: AtomicU64,
    pub(super) published: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    /// The publisher begins.
    pub(super) goes: AtomicBool,
    /// The publisher stops.
    pub(super) stops: AtomicBool,
    /// All connections end.
    pub(super) ends: AtomicBool,
    /// Deliveries of messages that were due after this many microseconds count for the latency.
    pub(super) counts_from_us: AtomicU64,
    pub(super) faults: Mutex<Vec<String>>,
}

impl Board {
    /// Where nobody is ready yet.
    pub(super) fn new(subscribers: usize) -> Self {
        Self {
            begin: clock::now(),
            received: (0..subscribers).map(|_| AtomicU64::new(0)).collect(),
            ready: AtomicU64::new(0),
            published: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            goes: AtomicBool::new(false),
            stops: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            counts_from_us: AtomicU64::new(u64::MAX),
            faults: Mutex::default(),
        }
    }

    /// Microseconds of the run.
    pub(super) fn us(&self) -> u64 {
        u64::try_from((clock::now() - self.begin).as_micros()).unwrap_or(u64::MAX)
    }

    /// What has come to the subscriber that is furthest behind.
    pub(super) fn slowest(&self) -> u64 {
        self.received.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    pub(super) fn delivered(&self) -> u64 {
        self.received.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn fault(&self, fault: String) {
        const FAULTS_MAX: usize = 10;
        let mut faults = self.faults.lock();
        if faults.len() < FAULTS_MAX {
            faults.push(fault);
        }
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.lock().is_empty()
    }
}

/// An empty histogram of microseconds.
pub(super) fn latencies() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?)
}
