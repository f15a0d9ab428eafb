//! What this node takes from the bus about subscribers: what other nodes tell of a tenant, and answers to what was asked.

use std::sync::{Arc, Weak};
use std::time::Duration;

use signalbox_bus::{Buffer, BusError, Message, Pattern, Received, Subject, Subscription};
use signalbox_wire::id::{NodeId, TenantId};

use super::frames::{self, Gap};
use super::relay::{Answer, Heard, Told};
use super::shared::{Channels, Tenant};
use super::tending;
use super::told_room::MESSAGES_MAX;
use crate::clock;

/// What may wait of all answers.
const ANSWERS: Buffer = Buffer::Bounded { messages: MESSAGES_MAX, bytes: 64 << 20 };
/// A bus that is away is asked again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// So much was published on other nodes that this one could not pass all of it on.
const TOO_MUCH: &str = "this server could not pass on all that was published on others";
/// The bus was away.
const OUTAGE: &str = "what was published live on other servers was lost while the bus between them was away";

/// Takes in what other nodes tell of a tenant, until nobody of it is connected here.
pub(super) async fn told(channels: Channels, tenant: Weak<Tenant>, name: TenantId) {
    let part = channels.0.told_room.part();
    let (mut messages, mut subscribers) = loop {
        match subscribed(&channels, &name, part.half()).await {
            Ok(subscriptions) => break subscriptions,
            Err(error) => {
                tracing::warn!(%error, tenant = %name, "what other nodes publish cannot be had yet");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    };
    loop {
        let received = tokio::select! {
            received = messages.recv() => received,
            received = subscribers.recv() => received,
        };
        let Some(tenant) = tenant.upgrade() else { return };
        match received {
            Received::Message(message) => take_in(&channels, &tenant, &message),
            Received::Missed(missed) => {
                // What an outage of the bus lost is not counted.
                let reason = if missed == 0 { OUTAGE } else { TOO_MUCH };
                tracing::warn!(missed, tenant = %name, "{reason}");
                let gap =
                    Gap { subject: ">", channel_id: None, from_sequence: None, to_sequence: None, reason };
                tenant.hub.tell_all(&frames::gap(Channels::new_id().as_str(), &gap, clock::now()));
                // What is durable comes from the store.
                if let Err(error) = tending::look(&channels, &tenant).await {
                    tracing::warn!(%error, tenant = %name, "how far channels have come could not be read");
                }
            }
        }
    }
}

async fn subscribed(
    channels: &Channels,
    name: &TenantId,
    buffer: Buffer,
) -> Result<(Subscription, Subscription), BusError> {
    let bus = &channels.0.bus;
    // Every subject of the tenant's channels.
    let all = Pattern::channels(name, ">").unwrap_or_else(|_| Pattern::exactly(&Subject::subscribers(name)));
    let messages = bus.subscribe(&all, buffer).await?;
    let subscribers = bus.subscribe(&Pattern::exactly(&Subject::subscribers(name)), buffer).await?;
    Ok((messages, subscribers))
}

fn take_in(channels: &Channels, tenant: &Arc<Tenant>, message: &Message) {
    let Some((told, frame)) = Told::read(&message.payload) else {
        tracing::warn!("what another node tells cannot be read; it may be of another version");
        return;
    };
    if *told.from() == channels.0.node {
        return;
    }
    match (told, frame) {
        (Told::Message { subject, channel, .. }, Some(frame)) => {
            let place = channel.as_ref().map(|(channel, sequence)| (channel, *sequence));
            channels.take_in(tenant, &subject, place, frame);
        }
        (Told::Request { from, number, subject }, Some(frame)) => {
            let count = tenant.hub.deliver(&subject, &frame);
            if count > 0 {
                answer(channels, &from, tenant, number, Heard::Given { count });
            }
        }
        (Told::Presence { agent, subject, has_come, id, .. }, _) => {
            tenant.hub.tell_presence(&agent, &subject, has_come, &id, clock::now());
        }
        (Told::Channel { name, .. }, _) => tenant.names.forget(&name),
        (Told::Who { from, number, subject }, _) => {
            let agents = tenant.hub.subscribed(&subject);
            if !agents.is_empty() {
                answer(channels, &from, tenant, number, Heard::Who { agents });
            }
        }
        (Told::Message { .. } | Told::Request { .. }, None) => {
            tracing::warn!("what another node tells came without its frame");
        }
    }
}

fn answer(channels: &Channels, node: &NodeId, tenant: &Tenant, number: u64, heard: Heard) {
    send(channels, node, &Answer { tenant: tenant.hub.tenant.clone(), number, heard });
}

/// Sends an answer to the node that asked.
pub(super) fn send(channels: &Channels, node: &NodeId, answer: &Answer) {
    let Ok(bytes) = serde_json::to_vec(answer) else { return };
    if let Err(error) = channels.0.bus.publish(&Subject::answers(node), bytes.into()) {
        tracing::debug!(%error, %node, "an answer did not get to the node that asked");
    }
}

/// Takes in answers of other nodes, until the server drains.
pub(super) async fn answers(channels: &Channels) {
    let inner = &channels.0;
    if !inner.bus.reaches_other_nodes() {
        return;
    }
    let own = Pattern::exactly(&Subject::answers(&inner.node));
    let mut subscription = loop {
        match inner.bus.subscribe(&own, ANSWERS).await {
            Ok(subscription) => break subscription,
            Err(error) => {
                tracing::warn!(%error, "answers of other nodes cannot be had yet");
                tokio::select! {
                    () = inner.draining.cancelled() => return,
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                }
            }
        }
    };
    loop {
        let received = tokio::select! {
            () = inner.draining.cancelled() => return,
            received = subscription.recv() => received,
        };
        let Received::Message(message) = received else { continue };
        match serde_json::from_slice::<Answer>(&message.payload) {
            Ok(Answer { tenant, number, heard }) => {
                inner.asking.answer(&tenant, number, heard);
            }
            Err(error) => {
                tracing::warn!(%error, "an answer of another node cannot be read; it may be of another version");
            }
        }
    }
}
