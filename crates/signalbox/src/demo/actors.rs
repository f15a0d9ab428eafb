//! The server and the agents of a demo that runs.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::cast::Process;
use super::roles::Role;

/// The processes and who they are.
pub(super) struct Cast {
    pub(super) server: Process,
    pub(super) agents: Vec<Actor>,
    pub(super) address: String,
}

/// An agent's process and how the server knows it.
pub(super) struct Actor {
    pub(super) name: &'static str,
    pub(super) role: Role,
    pub(super) process: Process,
    pub(super) agent_id: String,
}

impl Cast {
    pub(super) fn actor(&self, role: Role) -> anyhow::Result<&Actor> {
        self.agents
            .iter()
            .find(|actor| actor.role == role)
            .with_context(|| format!("no {} is there", role.name()))
    }

    /// Agents' names by their ids.
    pub(super) fn names(&self) -> BTreeMap<String, String> {
        self.agents.iter().map(|actor| (actor.agent_id.clone(), actor.name.to_owned())).collect()
    }
}
