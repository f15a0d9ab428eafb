//! Calls about channels: named subjects with a history.

use signalbox_wire::artcafe::{
    ChannelBody, ChannelList, ChannelMessageList, ChannelPatch, ChannelView, PresenceView, PublishAccepted,
    PublishBody,
};

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// A page of the channels, by name; `next_token` as the filter of that name goes on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn channels(&self, query: &ListQuery) -> Result<ChannelList, Error> {
        self.get(&["api", "v1", "channels"]).list(query).fetch().await
    }

    /// One channel.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn channel(&self, channel_id: &str) -> Result<ChannelView, Error> {
        self.get(&["api", "v1", "channels", channel_id]).fetch().await
    }

    /// Makes a channel.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_channel(&self, body: &ChannelBody) -> Result<ChannelView, Error> {
        self.post(&["api", "v1", "channels"]).json(body).fetch().await
    }

    /// Changes a channel; what is not given stays.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn change_channel(&self, channel_id: &str, body: &ChannelPatch) -> Result<ChannelView, Error> {
        self.patch(&["api", "v1", "channels", channel_id]).json(body).fetch().await
    }

    /// Removes a channel with its history.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_channel(&self, channel_id: &str) -> Result<(), Error> {
        self.delete(&["api", "v1", "channels", channel_id]).send().await.map(drop)
    }

    /// Publishes to a channel. `Ok` means that the message is durable, where the channel keeps any.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn publish(&self, channel_id: &str, body: &PublishBody) -> Result<PublishAccepted, Error> {
        self.post(&["api", "v1", "channels", channel_id, "messages"]).json(body).fetch().await
    }

    /// A part of a channel's history, oldest first, by the filters `after`, `limit` and `next_token`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn channel_messages(
        &self,
        channel_id: &str,
        query: &ListQuery,
    ) -> Result<ChannelMessageList, Error> {
        self.get(&["api", "v1", "channels", channel_id, "messages"]).list(query).fetch().await
    }

    /// The agents that are subscribed to a channel.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn channel_presence(&self, channel_id: &str) -> Result<PresenceView, Error> {
        self.get(&["api", "v1", "channels", channel_id, "presence"]).fetch().await
    }
}
