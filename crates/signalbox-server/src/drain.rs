//! How a server ends: what is open when it begins to drain, until when that may finish, and what came of it. The log
//! tells it, and whoever runs the server gets the same as sentences.

use std::fmt;
use std::time::Duration;

use signalbox_wire::time::Timestamp;

use crate::engine::slots::Deliveries;
use crate::telemetry::metrics::Metrics;

/// What is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    /// Connections of clients, idle ones included.
    connections: i64,
    /// Requests that are being answered.
    requests: i64,
    /// Streams of events.
    streams: i64,
    /// Attempts to deliver that are under way.
    deliveries: usize,
    /// Calls of tools for tasks that are under way.
    calls: usize,
}

impl InFlight {
    /// What is open now.
    pub(crate) fn now(metrics: &Metrics, deliveries: &Deliveries) -> Self {
        let (connections, requests, streams) = metrics.open();
        let (deliveries, calls) = deliveries.in_flight();
        Self { connections, requests, streams, deliveries, calls }
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, requests, streams, deliveries, calls } = self;
        write!(
            f,
            "requests: {requests}, streams: {streams}, deliveries: {deliveries}, calls of tools: {calls}, \
             connections: {connections}"
        )
    }
}

/// A step towards a server's end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// It was told to stop, and says first that it is not ready.
    Stopping { delay: Duration },
    /// Nothing new is taken.
    Draining { open: InFlight, within: Duration, until: Timestamp },
    /// All that was open has ended.
    Drained { took: Duration },
    /// Time is over.
    Cut { open: InFlight, after: Duration },
}

impl Step {
    /// Writes it into the log.
    pub(crate) fn log(&self) {
        match self {
            Self::Stopping { delay } => tracing::info!(?delay, "stopping"),
            Self::Draining { open, until, .. } => {
                let InFlight { connections, requests, streams, deliveries, calls } = open;
                tracing::info!(requests, streams, deliveries, calls, connections, %until, "draining");
            }
            Self::Drained { took } => tracing::info!(?took, "drained"),
            Self::Cut { open, .. } => {
                let InFlight { connections, requests, streams, deliveries, calls } = open;
                tracing::warn!(
                    requests,
                    streams,
                    deliveries,
                    calls,
                    connections,
                    "not everything that was open finished in time, and it was cut; deliveries and calls are tried \
                     again when their leases run out"
                );
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping { delay } => {
                let seconds = delay.as_secs_f32();
                write!(f, "stopping: /ready says 503, and for {seconds} s requests are still taken")
            }
            Self::Draining { open, within, until } => {
                let seconds = within.as_secs_f32();
                write!(f, "draining: what is open ({open}) may finish within {seconds} s, until {until}")
            }
            Self::Drained { took } => {
                write!(f, "drained: all that was open ended within {:.1} s", took.as_secs_f32())
            }
            Self::Cut { open, after } => write!(
                f,
                "cut: after {} s some was still open ({open}); deliveries and calls are tried again when their leases \
                 run out",
                after.as_secs_f32()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_told_in_a_sentence() {
        let open = InFlight { connections: 4, requests: 1, streams: 2, deliveries: 3, calls: 0 };
        let within = Duration::from_secs(30);
        let told = |step: Step| step.to_string();
        let draining = told(Step::Draining { open, within, until: Timestamp::from_seconds(1_704_110_400) });
        assert!(draining.starts_with("draining: what is open (requests: 1, streams: 2, deliveries: 3"));
        assert!(draining.ends_with("within 30 s, until 2024-01-01T12:00:00.000000Z"), "{draining}");
        assert!(told(Step::Stopping { delay: Duration::from_millis(500) }).contains("0.5 s"));
        assert!(told(Step::Drained { took: Duration::from_millis(1_234) }).contains("1.2 s"));
        assert!(told(Step::Cut { open, after: within }).contains("deliveries: 3"));
    }
}
