//! What a case hands back, and its result as it is kept.

use serde::Serialize;

use super::figure::{Figure, P99_MS, PER_S};
use super::verdict::{Goal, Standing, Verdict};
use crate::environment::Fact;
use crate::flush::Flush;

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
