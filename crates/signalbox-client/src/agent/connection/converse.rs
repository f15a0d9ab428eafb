//! One connection from its opening to its end.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::dial::{Dial, Resume};
use super::envelope::{Received, What, write};
use super::link::Out;
use super::place::Place;
use super::refusal::Refused;
use super::socket::{Came, Socket, WAITING_MAX};
use super::state::{Connection, subscribe_id, subscribed_subject};
use crate::agent::call::Kind;
use crate::agent::happening::Happening;
use crate::agent::inbox::{Arrival, Receipt, work_id};
use crate::edge;

/// What may wait for room in the inbox before nothing more is read.
const HELD_MAX: usize = 256;
/// The state of an agent that takes nothing more and finishes what it has.
const DRAINING: &str = "draining";
/// The code of a close because of a message that is too large.
const TOO_LARGE: u16 = 1009;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// As it was to.
    Stopped,
    /// The server closed it, with a code and for a reason.
    Closed(u16, String),
    /// It broke.
    Lost(String),
}

/// What one connection has of its own.
struct Conversation {
    socket: Socket,
    /// What came and found no room, in its order; when it is full, nothing more is read.
    held: VecDeque<(Arrival, Option<u64>)>,
    /// What is dealt with, and so acknowledged.
    place: Place,
    /// What was refused for now, by its id, and when it is sent again. As much as is unsettled or subscribed to.
    again: Vec<(Instant, String)>,
    /// The size of the largest message that is not sent again.
    sent_once_bytes: usize,
    /// Whether the server said which connection this is.
    is_named: bool,
    heard_at: Instant,
    beat_at: Instant,
    is_draining: bool,
    /// Whether the server is to hear that the agent is draining.
    is_drain_due: bool,
    in_hand: watch::Receiver<usize>,
}

impl<D: Dial> Connection<D> {
    /// Goes on until the connection ends.
    pub(super) async fn converse(&mut self, socket: Socket) -> End {
        let now = Instant::now();
        let mut conversation = Conversation {
            socket,
            held: VecDeque::new(),
            place: Place::default(),
            again: Vec::new(),
            sent_once_bytes: 0,
            is_named: false,
            heard_at: now,
            // At once: its answer says which connection this is.
            beat_at: now,
            is_draining: false,
            is_drain_due: false,
            in_hand: self.in_hand.changes(),
        };
        self.begin(&mut conversation);
        let mut stopping = self.stopping.clone();
        loop {
            if let Some(end) = self.wind_down(&mut conversation, &stopping) {
                conversation.socket.close("the agent stops").await;
                return end;
            }
            let end = self.turn(&mut conversation, &mut stopping).await;
            if let Some(resume) = self.resume.as_mut().filter(|_| conversation.is_named) {
                resume.after = conversation.dealt_with();
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// What is said first: subscriptions, and what the server is not known to have.
    fn begin(&mut self, conversation: &mut Conversation) {
        for (subject, data) in self.subscriptions.again() {
            conversation.socket.push(write("subscribe", &subscribe_id(&subject), data, edge::now()));
        }
        for settling in &self.unsettled {
            conversation.socket.push(settling.text.clone());
        }
        // Whoever gave up waiting wants no answer.
        self.asked.retain(|asked| !asked.answer.is_closed());
        for asked in &self.asked {
            conversation.socket.push(asked.text.clone());
        }
    }

    /// Whether all is done, where the agent is to stop. Until then the server hears that the agent takes nothing more: a state
    /// of the agent's own, which its next process ends by its first heartbeat.
    fn wind_down(
        &mut self,
        conversation: &mut Conversation,
        stopping: &watch::Receiver<bool>,
    ) -> Option<End> {
        if !*stopping.borrow() {
            return None;
        }
        let is_done = *conversation.in_hand.borrow_and_update() == 0
            && self.out.is_empty()
            && self.unsettled.is_empty()
            && conversation.socket.is_flushed();
        if is_done {
            return Some(End::Stopped);
        }
        if !conversation.is_draining {
            (conversation.is_draining, conversation.is_drain_due) = (true, true);
            // What waits for room is left to the next process, as what comes from now on.
            for sequence in std::mem::take(&mut conversation.held).into_iter().filter_map(|(_, at)| at) {
                conversation.place.leaves(sequence);
            }
        }
        None
    }

    /// Waits for one thing to happen, and does what it asks for.
    async fn turn(
        &mut self,
        conversation: &mut Conversation,
        stopping: &mut watch::Receiver<bool>,
    ) -> Option<End> {
        let is_stopping = conversation.is_draining;
        conversation.tell_draining();
        if conversation.socket.waiting() == 0 {
            conversation.tell_place();
        }
        let may_read = conversation.may_read();
        let again_at = conversation.again.iter().map(|(at, _)| *at).min();
        let may_take = conversation.socket.waiting() < WAITING_MAX;
        tokio::select! {
            came = conversation.socket.next(may_read) => return match came {
                Ok(came) => came.and_then(|came| self.came(conversation, came)),
                Err(error) => Some(End::Lost(format!("the connection broke: {error}"))),
            },
            out = self.out.recv(), if may_take => match out {
                Some(out) => self.send(conversation, out),
                // Nobody is left who could want anything.
                None => return Some(End::Stopped),
            },
            () = sleep_until(conversation.beat_at) => return self.beat(conversation),
            () = sleep_until(again_at.unwrap_or_else(Instant::now)), if again_at.is_some() => {
                self.send_again(conversation);
            }
            () = self.inbox.room(), if !conversation.held.is_empty() => {
                if !conversation.may_read() {
                    // Nothing was read for a while: that the other side was not heard is no sign.
                    conversation.heard_at = Instant::now();
                }
                if let Some((arrival, sequence)) = conversation.held.pop_front() {
                    self.take(conversation, arrival, sequence);
                }
            }
            _ = stopping.wait_for(|stop| *stop), if !is_stopping => {}
            _ = conversation.in_hand.changed(), if is_stopping => {}
        }
        None
    }

    /// Sends what the agent hands over, and keeps what outlives the connection.
    fn send(&mut self, conversation: &mut Conversation, out: Out) {
        // What is told of work counts as the agent's state, which is that it takes nothing more.
        conversation.is_drain_due |= conversation.is_draining && matches!(out, Out::Once(_) | Out::Settle(_));
        let is_once = matches!(out, Out::Once(_));
        let Some(text) = self.keep(out) else { return };
        if is_once {
            conversation.sent_once_bytes = conversation.sent_once_bytes.max(text.len());
        }
        conversation.socket.push(text);
    }

    /// Sends what was refused for a while, and is to be taken now.
    fn send_again(&mut self, conversation: &mut Conversation) {
        let now = Instant::now();
        let (due, later) =
            std::mem::take(&mut conversation.again).into_iter().partition(|(at, _)| *at <= now);
        conversation.again = later;
        let due: Vec<(Instant, String)> = due;
        for (_, id) in due {
            let text = match subscribed_subject(&id) {
                Some(subject) => self.subscribe_again(subject),
                None => self.unsettled.iter().find(|known| known.id == id).map(|known| known.text.clone()),
            };
            if let Some(text) = text {
                conversation.socket.push(text);
            }
        }
    }

    /// A heartbeat, unless the other side is silent for too long. Where nothing is read for want of room, silence is no sign.
    fn beat(&self, conversation: &mut Conversation) -> Option<End> {
        let now = Instant::now();
        let silent = now.saturating_duration_since(conversation.heard_at);
        if conversation.may_read() && silent > silence_max(self.heartbeat) {
            let reason = format!("the server said nothing for {} s", silent.as_secs());
            return Some(End::Lost(reason));
        }
        conversation.beat_at = now + self.heartbeat;
        let data = match (conversation.is_draining, self.is_online) {
            (true, _) => json!({ "status": DRAINING }),
            (false, false) => json!({ "status": "online" }),
            (false, true) => json!({}),
        };
        conversation.socket.push(write("heartbeat", &edge::unique_key(), data, edge::now()));
        None
    }

    fn came(&mut self, conversation: &mut Conversation, came: Came) -> Option<End> {
        conversation.heard_at = Instant::now();
        match came {
            Came::Sign => None,
            Came::Close(code, reason) => {
                if code == TOO_LARGE {
                    self.too_large(conversation.sent_once_bytes);
                }
                Some(End::Closed(code, format!("the server closed the connection: {code} {reason}")))
            }
            Came::Message(bytes) => {
                self.backoff.good();
                if let Some(first) = self.first.take() {
                    drop(first.send(Ok(())));
                }
                match Received::read(&bytes) {
                    Ok(received) => self.received(conversation, received),
                    // What this client cannot read it can do nothing about; the server keeps it or not.
                    Err(error) => {
                        let data = json!({ "code": "unreadable", "message": error.to_string() });
                        self.observer.tell(Happening::Refused { data, subscription: None, is_final: true });
                    }
                }
                None
            }
        }
    }

    fn received(&mut self, conversation: &mut Conversation, received: Received) {
        let Received { sequence, what } = received;
        match what {
            What::Arrival(arrival) => return self.arrived(conversation, *arrival, sequence),
            What::Ack { message_id, sequence } => self.acknowledged(conversation, &message_id, sequence),
            What::Error(data) => {
                let refused = self.refused(data);
                conversation.refused(refused);
            }
            What::HeartbeatAck { connection_id } => self.is_known_as(conversation, connection_id),
            What::Reply { request_id, payload } => {
                if let Some(asked) = self.take_asked(&request_id) {
                    drop(asked.answer.send(Ok(payload)));
                }
            }
            What::Gap(data) => self.observer.tell(Happening::Gap { data }),
            What::Presence(data) => self.observer.tell(Happening::Presence { data }),
            What::Unknown => {}
        }
        conversation.has(sequence);
    }

    /// Takes what came, or lets it wait behind what waits already. What ends work does not wait, unless that work does.
    fn arrived(&mut self, conversation: &mut Conversation, mut arrival: Arrival, sequence: Option<u64>) {
        if let Some(ends) = &arrival.cancels {
            let waits = |(held, _): &(Arrival, Option<u64>)| work_id(&held.call) == Some(ends);
            if !conversation.held.iter().any(waits) {
                return self.take(conversation, arrival, sequence);
            }
        } else if conversation.is_draining {
            sequence.into_iter().for_each(|sequence| conversation.place.leaves(sequence));
            return;
        }
        if arrival.call.sequence.is_some() {
            // History that is asked for anew is no repeat.
            let replays = self.subscriptions.replays();
            arrival.repeat_key = arrival.repeat_key.map(|key| format!("{replays}/{key}"));
        }
        if conversation.held.is_empty() {
            self.take(conversation, arrival, sequence);
        } else {
            conversation.held.push_back((arrival, sequence));
        }
    }

    /// Takes work, or holds it until there is room.
    fn take(&mut self, conversation: &mut Conversation, arrival: Arrival, sequence: Option<u64>) {
        let place = (arrival.call.kind == Kind::Publication)
            .then(|| {
                let channel = arrival.call.more.get("channel_id").and_then(Value::as_str).map(str::to_owned);
                arrival.call.sequence.map(|at| (arrival.call.name.clone(), channel, at))
            })
            .flatten();
        let was_seen = |(subject, channel, at): &(String, Option<String>, u64)| {
            self.subscriptions.has_seen(subject, channel.as_deref(), *at)
        };
        if place.as_ref().is_some_and(was_seen) {
            return conversation.has(sequence);
        }
        let work = work_id(&arrival.call).filter(|_| arrival.cancels.is_none()).map(str::to_owned);
        let command = work.clone().filter(|_| arrival.call.kind == Kind::Command);
        if let Some(message_id) = work.clone().filter(|id| self.unanswered.contains(id)) {
            self.observer.tell(Happening::Repeated { message_id });
            return conversation.opens(sequence, command);
        }
        match self.inbox.try_put(arrival) {
            Err(arrival) => conversation.held.push_front((*arrival, sequence)),
            Ok(Receipt::Full) => {
                sequence.into_iter().for_each(|sequence| conversation.place.leaves(sequence))
            }
            Ok(Receipt::Repeated(_)) => conversation.has(sequence),
            Ok(Receipt::Taken) => {
                if let Some((subject, channel, at)) = place {
                    self.subscriptions.saw(&subject, channel.as_deref(), at);
                }
                self.unanswered.extend(work);
                conversation.opens(sequence, command);
            }
        }
    }

    fn acknowledged(&mut self, conversation: &mut Conversation, message_id: &str, place: Option<u64>) {
        if let Some(at) = self.unsettled.iter().position(|settling| settling.id == message_id)
            && let Some(settling) = self.unsettled.remove(at)
        {
            self.unanswered.remove(&settling.answers);
            conversation.place.answered(&settling.answers);
        }
        if let Some(subject) = subscribed_subject(message_id) {
            self.subscriptions.made(subject);
            if let Some(place) = place {
                self.subscriptions.saw(subject, None, place);
            }
        }
        let is_acked = self.asked.iter().any(|asked| asked.id == message_id && asked.is_acked);
        if let Some(asked) = is_acked.then(|| self.take_asked(message_id)).flatten() {
            drop(asked.answer.send(Ok(place.map_or(Value::Null, Value::from))));
        }
    }

    /// The server says which connection this is; sequences are its own.
    fn is_known_as(&mut self, conversation: &mut Conversation, connection_id: Option<String>) {
        self.is_online |= !conversation.is_draining;
        let Some(connection_id) = connection_id.filter(|_| !conversation.is_named) else { return };
        conversation.is_named = true;
        self.told_loss = None;
        let is_back = std::mem::take(&mut self.is_lost);
        self.observer.tell(Happening::Connected { connection_id: connection_id.clone(), is_back });
        self.resume = Some(Resume { connection_id, after: conversation.dealt_with() });
    }
}

impl Conversation {
    fn may_read(&self) -> bool {
        self.held.len() < HELD_MAX
    }

    /// What has this sequence is here.
    fn has(&mut self, sequence: Option<u64>) {
        sequence.into_iter().for_each(|sequence| self.place.has(sequence));
    }

    /// The same of work; a command stays open until the server has its answer.
    fn opens(&mut self, sequence: Option<u64>, command: Option<String>) {
        match (sequence, command) {
            (Some(sequence), Some(command)) => self.place.opens(sequence, &command),
            _ => self.has(sequence),
        }
    }

    fn waits_from(&self) -> Option<u64> {
        self.held.iter().find_map(|(_, sequence)| *sequence)
    }

    fn dealt_with(&self) -> u64 {
        self.place.dealt_with(self.waits_from())
    }

    /// Acknowledges what is new of that.
    fn tell_place(&mut self) {
        if let Some(sequence) = self.place.acknowledges(self.waits_from()) {
            let data = json!({ "sequence": sequence });
            self.socket.push(write("ack", &edge::unique_key(), data, edge::now()));
        }
    }

    /// Says that the agent takes nothing more, where that is due.
    fn tell_draining(&mut self) {
        if std::mem::take(&mut self.is_drain_due) {
            let data = json!({ "status": DRAINING });
            self.socket.push(write("status", &edge::unique_key(), data, edge::now()));
        }
    }

    fn refused(&mut self, refused: Refused) {
        if let Some(command) = &refused.answered {
            self.place.answered(command);
        }
        if let Some(text) = refused.send {
            self.socket.push(text);
        }
        self.again.extend(refused.again.map(|(wait, id)| (Instant::now() + wait, id)));
    }
}

/// How long the server may say nothing: it answers each heartbeat.
fn silence_max(heartbeat: Duration) -> Duration {
    heartbeat.mul_f64(2.5)
}
