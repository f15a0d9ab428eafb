//! Channels: made, changed, removed, and published to.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use serde_json::value::RawValue;
use signalbox_wire::id::{AgentId, ChannelId, MessageId};

use super::operation::Operation;
use crate::channel::{Channel, ChannelMessage, ChannelName, ChannelRetention};
use crate::decision::{Key, Row};
use crate::event::{Level, NewEvent};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot, Versioned};

/// A channel is made.
#[derive(Debug, Clone)]
pub struct CreateChannel {
    /// Its subject.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What of its history is kept.
    pub retention: ChannelRetention,
    /// The agent that makes it, where one does.
    pub by: Option<AgentId>,
}

impl Operation for CreateChannel {
    type Output = Arc<Channel>;

    fn keys(&self) -> Vec<Key> {
        vec![Key::ChannelName(self.name.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        if snapshot.channel_named(&self.name)?.is_some() {
            return Err(Rejected::ChannelTaken(self.name.clone()).into());
        }
        let channel = Arc::new(Channel {
            id: ChannelId::new(context.now, context.bits()),
            name: self.name.clone(),
            description: self.description.clone(),
            retention: self.retention,
            next_sequence: 1,
            first_kept: 1,
            last_at: None,
            created_at: context.now,
            created_by: self.by.clone(),
        });
        let mut decision = logged(context, "channel.created", &channel);
        let version = context.version_after(None);
        decision.create(Row::Channel(Arc::clone(&channel)), version);
        let name = ChannelName { name: self.name.clone(), channel: channel.id.clone() };
        decision.create(Row::ChannelName(name), version);
        Ok((decision, channel))
    }
}

/// What a channel is for, or what it keeps, is changed. What is not given stays.
#[derive(Debug, Clone)]
pub struct ChangeChannel {
    /// Which.
    pub channel: ChannelId,
    /// What it is for; `Some(None)` for nothing.
    pub description: Option<Option<String>>,
    /// How many messages are kept.
    pub max_messages: Option<u64>,
    /// How long they are kept.
    pub max_age: Option<std::time::Duration>,
}

impl Operation for ChangeChannel {
    type Output = Arc<Channel>;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Channel(self.channel.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        let read = known(snapshot, &self.channel)?;
        let mut next = Channel::clone(&read.value);
        if let Some(description) = &self.description {
            next.description.clone_from(description);
        }
        next.retention.max_messages = self.max_messages.unwrap_or(next.retention.max_messages);
        next.retention.max_age = self.max_age.unwrap_or(next.retention.max_age);
        next.trim();
        if next == *read.value {
            return Ok((Decision::default(), read.value));
        }
        let next = Arc::new(next);
        let mut decision = logged(context, "channel.changed", &next);
        let version = context.version_after(Some(read.version));
        decision.put(Row::Channel(Arc::clone(&next)), Some(read.version), version);
        Ok((decision, next))
    }
}

/// A channel is removed. Its history goes with it, in pieces, by retention.
#[derive(Debug, Clone)]
pub struct DeleteChannel {
    /// Which.
    pub channel: ChannelId,
}

impl Operation for DeleteChannel {
    /// The channel as it was.
    type Output = Arc<Channel>;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Channel(self.channel.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        let read = known(snapshot, &self.channel)?;
        let mut decision = logged(context, "channel.deleted", &read.value);
        decision.remove(Key::Channel(self.channel.clone()), read.version);
        decision.remove_guarded(Key::ChannelName(read.value.name.clone()));
        Ok((decision, read.value))
    }
}

/// Messages of one publisher are published to a channel, in this order.
#[derive(Debug, Clone)]
pub struct PublishToChannel {
    /// The channel.
    pub channel: ChannelId,
    /// The agent that publishes, where one does.
    pub from: Option<AgentId>,
    /// What it publishes.
    pub messages: Vec<NewChannelMessage>,
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct NewChannelMessage {
    /// The publisher's own id for it: the same id and payload again is the same message, as long as that is kept.
    pub id: Option<MessageId>,
    /// What is published, as JSON.
    pub payload: Box<RawValue>,
}

/// What became of messages that were published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The channel as it is now.
    pub channel: Arc<Channel>,
    /// Each message, in the order in which they were given.
    pub messages: Vec<Result<PublishedMessage, Rejected>>,
}

/// What became of one of them.
#[derive(Debug, Clone)]
pub struct PublishedMessage {
    /// The message; of a channel that keeps nothing its sequence is 0.
    pub message: Arc<ChannelMessage>,
    /// Whether it had been published before.
    pub is_repeat: bool,
}

impl Operation for PublishToChannel {
    type Output = Published;

    fn keys(&self) -> Vec<Key> {
        let own = self.messages.iter().filter_map(|message| message.id.clone());
        let own = own.map(|id| Key::ChannelMessage(self.channel.clone(), self.from.clone(), id));
        std::iter::once(Key::Channel(self.channel.clone())).chain(own).collect()
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Published), Halt> {
        let read = known(snapshot, &self.channel)?;
        let mut channel = Channel::clone(&read.value);
        let mut decision = Decision::default();
        let mut made: HashMap<MessageId, Arc<ChannelMessage>> = HashMap::new();
        let mut messages = Vec::with_capacity(self.messages.len());
        for new in &self.messages {
            if let Some(id) = &new.id
                && let Some(known) = self.known_message(snapshot, &channel, &made, id)?
            {
                messages.push(repeated(known, new));
                continue;
            }
            let message = Arc::new(self.message(new, &mut channel, context));
            if channel.is_durable() {
                // An id comes anew where what had it is no longer kept and not yet removed.
                let before = match &new.id {
                    Some(id) => snapshot.channel_message(&self.channel, self.from.as_ref(), id)?,
                    None => None,
                };
                let before = before.map(|row| row.version);
                let version = context.version_after(before);
                decision.put(Row::ChannelMessage(Arc::clone(&message)), before, version);
                made.insert(message.id.clone(), Arc::clone(&message));
            }
            messages.push(Ok(PublishedMessage { message, is_repeat: false }));
        }
        channel.trim();
        let channel = Arc::new(channel);
        if !decision.is_empty() {
            let version = context.version_after(Some(read.version));
            decision.put(Row::Channel(Arc::clone(&channel)), Some(read.version), version);
        }
        Ok((decision, Published { channel, messages }))
    }
}

impl PublishToChannel {
    /// The message that this publisher gave the id before, where it is kept.
    fn known_message(
        &self,
        snapshot: &Snapshot,
        channel: &Channel,
        made: &HashMap<MessageId, Arc<ChannelMessage>>,
        id: &MessageId,
    ) -> Result<Option<Arc<ChannelMessage>>, Halt> {
        if let Some(made) = made.get(id) {
            return Ok(Some(Arc::clone(made)));
        }
        let kept = snapshot.channel_message(&self.channel, self.from.as_ref(), id)?.map(|row| row.value);
        Ok(kept.filter(|kept| kept.sequence >= channel.first_kept))
    }

    /// The next message of the channel.
    fn message(
        &self,
        new: &NewChannelMessage,
        channel: &mut Channel,
        context: &mut DecisionContext<'_>,
    ) -> ChannelMessage {
        let id = new.id.clone().unwrap_or_else(|| MessageId::new(context.now, context.bits()));
        let mut sequence = 0;
        let mut at = context.now;
        if channel.is_durable() {
            sequence = channel.next_sequence;
            channel.next_sequence += 1;
            at = channel.last_at.map_or(at, |last| last.max(at));
            channel.last_at = Some(at);
        }
        ChannelMessage {
            channel: self.channel.clone(),
            sequence,
            id,
            from: self.from.clone(),
            payload: new.payload.clone(),
            at,
        }
    }
}

/// What a message comes to whose id came before.
fn repeated(known: Arc<ChannelMessage>, new: &NewChannelMessage) -> Result<PublishedMessage, Rejected> {
    if known.payload.get() == new.payload.get() {
        Ok(PublishedMessage { message: known, is_repeat: true })
    } else {
        Err(Rejected::MessageIdReused(known.id.clone()))
    }
}

fn known(snapshot: &Snapshot, channel: &ChannelId) -> Result<Versioned<Channel>, Halt> {
    snapshot.channel(channel)?.ok_or_else(|| Rejected::UnknownChannel(channel.to_string()).into())
}

fn logged(context: &DecisionContext<'_>, kind: &str, channel: &Channel) -> Decision {
    let data = json!({
        "channelId": channel.id,
        "name": channel.name,
        "maxMessages": channel.retention.max_messages,
        "maxAgeSeconds": channel.retention.max_age.as_secs(),
    });
    Decision { events: vec![NewEvent::new(kind, Level::Info, context.now, &data)], ..Decision::default() }
}
