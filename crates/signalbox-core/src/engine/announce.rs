//! Another service tells of its agents: the receiver's side of the registration webhook, and of the
//! periodic comparison that stands in for a webhook that was lost.

use serde_json::{Map, Value, json};
use signalbox_wire::id::AgentId;
use signalbox_wire::time::Timestamp;

use super::agents::{remove, restart};
use super::machine::Machine;
use super::operation::Operation;
use crate::agent::{self, Agent};
use crate::event::{Level, NewEvent};
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// An agent of another service, as that service tells of it.
#[derive(Debug, Clone)]
pub struct Announce {
    /// Its id there, which is its id here.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it takes POSTs.
    pub endpoint: Option<String>,
    /// What it can do.
    pub capabilities: Vec<Value>,
    /// What its owner keeps with it.
    pub metadata: Map<String, Value>,
    /// When it registered there.
    pub registered_at: Option<Timestamp>,
    /// How often it has registered there, where the service says.
    pub generation: Option<u64>,
}

/// An agent as a page of another service's list has it. What was written here since the page was asked for is newer
/// than the page.
#[derive(Debug, Clone)]
pub struct AnnounceListed {
    /// The agent.
    pub announce: Announce,
    /// When the page was asked for.
    pub asked_at: Timestamp,
}

impl Operation for AnnounceListed {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        // Versions are moments, and grow.
        let known = snapshot.agent(&self.announce.id)?;
        if known.is_some_and(|known| known.version >= self.asked_at.as_micros()) {
            return Ok((Decision::default(), ()));
        }
        Ok((self.announce.decide(snapshot, context)?.0, ()))
    }
}

/// What an announcement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// The agent is new here.
    Created,
    /// It was known, and has changed or started anew.
    Updated,
    /// Nothing new.
    Unchanged,
}

impl Operation for Announce {
    type Output = Announced;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Announced), Halt> {
        let now = context.now;
        let mut machine = Machine::new(snapshot, context);
        if machine.work.agent(&self.id)?.is_some_and(|known| self.is_outdated(&known.agent)) {
            return Ok((Decision::default(), Announced::Unchanged));
        }
        let holder = machine.work.agent_named(&self.name)?;
        if let Some(other) = holder.filter(|holder| *holder != self.id) {
            // The other service gives names out once: whoever had this one here is gone there.
            remove(&mut machine, &other)?;
        }
        let announced = match machine.work.agent(&self.id)?.map(|known| known.agent.clone()) {
            None => {
                machine.work.create_agent(self.agent(self.generation.unwrap_or(1), now));
                Announced::Created
            }
            Some(known) if self.says_the_same(&known) => Announced::Unchanged,
            Some(known) => {
                self.update(&mut machine, &known)?;
                Announced::Updated
            }
        };
        if announced != Announced::Unchanged {
            let data =
                json!({"agentName": self.name, "version": self.version, "contactEndpoint": self.endpoint});
            machine.work.log(NewEvent::new("agent.announced", Level::Info, now, &data).about(&self.id));
        }
        Ok((machine.finish(), announced))
    }
}

impl Announce {
    /// Whether the service has counted on since it said this: announcements may overtake one another.
    fn is_outdated(&self, known: &Agent) -> bool {
        let counts_less = self.generation.is_some_and(|generation| generation < known.generation);
        counts_less && !self.is_another_registration(known)
    }

    /// A service that counts registrations tells of a new life by its count, any service by another registration.
    /// All else is a change: the agent stays at its work.
    fn update(&self, machine: &mut Machine<'_, '_>, known: &Agent) -> Result<(), Halt> {
        let counts_more = self.generation.is_some_and(|generation| generation > known.generation);
        let is_another = self.is_another_registration(known);
        let is_new_life = counts_more || is_another;
        // A registration that is not counted is the first of its kind; starting anew adds the one.
        let generation = match self.generation {
            Some(generation) if is_new_life => generation.saturating_sub(1),
            None if is_another => 0,
            _ => known.generation,
        };
        let current = machine.work.known_agent(&self.id)?;
        *current.agent_mut() = self.agent(generation, known.registered_at);
        if is_new_life {
            return restart(machine, &self.id, "its agent registered anew");
        }
        // The status is written too, so that a dispatch decided on the old registration conflicts.
        current.status_mut();
        Ok(())
    }

    fn is_another_registration(&self, known: &Agent) -> bool {
        self.registered_at.is_some_and(|at| at != known.registered_at)
    }

    fn agent(&self, generation: u64, registered_at: Timestamp) -> Agent {
        Agent {
            id: self.id.clone(),
            name: self.name.clone(),
            version: self.version.clone(),
            endpoint: self.endpoint.clone(),
            capabilities: self.capabilities.clone(),
            metadata: self.metadata.clone(),
            registered_at: self.registered_at.unwrap_or(registered_at),
            generation,
            concurrency: agent::concurrency(&self.metadata).unwrap_or(1),
        }
    }

    /// Whether this tells nothing new. A service that counts registrations says so by its count alone.
    fn says_the_same(&self, known: &Agent) -> bool {
        let names = |capabilities: &[Value]| -> Vec<String> {
            capabilities.iter().filter_map(agent::capability_name).map(str::to_owned).collect()
        };
        self.generation.is_none_or(|generation| generation <= known.generation)
            && !self.is_another_registration(known)
            && self.name == known.name
            && self.version == known.version
            && self.endpoint == known.endpoint
            && self.metadata == known.metadata
            && names(&self.capabilities) == names(&known.capabilities)
    }
}
