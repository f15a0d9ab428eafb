//! What a case measured, what it is worth against its goal, and how both are kept.
//!
//! A figure with a fault makes every verdict that rests on it invalid: wrong answers can be given very fast.

mod markdown;
mod verdict;
mod write;

use serde::Serialize;

pub(crate) use markdown::{figure_line, summary};
pub(crate) use verdict::{Goal, Standing, Verdict};
pub(crate) use write::keep;

use crate::environment::Fact;
use crate::flush::Flush;
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

/// What a case hands back.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) facts: Vec<Fact>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) notes: Vec<String>,
}

impl Measured {
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<String>) {
        if self.facts.iter().all(|fact| fact.name != name) {
            self.facts.push(Fact::new(name, value));
        }
    }

    /// Takes the rounds of one group and says how the first side's rate and p99 stand to the second's.
    pub(crate) fn conclude(&mut self, rounds: Vec<Vec<Figure>>, rate: Option<Goal>, p99: Option<Goal>) {
        let group = rounds.iter().flatten().next().map(|figure| figure.group.clone()).unwrap_or_default();
        self.verdicts.push(Verdict::ratio(&format!("rate, {group}"), &rounds, (0, 1), PER_S, rate));
        self.verdicts.push(Verdict::ratio(&format!("p99, {group}"), &rounds, (0, 1), P99_MS, p99));
        self.figures.extend(rounds.into_iter().flatten());
    }

    pub(crate) fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

/// A case's result as it is kept.
#[derive(Serialize)]
pub(crate) struct CaseReport {
    pub(crate) case: String,
    pub(crate) about: String,
    pub(crate) date: String,
    pub(crate) quick: bool,
    pub(crate) flush_before: Flush,
    pub(crate) flush_after: Flush,
    pub(crate) machine: Vec<Fact>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) notes: Vec<String>,
}

impl CaseReport {
    pub(crate) fn is_valid(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.standing != Standing::Invalid)
            && self.figures.iter().all(|figure| figure.faults.is_empty())
    }
}
