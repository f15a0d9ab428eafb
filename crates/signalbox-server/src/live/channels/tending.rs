//! What sees to it that durable channels come whole: what does not come over the bus is read from the store, a moment
//! after the message behind it has come, or by a slow look at how far channels have come.

use std::sync::Arc;
use std::time::Duration;

use signalbox_store::StoreError;

use super::feed::Feed;
use super::history::{self, Piece, TOO_OLD};
use super::shared::{Channels, Tenant};
use super::subscriber::Routes as _;

/// A message that comes out of order is waited for so long before it is read from the store.
const PATIENCE: Duration = Duration::from_millis(20);
/// Time between two looks at how far channels with subscribers have come.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Channels that are looked at before others get their chance.
pub(super) const AT_ONCE: usize = 64;

/// Sees to what a feed is missing, until it is missing nothing.
pub(super) fn tend(channels: &Channels, tenant: &Arc<Tenant>, feed: Arc<Feed>) {
    let (channels, tenant) = (channels.clone(), Arc::downgrade(tenant));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(PATIENCE).await;
            let Some(tenant) = tenant.upgrade() else { return };
            if !feed.tended() {
                return;
            }
            if let Err(error) = catch_up(&channels, &tenant, &feed).await {
                history::wait(&error).await;
            }
        }
    });
}

/// Reads what a feed is missing.
async fn catch_up(channels: &Channels, tenant: &Tenant, feed: &Feed) -> Result<(), StoreError> {
    while let Some(after) = feed.missing_after() {
        let Some(channel) = channels.0.store.channel(&tenant.hub.tenant, &feed.channel).await? else {
            tenant.hub.forget_feed(feed);
            feed.close();
            return Ok(());
        };
        let page = history::page(channels, tenant, &channel.value, after).await?;
        if page.is_empty() {
            // It is known by a message that this node cannot see yet.
            return Ok(());
        }
        for piece in page {
            match piece {
                Piece::Message { sequence, frame } => drop(feed.offer(&tenant.hub, sequence, frame)),
                Piece::Gone { last, .. } => skip(tenant, feed, last),
            }
        }
    }
    Ok(())
}

/// Goes on behind messages that are gone, and says so.
fn skip(tenant: &Tenant, feed: &Feed, last: u64) {
    let Some((first, members)) = feed.skip_to(&tenant.hub, last) else { return };
    let frame = history::gap((&feed.subject, &feed.channel), first, last, TOO_OLD);
    for member in members {
        let _ = member.outbox.push(frame.clone());
    }
}

/// Looks now and then, until the server drains.
pub(super) async fn run(channels: &Channels) {
    loop {
        tokio::select! {
            () = channels.0.draining.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for tenant in channels.tenants() {
            if let Err(error) = look(channels, &tenant).await {
                tracing::warn!(%error, tenant = %tenant.hub.tenant, "how far channels have come could not be read");
            }
        }
    }
}

/// Looks how far the channels of a tenant have come.
pub(super) async fn look(channels: &Channels, tenant: &Arc<Tenant>) -> Result<(), StoreError> {
    let name = &tenant.hub.tenant;
    for (count, feed) in tenant.hub.feeds().into_iter().enumerate() {
        if count % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        if !tenant.hub.is_live(&feed) {
            continue;
        }
        match channels.0.store.channel(name, &feed.channel).await? {
            Some(channel) => {
                if feed.has_come_to(channel.value.last_sequence()) {
                    tend(channels, tenant, feed);
                }
            }
            None => tenant.hub.forget_feed(&feed),
        }
    }
    if !channels.0.bus.reaches_other_nodes() || !tenant.hub.has_subscriptions() {
        return Ok(());
    }
    // Channels that another node made since, of which nothing was told.
    for channel in tenant.listing.now(&channels.0.store, name, tenant.names.generation()).await?.iter() {
        if channel.last_sequence > 0
            && tenant.hub.feed(&channel.name).is_none()
            && !tenant.hub.route(&channel.name).members.is_empty()
        {
            let feed = tenant.hub.feed_of(&channel.name, &channel.id, 0);
            if feed.has_come_to(channel.last_sequence) {
                tend(channels, tenant, feed);
            }
        }
    }
    Ok(())
}
