//! The nodes over one database. Two decisions about one agent conflict, and what other nodes are deciding is not known
//! here: so a node with several decisions at once chooses first among agents that are no other node's first choice.
//!
//! It is a preference and takes nothing from anybody: where none of its own can take a task, a node chooses another. Which
//! agents are whose follows from the names of the nodes and of the agents (rendezvous hashing), so that nodes that know of
//! each other agree, and one that comes or goes moves only the agents of its share. Builds by different compilers may hash
//! differently: while both run, they meet more often.

use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::RwLock;
use signalbox_wire::id::{AgentId, NodeId};

/// The nodes that are there.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    nodes: RwLock<Vec<NodeId>>,
}

impl Peers {
    /// Takes over which nodes are there; none where there can be no other.
    pub(crate) fn set(&self, nodes: Vec<NodeId>) {
        *self.nodes.write() = nodes;
    }

    /// How many nodes share the agents.
    pub(crate) fn count(&self) -> usize {
        self.nodes.read().len().max(1)
    }

    /// The agents as `own` chooses them, and how many of them no other node chooses first. Those come in the order that they
    /// had; the others from the back, for their own node chooses from the front.
    pub(crate) fn prefer(&self, own: &NodeId, agents: Vec<AgentId>) -> (Vec<AgentId>, usize) {
        let nodes = self.nodes.read();
        let is_own = |agent: &AgentId| nodes.len() < 2 || first_chooser(&nodes, agent) == Some(own);
        let (mut ordered, others): (Vec<_>, Vec<_>) = agents.into_iter().partition(is_own);
        let count = ordered.len();
        ordered.extend(others.into_iter().rev());
        (ordered, count)
    }
}

/// The node that chooses this agent first.
fn first_chooser<'n>(nodes: &'n [NodeId], agent: &AgentId) -> Option<&'n NodeId> {
    nodes.iter().max_by_key(|node| {
        let mut hasher = DefaultHasher::new();
        (node.as_str(), agent.as_str()).hash(&mut hasher);
        (hasher.finish(), node.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<NodeId> {
        (0..count).map(|number| NodeId::parse(&format!("node-{number}")).expect("valid")).collect()
    }

    fn agents() -> Vec<AgentId> {
        (0..200).map(|number| AgentId::parse(&format!("agent-{number:03}")).expect("valid")).collect()
    }

    /// The agents of one of these nodes.
    fn share(nodes: &[NodeId], own: &NodeId) -> Vec<AgentId> {
        let peers = Peers::default();
        peers.set(nodes.to_vec());
        let (mut ordered, count) = peers.prefer(own, agents());
        let others = ordered.split_off(count);
        assert!(ordered.is_sorted(), "they keep their order");
        assert!(others.is_sorted_by(|one, next| one > next), "from the back");
        assert_eq!(ordered.len() + others.len(), agents().len(), "nobody is left out");
        ordered
    }

    #[test]
    fn every_agent_is_the_first_choice_of_one_node() {
        let nodes = nodes(3);
        let mut all: Vec<AgentId> = nodes.iter().flat_map(|own| share(&nodes, own)).collect();
        nodes.iter().for_each(|own| assert!(share(&nodes, own).len() > 200 / 6, "shares are alike"));
        all.sort();
        assert_eq!(all, agents());
    }

    #[test]
    fn a_node_that_goes_moves_its_own_agents_alone() {
        let (three, two) = (nodes(3), nodes(2));
        for own in &two {
            let (before, after) = (share(&three, own), share(&two, own));
            assert!(before.iter().all(|agent| after.contains(agent)) && after.len() > before.len());
        }
    }

    #[test]
    fn a_node_alone_takes_agents_as_they_come() {
        let (peers, own) = (Peers::default(), &nodes(1)[0]);
        assert_eq!((peers.prefer(own, agents()), peers.count()), ((agents(), 200), 1));
        peers.set(nodes(1));
        assert_eq!(peers.prefer(own, agents()), (agents(), 200));
    }
}
