//! `/api/v1/channels`: channels, what is published to them, their histories, and who is subscribed.

pub(super) mod change;
pub(super) mod create;
mod history;
pub(super) mod messages;
pub(super) mod presence;
pub(super) mod read;

use std::sync::Arc;
use std::time::Duration;

use signalbox_bus::Subject;
use signalbox_core::Rejected;
use signalbox_core::channel::{Channel, ChannelRetention};
use signalbox_store::Store;
use signalbox_wire::artcafe::{ChannelRetentionBody, ChannelRetentionView, ChannelView};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::{ChannelId, TenantId};

use crate::http::problem::Refusal;

/// The channel with this id, or this name.
async fn channel_of(store: &Store, tenant: &TenantId, named: &str) -> Result<Arc<Channel>, Refusal> {
    let read = store.channel(tenant, &id_of(store, tenant, named).await?).await?;
    Ok(read.ok_or_else(|| Rejected::UnknownChannel(named.to_owned()))?.value)
}

/// The id of a channel that a path names, by its id or by its name. What begins as ids do is taken for one.
async fn id_of(store: &Store, tenant: &TenantId, named: &str) -> Result<ChannelId, Refusal> {
    let unknown = || Refusal::from(Rejected::UnknownChannel(named.to_owned()));
    if named.starts_with(ChannelId::PREFIX) {
        return ChannelId::parse(named).map_err(|_| unknown());
    }
    if Subject::channel(tenant, named).is_err() {
        return Err(unknown());
    }
    Ok(store.channel_named(tenant, named).await?.ok_or_else(unknown)?.value.channel.clone())
}

/// Whether a text can be a channel's name, as the bus has it.
fn check_name(tenant: &TenantId, name: &str) -> Result<(), Refusal> {
    Subject::channel(tenant, name)
        .map(drop)
        .map_err(|fault| vec![Fault::new("/name", fault.to_string())].into())
}

fn retention(asked: Option<&ChannelRetentionBody>) -> ChannelRetention {
    let default = ChannelRetention::default();
    let asked = asked.cloned().unwrap_or_default();
    ChannelRetention {
        max_messages: asked.max_messages.unwrap_or(default.max_messages),
        max_age: asked.max_age_s.map_or(default.max_age, Duration::from_secs),
    }
}

fn view(channel: &Channel) -> ChannelView {
    ChannelView {
        channel_id: channel.id.clone(),
        name: channel.name.clone(),
        description: channel.description.clone(),
        retention: ChannelRetentionView {
            max_messages: channel.retention.max_messages,
            max_age_s: channel.retention.max_age.as_secs(),
        },
        last_sequence: channel.last_sequence(),
        created_at: channel.created_at,
        created_by: channel.created_by.clone(),
    }
}
