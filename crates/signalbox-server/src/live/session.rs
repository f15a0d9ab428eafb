//! What an agent says over its connection, whichever way it comes: each message is answered once, or not at all.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Map, Value};
use signalbox_core::agent::{AgentStatus, Report};
use signalbox_core::command::CommandStatus;
use signalbox_core::engine::{
    self, AcknowledgeCommand, AnswerCommand, CommandAnswered, ProgressCommand, ReportState,
};
use signalbox_core::figures::Sample;
use signalbox_wire::artcafe::live::{Ack, Envelope, EnvelopeFault, Heartbeat, Response, Status};
use signalbox_wire::body;
use signalbox_wire::id::{AgentId, CommandId, ConnectionId, TaskId, TenantId};
use signalbox_wire::nearest::nearest;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

use super::admission::Admitted;
use super::answers;
use super::channels::fault::LiveFault;
use super::channels::{self, ChannelSession, Member, frames};
use super::pulse;
use super::shared::Shared;
use crate::clock;
use crate::engine::{Drive, DriveError};
use crate::http::problem::Refusal;
use crate::transport::connection::Resume;
use crate::transport::outbox::{Frame, Outbox};

const PUBLISH: &str = "publish";

/// What agents may send.
const TYPES: [&str; 10] = [
    "heartbeat",
    "status",
    "response",
    "ack",
    "message",
    "subscribe",
    "unsubscribe",
    PUBLISH,
    "request",
    "reply",
];

/// What takes nothing from the requests that a tenant may send, so that no work is lost by their limit.
const FREE: [&str; 3] = ["heartbeat", "response", "ack"];

/// What of a heartbeat is no metric.
const NOT_METRICS: [&str; 4] = ["agent_id", "status", "cpu_usage", "memory_usage"];
/// Bytes of a heartbeat of which its metrics are kept.
const METRICS_BYTES_MAX: usize = 4 << 10;
const UNKNOWN_COMMAND: &str = "This agent was given no such command; name the id of the command's envelope.";
const TOO_LATE: &str = "The command had expired, or was cancelled, before this answer; it is in the log.";

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
    shared: Shared,
    tenant: TenantId,
    agent: AgentId,
    outbox: Outbox,
    channels: ChannelSession,
    /// When a sign of life was noted last, in microseconds.
    seen_at: AtomicI64,
}

impl Session {
    pub(super) fn new(shared: Shared, admitted: &Admitted, outbox: Outbox) -> Self {
        let (tenant, agent) = (admitted.tenant.clone(), admitted.agent.clone());
        let member = Member { tenant: tenant.clone(), agent: agent.clone(), outbox: outbox.clone() };
        let channels = shared.channels.join(member);
        Self(Arc::new(Inner { shared, tenant, agent, outbox, channels, seen_at: AtomicI64::default() }))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0.shared
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

    /// Says what is missing although, or because, the connection goes on with an earlier one, or cannot.
    pub(super) fn tell_resumed(&self, resume: &Resume, is_resumed: bool) {
        let reason = if is_resumed { answers::RESUMED } else { answers::UNKNOWN };
        self.tell_gap(Some(&resume.connection), resume.after, reason);
    }

    /// Says what is missing after a sequence.
    pub(super) fn tell_gap(&self, connection: Option<&ConnectionId>, after: u64, reason: &'static str) {
        let _ = self.0.outbox.push(answers::gap(connection, after, reason));
    }

    /// Whether answers to more messages fit beside what waits: an agent that does not read is not read from.
    pub(super) fn has_room_for_answers(&self) -> bool {
        self.0.outbox.is_half_empty()
    }

    /// Takes in a message that came as bytes, one of several: what it publishes is given out, and acknowledged, by
    /// [`Session::end_burst`] at the latest.
    pub(super) fn handle_in_burst(&self, bytes: &[u8]) -> Handled {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.0.shared.figures.received("malformed");
            let message = "The message is not UTF-8; send JSON.";
            return Handled::Now(Some(answers::error(ProblemKind::NotJson, message, None)));
        };
        let read = Envelope::read(text);
        if let Ok(envelope) = &read
            && let Some(answer) = self.publish_at_once(envelope)
        {
            return Handled::Now(answer);
        }
        // What it says comes after what was said before.
        self.end_burst();
        self.handle_read(read)
    }

    /// Gives out what was published since the last time, and acknowledges it.
    pub(super) fn end_burst(&self) {
        self.0.channels.end_burst();
    }

    /// Publishes what is for a subject of which no history is kept, where nothing has to be looked up for that, together
    /// with what comes after it. `None` where that is not so, and nothing is done.
    fn publish_at_once(&self, envelope: &Envelope<'_>) -> Option<Option<Frame>> {
        let publication = self.0.channels.publication(envelope)?;
        let now = clock::now();
        let admitted = self.0.shared.quotas.message_at_once(self.tenant(), now)?;
        self.0.shared.figures.received(PUBLISH);
        self.seen_at(now);
        if let Err(over) = admitted {
            self.end_burst();
            return Some(Some(answers::refused(over, envelope.id.as_deref())));
        }
        self.0.channels.publish_in_burst(publication, now);
        Some(None)
    }

    /// Takes in a message.
    pub(super) fn handle(&self, text: &str) -> Handled {
        self.handle_read(Envelope::read(text))
    }

    fn handle_read(&self, read: Result<Envelope<'_>, EnvelopeFault>) -> Handled {
        let envelope = match read {
            Ok(envelope) => envelope,
            Err(fault) => {
                self.0.shared.figures.received("malformed");
                return self.within_rate(fault.id.as_deref(), Handled::Now(Some(answers::malformed(&fault))));
            }
        };
        let known = TYPES.iter().find(|known| **known == envelope.kind);
        self.0.shared.figures.received(known.copied().unwrap_or("unknown"));
        let handled = self.handle_envelope(&envelope);
        if FREE.contains(&&*envelope.kind) {
            return handled;
        }
        self.within_rate(envelope.id.as_deref(), handled)
    }

    /// Counts a message as one of its tenant's requests; over their limit it is answered so, and nothing else is done.
    fn within_rate(&self, id: Option<&str>, handled: Handled) -> Handled {
        let (session, id) = (self.clone(), id.map(str::to_owned));
        Handled::Later(Box::pin(async move {
            if let Err(over) = session.0.shared.quotas.admit(session.tenant(), clock::now()).await {
                return Some(answers::refused(over, id.as_deref()));
            }
            match handled {
                Handled::Now(answer) => answer,
                Handled::Later(answering) => answering.await,
            }
        }))
    }

    /// What is to be done about a message. Nothing is before that is asked for.
    fn handle_envelope(&self, envelope: &Envelope<'_>) -> Handled {
        let id = envelope.id.as_deref();
        if envelope.kind != "heartbeat" {
            self.seen();
        }
        match &*envelope.kind {
            "heartbeat" => self.heartbeat(envelope),
            "ack" => self.acknowledged(envelope),
            "status" => match body::parse::<Status>(envelope.data.as_bytes()) {
                Ok(status) => self.status(envelope, status),
                Err(error) => Handled::Now(Some(answers::refused(error, id))),
            },
            "response" => match body::parse::<Response>(envelope.data.as_bytes()) {
                Ok(response) => self.response(envelope, response),
                Err(error) => Handled::Now(Some(answers::refused(error, id))),
            },
            kind if channels::KINDS.contains(&kind) => self.channel(envelope),
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
        let told = |fault: &LiveFault, id: Option<&str>| frames::error(id, fault, clock::now());
        let wish = match ChannelSession::read(envelope) {
            Ok(wish) => wish,
            Err(fault) => return Handled::Now(Some(told(&fault, id.as_deref()))),
        };
        let session = self.clone();
        Handled::Later(Box::pin(async move {
            match session.0.channels.act(id.as_deref(), wish).await {
                Ok(acknowledged) => acknowledged.map(|data| frames::ack(&data, clock::now())),
                Err(fault) => Some(told(&fault, id.as_deref())),
            }
        }))
    }

    /// The agent showed that it is there. Of several signs within the time of one writing one is enough.
    pub(super) fn seen(&self) {
        self.seen_at(clock::now());
    }

    fn seen_at(&self, at: Timestamp) {
        let before = Timestamp::from_micros(self.0.seen_at.load(Ordering::Relaxed));
        if at.since(before) < pulse::write_every(&self.0.shared.settings) {
            return;
        }
        self.0.seen_at.store(at.as_micros(), Ordering::Relaxed);
        self.note(Sample { at, cpu_usage: None, memory_usage: None }, None);
    }

    fn note(&self, sample: Sample, metrics: Option<Map<String, Value>>) {
        let (tenant, agent, connection) = self.names();
        let (agent, connection) = (agent.clone(), connection.clone());
        self.0.shared.pulses().note(tenant, engine::Heartbeat { agent, connection, sample, metrics });
    }

    fn heartbeat(&self, envelope: &Envelope<'_>) -> Handled {
        let id = envelope.id.as_deref();
        let read = match serde_json::from_str::<Heartbeat>(envelope.data) {
            Ok(read) => read,
            // The usual way is the quick one; the other says what is wrong, and where.
            Err(_) => match body::parse::<Heartbeat>(envelope.data.as_bytes()) {
                Ok(read) => read,
                Err(error) => return Handled::Now(Some(answers::refused(error, id))),
            },
        };
        let status = read.status.as_ref().map(|_| body::parse::<Status>(envelope.data.as_bytes()));
        let status = match status.transpose() {
            Ok(status) => status,
            Err(error) => return Handled::Now(Some(answers::refused(error, id))),
        };
        let sample = Sample { at: clock::now(), cpu_usage: read.cpu_usage, memory_usage: read.memory_usage };
        let mut metrics: Map<String, Value> = serde_json::from_str(envelope.data).unwrap_or_default();
        metrics.retain(|name, _| !NOT_METRICS.contains(&name.as_str()));
        // What is too much to be kept for each agent is not kept.
        let is_kept = !metrics.is_empty() && envelope.data.len() <= METRICS_BYTES_MAX;
        self.0.seen_at.store(sample.at.as_micros(), Ordering::Relaxed);
        self.note(sample, is_kept.then_some(metrics));
        let ack = answers::heartbeat_ack(envelope, &self.0.outbox);
        let Some(status) = status else { return Handled::Now(Some(ack)) };
        let (session, timestamp) = (self.clone(), envelope.timestamp.unwrap_or_else(clock::now));
        Handled::Later(Box::pin(async move {
            if let Err(error) = session.follow(status.state(), timestamp).await {
                // The next heartbeat tells the same.
                tracing::debug!(%error, agent = %session.0.agent, "the state that a heartbeat told was not kept");
            }
            Some(ack)
        }))
    }

    /// Takes in the state that a heartbeat told, where it is another than the one that is known.
    async fn follow(&self, state: &str, timestamp: Timestamp) -> Result<(), DriveError> {
        let (tenant, agent, _) = self.names();
        let store = &self.0.shared.store;
        // What is remembered tells nearly always that nothing has changed.
        let hint = store.status_hint(tenant, agent).await?;
        if !hint.is_some_and(|status| status.is_changed_by_heartbeat(state)) {
            return Ok(());
        }
        let told = Report::plain(state.to_owned(), timestamp);
        let is_change = |status: &AgentStatus| {
            status.is_changed_by_heartbeat(state) && status.is_news(&told, clock::now())
        };
        if store.status(tenant, agent).await?.is_some_and(|status| is_change(&status.value)) {
            let report = ReportState {
                agent: agent.clone(),
                state: told.state,
                timestamp,
                details: None,
                task: None,
                session: None,
            };
            self.drive().run(tenant, &report).await?;
        }
        Ok(())
    }

    /// The agent has what it was sent. That is not answered.
    fn acknowledged(&self, envelope: &Envelope<'_>) -> Handled {
        let ack = match body::parse::<Ack>(envelope.data.as_bytes()) {
            Ok(ack) => ack,
            Err(error) => return Handled::Now(Some(answers::refused(error, envelope.id.as_deref()))),
        };
        let mut commands =
            ack.sequence.map(|up_to| self.0.outbox.acknowledge_up_to(up_to)).unwrap_or_default();
        if let Some(id) = ack.message_id {
            self.0.outbox.had(&id);
            let is_command = id.starts_with(CommandId::PREFIX);
            commands.extend(CommandId::parse(&id).ok().filter(|_| is_command));
        }
        if commands.is_empty() {
            return Handled::Now(None);
        }
        let session = self.clone();
        Handled::Later(Box::pin(async move {
            for command in commands {
                let operation = AcknowledgeCommand { agent: session.0.agent.clone(), command };
                if let Err(error) = session.drive().run(session.tenant(), &operation).await {
                    let command = &operation.command;
                    tracing::info!(%error, %command, "that an agent acknowledged a command was not kept");
                }
            }
            None
        }))
    }

    fn status(&self, envelope: &Envelope<'_>, status: Status) -> Handled {
        let details = RawObject::parse(envelope.data.to_owned()).ok();
        let progress =
            details.as_ref().and_then(|details| details.field("progress")).map(|raw| raw.get().to_owned());
        let report = ReportState {
            agent: self.0.agent.clone(),
            state: status.state().to_owned(),
            timestamp: envelope.timestamp.unwrap_or_else(clock::now),
            details,
            task: status.current_task.clone(),
            session: None,
        };
        let command = status.current_task.as_deref().filter(|id| id.starts_with(CommandId::PREFIX));
        let command = command.and_then(|id| CommandId::parse(id).ok()).zip(progress);
        let session = self.clone();
        self.answered(envelope, None, async move {
            session.drive().run(session.tenant(), &report).await?;
            if let Some((command, progress)) = command {
                let progress = serde_json::from_str(&progress).unwrap_or_default();
                let operation = ProgressCommand { agent: report.agent, command, progress };
                // The report is kept, whatever became of the command.
                if let Err(error) = session.drive().run(session.tenant(), &operation).await {
                    tracing::debug!(%error, "how far a command is was not kept");
                }
            }
            Ok(())
        })
    }

    fn response(&self, envelope: &Envelope<'_>, response: Response) -> Handled {
        let (session, answers_to) = (self.clone(), response.command_id.clone());
        self.answered(envelope, Some(answers_to), async move {
            let agent = session.0.agent.clone();
            if is_task(&response.command_id) {
                let report = ReportState {
                    agent,
                    state: if response.is_success() { "completed" } else { "failed" }.to_owned(),
                    timestamp: clock::now(),
                    details: response.details(),
                    task: Some(response.command_id.clone()),
                    session: None,
                };
                session.drive().run(session.tenant(), &report).await?;
            } else {
                let unknown = || Problem::new(ProblemKind::Invalid, UNKNOWN_COMMAND);
                let command = CommandId::parse(&response.command_id).map_err(|_| unknown())?;
                let operation = AnswerCommand { agent, command, answer: response.answer() };
                match session.drive().run(session.tenant(), &operation).await? {
                    CommandAnswered::TooLate(CommandStatus::Expired | CommandStatus::Cancelled) => {
                        return Err(Problem::new(ProblemKind::Invalid, TOO_LATE).into());
                    }
                    // The answer that it had before counts; one that is sent again is not told apart from it.
                    CommandAnswered::Taken | CommandAnswered::TooLate(_) => {}
                }
            }
            // What it answers, it has.
            session.0.outbox.had(&response.command_id);
            Ok(())
        })
    }

    /// Acknowledges a message once what it says is durable, or says why it is not: under its id, else under what it names.
    fn answered(
        &self,
        envelope: &Envelope<'_>,
        named: Option<String>,
        kept: impl Future<Output = Result<(), Refusal>> + Send + 'static,
    ) -> Handled {
        let id = envelope.id.as_deref().map(str::to_owned);
        Handled::Later(Box::pin(async move {
            match kept.await {
                Ok(()) => Some(answers::ack(id.or(named).as_deref())),
                Err(refusal) => Some(answers::refused(refusal, id.as_deref())),
            }
        }))
    }

    fn drive(&self) -> &Drive {
        &self.0.shared.drive
    }

    fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }
}

/// Whether an id is that of a task's attempt.
fn is_task(id: &str) -> bool {
    id.starts_with(TaskId::PREFIX)
}
