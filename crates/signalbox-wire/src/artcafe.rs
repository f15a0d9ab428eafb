//! Bodies of the ArtCafe surface (`/api/v1`), in its own words: snake_case, and `next_token` in lists.

mod channel;
pub mod frames;
pub mod live;
mod tenant;

pub use channel::{
    ChannelBody, ChannelList, ChannelMessageList, ChannelMessageView, ChannelPatch, ChannelView, PresenceView,
    PublishAccepted, PublishBody, RetentionBody, RetentionView, SubscriberView,
};
pub use tenant::{TenantBody, TenantCreated, TenantList, TenantView};
