//! What is published on its way: into the store where it is kept, to the subscribers here, and to the other nodes.

use std::sync::Arc;

use serde_json::value::RawValue;
use signalbox_bus::{BusError, Subject};
use signalbox_core::Rejected;
use signalbox_core::engine::{NewChannelMessage, PublishToChannel, Published, PublishedMessage};
use signalbox_store::StoreError;
use signalbox_wire::id::{AgentId, ChannelId, MessageId, TenantId};

use super::relay::Told;
use super::shared::{Channels, Tenant};
use super::subscriber::Routes as _;
use super::{frames, tending};
use crate::clock;
use crate::http::problem::Refusal;
use crate::transport::outbox::Frame;

/// What became of a message that was published.
pub(crate) type Outcome = Result<PublishedMessage, Rejected>;

impl Channels {
    /// Publishes messages of one publisher to a channel, in this order. Those of a durable channel are committed when
    /// this answers. It goes on when whoever asked does not wait.
    pub(crate) async fn publish(
        &self,
        tenant: &TenantId,
        operation: PublishToChannel,
    ) -> Result<Vec<Outcome>, Refusal> {
        let (channels, name) = (self.clone(), tenant.clone());
        let published = tokio::spawn(async move {
            let published = channels.0.drive.run(&name, &operation).await?;
            channels.spread(&name, &published)?;
            Ok(published.messages)
        });
        let unknown = || StoreError::Unavailable("what was published was not followed to its end".to_owned());
        published.await.unwrap_or_else(|_| Err(unknown().into()))
    }

    /// Gives what was published to those who are subscribed. What is not kept has to reach other nodes now.
    fn spread(&self, tenant: &TenantId, published: &Published) -> Result<(), BusError> {
        let here = self.tenant(tenant);
        let goes_out = self.0.bus.reaches_other_nodes();
        if here.is_none() && !goes_out {
            return Ok(());
        }
        let channel = &published.channel;
        let made = published.messages.iter().flatten().filter(|message| !message.is_repeat);
        let mut kept = Vec::new();
        for message in made.map(|published| &published.message) {
            if message.sequence > 0 {
                let frame = frames::message(&channel.name, message);
                self.tell_others(tenant, &channel.name, Some((&channel.id, message.sequence)), &frame)?;
                kept.push((message.sequence, frame));
                continue;
            }
            let frame = frames::live_message(
                &channel.name,
                Some(&channel.id),
                message.from.as_ref(),
                &message.id,
                &message.payload,
                message.at,
            );
            self.give(tenant, here.as_ref(), &channel.name, frame)?;
        }
        if let Some(here) = here.filter(|_| !kept.is_empty()) {
            self.take_in_kept(&here, &channel.name, &channel.id, kept);
        }
        Ok(())
    }

    /// Publishes on a subject that no channel keeps; answers how many it went to on this node.
    pub(super) fn publish_live(
        &self,
        (tenant, subject): (&Arc<Tenant>, &str),
        channel: Option<&ChannelId>,
        from: &AgentId,
        id: &MessageId,
        payload: &RawValue,
    ) -> Result<usize, BusError> {
        let frame = frames::live_message(subject, channel, Some(from), id, payload, clock::now());
        self.give(&tenant.hub.tenant, Some(tenant), subject, frame)
    }

    /// Tells the other nodes of a message that is not kept, and gives it to the subscribers here: to all or to none.
    fn give(
        &self,
        name: &TenantId,
        here: Option<&Arc<Tenant>>,
        subject: &str,
        frame: Frame,
    ) -> Result<usize, BusError> {
        self.tell_others(name, subject, None, &frame)?;
        Ok(here.map_or(0, |tenant| self.take_in(tenant, subject, None, frame)))
    }

    /// Tells the other nodes of a message.
    ///
    /// # Errors
    /// They cannot be told of one that is not kept. Others they find in the store.
    fn tell_others(
        &self,
        name: &TenantId,
        subject: &str,
        place: Option<(&ChannelId, u64)>,
        frame: &Frame,
    ) -> Result<(), BusError> {
        if self.0.bus.reaches_other_nodes()
            && let Ok(on_bus) = Subject::channel(name, subject)
        {
            let from = self.0.node.clone();
            let channel = place.map(|(channel, sequence)| (channel.clone(), sequence));
            let told = Told::Message { from, subject: subject.to_owned(), channel };
            let sent = self.tell(&on_bus, &told, Some(frame));
            if place.is_none() {
                sent?;
            }
        }
        Ok(())
    }

    /// Takes in a message, published here or on another node, for the subscribers of this node.
    pub(super) fn take_in(
        &self,
        tenant: &Arc<Tenant>,
        subject: &str,
        place: Option<(&ChannelId, u64)>,
        frame: Frame,
    ) -> usize {
        let Some((channel, sequence)) = place else { return tenant.hub.deliver(subject, &frame) };
        self.take_in_kept(tenant, subject, channel, vec![(sequence, frame)]);
        0
    }

    /// Takes in messages of a durable channel, with their places in its history.
    fn take_in_kept(
        &self,
        tenant: &Arc<Tenant>,
        subject: &str,
        channel: &ChannelId,
        frames: Vec<(u64, Frame)>,
    ) {
        let feed = match tenant.hub.feed(subject) {
            Some(feed) if feed.channel >= *channel => feed,
            _ if tenant.hub.route(subject).members.is_empty() => return,
            // Whatever was there when somebody subscribed has a feed since: this one was made later.
            _ => tenant.hub.feed_of(subject, channel, 0),
        };
        if feed.channel == *channel && feed.offer_all(&tenant.hub, frames) {
            tending::tend(self, tenant, feed);
        }
    }
}

/// One message as an operation that publishes it.
pub(crate) fn publication(
    channel: &ChannelId,
    from: Option<&AgentId>,
    id: Option<MessageId>,
    payload: Box<RawValue>,
) -> PublishToChannel {
    PublishToChannel {
        channel: channel.clone(),
        from: from.cloned(),
        messages: vec![NewChannelMessage { id, payload }],
    }
}
