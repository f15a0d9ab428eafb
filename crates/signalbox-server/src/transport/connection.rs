//! What goes to an agent over the connection that it holds: here, or with another node.
//!
//! [`Connections`] knows who is connected to this node. Other nodes are asked over the bus, on the agent's subject: whoever
//! holds the connection answers what became of what was sent; nobody answers where nobody does.

mod delivered;
mod letter;
mod lost;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use signalbox_bus::{Buffer, Bus, BusError, Message, Pattern, Received as OnBus, Subject};
use signalbox_core::connection::{DisconnectCause, Disconnected};
use signalbox_wire::artcafe::live;
use signalbox_wire::id::{AgentId, ConnectionId, NodeId, TenantId};
use tokio::task::AbortHandle;

pub(crate) use self::delivered::{Delivered, Unsent};
use self::letter::Letter;
use self::lost::Lost;
use super::outbox::{CloseReason, Frame, Outbox, Receipt, Received};
use super::parcel::{Carried, Parcel};
use crate::clock;

/// Messages of the bus that may wait for one connection.
const BUS_MESSAGES_MAX: usize = 256;
/// Their bytes.
const BUS_BYTES_MAX: usize = 4 << 20;

/// Who is connected to this node, and the way to those that are connected to others; cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

struct Shared {
    bus: Bus,
    /// Bytes that wait for all connections.
    buffered: Gauge,
    here: Mutex<Here>,
}

#[derive(Default)]
struct Here {
    attached: HashMap<TenantId, HashMap<AgentId, Outbox>>,
    lost: Lost,
}

/// From where on a connection goes on with an earlier one of its agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resume {
    /// The earlier one.
    pub(crate) connection: ConnectionId,
    /// The last sequence that it saw.
    pub(crate) after: u64,
}

/// A connection that is known by its agent until this is dropped.
pub(crate) struct Attached {
    connections: Connections,
    tenant: TenantId,
    agent: AgentId,
    outbox: Outbox,
    /// Whether the connection that the agent named was found.
    pub(crate) is_resumed: bool,
    listener: Option<AbortHandle>,
}

impl Connections {
    /// None yet; others are reached over `bus`.
    pub(crate) fn new(bus: Bus, buffered: Gauge) -> Self {
        Self(Arc::new(Shared { bus, buffered, here: Mutex::default() }))
    }

    /// What counts the bytes that wait in outboxes.
    pub(crate) fn buffered(&self) -> Gauge {
        self.0.buffered.clone()
    }

    /// Makes a connection known as its agent's. An earlier one on this node ends as taken over, and what the agent is not
    /// known to have of it goes to the new one; so it is with one that was lost a moment ago. Nodes that hold an earlier
    /// one are told by [`Self::close`].
    pub(crate) async fn attach(
        &self,
        (tenant, agent): (&TenantId, &AgentId),
        outbox: Outbox,
        resume: Option<&Resume>,
    ) -> Result<Attached, BusError> {
        let listener = self.listener(tenant, agent, &outbox).await?;
        let mut here = self.0.here.lock();
        let agents = here.attached.entry(tenant.clone()).or_default();
        let earlier = agents.insert(agent.clone(), outbox.clone());
        let leftover = match earlier {
            Some(earlier) => {
                earlier.close(CloseReason::TakenOver);
                Some(earlier.leave())
            }
            None => here.lost.take(tenant, agent),
        };
        // Without a name, or with another's, what the agent saw is not known: it gets again what it may lack.
        let named = resume.map(|resume| (&resume.connection, resume.after));
        let known = leftover.as_ref().map(|leftover| &leftover.connection);
        let is_resumed = named.is_some_and(|(connection, _)| known == Some(connection));
        if let Some(mut leftover) = leftover {
            if !is_resumed {
                leftover.goes_to_another();
            }
            let after = named.filter(|_| is_resumed).map_or(0, |(_, after)| after);
            // Before anybody can find the new one: what is sent must not get a sequence of the earlier one.
            outbox.take_over(leftover, after);
        }
        drop(here);
        Ok(Attached {
            connections: self.clone(),
            tenant: tenant.clone(),
            agent: agent.clone(),
            outbox,
            is_resumed,
            listener,
        })
    }

    /// The connection of an agent on this node.
    pub(crate) fn outbox(&self, tenant: &TenantId, agent: &AgentId) -> Option<Outbox> {
        self.0.here.lock().attached.get(tenant)?.get(agent).cloned()
    }

    /// All connections on this node.
    pub(crate) fn all(&self) -> Vec<Outbox> {
        let here = self.0.here.lock();
        here.attached.values().flat_map(HashMap::values).cloned().collect()
    }

    /// Sends something durable to an agent wherever it is connected, and waits for its side to have it. `envelope` is
    /// written without its sequence; under the same `id` it is not sent twice over one connection.
    pub(crate) async fn deliver(
        &self,
        (tenant, agent): (&TenantId, &AgentId),
        id: &str,
        envelope: &str,
        within: Duration,
    ) -> Delivered {
        if let Some(outbox) = self.outbox(tenant, agent) {
            return known(hand_over(&outbox, id, envelope), within).await;
        }
        let until = clock::now() + within;
        self.ask(tenant, agent, &Letter::Deliver { id, envelope, until }, within).await
    }

    /// Sends something live to an agent wherever it is connected: [`Delivered::Had`] says that it is on its way.
    pub(crate) async fn push(
        &self,
        (tenant, agent): (&TenantId, &AgentId),
        frame: Frame,
        within: Duration,
    ) -> Delivered {
        if let Some(outbox) = self.outbox(tenant, agent) {
            return pushed(&outbox, frame);
        }
        let until = clock::now() + within;
        self.ask(tenant, agent, &Letter::Push { envelope: &frame.text, until }, within).await
    }

    /// Closes a connection that is no longer its agent's, wherever it is held; this node is `here`.
    pub(crate) fn close(&self, tenant: &TenantId, disconnected: &Disconnected, here: &NodeId) {
        let (agent, connection) = (&disconnected.agent, &disconnected.connection.id);
        let reason = match disconnected.cause {
            DisconnectCause::TakenOver => CloseReason::TakenOver,
            DisconnectCause::Replaced => CloseReason::Replaced,
            DisconnectCause::Removed => CloseReason::Removed,
            // Told by another than the one that holds it, where it is still there.
            DisconnectCause::Ended => CloseReason::Unavailable,
        };
        let outbox = self.outbox(tenant, agent);
        if let Some(outbox) = outbox.filter(|outbox| outbox.connection() == connection) {
            outbox.close(reason);
        } else if self.0.bus.reaches_other_nodes() && disconnected.connection.node != *here {
            let letter = Letter::Close { connection: connection.as_str(), reason }.written();
            let told = self.0.bus.publish(&Subject::agent(tenant, agent), letter);
            if let Err(error) = told {
                tracing::warn!(%error, %agent, %connection, "the node that holds a connection was not told to close it");
            }
        }
    }

    async fn ask(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        letter: &Letter<'_>,
        within: Duration,
    ) -> Delivered {
        if !self.0.bus.reaches_other_nodes() {
            return Delivered::NotConnected;
        }
        let answer = self.0.bus.request(&Subject::agent(tenant, agent), letter.written(), within).await;
        match answer {
            Ok(answer) => letter::read_answer(&answer),
            Err(BusError::NoResponders(_)) => Delivered::NotConnected,
            Err(BusError::TimedOut { .. }) => Delivered::TimedOut,
            Err(error) => Delivered::Unavailable(error.to_string()),
        }
    }

    /// What takes from the bus what other nodes send to the agent, where there are others.
    async fn listener(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        outbox: &Outbox,
    ) -> Result<Option<AbortHandle>, BusError> {
        if !self.0.bus.reaches_other_nodes() {
            return Ok(None);
        }
        let pattern = Pattern::exactly(&Subject::agent(tenant, agent));
        let buffer = Buffer::Bounded { messages: BUS_MESSAGES_MAX, bytes: BUS_BYTES_MAX };
        let mut subscription = self.0.bus.subscribe(&pattern, buffer).await?;
        let outbox = outbox.clone();
        let listening = tokio::spawn(async move {
            loop {
                match subscription.recv().await {
                    OnBus::Message(message) => take_in(&outbox, message),
                    OnBus::Missed(missed) => {
                        tracing::warn!(
                            missed,
                            "messages of other nodes to an agent did not fit and are sent again"
                        );
                    }
                }
            }
        });
        Ok(Some(listening.abort_handle()))
    }

    /// Carries a message to an agent wherever it is connected.
    pub(super) async fn carry(
        &self,
        agent: &AgentId,
        parcel: Parcel<'_>,
        within: Duration,
    ) -> Result<Carried, Unsent> {
        let message = parcel.message;
        let Ok(body) = std::str::from_utf8(&parcel.body) else { return Ok(Carried::unwritable()) };
        let packed =
            live::pack(&message.id, (body, parcel.attempt), message.trace.as_deref(), message.scheduled_at());
        let delivered = self.deliver((parcel.tenant, agent), &packed.id, &packed.text, within).await;
        let outcome = delivered.outcome()?;
        Ok(Carried { outcome, report: None })
    }
}

impl Attached {
    /// Ends it: what the agent is not known to have is kept for a while, for its next connection. Whether it was the agent's
    /// connection on this node.
    pub(crate) fn lose(self) -> bool {
        let mut here = self.connections.0.here.lock();
        let is_current = here.detach(&self.tenant, &self.agent, &self.outbox);
        if is_current {
            let expires = here.lost.keep(&self.tenant, &self.agent, self.outbox.leave());
            drop(here);
            if let Some(connection) = expires {
                let (connections, tenant, agent) =
                    (self.connections.clone(), self.tenant.clone(), self.agent.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(lost::KEPT_FOR).await;
                    let expired = connections.0.here.lock().lost.expire(&tenant, &agent, &connection);
                    drop(expired);
                });
            }
        }
        is_current
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.connections.0.here.lock().detach(&self.tenant, &self.agent, &self.outbox);
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
    }
}

impl Here {
    /// Forgets a connection; whether it was the agent's.
    fn detach(&mut self, tenant: &TenantId, agent: &AgentId, outbox: &Outbox) -> bool {
        let Some(agents) = self.attached.get_mut(tenant) else { return false };
        let is_current = agents.get(agent).is_some_and(|current| current.connection() == outbox.connection());
        if is_current {
            agents.remove(agent);
            if agents.is_empty() {
                self.attached.remove(tenant);
            }
        }
        is_current
    }
}

/// Puts something on its way at once, in the order of the calls.
fn hand_over(outbox: &Outbox, id: &str, envelope: &str) -> Receipt {
    outbox.deliver(id, |sequence| Frame::with_sequence(envelope, sequence))
}

/// What became of something that is on its way.
async fn known(receipt: Receipt, within: Duration) -> Delivered {
    match tokio::time::timeout(within, receipt).await {
        Ok(Received::Had) => Delivered::Had,
        Ok(Received::Lost) => Delivered::Lost,
        // Another is about to come, or the end of this one to be told.
        Ok(Received::Ended) => Delivered::NotConnected,
        Ok(Received::Busy) => Delivered::Busy,
        Err(_) => Delivered::TimedOut,
    }
}

fn pushed(outbox: &Outbox, frame: Frame) -> Delivered {
    match outbox.push(frame) {
        Ok(()) => Delivered::Had,
        Err(_) => Delivered::Busy,
    }
}

/// Takes in what another node sends to an agent.
fn take_in(outbox: &Outbox, message: Message) {
    let Some(letter) = Letter::read(&message.payload) else {
        tracing::warn!("a message of another node to an agent cannot be read; it may be of another version");
        return;
    };
    match letter {
        Letter::Close { connection, reason } => {
            if outbox.connection().as_str() == connection {
                outbox.close(reason);
            }
        }
        // Whoever sent it has gone another way since: what is done now would be done twice, or too late.
        Letter::Push { until, .. } | Letter::Deliver { until, .. } if until <= clock::now() => {
            tracing::debug!("what another node sent to an agent came too late");
        }
        Letter::Push { envelope, .. } => {
            let delivered = pushed(outbox, Frame { text: Bytes::copy_from_slice(envelope) });
            if let Some(reply) = message.reply {
                reply.send(letter::answer(&delivered));
            }
        }
        Letter::Deliver { id, envelope, until } => {
            let receipt = hand_over(outbox, id, envelope);
            let (within, reply) = (until.since(clock::now()), message.reply);
            tokio::spawn(async move {
                let delivered = known(receipt, within).await;
                if let Some(reply) = reply {
                    reply.send(letter::answer(&delivered));
                }
            });
        }
    }
}

/// A new connection's id.
pub(crate) fn new_id() -> ConnectionId {
    ConnectionId::new(clock::now(), clock::seed_128())
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};
    use std::thread;

    use signalbox_bus::Reply;
    use tokio::sync::mpsc;

    use super::*;
    use crate::transport::outbox::{Next, OutboxBounds, OutboxReader};

    fn outbox(number: usize) -> (Outbox, OutboxReader) {
        let bounds = OutboxBounds { frames: 100, bytes: 1 << 20, unacknowledged: 100 };
        let id = ConnectionId::parse(&format!("con_{number}")).expect("valid");
        Outbox::new(id, bounds, Gauge::default())
    }

    /// A lower sequence would be had by what the agent has acknowledged before.
    #[tokio::test]
    async fn what_is_sent_while_a_connection_is_taken_over_comes_after_what_the_earlier_one_left() {
        let connections = Connections::new(Bus::local(), Gauge::default());
        let (tenant, agent) = (TenantId::default_tenant(), AgentId::parse("agt_1").expect("valid"));
        let whose = (&tenant, &agent);
        let (first, _reader) = outbox(0);
        let mut held = vec![connections.attach(whose, first, None).await.expect("attached")];
        for round in 1..50 {
            let before = connections.outbox(&tenant, &agent).expect("attached");
            let (next, reader) = outbox(round);
            let sender = thread::spawn({
                let (connections, whose) = (connections.clone(), (tenant.clone(), agent.clone()));
                move || {
                    let is_new = |outbox: &Outbox| outbox.connection() != before.connection();
                    let found = || connections.outbox(&whose.0, &whose.1).filter(is_new);
                    let outbox = std::iter::repeat_with(found).find_map(|found| found).expect("attached");
                    let mut given = 0;
                    let write = |sequence| {
                        given = sequence;
                        Frame::with_sequence("{}", sequence)
                    };
                    drop(outbox.deliver(&format!("message {round}"), write));
                    given
                }
            });
            held.push(connections.attach(whose, next, None).await.expect("attached"));
            assert_eq!(sender.join().expect("sent"), round as u64);
            drop(reader);
        }
    }

    /// What waits to be written, where something does.
    fn waits(reader: &mut OutboxReader) -> Option<Bytes> {
        match reader.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Next::Frame(text, _)) => Some(text),
            Poll::Ready(Next::End(_)) | Poll::Pending => None,
        }
    }

    /// Takes in what another node sends; what that one is answered.
    fn sent(outbox: &Outbox, letter: &Letter<'_>) -> mpsc::UnboundedReceiver<Bytes> {
        let (sender, answers) = mpsc::unbounded_channel();
        let agent = AgentId::parse("agt_1").expect("valid");
        let message = Message {
            subject: Subject::agent(&TenantId::default_tenant(), &agent),
            payload: letter.written(),
            reply: Some(Reply::new(move |answer| drop(sender.send(answer)))),
        };
        take_in(outbox, message);
        answers
    }

    /// Whoever sent it has gone another way since: done now, it would be done twice.
    #[tokio::test]
    async fn what_another_node_sends_is_dropped_once_nobody_waits_for_it() {
        let (outbox, mut reader) = outbox(1);
        let over = clock::now();
        for letter in [
            Letter::Push { envelope: b"{}", until: over },
            Letter::Deliver { id: "msg_1", envelope: "{}", until: over },
        ] {
            let mut answers = sent(&outbox, &letter);
            assert_eq!(answers.recv().await, None, "{letter:?} is not answered");
            assert_eq!(waits(&mut reader), None, "{letter:?} is not passed on");
        }
        let until = over + Duration::from_secs(3_600);
        let mut answers = sent(&outbox, &Letter::Push { envelope: b"{}", until });
        assert_eq!(answers.recv().await.as_deref(), Some(&b"had"[..]));
        assert_eq!(waits(&mut reader).as_deref(), Some(&b"{}"[..]));
        // The same id as of the one that was too late: it was not taken for had.
        let mut answers = sent(&outbox, &Letter::Deliver { id: "msg_1", envelope: "{}", until });
        while waits(&mut reader).is_none() {
            tokio::task::yield_now().await;
        }
        assert!(outbox.had("msg_1"));
        assert_eq!(answers.recv().await.as_deref(), Some(&b"had"[..]));
    }

    #[tokio::test]
    async fn what_another_node_closes_is_the_connection_that_it_names() {
        let (outbox, mut reader) = outbox(1);
        let close = |connection| Letter::Close { connection, reason: CloseReason::Removed };
        let end = |reader: &mut OutboxReader| match reader.poll_next(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(Next::End(reason)) => Some(reason),
            Poll::Ready(Next::Frame(..)) | Poll::Pending => None,
        };
        drop(sent(&outbox, &close("con_2")));
        assert_eq!(end(&mut reader), None, "it is another's");
        drop(sent(&outbox, &close("con_1")));
        assert_eq!(end(&mut reader), Some(CloseReason::Removed));
    }
}
