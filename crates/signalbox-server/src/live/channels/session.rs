//! What a connection does with channels: one method for each type of frame, and the end of it all when it is dropped.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use serde_json::value::RawValue;
use signalbox_bus::Subject;
use signalbox_core::Rejected;
use signalbox_core::channel::Channel;
use signalbox_core::engine::{Accept, NewChannelMessage};
use signalbox_wire::artcafe::frames::{
    After, Answer as ReplyData, Ask, Direct, Publish, PublishOnSubject, REQUEST_TIMEOUT_DEFAULT_S, Subscribe,
    Unsubscribe,
};
use signalbox_wire::artcafe::live::Envelope;
use signalbox_wire::body;
use signalbox_wire::id::{AgentId, ChannelId, MessageId};
use signalbox_wire::keys;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::time::Timestamp;

use super::fault::LiveFault;
use super::feed::Feed;
use super::frames::{self, Acknowledged};
use super::history;
use super::hub::{PATTERNS_MAX, PatternsFull};
use super::listing::Recent;
use super::names::Resolved;
use super::publishing::{Lane, Queued};
use super::relay::Told;
use super::requests::{self, Open, Whom};
use super::shared::{Channels, PAYLOAD_BYTES_MAX, Tenant};
use super::subject::Wanted;
use super::subscriber::Subscriber;
use super::tending::AT_ONCE;
use crate::clock;
use crate::http::problem::Refusal;
use crate::quota::Taken;
use crate::transport::burst::BurstWriter;

/// Subscriptions of one connection, at most.
const SUBSCRIPTIONS_MAX: usize = 256;

/// A connection's part in channels.
pub(crate) struct ChannelSession {
    channels: Channels,
    tenant: Arc<Tenant>,
    subscriber: Arc<Subscriber>,
    subscriptions: Mutex<Subscriptions>,
    lane: Lane,
    open: Arc<Open>,
    /// What was published and is not given out yet, while more of it is taken in.
    burst: Mutex<Option<Box<LiveBurst>>>,
}

/// What a connection is subscribed to.
#[derive(Default)]
struct Subscriptions {
    by_text: HashMap<Arc<str>, Wanted>,
    /// The connection has ended: nothing is added any more, however late a request of it is done.
    has_left: bool,
}

/// A message for a subject of which no history is kept.
pub(crate) struct Publication<'e> {
    id: Option<&'e str>,
    subject: Cow<'e, str>,
    channel: Option<ChannelId>,
    payload: &'e RawValue,
}

/// Messages for one subject that came together, and what acknowledges them.
struct LiveBurst {
    subject: String,
    messages: BurstWriter,
    acks: BurstWriter,
}

impl LiveBurst {
    fn new(subject: &str) -> Self {
        Self { subject: subject.to_owned(), messages: BurstWriter::default(), acks: BurstWriter::default() }
    }

    /// Whether one more message is for it.
    fn takes(&self, next: &Publication<'_>, (frames, bytes): (usize, usize)) -> bool {
        let after = self.messages.bytes().saturating_add(next.payload.get().len());
        self.subject == next.subject && self.messages.frames() < frames && after <= bytes
    }

    fn put(&mut self, publication: &Publication<'_>, from: &AgentId, now: Timestamp) {
        let Publication { id, channel, payload, .. } = publication;
        let made = id.is_none().then(Channels::new_id);
        let id = id.or(made.as_ref().map(MessageId::as_str)).unwrap_or_default();
        frames::put_live_message(
            &mut self.messages,
            &self.subject,
            channel.as_ref(),
            from,
            (id, payload),
            now,
        );
        frames::put_ack(&mut self.acks, id, None, now);
    }
}

/// What a frame asks for.
pub(crate) enum Wish {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Publish(Publish),
    Message(Direct),
    Request(Ask),
    Reply(ReplyData),
}

/// What a frame came to; nothing where the answer goes its own way.
type Handled = Result<Option<Acknowledged>, LiveFault>;

/// The types of frames that are a session's.
pub(crate) const KINDS: [&str; 6] = ["subscribe", "unsubscribe", "publish", "message", "request", "reply"];

impl ChannelSession {
    pub(super) fn new(channels: Channels, tenant: Arc<Tenant>, subscriber: Arc<Subscriber>) -> Self {
        let (subscriptions, open) = (Mutex::default(), Arc::default());
        let (lane, burst) = (Lane::default(), Mutex::default());
        Self { channels, tenant, subscriber, subscriptions, lane, open, burst }
    }

    /// Reads what a frame asks for.
    pub(crate) fn read(envelope: &Envelope<'_>) -> Result<Wish, LiveFault> {
        let data = envelope.data.as_bytes();
        Ok(match &*envelope.kind {
            "subscribe" => Wish::Subscribe(body::parse(data)?),
            "unsubscribe" => Wish::Unsubscribe(body::parse(data)?),
            "publish" => Wish::Publish(body::parse(data)?),
            "message" => Wish::Message(body::parse(data)?),
            "request" => Wish::Request(body::parse(data)?),
            "reply" => Wish::Reply(body::parse(data)?),
            other => {
                let known = KINDS.join(", ");
                return Err(LiveFault::invalid("/type", format!("is '{other}', and not one of {known}")));
            }
        })
    }

    /// Reads what is published on a subject of which no history is kept, where nothing has to be looked up for that and
    /// nothing can go wrong any more.
    pub(crate) fn publication<'e>(&self, envelope: &'e Envelope<'_>) -> Option<Publication<'e>> {
        // What other nodes are to be told may not reach them.
        if envelope.kind != "publish" || self.channels.0.bus.reaches_other_nodes() {
            return None;
        }
        let PublishOnSubject { subject, payload, .. } = PublishOnSubject::read(envelope.data)?;
        // What is remembered of a name was a name.
        let channel = match self.tenant.names.get(&subject)? {
            Some(Resolved { is_durable: true, .. }) => return None,
            resolved => resolved.map(|live| live.id),
        };
        let id = envelope.id.as_deref();
        (payload.get().len() <= PAYLOAD_BYTES_MAX).then_some(Publication { id, subject, channel, payload })
    }

    /// Publishes, together with what comes after it until [`ChannelSession::end_burst`].
    pub(crate) fn publish_in_burst(&self, publication: Publication<'_>, now: Timestamp) {
        let mut burst = self.burst.lock();
        let max = self.subscriber.outbox.burst_max();
        if let Some(other) = burst.take_if(|burst| !burst.takes(&publication, max)) {
            self.give(*other);
        }
        let burst = burst.get_or_insert_with(|| Box::new(LiveBurst::new(&publication.subject)));
        burst.put(&publication, &self.subscriber.agent, now);
    }

    /// Gives out what was published since the last time, and acknowledges it.
    pub(crate) fn end_burst(&self) {
        let burst = self.burst.lock().take();
        if let Some(burst) = burst {
            self.give(*burst);
        }
    }

    fn give(&self, burst: LiveBurst) {
        let LiveBurst { subject, mut messages, mut acks } = burst;
        if let Some(messages) = messages.take() {
            self.tenant.hub.deliver_burst(&subject, &messages);
        }
        if let Some(acks) = acks.take() {
            let _ = self.subscriber.outbox.push_own_burst(acks);
        }
    }

    /// Does what the frame with this id asks for. What is answered is an `ack` where one is given back; where none is, the
    /// `ack`, the reply or what went wrong comes over the connection's buffer.
    pub(crate) async fn act(&self, id: Option<&str>, wish: Wish) -> Handled {
        match wish {
            Wish::Subscribe(wanted) => self.subscribe(id, wanted).await,
            Wish::Unsubscribe(wanted) => self.unsubscribe(id, wanted).await,
            Wish::Publish(message) => self.publish(id, message).await,
            Wish::Message(message) => self.message(id, message).await,
            Wish::Request(ask) => self.request(id, ask).await,
            Wish::Reply(reply) => self.reply(id, reply).await,
        }
    }

    /// Ends all that it is subscribed to, for good.
    pub(crate) fn leave(&self) {
        let ended: Vec<Wanted> = {
            let mut subscriptions = self.subscriptions.lock();
            if std::mem::replace(&mut subscriptions.has_left, true) {
                return;
            }
            std::mem::take(&mut subscriptions.by_text).into_values().collect()
        };
        ended.iter().for_each(|subject| self.end(subject));
        self.channels.left(&self.tenant);
    }

    fn acknowledged(id: Option<&str>, sequence: Option<u64>) -> Acknowledged {
        let message_id = id.map_or_else(|| Channels::new_id().to_string(), str::to_owned);
        Acknowledged { message_id, sequence }
    }

    fn push_ack(&self, id: Option<&str>, sequence: Option<u64>) {
        let acknowledged = Self::acknowledged(id, sequence);
        let _ = self.subscriber.outbox.push(frames::ack(&acknowledged, clock::now()));
    }

    /// The channel with this id.
    async fn channel(&self, id: &str) -> Result<Arc<Channel>, LiveFault> {
        let unknown = || LiveFault::from(Rejected::UnknownChannel(id.to_owned()));
        let id = ChannelId::parse(id).map_err(|_| unknown())?;
        let read = self.channels.0.store.channel(&self.tenant.hub.tenant, &id).await?;
        Ok(read.ok_or_else(unknown)?.value)
    }

    async fn subscribe(&self, id: Option<&str>, wanted: Subscribe) -> Handled {
        let hub = &self.tenant.hub;
        let (text, channel) = match (wanted.subject, wanted.channel_id) {
            (Some(subject), _) => (subject, None),
            (None, channel) => {
                let channel = self.channel(&channel.unwrap_or_default()).await?;
                (channel.name.clone(), Some(channel))
            }
        };
        let subject = Wanted::parse(&hub.tenant, &text)?;
        {
            let subscriptions = self.subscriptions.lock();
            let by_text = &subscriptions.by_text;
            if by_text.len() >= SUBSCRIPTIONS_MAX && !by_text.contains_key(&subject.text) {
                let told = format!(
                    "The connection has {SUBSCRIPTIONS_MAX} subscriptions, as many as it may; end some, or use a pattern."
                );
                return Err(LiveFault::new(ProblemKind::ConnectionFull, told));
            }
        }
        let watches = wanted.presence.unwrap_or(false);
        if subject.has_wildcards() {
            self.subscribe_pattern(id, &subject, wanted.after, watches).await?;
        } else {
            let channel = match channel {
                Some(channel) => Some(channel),
                None => self.channels.channel_named(&hub.tenant, &text).await?,
            };
            let channel = channel.filter(|channel| channel.is_durable());
            self.subscribe_subject(id, &subject, channel.as_deref(), wanted.after, watches)?;
        }
        // Who has left meanwhile has been told of as gone, or is after this.
        let subscriptions = self.subscriptions.lock();
        if subscriptions.by_text.contains_key(&subject.text) {
            self.tell_presence(&subject, true);
        }
        Ok(None)
    }

    fn subscribe_subject(
        &self,
        id: Option<&str>,
        subject: &Wanted,
        channel: Option<&Channel>,
        after: Option<After>,
        watches: bool,
    ) -> Result<(), LiveFault> {
        let after = match after {
            None => None,
            Some(After::Sequence(after)) => Some(after),
            Some(After::BySubject(_)) => {
                return Err(LiveFault::invalid("/after", "must be a sequence: the subject is one channel's"));
            }
        };
        let Some(channel) = channel else {
            if after.is_some() {
                let told = format!(
                    "stands beside the subject '{}', of which no channel keeps a history",
                    subject.text
                );
                return Err(LiveFault::invalid("/after", told));
            }
            self.push_ack(id, None);
            return self.add(subject, watches);
        };
        let feed = self.tenant.hub.feed_of(&channel.name, &channel.id, channel.last_sequence());
        match after {
            None => {
                // What another subscription still reads of the history comes all the same.
                let reads_on = self.is_wanted_besides(subject, &feed);
                // Its answer comes before any message.
                feed.at_head(self.subscriber.number, reads_on, |head| {
                    self.push_ack(id, Some(head));
                    self.add(subject, watches)
                })
            }
            Some(after) => {
                fits("/after", after, channel.last_sequence())?;
                self.push_ack(id, Some(after));
                let reading = self.stand_aside(&feed);
                if let Err(fault) = self.add(subject, watches) {
                    feed.forget(self.subscriber.number);
                    return Err(fault);
                }
                history::begin(&self.channels, &self.tenant, &self.subscriber, vec![(feed, reading, after)]);
                Ok(())
            }
        }
    }

    async fn subscribe_pattern(
        &self,
        id: Option<&str>,
        pattern: &Wanted,
        after: Option<After>,
        watches: bool,
    ) -> Result<(), LiveFault> {
        let after = match after {
            None => Default::default(),
            Some(After::BySubject(after)) => after,
            Some(After::Sequence(_)) => {
                let told = "must be an object of subject and sequence: a pattern may match several channels";
                return Err(LiveFault::invalid("/after", told));
            }
        };
        let hub = &self.tenant.hub;
        // What there is now has a feed from here on: of what comes later nothing is missed.
        let store = &self.channels.0.store;
        let generation = self.tenant.names.generation();
        let Recent { channels, is_now } = self.tenant.listing.recent(store, &hub.tenant, generation).await?;
        let mut wanted = Vec::new();
        for (count, channel) in channels.iter().enumerate() {
            if count % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            if !pattern.matches(&hub.tenant, &channel.name) {
                continue;
            }
            let (mut last, after) = (channel.last_sequence, after.get(&channel.name));
            // How far it has come is asked where that counts: a feed that is there knows.
            if !is_now && (after.is_some() || hub.feed(&channel.name).is_none()) {
                let Some(read) = store.channel(&hub.tenant, &channel.id).await? else { continue };
                last = read.value.last_sequence();
            }
            let feed = hub.feed_of(&channel.name, &channel.id, last);
            if let Some(after) = after {
                fits(&format!("/after/{}", channel.name), *after, last)?;
                wanted.push((feed, *after));
            }
        }
        if wanted.len() < after.len() {
            let is_found = |name: &String| wanted.iter().any(|(feed, _)| *feed.subject == **name);
            let missing = after.keys().find(|name| !is_found(name)).cloned().unwrap_or_default();
            let told = "is no channel with a history that the pattern matches";
            return Err(LiveFault::invalid(&format!("/after/{missing}"), told));
        }
        let aside = |(feed, after): (Arc<Feed>, u64)| {
            let reading = self.stand_aside(&feed);
            (feed, reading, after)
        };
        let wanted: Vec<_> = wanted.into_iter().map(aside).collect();
        if let Err(fault) = self.add(pattern, watches) {
            wanted.iter().for_each(|(feed, ..)| feed.forget(self.subscriber.number));
            return Err(fault);
        }
        self.push_ack(id, None);
        history::begin(&self.channels, &self.tenant, &self.subscriber, wanted);
        Ok(())
    }

    fn stand_aside(&self, feed: &Feed) -> u64 {
        let reading = self.channels.number();
        feed.stand_aside(self.subscriber.number, reading);
        reading
    }

    /// Whether another subscription of the connection is for a feed.
    fn is_wanted_besides(&self, subject: &Wanted, feed: &Feed) -> bool {
        let tenant = &self.tenant.hub.tenant;
        let is_other = |other: &Wanted| other.text != subject.text && other.matches(tenant, &feed.subject);
        self.subscriptions.lock().by_text.values().any(is_other)
    }

    fn add(&self, subject: &Wanted, watches: bool) -> Result<(), LiveFault> {
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions.has_left {
            let told = "The connection has ended; subscribe over the next one.";
            return Err(LiveFault::new(ProblemKind::ConnectionTakenOver, told));
        }
        let added = self.tenant.hub.subscribe(subject, &self.subscriber, clock::now(), watches);
        added.map_err(|PatternsFull| {
            let told = format!(
                "The tenant's connections to this server have {PATTERNS_MAX} different patterns, as many as they may."
            );
            LiveFault::new(ProblemKind::PatternsFull, told)
        })?;
        subscriptions.by_text.insert(Arc::clone(&subject.text), subject.clone());
        Ok(())
    }

    async fn unsubscribe(&self, id: Option<&str>, wanted: Unsubscribe) -> Handled {
        let text = match (wanted.subject, wanted.channel_id) {
            (Some(subject), _) => subject,
            (None, channel) => self.channel(&channel.unwrap_or_default()).await?.name.clone(),
        };
        let ended = self.subscriptions.lock().by_text.remove(&*text);
        if let Some(subject) = ended {
            self.end(&subject);
        }
        Ok(Some(Self::acknowledged(id, None)))
    }

    fn end(&self, subject: &Wanted) {
        let hub = &self.tenant.hub;
        let is_last = hub.unsubscribe(subject, &self.subscriber);
        for feed in hub.feeds_of(subject) {
            // Another subscription of the connection may still want it.
            let is_wanted = |other: &Wanted| other.matches(&hub.tenant, &feed.subject);
            let is_wanted = self.subscriptions.lock().by_text.values().any(is_wanted);
            if !is_wanted {
                feed.forget(self.subscriber.number);
            }
        }
        if is_last {
            self.tell_presence(subject, false);
        }
    }

    /// Tells those who watch, here and on other nodes.
    fn tell_presence(&self, subject: &Wanted, has_come: bool) {
        let (hub, agent) = (&self.tenant.hub, &self.subscriber.agent);
        let id = Channels::new_id().to_string();
        hub.tell_presence(agent, &subject.text, has_come, &id, clock::now());
        self.channels.tell_tenant(&hub.tenant, |from| Told::Presence {
            from,
            agent: agent.clone(),
            subject: subject.text.to_string(),
            has_come,
            id,
        });
    }

    async fn publish(&self, id: Option<&str>, message: Publish) -> Handled {
        let Publish { subject, channel_id, payload } = message;
        self.send(id, (subject, channel_id), payload).await
    }

    /// Publishes on a subject or to a channel.
    async fn send(
        &self,
        id: Option<&str>,
        (subject, channel): (Option<String>, Option<String>),
        payload: Box<RawValue>,
    ) -> Handled {
        let tenant = &self.tenant.hub.tenant;
        if payload.get().len() > PAYLOAD_BYTES_MAX {
            let told =
                format!("The payload has {} bytes; {PAYLOAD_BYTES_MAX} are the most.", payload.get().len());
            return Err(LiveFault::new(ProblemKind::TooLarge, told));
        }
        let (subject, resolved) = match (subject, channel) {
            (Some(subject), _) => {
                // What is no subject must not be looked up either.
                Subject::channel(tenant, &subject)?;
                let resolved = self.channels.resolve(&self.tenant, &subject).await?;
                (subject, resolved)
            }
            (None, channel) => {
                let channel = self.channel(&channel.unwrap_or_default()).await?;
                let resolved = Resolved { id: channel.id.clone(), is_durable: channel.is_durable() };
                (channel.name.clone(), Some(resolved))
            }
        };
        let given = id.map(MessageId::parse).transpose();
        let given = given.map_err(|error| LiveFault::invalid("/id", error))?;
        let taken = self.quota().await?;
        let channel = match resolved {
            Some(Resolved { id, is_durable: true }) => id,
            live => {
                let channel = live.map(|live| live.id);
                let id = given.unwrap_or_else(Channels::new_id);
                let agent = &self.subscriber.agent;
                self.channels.publish_live(
                    (&self.tenant, &subject),
                    channel.as_ref(),
                    agent,
                    &id,
                    &payload,
                )?;
                taken.keep();
                return Ok(Some(Acknowledged { message_id: id.to_string(), sequence: None }));
            }
        };
        // What turns out to be a repeat is counted all the same.
        taken.keep();
        let message = NewChannelMessage { id: given, payload };
        // Its `ack` comes after the commit, in its order among this connection's.
        let whose = (&self.channels, &*self.tenant, &self.subscriber);
        self.lane.put(whose, Queued { channel, message }).await;
        Ok(None)
    }

    /// A message to an agent goes the way of those of `/run`; one to a channel is published.
    async fn message(&self, id: Option<&str>, message: Direct) -> Handled {
        let Direct { to, subject, channel_id, payload } = message;
        let Some(to) = to else { return self.send(id, (subject, channel_id), payload).await };
        let unknown = || LiveFault::from(Rejected::UnknownAgent(to.clone()));
        let agent = AgentId::parse(&to).map_err(|_| unknown())?;
        let from = &self.subscriber.agent;
        let body = json!({
            "senderId": from,
            "messageType": "message",
            "payload": payload,
            "timestamp": clock::now(),
        });
        let own = id.map(|id| direct_id(from, id));
        let (admission, tenant) = (&self.channels.0.admission, &self.tenant.hub.tenant);
        if !admission.has_room(tenant, &agent, own.as_ref(), clock::now()).await? {
            return Err(LiveFault::new(ProblemKind::TooManyWaiting, admission.too_many(&agent)));
        }
        let operation = Accept { agent, id: own, body: body.to_string(), trace: None };
        let taken = self.quota().await?;
        let accepted = self.accepted(&operation).await?;
        taken.keep();
        let message_id = id.map_or_else(|| accepted.to_string(), str::to_owned);
        Ok(Some(Acknowledged { message_id, sequence: None }))
    }

    /// Counts a message, where the tenant may send one more today.
    async fn quota(&self) -> Result<Taken, LiveFault> {
        let taken = self.channels.0.quotas.message(&self.tenant.hub.tenant, clock::now()).await;
        taken.map_err(|error| Refusal::from(error).into())
    }

    async fn accepted(&self, operation: &Accept) -> Result<MessageId, LiveFault> {
        let tenant = &self.tenant.hub.tenant;
        // A repeat says when it was sent anew; what was accepted first is what counts.
        if let Some(id) = &operation.id
            && let Some(known) = self.channels.0.store.message(tenant, id).await?
            && known.value.agent.as_ref() == Some(&operation.agent)
            && is_same(&known.value.body, &operation.body)
        {
            return Ok(id.clone());
        }
        Ok(self.channels.0.drive.run(tenant, operation).await?)
    }

    async fn request(&self, id: Option<&str>, ask: Ask) -> Handled {
        let within =
            ask.timeout.map_or(Duration::from_secs(REQUEST_TIMEOUT_DEFAULT_S), Duration::from_secs_f64);
        let whom = match (ask.to, ask.subject) {
            (Some(to), _) => match AgentId::parse(&to) {
                Ok(agent) => Whom::Agent(agent),
                Err(_) => return Err(Rejected::UnknownAgent(to).into()),
            },
            (None, subject) => {
                let subject = subject.unwrap_or_default();
                Subject::channel(&self.tenant.hub.tenant, &subject)?;
                Whom::Subject(subject)
            }
        };
        let id = id.map_or_else(|| Channels::new_id().to_string(), str::to_owned);
        let (channels, tenant, subscriber) = (&self.channels, &self.tenant, &self.subscriber);
        let taken = self.quota().await?;
        requests::begin((channels, tenant, subscriber), &self.open, (id, whom, ask.payload, within))?;
        taken.keep();
        Ok(None)
    }

    async fn reply(&self, id: Option<&str>, reply: ReplyData) -> Handled {
        let taken = self.quota().await?;
        requests::reply(&self.channels, &self.tenant.hub.tenant, &self.subscriber.agent, reply)?;
        taken.keep();
        Ok(Some(Self::acknowledged(id, None)))
    }
}

impl Drop for ChannelSession {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A sequence that a history is asked for after must be one that the channel has come to.
fn fits(pointer: &str, after: u64, last: u64) -> Result<(), LiveFault> {
    if after <= last {
        return Ok(());
    }
    Err(LiveFault::invalid(pointer, format!("is {after}, and the channel has come to {last} only")))
}

/// The id of a direct message: that of its sender, who alone may repeat it. The first dot ends the name of the sender,
/// where that has none itself.
fn direct_id(from: &AgentId, id: &str) -> MessageId {
    let is_plain = !from.as_str().contains('.');
    let plain = is_plain.then(|| MessageId::parse(&format!("{from}.{id}")).ok()).flatten();
    plain.unwrap_or_else(|| {
        let text = format!("{}.{from}.{id}", from.as_str().len());
        let short = format!("{}{}", MessageId::PREFIX, keys::hash_hex(&text));
        // Letters and digits, and few of them.
        MessageId::parse(&short).unwrap_or_else(|_| Channels::new_id())
    })
}

/// Whether two bodies of direct messages are of one sender and carry the same.
fn is_same(one: &str, other: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Carried<'a> {
        #[serde(rename = "senderId", borrow)]
        sender: &'a RawValue,
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    let read = |body| serde_json::from_str::<Carried<'_>>(body).ok();
    let told = |carried: Carried<'_>| (carried.sender.get().to_owned(), carried.payload.get().to_owned());
    let (Some(one), Some(other)) = (read(one).map(told), read(other).map(told)) else { return false };
    one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_direct_messages_are_their_senders_own() {
        let agent = |id| AgentId::parse(id).expect("valid");
        let long = "x".repeat(256);
        let long = long.as_str();
        let pairs =
            [("a", "b.c"), ("a.b", "c"), ("a", "b"), ("a.b", "b"), ("a.b.c", ""), ("a", long), ("b", long)];
        let ids: Vec<MessageId> = pairs.iter().map(|(from, id)| direct_id(&agent(from), id)).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{:?} is another's: {id}", pairs[at]);
            assert_eq!(*id, direct_id(&agent(pairs[at].0), pairs[at].1));
        }
        let body =
            |from: &str, payload: u8| format!(r#"{{"senderId":"{from}","payload":{payload},"timestamp":1}}"#);
        assert!(is_same(&body("a", 1), &body("a", 1)));
        assert!(!is_same(&body("a", 1), &body("b", 1)) && !is_same(&body("a", 1), &body("a", 2)));
    }
}
