//! One connection from its opening to its end.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::backoff::Fault;
use super::dial::{Dial, Resume};
use super::envelope::{Received, What, write};
use super::link;
use super::socket::{Came, Socket, WAITING_MAX};
use super::state::{Connection, subscribe_id, subscribed_subject};
use crate::agent::call::Kind;
use crate::agent::happening::Happening;
use crate::agent::inbox::{Arrival, Receipt};
use crate::edge;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// As it was to.
    Stopped,
    /// Another process has the agent now.
    TakenOver(String),
    /// For a reason, after which to try again or not.
    Failed(Fault, String),
}

/// What one connection has of its own.
struct Conversation {
    socket: Socket,
    /// What came and found no room; nothing is read until it has.
    held: Option<(Arrival, Option<u64>)>,
    /// Up to where to acknowledge.
    ack: Option<u64>,
    /// The last sequence that came.
    seen: u64,
    /// Whether the server said which connection this is.
    is_named: bool,
    heard_at: Instant,
    beat_at: Instant,
    is_draining: bool,
    in_hand: watch::Receiver<usize>,
}

impl<D: Dial> Connection<D> {
    /// Goes on until the connection ends.
    pub(super) async fn converse(&mut self, socket: Socket) -> End {
        let now = Instant::now();
        let mut conversation = Conversation {
            socket,
            held: None,
            ack: None,
            seen: 0,
            is_named: false,
            heard_at: now,
            // At once: its answer says which connection this is.
            beat_at: now,
            is_draining: false,
            in_hand: self.in_hand.changes(),
        };
        self.begin(&mut conversation);
        let mut stopping = self.stopping.clone();
        loop {
            if let Some(end) = self.wind_down(&mut conversation, &stopping).await {
                conversation.socket.close("the agent stops").await;
                return end;
            }
            if let Some(end) = self.turn(&mut conversation, &mut stopping).await {
                return end;
            }
        }
    }

    /// What is said first: subscriptions, and what the server is not known to have.
    fn begin(&mut self, conversation: &mut Conversation) {
        for (subject, data) in self.subscriptions.again() {
            conversation.socket.push(write("subscribe", &subscribe_id(&subject), data, edge::now()));
        }
        for (_, text) in &self.unsettled {
            conversation.socket.push(text.clone());
        }
        for asked in self.asked.values() {
            conversation.socket.push(asked.text.clone());
        }
    }

    /// Whether all is done, where the agent is to stop.
    async fn wind_down(
        &mut self,
        conversation: &mut Conversation,
        stopping: &watch::Receiver<bool>,
    ) -> Option<End> {
        if !*stopping.borrow() {
            return None;
        }
        if !conversation.is_draining {
            conversation.is_draining = true;
            self.drain().await;
        }
        let is_done = *conversation.in_hand.borrow_and_update() == 0
            && self.out.is_empty()
            && self.unsettled.is_empty()
            && conversation.held.is_none()
            && conversation.socket.is_flushed();
        is_done.then_some(End::Stopped)
    }

    /// Waits for one thing to happen, and does what it asks for.
    async fn turn(
        &mut self,
        conversation: &mut Conversation,
        stopping: &mut watch::Receiver<bool>,
    ) -> Option<End> {
        let is_stopping = conversation.is_draining;
        if let Some(sequence) = conversation.ack
            && conversation.socket.waiting() == 0
        {
            conversation.ack = None;
            let data = json!({ "sequence": sequence });
            conversation.socket.push(write("ack", &edge::unique_key(), data, edge::now()));
        }
        let may_read = conversation.held.is_none();
        let may_take = conversation.socket.waiting() < WAITING_MAX;
        tokio::select! {
            came = conversation.socket.next(may_read) => return match came {
                Ok(came) => came.and_then(|came| self.came(conversation, came)),
                Err(error) => Some(End::Failed(Fault::Lost, format!("the connection broke: {error}"))),
            },
            out = self.out.recv(), if may_take => match out {
                Some(out) => if let Some(text) = self.keep(out) {
                    conversation.socket.push(text);
                },
                // Nobody is left who could want anything.
                None => return Some(End::Stopped),
            },
            () = sleep_until(conversation.beat_at) => return self.beat(conversation),
            () = self.inbox.room(), if conversation.held.is_some() => {
                if let Some((arrival, sequence)) = conversation.held.take() {
                    self.take(conversation, arrival, sequence);
                }
            }
            _ = stopping.wait_for(|stop| *stop), if !is_stopping => {}
            _ = conversation.in_hand.changed(), if is_stopping => {}
        }
        None
    }

    /// A heartbeat, unless the other side is silent for too long. Where nothing is read for want of room, silence is no sign.
    fn beat(&self, conversation: &mut Conversation) -> Option<End> {
        let now = Instant::now();
        let silent = now.saturating_duration_since(conversation.heard_at);
        if conversation.held.is_none() && silent > silence_max(self.heartbeat) {
            let reason = format!("the server said nothing for {} s", silent.as_secs());
            return Some(End::Failed(Fault::Lost, reason));
        }
        conversation.beat_at = now + self.heartbeat;
        conversation.socket.push(write("heartbeat", &edge::unique_key(), json!({}), edge::now()));
        None
    }

    fn came(&mut self, conversation: &mut Conversation, came: Came) -> Option<End> {
        conversation.heard_at = Instant::now();
        match came {
            Came::Sign => None,
            Came::Close(code, reason) => {
                let reason = format!("the server closed the connection: {code} {reason}");
                Some(
                    Fault::of_close(code)
                        .map_or(End::TakenOver(reason.clone()), |fault| End::Failed(fault, reason)),
                )
            }
            Came::Message(bytes) => {
                self.backoff.good();
                match Received::read(&bytes) {
                    Ok(received) => self.received(conversation, received),
                    // What this client cannot read it can do nothing about; the server keeps it or not.
                    Err(error) => {
                        let data = json!({ "code": "unreadable", "message": error.to_string() });
                        self.observer.tell(Happening::Refused { data });
                    }
                }
                None
            }
        }
    }

    fn received(&mut self, conversation: &mut Conversation, received: Received) {
        let Received { sequence, what } = received;
        match what {
            What::Arrival(arrival) => return self.take(conversation, *arrival, sequence),
            What::Ack { message_id, sequence } => self.acknowledged(&message_id, sequence),
            What::Error(data) => self.refused(data),
            What::HeartbeatAck { connection_id } => self.is_known_as(conversation, connection_id),
            What::Reply { request_id, payload } => {
                if let Some(asked) = self.asked.remove(&request_id) {
                    drop(asked.answer.send(Ok(payload)));
                }
            }
            What::Gap(data) => self.observer.tell(Happening::Gap { data }),
            What::Presence(data) => self.observer.tell(Happening::Presence { data }),
            What::Unknown => {}
        }
        self.has(conversation, sequence);
    }

    /// Takes work, or holds it until there is room.
    fn take(&mut self, conversation: &mut Conversation, arrival: Arrival, sequence: Option<u64>) {
        let place = (arrival.call.kind == Kind::Publication)
            .then(|| arrival.call.sequence.map(|at| (arrival.call.name.clone(), at)))
            .flatten();
        if place.as_ref().is_some_and(|(subject, at)| self.subscriptions.has_seen(subject, *at)) {
            return self.has(conversation, sequence);
        }
        match self.inbox.try_put(arrival) {
            Err(arrival) => conversation.held = Some((*arrival, sequence)),
            Ok(Receipt::Full) => {}
            Ok(Receipt::Taken | Receipt::Repeated(_)) => {
                if let Some((subject, at)) = place {
                    self.subscriptions.saw(&subject, at);
                }
                self.has(conversation, sequence);
            }
        }
    }

    /// Everything up to this sequence is here.
    fn has(&mut self, conversation: &mut Conversation, sequence: Option<u64>) {
        let Some(sequence) = sequence else { return };
        (conversation.ack, conversation.seen) = (Some(sequence), sequence);
        if let Some(resume) = self.resume.as_mut().filter(|_| conversation.is_named) {
            resume.after = sequence;
        }
    }

    fn acknowledged(&mut self, message_id: &str, place: Option<u64>) {
        self.unsettled.retain(|(id, _)| id != message_id);
        if let (Some(subject), Some(place)) = (subscribed_subject(message_id), place) {
            self.subscriptions.saw(subject, place);
        }
        if self.asked.get(message_id).is_some_and(|asked| asked.is_acked)
            && let Some(asked) = self.asked.remove(message_id)
        {
            drop(asked.answer.send(Ok(place.map_or(Value::Null, Value::from))));
        }
    }

    /// Something of ours was refused: whoever asked is told, and an outcome is not sent again.
    fn refused(&mut self, data: Value) {
        let id = data.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(asked) = self.asked.remove(&id) {
            drop(asked.answer.send(Err(link::problem(&data))));
            return;
        }
        self.unsettled.retain(|(known, _)| *known != id);
        self.observer.tell(Happening::Refused { data });
    }

    /// The server says which connection this is; sequences are its own.
    fn is_known_as(&mut self, conversation: &mut Conversation, connection_id: Option<String>) {
        let Some(connection_id) = connection_id.filter(|_| !conversation.is_named) else { return };
        conversation.is_named = true;
        self.observer.tell(Happening::Connected { connection_id: connection_id.clone() });
        self.resume = Some(Resume { connection_id, after: conversation.seen });
    }
}

/// How long the server may say nothing: it answers each heartbeat.
fn silence_max(heartbeat: Duration) -> Duration {
    heartbeat.mul_f64(2.5)
}
