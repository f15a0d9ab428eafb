//! A message for an agent is accepted: from then on it is delivered, or ends as a dead letter.

use signalbox_wire::id::{AgentId, MessageId};

use super::Operation;
use super::dispatch::NewMessage;
use super::work::Work;
use crate::decision::Key;
use crate::delivery::MessageKind;
use crate::{Decision, Halt, Rejected, Turn, View};

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
    type Answer = MessageId;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Agent(self.agent.clone())]
    }

    fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<(Decision, MessageId), Halt> {
        let agent = view.agent(&self.agent)?.ok_or_else(|| Rejected::UnknownAgent(self.agent.to_string()))?;
        if agent.value.endpoint.is_none() {
            return Err(Rejected::Unreachable(self.agent.clone()).into());
        }
        if let Some(id) = &self.id
            && let Some(known) = view.message(id)?
        {
            if known.value.agent.as_ref() != Some(&self.agent) {
                return Err(Rejected::MessageIdTaken(id.clone()).into());
            }
            if known.value.body != self.body {
                return Err(Rejected::MessageIdReused(id.clone()).into());
            }
            return Ok((Decision::default(), id.clone()));
        }
        let id = self.id.clone().unwrap_or_else(|| MessageId::new(turn.now, turn.bits()));
        let mut work = Work::new(view, turn);
        work.send(NewMessage {
            id: id.clone(),
            kind: MessageKind::Message,
            agent: Some(self.agent.clone()),
            task: None,
            url: None,
            body: self.body.clone(),
            trace: self.trace.clone(),
        });
        let event = crate::event::NewEvent::new(
            "message.accepted",
            crate::event::Level::Debug,
            work.turn.now,
            &serde_json::json!({"messageId": id}),
        );
        work.log(event.about(&self.agent));
        let mut decision = work.finish();
        decision.expects.push((Key::Agent(self.agent.clone()), Some(agent.version)));
        Ok((decision, id))
    }
}
