//! A message for an agent is accepted: from then on it is delivered, or ends as a dead letter.

use signalbox_wire::id::{AgentId, MessageId};

use super::agents::give_all_back;
use super::dispatch::NewMessage;
use super::machine::Machine;
use super::operation::Operation;
use crate::agent::{self, BusyPolicy};
use crate::decision::Key;
use crate::delivery::MessageKind;
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// A message to deliver to an agent's endpoint.
#[derive(Debug, Clone)]
pub struct Accept {
    /// Who gets it.
    pub agent: AgentId,
    /// The sender's own id for it: the same id and body to the same agent again is the same message.
    pub id: Option<MessageId>,
    /// What is delivered, as JSON.
    pub body: String,
    /// The `traceparent` that goes with it.
    pub trace: Option<String>,
}

impl Operation for Accept {
    type Output = MessageId;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Agent(self.agent.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, MessageId), Halt> {
        let agent =
            snapshot.agent(&self.agent)?.ok_or_else(|| Rejected::UnknownAgent(self.agent.to_string()))?;
        if agent.value.endpoint.is_none() {
            let status = snapshot.status(&self.agent)?;
            // One that was connected once may be again in a moment: what is for it waits, as for an endpoint that is down.
            let may_come = status.is_some_and(|status| {
                status.value.is_reachable(&agent.value) || status.value.is_away_since().is_some()
            });
            if !may_come {
                return Err(Rejected::Unreachable(self.agent.clone()).into());
            }
        }
        if let Some(id) = &self.id
            && let Some(known) = snapshot.message(id)?
        {
            if known.value.agent.as_ref() != Some(&self.agent) {
                return Err(Rejected::MessageIdTaken(id.clone()).into());
            }
            if known.value.body != self.body {
                return Err(Rejected::MessageIdReused(id.clone()).into());
            }
            return Ok((Decision::default(), id.clone()));
        }
        let id = self.id.clone().unwrap_or_else(|| MessageId::new(context.now, context.bits()));
        let mut machine = Machine::new(snapshot, context);
        // Nearly all agents want their messages whatever they do: of them nothing more has to be known.
        match agent::busy_policy(&agent.value.metadata).unwrap_or(BusyPolicy::Queue) {
            BusyPolicy::Queue => {}
            BusyPolicy::Reject => {
                if machine.work.known_agent(&self.agent)?.is_busy() {
                    return Err(Rejected::AgentBusy(self.agent.clone()).into());
                }
            }
            BusyPolicy::Interrupt => interrupt(&mut machine, &self.agent)?,
        }
        machine.work.send(NewMessage {
            id: id.clone(),
            kind: MessageKind::Message,
            agent: Some(self.agent.clone()),
            url: None,
            body: self.body.clone(),
            trace: self.trace.clone(),
        });
        let event = crate::event::NewEvent::new(
            "message.accepted",
            crate::event::Level::Debug,
            machine.work.context.now,
            &serde_json::json!({"messageId": id}),
        );
        machine.work.log(event.about(&self.agent));
        let mut decision = machine.finish();
        decision.expects.push((Key::Agent(self.agent.clone()), Some(agent.version)));
        Ok((decision, id))
    }
}

/// A busy agent's tasks are taken from it, for others or for later, and it is told to stop.
fn interrupt(machine: &mut Machine<'_, '_>, agent: &AgentId) -> Result<(), Halt> {
    if !machine.work.known_agent(agent)?.is_busy() {
        return Ok(());
    }
    const REASON: &str = "its agent was interrupted by a message";
    let held = machine.work.known_agent(agent)?.status.held.clone();
    machine.work.snapshot.require(held.iter().map(|held| Key::Session(held.session.clone())))?;
    for held in &held {
        if let Some(task) = machine.work.held_task(&held.attempt_of())? {
            machine.work.tell_to_stop(&held.session, &task, REASON)?;
        }
    }
    machine.work.known_agent(agent)?.status_mut().held.clear();
    give_all_back(machine, &held, REASON)
}
