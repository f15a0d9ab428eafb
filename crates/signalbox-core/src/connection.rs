//! The connection that an agent holds with some node: how agents without a contact endpoint are reached.
//!
//! | connection    | connects                          | its end is told | another's end is told | registers anew, deregistered |
//! |---------------|-----------------------------------|-----------------|-----------------------|------------------------------|
//! | none          | → held                            | –               | –                     | –                            |
//! | held          | → held: the earlier one is closed | → none          | –                     | → none: it is closed         |
//!
//! It belongs to one registration: whoever registers anew connects anew. What it says is a sign of life, its end is none.

use serde::{Deserialize, Serialize};
use signalbox_wire::id::{AgentId, ConnectionId, KeyId, NodeId};
use signalbox_wire::time::Timestamp;

use crate::agent::{AgentStatus, Report};

/// The state of an agent that said that it goes.
pub(crate) const OFFLINE: &str = "offline";

/// The state of an agent that went and has connected again, until it says another.
const IDLE: &str = "idle";

/// A connection that an agent holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The node that it is held with.
    pub node: NodeId,
    /// Which it is: a later one of the same agent is another.
    pub id: ConnectionId,
    /// Since when.
    pub since: Timestamp,
    /// The key by which the agent proved who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
}

/// A connection that is no longer its agent's. Whoever holds it closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnected {
    /// Whose it was.
    pub agent: AgentId,
    /// Which.
    pub connection: Connection,
    /// Why.
    pub cause: DisconnectCause,
}

/// Why a connection is no longer its agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectCause {
    /// The agent has connected again.
    TakenOver,
    /// The agent has registered anew: it has to connect again.
    Replaced,
    /// The agent was deregistered.
    Removed,
    /// Its end was told.
    Ended,
}

impl AgentStatus {
    /// Takes in that the agent is connected by `connection`; gives back the one that it held before.
    pub(crate) fn connect(&mut self, connection: Connection, now: Timestamp) -> Option<Connection> {
        self.last_seen = self.latest(now);
        self.disconnected_at = None;
        // Whoever is connected is not offline, whatever it said when it went.
        if self.report.as_ref().is_some_and(|report| report.state.eq_ignore_ascii_case(OFFLINE)) {
            let report = Report {
                state: IDLE.to_owned(),
                details: None,
                timestamp: now,
                about_task: false,
                counts_as: None,
                awaits_delivery: None,
            };
            self.apply_answer(report, now);
        }
        self.connection.replace(connection)
    }

    /// Takes in that a connection has ended; whether it was the one that the agent held.
    pub(crate) fn disconnect(&mut self, connection: &ConnectionId, now: Timestamp) -> bool {
        let is_held = self.connection.as_ref().is_some_and(|held| held.id == *connection);
        if is_held {
            self.connection = None;
            self.disconnected_at = Some(now);
        }
        is_held
    }

    /// Since when it holds no connection, where it held one before.
    #[must_use]
    pub fn is_away_since(&self) -> Option<Timestamp> {
        self.disconnected_at.filter(|_| self.connection.is_none())
    }
}
