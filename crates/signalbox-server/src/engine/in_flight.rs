//! Which agents are in decisions that are being made now: two decisions about the same agent conflict, so a task
//! that may go to several is shown those first that nobody else is about to change.
//!
//! It is a hint and holds nothing up: where every agent is in some decision, they are shown all the same.

use std::collections::HashMap;

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use signalbox_core::{Decision, Row, Write};
use signalbox_wire::id::{AgentId, TenantId};

/// In how many decisions each agent is.
type Agents = HashMap<AgentId, u32, DefaultHashBuilder>;

/// Agents in flight; as many as there are decisions at once.
#[derive(Default)]
pub(crate) struct InFlightAgents(Mutex<HashMap<TenantId, Agents, DefaultHashBuilder>>);

/// Agents that one decision is about; they are free again when it is dropped.
pub(crate) struct AgentChoice<'a> {
    in_flight_agents: &'a InFlightAgents,
    tenant: TenantId,
    agents: Vec<AgentId>,
}

impl InFlightAgents {
    /// How many agents of `tenant` are in flight.
    pub(crate) fn count(&self, tenant: &TenantId) -> usize {
        self.0.lock().get(tenant).map_or(0, Agents::len)
    }

    /// A flight without anybody on it.
    pub(crate) fn choice(&self, tenant: &TenantId) -> AgentChoice<'_> {
        AgentChoice { in_flight_agents: self, tenant: tenant.clone(), agents: Vec::new() }
    }
}

impl AgentChoice<'_> {
    /// Whether nobody else has one of `candidates`.
    pub(crate) fn is_any_free<'a>(&self, mut candidates: impl Iterator<Item = &'a AgentId>) -> bool {
        let all = self.in_flight_agents.0.lock();
        let taken = all.get(&self.tenant);
        candidates.any(|agent| self.is_free(taken, agent))
    }

    /// Takes the first of `candidates` that nobody else has, and gives those that nobody else has, at most `most`;
    /// the first `most` where there is none.
    pub(crate) fn choose(&mut self, mut candidates: Vec<AgentId>, most: usize) -> Vec<AgentId> {
        let mut all = self.in_flight_agents.0.lock();
        let taken = all.get(&self.tenant);
        let free: Vec<AgentId> =
            candidates.iter().filter(|agent| self.is_free(taken, agent)).take(most).cloned().collect();
        if !free.is_empty() {
            candidates = free;
        }
        candidates.truncate(most);
        if let Some(first) = candidates.first() {
            Self::add(&mut all, &self.tenant, first, &mut self.agents);
        }
        candidates
    }

    fn is_free(&self, taken: Option<&Agents>, agent: &AgentId) -> bool {
        taken.is_none_or(|taken| !taken.contains_key(agent)) || self.agents.contains(agent)
    }

    /// Whose agents they are.
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The agents it is about, the chosen one first.
    pub(crate) fn agents(&self) -> &[AgentId] {
        &self.agents
    }

    /// Takes the agents that a decision about tasks changes, whoever else has them.
    pub(crate) fn follow(&mut self, decision: &Decision) {
        // A report that settles nothing goes by: nearly all are of this kind, and none holds an agent for long.
        if decision.due.is_empty() && decision.done.is_empty() {
            return;
        }
        for write in &decision.writes {
            if let Write::Put { row: Row::Status(status), .. } = write {
                self.take(&status.agent);
            }
        }
    }

    fn take(&mut self, agent: &AgentId) {
        Self::add(&mut self.in_flight_agents.0.lock(), &self.tenant, agent, &mut self.agents);
    }

    fn add(
        all: &mut HashMap<TenantId, Agents, DefaultHashBuilder>,
        tenant: &TenantId,
        agent: &AgentId,
        own: &mut Vec<AgentId>,
    ) {
        if own.contains(agent) {
            return;
        }
        *all.entry(tenant.clone()).or_default().entry(agent.clone()).or_default() += 1;
        own.push(agent.clone());
    }
}

impl Drop for AgentChoice<'_> {
    fn drop(&mut self) {
        if self.agents.is_empty() {
            return;
        }
        let mut all = self.in_flight_agents.0.lock();
        let Some(taken) = all.get_mut(&self.tenant) else { return };
        for agent in &self.agents {
            if let Some(count) = taken.get_mut(agent) {
                *count -= 1;
                if *count == 0 {
                    taken.remove(agent);
                }
            }
        }
        if taken.is_empty() {
            all.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(names: &[&str]) -> Vec<AgentId> {
        names.iter().map(|name| AgentId::parse(name).expect("valid")).collect()
    }

    #[test]
    fn each_takes_another_until_all_are_taken_and_a_flight_that_ends_frees_its_own() {
        let in_flight_agents = InFlightAgents::default();
        let tenant = TenantId::default_tenant();
        let candidates = || agents(&["a", "b", "c"]);
        let mut first = in_flight_agents.choice(&tenant);
        assert_eq!(first.choose(candidates(), 2), agents(&["a", "b"]));
        assert_eq!(first.choose(candidates(), 9), candidates(), "its own are free to it");
        let mut second = in_flight_agents.choice(&tenant);
        assert_eq!(second.choose(candidates(), 2), agents(&["b", "c"]));
        let mut third = in_flight_agents.choice(&tenant);
        assert!(third.is_any_free(candidates().iter()));
        third.take(&agents(&["c"])[0]);
        let mut fourth = in_flight_agents.choice(&tenant);
        assert!(!fourth.is_any_free(candidates().iter()) && third.is_any_free(candidates().iter()));
        assert_eq!(
            (in_flight_agents.count(&tenant), fourth.choose(candidates(), 2)),
            (3, agents(&["a", "b"]))
        );
        drop((second, fourth));
        assert_eq!(in_flight_agents.choice(&tenant).choose(candidates(), 9), agents(&["b"]));
        drop((first, third));
        assert_eq!(in_flight_agents.count(&tenant), 0);
    }
}
