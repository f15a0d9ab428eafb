//! A subscriber's way through the history of a channel to what is live, and how a gap in it is told.

use std::sync::Arc;
use std::time::Duration;

use signalbox_core::channel::Channel;
use signalbox_store::StoreError;
use signalbox_wire::id::ChannelId;

use super::feed::Feed;
use super::frames::{self, Gap};
use super::shared::{Channels, Tenant};
use super::subscriber::Subscriber;
use crate::clock;
use crate::transport::outbox::Frame;

/// Messages of a history that are read at a time.
pub(super) const PAGE_MESSAGES: usize = 64;
/// Their bytes, about.
pub(super) const PAGE_BYTES: usize = 256 << 10;
/// After a store that cannot answer, it is asked again after this.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The messages are older than the channel keeps.
pub(super) const TOO_OLD: &str = "the channel no longer keeps them";
/// The channel was removed.
const REMOVED: &str = "the channel was removed";

/// That some of a channel is missing, as a frame.
pub(super) fn gap(
    (subject, channel): (&str, &ChannelId),
    first: u64,
    last: u64,
    reason: &'static str,
) -> Frame {
    let gap = Gap {
        subject,
        channel_id: Some(channel),
        from_sequence: Some(first),
        to_sequence: Some(last),
        reason,
    };
    frames::gap(Channels::new_id().as_str(), &gap, clock::now())
}

/// Gives a subscriber the history of a channel after `has`, in pieces that its buffer has room for, and then lets it go
/// live. `reading` is the number under which it stands aside of the feed.
pub(super) async fn read(
    channels: &Channels,
    tenant: &Tenant,
    feed: &Feed,
    (subscriber, reading): (&Subscriber, u64),
    mut has: u64,
) {
    let name = (&*feed.subject, &feed.channel);
    while subscriber.outbox.room().await && feed.reads(subscriber.number, reading) {
        let read = channels.0.store.channel(&tenant.hub.tenant, &feed.channel).await;
        let channel = match read {
            Ok(Some(channel)) => channel.value,
            Ok(None) => {
                let gone = || subscriber.outbox.push(gap(name, has + 1, has + 1, REMOVED));
                if feed.while_reading(subscriber.number, reading, gone).is_some() {
                    feed.forget(subscriber.number);
                }
                return;
            }
            Err(error) => {
                wait(&error).await;
                continue;
            }
        };
        let page = match page(channels, tenant, &channel, has).await {
            Ok(page) => page,
            Err(error) => {
                wait(&error).await;
                continue;
            }
        };
        for piece in page {
            let (frame, last) = match piece {
                Piece::Gone { first, last } => (gap(name, first, last, TOO_OLD), last),
                Piece::Message { frame, sequence } => (frame, sequence),
            };
            // Its subscription may end, or begin anew, between any two of them.
            let pushed = feed.while_reading(subscriber.number, reading, || subscriber.outbox.push(frame));
            if !matches!(pushed, Some(Ok(()))) {
                return;
            }
            has = last;
        }
        if has >= channel.last_sequence() && feed.go_live(subscriber.number, reading, has) {
            return;
        }
    }
}

/// What comes next in a history.
pub(super) enum Piece {
    /// Messages that are gone.
    Gone { first: u64, last: u64 },
    /// A message.
    Message { sequence: u64, frame: Frame },
}

/// What a channel has after a sequence, up to a bound: what is missing in it is said.
pub(super) async fn page(
    channels: &Channels,
    tenant: &Tenant,
    channel: &Channel,
    after: u64,
) -> Result<Vec<Piece>, StoreError> {
    let store = &channels.0.store;
    let (most, now) = ((PAGE_MESSAGES, PAGE_BYTES), clock::now());
    let messages = store.channel_messages(&tenant.hub.tenant, channel, after, most, now).await?;
    let mut pieces = Vec::with_capacity(messages.len() + 1);
    let mut has = after;
    for message in &messages {
        if message.sequence > has + 1 {
            pieces.push(Piece::Gone { first: has + 1, last: message.sequence - 1 });
        }
        has = message.sequence;
        pieces.push(Piece::Message { sequence: has, frame: frames::message(&channel.name, message) });
    }
    // The channel was read before its messages: what it counts and has not is gone.
    if messages.is_empty() && after < channel.last_sequence() {
        pieces.push(Piece::Gone { first: after + 1, last: channel.last_sequence() });
    }
    Ok(pieces)
}

pub(super) async fn wait(error: &StoreError) {
    tracing::warn!(%error, "the history of a channel could not be read; it is tried again");
    tokio::time::sleep(RETRY_AFTER).await;
}

/// Begins to read histories for a subscriber, one after the other.
pub(super) fn begin(
    channels: &Channels,
    tenant: &Arc<Tenant>,
    subscriber: &Arc<Subscriber>,
    wanted: Vec<(Arc<Feed>, u64, u64)>,
) {
    if wanted.is_empty() {
        return;
    }
    let (channels, tenant, subscriber) = (channels.clone(), Arc::clone(tenant), Arc::clone(subscriber));
    tokio::spawn(async move {
        for (feed, reading, after) in wanted {
            read(&channels, &tenant, &feed, (&subscriber, reading), after).await;
        }
    });
}
