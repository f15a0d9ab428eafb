//! Agents come, change and go: register, take over, patch, drain, deregister.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use signalbox_wire::id::{AgentId, MessageId};
use signalbox_wire::opscore::{DEREGISTER, REGISTER};
use signalbox_wire::outbound::{self, AnnouncedAgent, RegistrationNotice};
use signalbox_wire::time::Timestamp;

use super::dispatch::NewMessage;
use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use super::unit_of_work::UnitOfWork;
use crate::agent::{self, Agent, Held};
use crate::decision::{Key, MatchHint};
use crate::delivery::MessageKind;
use crate::event::{Level, NewEvent};
use crate::routing::Route;
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// An agent registers.
#[derive(Debug, Clone)]
pub struct Register {
    /// The id it wants, where it brings one.
    pub id: Option<AgentId>,
    /// Its name, unique in the tenant.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it takes POSTs.
    pub endpoint: Option<String>,
    /// What it can do.
    pub capabilities: Vec<Value>,
    /// What its owner keeps with it; `concurrency` in it is obeyed.
    pub metadata: Map<String, Value>,
    /// Takes over a name that is registered already, as a restarted agent does.
    pub replace: bool,
    /// The `traceparent` of the request.
    pub trace: Option<String>,
}

/// What a registration came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The agent's id.
    pub agent: AgentId,
    /// Whether an earlier registration was taken over.
    pub is_replaced: bool,
    /// When it registered first.
    pub registered_at: Timestamp,
    /// Which of the agent's registrations it is.
    pub generation: u64,
}

impl Operation for Register {
    type Output = Registered;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Registered), Halt> {
        let now = context.now;
        let fresh = AgentId::new(now, context.bits());
        let mut machine = Machine::new(snapshot, context);
        let existing = machine.work.agent_named(&self.name)?;
        let replace = match &existing {
            Some(existing) => self.replace || self.is_restart_of(&mut machine.work, existing)?,
            None => false,
        };
        let (id, is_replaced) = match existing {
            Some(_) if !replace => return Err(Rejected::NameTaken(self.name.clone()).into()),
            Some(existing) if self.id.as_ref().is_some_and(|wanted| *wanted != existing) => {
                return Err(Rejected::NameTaken(self.name.clone()).into());
            }
            Some(existing) => {
                self.take_over(&mut machine, &existing)?;
                (existing, true)
            }
            None => (self.create(&mut machine.work, fresh)?, false),
        };
        let agent = machine.work.known_agent(&id)?.agent.clone();
        let kind = if is_replaced { "agent.replaced" } else { "agent.registered" };
        machine.work.log(NewEvent::new(kind, Level::Info, now, &summary(&agent)).about(&id));
        announce(&mut machine.work, REGISTER, &agent, self.trace.as_deref());
        if agent.is_ephemeral() {
            machine.work.expect_back(&id);
        }
        let (registered_at, generation) = (agent.registered_at, agent.generation);
        Ok((machine.finish(), Registered { agent: id, is_replaced, registered_at, generation }))
    }
}

impl Register {
    /// Whether the operator lets this count as that agent restarted, which says nothing of it.
    fn is_restart_of(&self, work: &mut UnitOfWork<'_, '_>, existing: &AgentId) -> Result<bool, Halt> {
        let is_asked = work.context.policy.restart_by_endpoint && self.endpoint.is_some();
        Ok(is_asked && work.known_agent(existing)?.agent.endpoint == self.endpoint)
    }

    fn create(&self, work: &mut UnitOfWork<'_, '_>, fresh: AgentId) -> Result<AgentId, Halt> {
        let id = self.id.clone().unwrap_or(fresh);
        if self.id.is_some() && work.agent(&id)?.is_some() {
            return Err(Rejected::IdTaken(id.to_string()).into());
        }
        work.create_agent(Agent {
            id: id.clone(),
            name: self.name.clone(),
            version: self.version.clone(),
            endpoint: self.endpoint.clone(),
            capabilities: self.capabilities.clone(),
            metadata: self.metadata.clone(),
            registered_at: work.context.now,
            generation: 1,
            concurrency: agent::concurrency(&self.metadata).unwrap_or(1),
        });
        Ok(id)
    }

    fn take_over(&self, machine: &mut Machine<'_, '_>, id: &AgentId) -> Result<(), Halt> {
        let current = machine.work.known_agent(id)?;
        let agent = current.agent_mut();
        agent.version.clone_from(&self.version);
        agent.endpoint.clone_from(&self.endpoint);
        agent.capabilities.clone_from(&self.capabilities);
        agent.metadata.clone_from(&self.metadata);
        agent.concurrency = agent::concurrency(&self.metadata).unwrap_or(1);
        restart(machine, id, "its agent registered anew")
    }
}

/// A new life of a known agent: what it held goes back, and what the old one said no longer counts.
pub(super) fn restart(machine: &mut Machine<'_, '_>, id: &AgentId, reason: &str) -> Result<(), Halt> {
    let now = machine.work.context.now;
    let current = machine.work.known_agent(id)?;
    current.agent_mut().generation += 1;
    let generation = current.agent.generation;
    let held = std::mem::take(&mut current.status_mut().held);
    *current.status_mut() = current.status.restarted(generation, now);
    give_all_back(machine, &held, reason)
}

/// Each task is of a session of its own: they are asked for together, for one by one would make as many runs of
/// the decision as there are tasks.
pub(super) fn give_all_back(machine: &mut Machine<'_, '_>, held: &[Held], reason: &str) -> Result<(), Halt> {
    machine.work.snapshot.require(held.iter().map(|held| Key::Session(held.session.clone())))?;
    held.iter().try_for_each(|held| {
        machine.run(Command::ReturnTask { attempt: held.attempt_of(), reason: reason.to_owned() })
    })
}

/// Some of a registration changes; what is absent stays.
#[derive(Debug, Clone)]
pub struct PatchAgent {
    /// Which agent.
    pub agent: AgentId,
    /// Its new version.
    pub version: Option<String>,
    /// Its new endpoint; `Some(None)` takes it away.
    pub endpoint: Option<Option<String>>,
    /// Its new capabilities.
    pub capabilities: Option<Vec<Value>>,
    /// Its new metadata, whole.
    pub metadata: Option<Map<String, Value>>,
}

impl Operation for PatchAgent {
    type Output = Agent;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Agent), Halt> {
        let now = context.now;
        let mut work = UnitOfWork::new(snapshot, context);
        let current = work.known_agent(&self.agent)?;
        let agent = current.agent_mut();
        if let Some(version) = &self.version {
            agent.version.clone_from(version);
        }
        if let Some(endpoint) = &self.endpoint {
            agent.endpoint.clone_from(endpoint);
        }
        if let Some(capabilities) = &self.capabilities {
            agent.capabilities.clone_from(capabilities);
        }
        if let Some(metadata) = &self.metadata {
            agent.metadata.clone_from(metadata);
            agent.concurrency = agent::concurrency(metadata).unwrap_or(1);
        }
        let agent = agent.clone();
        let is_away = current.status.connection.is_none();
        // The status is written too, so that a dispatch decided on the old registration conflicts.
        current.status_mut();
        if agent.is_ephemeral() && is_away {
            work.expect_back(&self.agent);
        }
        work.log(NewEvent::new("agent.changed", Level::Info, now, &summary(&agent)).about(&self.agent));
        Ok((work.finish(), agent))
    }
}

/// An agent is drained (it finishes what it holds and gets nothing new), or taken back into service.
#[derive(Debug, Clone)]
pub struct Drain {
    /// Which agent.
    pub agent: AgentId,
    /// Whether it drains from now on.
    pub draining: bool,
}

impl Operation for Drain {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let now = context.now;
        let mut work = UnitOfWork::new(snapshot, context);
        let current = work.known_agent(&self.agent)?;
        if current.status.draining != self.draining {
            current.status_mut().draining = self.draining;
            let kind = if self.draining { "agent.draining" } else { "agent.undrained" };
            work.log(NewEvent::new(kind, Level::Info, now, &json!({})).about(&self.agent));
        }
        Ok((work.finish(), ()))
    }
}

/// An agent goes for good.
#[derive(Debug, Clone)]
pub struct Deregister {
    /// Which agent.
    pub agent: AgentId,
    /// The `traceparent` of the request.
    pub trace: Option<String>,
}

impl Operation for Deregister {
    type Output = Agent;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Agent), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let agent = deregister(&mut machine, &self.agent, self.trace.as_deref())?;
        Ok((machine.finish(), Agent::clone(&agent)))
    }
}

/// Removes an agent, and tells whoever wants to know.
pub(super) fn deregister(
    machine: &mut Machine<'_, '_>,
    id: &AgentId,
    trace: Option<&str>,
) -> Result<Arc<Agent>, Halt> {
    let agent = remove(machine, id)?;
    announce(&mut machine.work, DEREGISTER, &agent, trace);
    Ok(agent)
}

/// Removes an agent; what it held is routed again, what waited for it alone fails.
pub(super) fn remove(machine: &mut Machine<'_, '_>, id: &AgentId) -> Result<Arc<Agent>, Halt> {
    let now = machine.work.context.now;
    let current = machine.work.known_agent(id)?;
    let agent = Arc::clone(&current.agent);
    let held = std::mem::take(&mut current.status_mut().held);
    current.remove();
    give_all_back(machine, &held, "its agent was deregistered")?;
    let waiting = machine.work.snapshot.waiting(&[Route::Agent(id.clone()).key()])?.to_vec();
    machine.work.snapshot.require(waiting.iter().map(|waiting| Key::Session(waiting.session.clone())))?;
    for waiting in waiting {
        machine.run(Command::MatchTask { session: waiting.session, task: waiting.task, to: None })?;
    }
    // Others may have begun to wait for it since, or were too many to be seen.
    machine.work.decision.hints.push(MatchHint::Agent(id.clone()));
    machine.work.log(NewEvent::new("agent.deregistered", Level::Info, now, &summary(&agent)).about(id));
    Ok(agent)
}

fn summary(agent: &Agent) -> Value {
    json!({
        "agentName": agent.name,
        "version": agent.version,
        "contactEndpoint": agent.endpoint,
        "capabilities": agent.capability_names().collect::<Vec<_>>(),
        "generation": agent.generation,
    })
}

fn announce(work: &mut UnitOfWork<'_, '_>, event: &str, agent: &Agent, trace: Option<&str>) {
    if !work.context.policy.announce {
        return;
    }
    let body = outbound::text(&RegistrationNotice {
        event_type: event,
        agent_details: AnnouncedAgent {
            agent_id: &agent.id,
            agent_name: &agent.name,
            version: &agent.version,
            capabilities: agent.capability_names().collect(),
            contact_endpoint: agent.endpoint.as_deref(),
            metadata: &agent.metadata,
            registration_time: agent.registered_at,
            generation: agent.generation,
        },
    });
    let id = MessageId::new(work.context.now, work.context.bits());
    work.send(NewMessage {
        id,
        kind: MessageKind::RegistrationWebhook,
        agent: Some(agent.id.clone()),
        url: None,
        body,
        trace: trace.map(str::to_owned),
    });
}
