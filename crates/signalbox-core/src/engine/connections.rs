//! Agents connect, and their connections end.

use serde_json::json;
use signalbox_wire::id::{AgentId, ConnectionId, KeyId, NodeId};
use signalbox_wire::time::Timestamp;

use super::agents::{deregister, give_all_back};
use super::commands::connected_anew;
use super::machine::Machine;
use super::operation::Operation;
use super::unit_of_work::UnitOfWork;
use crate::agent::Held;
use crate::connection::Connection;
use crate::decision::{Key, MatchHint};
use crate::due::DueJob;
use crate::event::{Level, NewEvent};
use crate::limits::{RECONNECT_GRACE, bounded};
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// An agent has connected. Of several connections the last one counts. What the agent holds unsettled comes again over it,
/// under the same ids, unless it goes on with an earlier one.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Whose connection it is.
    pub agent: AgentId,
    /// Which.
    pub connection: ConnectionId,
    /// With which node.
    pub node: NodeId,
    /// The key by which the agent proved who it is.
    pub key: Option<KeyId>,
    /// It goes on with an earlier connection, of which the node still knows what the agent's side has.
    pub is_resumed: bool,
}

impl Connect {
    /// Another process may be at the other end: what it holds and was sent comes again.
    fn give_again(&self, work: &mut UnitOfWork<'_, '_>) -> Result<(), Halt> {
        work.give_again(&self.agent)?;
        let open = work.snapshot.open_commands(&self.agent)?;
        work.snapshot.require(open.iter().map(|id| Key::Command(id.clone())))?;
        for id in open {
            if let Some(read) = work.snapshot.command(id)? {
                connected_anew(&mut work.decision, &read, work.context);
            }
        }
        Ok(())
    }
}

impl Operation for Connect {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        keys(&self.agent)
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let now = context.now;
        let mut work = UnitOfWork::new(snapshot, context);
        let current = work.known_agent(&self.agent)?;
        let generation = current.agent.generation;
        if current.status.connection.as_ref().is_some_and(|held| held.id == self.connection) {
            return Ok((work.finish(), ()));
        }
        let (id, node, key) = (self.connection.clone(), self.node.clone(), self.key.clone());
        let connection = Connection { node, id, since: now, key, is_resumed: self.is_resumed };
        let earlier = current.status_mut().connect(connection, now);
        if current.agent.is_ephemeral() || current.status.held.iter().any(Held::was_never_had) {
            work.decision.disarm(DueJob::Absence { agent: self.agent.clone() }.id());
        }
        if !self.is_resumed {
            self.give_again(&mut work)?;
        }
        work.decision.hints.push(MatchHint::Connected(self.agent.clone()));
        let data = json!({
            "connectionId": self.connection,
            "node": self.node,
            "generation": generation,
            "takesOver": earlier.as_ref().map(|earlier| &earlier.id),
            "resumes": self.is_resumed,
        });
        work.log(NewEvent::new("agent.connected", Level::Info, now, &data).about(&self.agent));
        Ok((work.finish(), ()))
    }
}

/// A connection has ended. Where the agent holds another by now, nothing changes.
#[derive(Debug, Clone)]
pub struct Disconnect {
    /// Whose connection it was.
    pub agent: AgentId,
    /// Which.
    pub connection: ConnectionId,
    /// Why it ended, in words.
    pub reason: String,
}

impl Operation for Disconnect {
    /// Whether it was the one that the agent held.
    type Output = bool;

    fn keys(&self) -> Vec<Key> {
        keys(&self.agent)
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, bool), Halt> {
        let mut work = UnitOfWork::new(snapshot, context);
        let is_held = disconnect(&mut work, &self.agent, &self.connection, &self.reason)?;
        Ok((work.finish(), is_held))
    }
}

/// Connections that agents of one tenant held have ended: some of a node that is gone, or that holds them no longer.
#[derive(Debug, Clone)]
pub struct DisconnectMany {
    /// The agents, with the connections that they held.
    pub connections: Vec<(AgentId, ConnectionId)>,
    /// Why they ended, in words.
    pub reason: String,
}

impl Operation for DisconnectMany {
    /// How many of them held theirs.
    type Output = usize;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, usize), Halt> {
        let mut work = UnitOfWork::new(snapshot, context);
        snapshot.require(self.connections.iter().flat_map(|(agent, _)| keys(agent)))?;
        let mut count = 0;
        for (agent, connection) in &self.connections {
            count += usize::from(disconnect(&mut work, agent, connection, &self.reason)?);
        }
        Ok((work.finish(), count))
    }
}

fn disconnect(
    work: &mut UnitOfWork<'_, '_>,
    agent: &AgentId,
    connection: &ConnectionId,
    reason: &str,
) -> Result<bool, Halt> {
    let now = work.context.now;
    let Some(current) = work.agent(agent)? else { return Ok(false) };
    if current.status.connection.as_ref().is_none_or(|held| held.id != *connection) {
        return Ok(false);
    }
    current.status_mut().disconnect(connection, now);
    let waits = current.agent.endpoint.is_none() && current.status.held.iter().any(Held::was_never_had);
    if waits || current.agent.is_ephemeral() {
        work.expect_back(agent);
    }
    let data = json!({"connectionId": connection, "reason": bounded(reason)});
    work.log(NewEvent::new("agent.disconnected", Level::Info, now, &data).about(agent));
    Ok(true)
}

/// An agent that was disconnected has had its time to come back. What it was given and never had goes to others, where
/// it may be tried again; all else that it holds is its own until its own timeout. One that is there only while it is
/// connected goes itself, later, and not while it holds anything.
/// Answers when to look again, where it is too early.
pub(super) fn absence(machine: &mut Machine<'_, '_>, agent: &AgentId) -> Result<Option<Timestamp>, Halt> {
    let now = machine.work.context.now;
    // What ends this timer must not end the one of a connection that ends meanwhile.
    machine.work.rest_on_status(agent)?;
    let Some(current) = machine.work.agent(agent)? else { return Ok(None) };
    let (agent_row, status) = (&current.agent, &current.status);
    let is_ephemeral = agent_row.is_ephemeral();
    // One that never came is counted from the last that was heard of it, its registration at the least.
    let never_came = || (is_ephemeral && status.connection.is_none()).then_some(status.last_seen);
    let since = status.is_away_since().or_else(never_came).filter(|_| agent_row.endpoint.is_none());
    let Some(since) = since else { return Ok(None) };
    if now < since + RECONNECT_GRACE {
        return Ok(Some(since + RECONNECT_GRACE));
    }
    return_what_it_never_had(machine, agent)?;
    if !is_ephemeral {
        return Ok(None);
    }
    let grace = machine.work.context.policy.ephemeral_grace;
    if now < since + grace {
        return Ok(Some(since + grace));
    }
    let current = machine.work.known_agent(agent)?;
    if !current.status.held.is_empty() {
        return Ok(Some(now + grace.max(RECONNECT_GRACE)));
    }
    deregister(machine, agent, None).map(|_| None)
}

/// What an agent was given and never had goes to others, where it may be tried again.
fn return_what_it_never_had(machine: &mut Machine<'_, '_>, agent: &AgentId) -> Result<(), Halt> {
    let current = machine.work.known_agent(agent)?;
    let held: Vec<Held> = current.status.held.iter().filter(|held| held.was_never_had()).cloned().collect();
    machine.work.snapshot.require(held.iter().map(|held| Key::Session(held.session.clone())))?;
    let mut returned = Vec::new();
    for held in held {
        if machine.work.held_task(&held.attempt_of())?.is_none_or(|task| task.may_retry(None)) {
            returned.push(held);
        }
    }
    if returned.is_empty() {
        return Ok(());
    }
    machine.work.known_agent(agent)?.status_mut().held.retain(|held| !returned.contains(held));
    give_all_back(machine, &returned, "its agent lost its connection before it had the task")
}

fn keys(agent: &AgentId) -> Vec<Key> {
    vec![Key::Agent(agent.clone()), Key::Status(agent.clone())]
}
