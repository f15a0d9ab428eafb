//! Which agent gets a task: a named one, any with a capability, or any at all.
//!
//! Waiting tasks and available agents meet by [`Route::key`]: a task waits under one key, an available agent
//! is listed under all of its own but that of its name, by which nobody looks for it. Among several agents the least
//! recently used goes first.

use serde::{Deserialize, Serialize};
use signalbox_wire::id::AgentId;

use crate::agent::{Agent, AgentStatus};

/// What a task asks of its agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// This agent and no other.
    Agent(AgentId),
    /// Any agent that offers this capability.
    Capability(String),
    /// Any agent.
    Any,
}

/// The key under which every available agent is listed.
pub const ANY_KEY: &str = "any";

impl Route {
    /// The text under which tasks wait and agents are listed.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Agent(id) => format!("agent:{id}"),
            Self::Capability(name) => format!("capability:{name}"),
            Self::Any => ANY_KEY.to_owned(),
        }
    }

    /// Whether `agent` may be given a task with this route.
    #[must_use]
    pub fn admits(&self, agent: &Agent) -> bool {
        match self {
            Self::Agent(id) => *id == agent.id,
            Self::Capability(name) => agent.offers(name),
            Self::Any => true,
        }
    }

    /// What a waiting task waits for, in words.
    #[must_use]
    pub fn waiting_for(&self) -> String {
        match self {
            Self::Agent(id) => format!("agent {id} to be available"),
            Self::Capability(name) => format!("an available agent with capability '{name}'"),
            Self::Any => "any available agent".to_owned(),
        }
    }
}

/// What a task waits for that is for one agent, in words: also that it is not connected, where that is so.
#[must_use]
pub fn waiting_for_agent(agent: &Agent, status: Option<&AgentStatus>) -> String {
    let id = &agent.id;
    let is_reachable = agent.endpoint.is_some() || status.is_some_and(|status| status.is_reachable(agent));
    match status.and_then(AgentStatus::is_away_since) {
        _ if is_reachable => Route::Agent(id.clone()).waiting_for(),
        Some(since) => format!("agent {id} to connect again: it is not connected since {since}"),
        None => format!("agent {id} to connect: it has no contact endpoint and has not connected yet"),
    }
}

/// All keys under which a task may wait for `agent`.
#[must_use]
pub fn keys_of(agent: &Agent) -> Vec<String> {
    let mut keys = vec![Route::Agent(agent.id.clone()).key()];
    keys.extend(listing_of(agent));
    keys
}

/// All keys that `agent` is listed under while it is available.
#[must_use]
pub fn listing_of(agent: &Agent) -> Vec<String> {
    let mut keys = Vec::new();
    for name in agent.capability_names() {
        let key = Route::Capability(name.to_owned()).key();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.push(ANY_KEY.to_owned());
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use signalbox_wire::time::Timestamp;

    use super::*;

    #[test]
    fn a_task_finds_an_agent_under_every_route_that_admits_it() {
        let agent = Agent {
            id: AgentId::parse("a").expect("valid"),
            name: "a".into(),
            version: "1".into(),
            endpoint: None,
            capabilities: vec![json!("read"), json!("read"), json!({"name": "write"})],
            metadata: Map::new(),
            registered_at: Timestamp::default(),
            generation: 1,
            concurrency: 1,
        };
        assert_eq!(keys_of(&agent), ["agent:a", "capability:read", "capability:write", "any"]);
        assert_eq!(listing_of(&agent), keys_of(&agent)[1..]);
        for route in [Route::Agent(agent.id.clone()), Route::Capability("write".into()), Route::Any] {
            assert!(route.admits(&agent) && keys_of(&agent).contains(&route.key()), "{route:?}");
        }
        for route in [Route::Agent(AgentId::parse("b").expect("valid")), Route::Capability("fly".into())] {
            assert!(!route.admits(&agent) && !keys_of(&agent).contains(&route.key()), "{route:?}");
        }
    }
}
