//! The figures that connected agents tell of themselves with their heartbeats: the newest, and a few before it.
//!
//! They have a row of their own, which is written for many agents at once and not for each heartbeat: what an agent last
//! said is the newer of this and of its status.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::AgentId;
use signalbox_wire::time::Timestamp;

/// Samples that are kept of one agent: at one each 30 s, those of 10 minutes.
pub const SAMPLES_MAX: usize = 20;

/// What an agent told of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentFigures {
    /// Whose figures they are.
    pub agent: AgentId,
    /// The last sign of life that was kept.
    pub last_seen: Timestamp,
    /// Whatever else it told last.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
    /// What it told of its load, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// The load of an agent at one moment, in the units of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// How much of its processors it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_usage: Option<f64>,
    /// How much memory it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_usage: Option<f64>,
}

impl AgentFigures {
    /// Whether it told anything but that it is there.
    #[must_use]
    pub fn tell_anything(&self) -> bool {
        !self.metrics.is_empty() || !self.samples.is_empty()
    }

    /// No figures yet.
    pub(crate) fn none(agent: AgentId, at: Timestamp) -> Self {
        Self { agent, last_seen: at, metrics: Map::new(), samples: Vec::new() }
    }

    /// Takes in what a heartbeat told.
    pub(crate) fn add(&mut self, sample: Sample, metrics: Option<&Map<String, Value>>) {
        self.last_seen = self.last_seen.max(sample.at);
        if let Some(metrics) = metrics {
            self.metrics.clone_from(metrics);
        }
        if sample.cpu_usage.is_some() || sample.memory_usage.is_some() {
            self.samples.push(sample);
            let too_many = self.samples.len().saturating_sub(SAMPLES_MAX);
            self.samples.drain(..too_many);
        }
    }
}
