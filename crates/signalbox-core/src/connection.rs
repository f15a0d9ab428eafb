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
    /// It goes on with an earlier one: whoever held that holds this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_resumed: bool,
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
