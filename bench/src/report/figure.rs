//! What one side did in one round: its values under the heads of their columns.

use serde::Serialize;

use crate::load::Outcome;

pub(crate) const PER_S: &str = "per second";
pub(crate) const P50_MS: &str = "p50 ms";
pub(crate) const P99_MS: &str = "p99 ms";
pub(crate) const MAX_MS: &str = "max ms";
pub(crate) const CLIENT_US: &str = "client CPU µs each";
pub(crate) const SERVER_US: &str = "server CPU µs each";

/// One value of a figure, under the head of its column.
#[derive(Clone, Serialize)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

/// What one side did in one round.
#[derive(Clone, Serialize)]
pub(crate) struct Figure {
    /// What was asked of it; figures of one group share a table.
    pub(crate) group: String,
    pub(crate) side: String,
    pub(crate) round: u32,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) faults: Vec<String>,
}

impl Figure {
    pub(crate) fn new(group: &str, side: &str, round: u32, metrics: &[(&'static str, f64)]) -> Self {
        let metrics = metrics.iter().map(|(name, value)| Metric { name, value: *value }).collect();
        Self { group: group.to_owned(), side: side.to_owned(), round, metrics, faults: Vec::new() }
    }

    /// The figure of a load run that used so many processor seconds on each side.
    pub(crate) fn of_load(group: &str, side: &str, round: u32, outcome: &Outcome, cpu: Cpu) -> Self {
        let each = |seconds: f64| seconds * 1e6 / (outcome.succeeded.max(1) as f64);
        let metrics = [
            (PER_S, outcome.per_s()),
            (P50_MS, outcome.latency_ms(0.50)),
            (P99_MS, outcome.latency_ms(0.99)),
            (MAX_MS, outcome.latency_ms(1.0)),
            (CLIENT_US, each(cpu.client_seconds)),
            (SERVER_US, each(cpu.server_seconds)),
        ];
        Self { faults: outcome.fault_lines(), ..Self::new(group, side, round, &metrics) }
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.metrics.iter().find(|metric| metric.name == name).map_or(f64::NAN, |metric| metric.value)
    }
}

/// Processor time of a load run.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) client_seconds: f64,
    pub(crate) server_seconds: f64,
}
