//! What an agent says over its connection, whichever way it comes: each message is answered once, or not at all.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use signalbox_core::engine::ReportState;
use signalbox_wire::artcafe::live::{Ack, Envelope, Heartbeat, Response, Status};
use signalbox_wire::body;
use signalbox_wire::id::{AgentId, ConnectionId, TaskId, TenantId};
use signalbox_wire::nearest::nearest;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::raw::RawObject;

use super::admission::Admitted;
use super::channels::fault::LiveFault;
use super::channels::{self, ChannelSession, Member};
use super::pulse::Pulse;
use super::{Live, answers};
use crate::clock;
use crate::transport::connection::Resume;
use crate::transport::outbox::{Frame, Outbox};

/// What agents may send.
const TYPES: [&str; 10] = [
    "heartbeat", "status", "response", "ack", "message", "subscribe", "unsubscribe", "publish", "request", "reply",
];

/// An answer that takes a while.
pub(super) type Answering = Pin<Box<dyn Future<Output = Option<Frame>> + Send>>;

/// What becomes of a message.
pub(super) enum Handled {
    /// It is answered so, or not at all.
    Now(Option<Frame>),
    /// It is answered once this is done.
    Later(Answering),
}

/// An agent's connection as what it says over it sees it; cheap to clone.
#[derive(Clone)]
pub(super) struct Session(Arc<Inner>);

struct Inner {
    live: Live,
    tenant: TenantId,
    agent: AgentId,
    outbox: Outbox,
    channels: ChannelSession,
}

impl Session {
    pub(super) fn new(live: Live, admitted: &Admitted, outbox: Outbox) -> Self {
        let (tenant, agent) = (admitted.tenant.clone(), admitted.agent.clone());
        let member = Member { tenant: tenant.clone(), agent: agent.clone(), outbox: outbox.clone() };
        let channels = live.parts().channels.join(member);
        Self(Arc::new(Inner { live, tenant, agent, outbox, channels }))
    }

    pub(super) fn live(&self) -> &Live {
        &self.0.live
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    /// Whose connection it is, and which.
    pub(super) fn names(&self) -> (&TenantId, &AgentId, &ConnectionId) {
        (&self.0.tenant, &self.0.agent, self.0.outbox.connection())
    }

    /// Ends its subscriptions.
    pub(super) fn leave_channels(&self) {
        self.0.channels.leave();
    }

    /// Says that the connection cannot go on with an earlier one.
    pub(super) fn tell_gap(&self, resume: &Resume) {
        let named = resume.connection.as_ref().map_or("", ConnectionId::as_str);
        let _ = self.0.outbox.push(answers::gap(named, resume.after));
    }

    /// Whether answers to more messages fit beside what waits: an agent that does not read is not read from.
    pub(super) fn has_room_for_answers(&self) -> bool {
        self.0.outbox.is_half_empty()
    }

    /// Takes in a message that came as bytes.
    pub(super) fn handle_bytes(&self, bytes: &[u8]) -> Handled {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.handle(text),
            Err(_) => {
                self.0.live.parts().figures.received("malformed");
                let message = "The message is not UTF-8; send JSON.";
                Handled::Now(Some(answers::error(ProblemKind::NotJson, message, None)))
            }
        }
    }

    /// Takes in a message.
    pub(super) fn handle(&self, text: &str) -> Handled {
        let envelope = match Envelope::read(text) {
            Ok(envelope) => envelope,
            Err(fault) => {
                self.0.live.parts().figures.received("malformed");
                return Handled::Now(Some(answers::malformed(&fault)));
            }
        };
        let known = TYPES.iter().find(|known| **known == envelope.kind);
        self.0.live.parts().figures.received(known.copied().unwrap_or("unknown"));
        let id = envelope.id.as_deref();
        match &*envelope.kind {
            "heartbeat" => Handled::Now(Some(self.heartbeat(&envelope))),
            "ack" => Handled::Now(self.acknowledged(&envelope)),
            "status" => match body::parse::<Status>(envelope.data.as_bytes()) {
                Ok(status) => self.status(&envelope, &status),
                Err(error) => Handled::Now(Some(answers::refused(error, id))),
            },
            "response" => match body::parse::<Response>(envelope.data.as_bytes()) {
                Ok(response) => self.response(&envelope, response),
                Err(error) => Handled::Now(Some(answers::refused(error, id))),
            },
            kind if channels::KINDS.contains(&kind) => self.channel(&envelope),
            other => {
                let meant = nearest(other, TYPES).map(|meant| format!("; did you mean {meant}?"));
                let shown: String = other.chars().take(64).collect();
                let message = format!(
                    "There is no message type '{shown}'; an agent sends {}{}",
                    TYPES.join(", "),
                    meant.as_deref().unwrap_or(".")
                );
                Handled::Now(Some(answers::error(ProblemKind::Invalid, &message, id)))
            }
        }
    }

    /// Does what a message about channels, or to another agent, asks for.
    fn channel(&self, envelope: &Envelope<'_>) -> Handled {
        let id = envelope.id.as_deref().map(str::to_owned);
        let told = |fault: &LiveFault, id: Option<&str>| channels::frames::error(id, fault, clock::now());
        let wish = match ChannelSession::read(envelope) {
            Ok(wish) => wish,
            Err(fault) => return Handled::Now(Some(told(&fault, id.as_deref()))),
        };
        let session = self.clone();
        Handled::Later(Box::pin(async move {
            match session.0.channels.act(id.as_deref(), wish).await {
                Ok(acknowledged) => acknowledged.map(|data| channels::frames::ack(&data, clock::now())),
                Err(fault) => Some(told(&fault, id.as_deref())),
            }
        }))
    }

    fn heartbeat(&self, envelope: &Envelope<'_>) -> Frame {
        if let Err(error) = serde_json::from_str::<Heartbeat>(envelope.data) {
            let message = format!("The heartbeat's data does not fit: {error}.");
            return answers::error(ProblemKind::Invalid, &message, envelope.id.as_deref());
        }
        let heartbeat = RawObject::parse(envelope.data.to_owned()).ok();
        let (tenant, agent, _) = self.names();
        self.0.live.0.pulses.note((tenant, agent), Pulse { at: clock::now(), heartbeat });
        answers::heartbeat_ack(envelope, &self.0.outbox)
    }

    /// The agent has what it was sent. That is not answered.
    fn acknowledged(&self, envelope: &Envelope<'_>) -> Option<Frame> {
        match body::parse::<Ack>(envelope.data.as_bytes()) {
            Ok(ack) => {
                if let Some(sequence) = ack.sequence {
                    self.0.outbox.had_up_to(sequence);
                }
                if let Some(id) = ack.message_id {
                    self.0.outbox.had(&id);
                }
                None
            }
            Err(error) => Some(answers::refused(error, envelope.id.as_deref())),
        }
    }

    fn status(&self, envelope: &Envelope<'_>, status: &Status) -> Handled {
        let report = ReportState {
            agent: self.0.agent.clone(),
            state: status.state().to_owned(),
            timestamp: envelope.timestamp.unwrap_or_else(clock::now),
            details: RawObject::parse(envelope.data.to_owned()).ok(),
            task: status.current_task.clone(),
            session: None,
        };
        self.report(envelope, report, None)
    }

    fn response(&self, envelope: &Envelope<'_>, response: Response) -> Handled {
        if !is_task(&response.command_id) {
            let message = format!("There is no command '{}' of this agent.", response.command_id);
            return Handled::Now(Some(answers::error(ProblemKind::Invalid, &message, envelope.id.as_deref())));
        }
        let report = ReportState {
            agent: self.0.agent.clone(),
            state: if response.is_success() { "completed" } else { "failed" }.to_owned(),
            timestamp: clock::now(),
            details: response.details(),
            task: Some(response.command_id.clone()),
            session: None,
        };
        self.report(envelope, report, Some(response.command_id))
    }

    /// Keeps a report; what it answers, the agent has.
    fn report(&self, envelope: &Envelope<'_>, report: ReportState, answers: Option<String>) -> Handled {
        let id = envelope.id.as_deref().map(str::to_owned);
        let session = self.clone();
        Handled::Later(Box::pin(async move {
            let Inner { live, tenant, outbox, .. } = &*session.0;
            match live.parts().drive.run(tenant, &report).await {
                Ok(()) => {
                    if let Some(command) = answers {
                        outbox.had(&command);
                    }
                    let id = id.unwrap_or_else(|| answers::new_id().to_string());
                    Some(answers::ack(&id))
                }
                Err(error) => Some(answers::refused(error, id.as_deref())),
            }
        }))
    }
}

/// Whether an id is that of a task's attempt.
fn is_task(id: &str) -> bool {
    id.starts_with(TaskId::PREFIX)
}
