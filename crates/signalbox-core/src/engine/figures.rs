//! What connected agents tell of themselves with their heartbeats is kept, for many at once.

use std::sync::Arc;

use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, ConnectionId};

use super::operation::Operation;
use crate::decision::{Key, Row};
use crate::figures::{AgentFigures, Sample};
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// What the heartbeats of some agents told last; [`FIGURES_AT_ONCE_MAX`](crate::limits::FIGURES_AT_ONCE_MAX) of them at most,
/// each agent once.
#[derive(Debug, Clone)]
pub struct KeepFigures {
    /// The heartbeats.
    pub heartbeats: Vec<Heartbeat>,
}

/// The newest heartbeat of one agent.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// Whose.
    pub agent: AgentId,
    /// Over which connection.
    pub connection: ConnectionId,
    /// When it came, and what it told of the agent's load.
    pub sample: Sample,
    /// Whatever else it told, where it did.
    pub metrics: Option<Map<String, Value>>,
}

impl Operation for KeepFigures {
    /// The connections that are not, or no longer, their agents': they are to be closed.
    type Output = Vec<(AgentId, ConnectionId)>;

    fn keys(&self) -> Vec<Key> {
        let agents = self.heartbeats.iter().map(|heartbeat| &heartbeat.agent);
        agents.flat_map(|agent| [Key::Status(agent.clone()), Key::Figures(agent.clone())]).collect()
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        snapshot.require(self.keys())?;
        let (mut decision, mut stale) = (Decision::default(), Vec::new());
        for Heartbeat { agent, connection, sample, metrics } in &self.heartbeats {
            let status = snapshot.status(agent)?;
            let held = status.as_ref().and_then(|status| status.value.connection.as_ref());
            // What belongs to an earlier registration, or to one that is gone, keeps nothing alive.
            if held.is_none_or(|held| held.id != *connection) {
                stale.push((agent.clone(), connection.clone()));
                continue;
            }
            let read = snapshot.figures(agent)?;
            let mut figures = read.as_ref().map_or_else(
                || AgentFigures::none(agent.clone(), sample.at),
                |read| AgentFigures::clone(&read.value),
            );
            figures.add(*sample, metrics.as_ref());
            let read = read.map(|read| read.version);
            decision.put(Row::Figures(Arc::new(figures)), read, context.version_after(read));
        }
        // Lost, the next heartbeats tell the same.
        decision.may_wait = true;
        Ok((decision, stale))
    }
}
