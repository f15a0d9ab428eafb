//! Bodies of the ArtCafe surface (`/api/v1`), in its own words: snake_case, and `next_token` in lists.

mod agent;
mod channel;
mod command;
pub mod frames;
mod limits;
pub mod live;
mod sign_in;
mod ssh_key;
mod tenant;

pub use agent::{
    AgentList, AgentPresence, AgentStatusBody, AgentView, CapabilityView, CreateAgentBody, FiguresView,
    SampleView,
};
pub use channel::{
    ChannelBody, ChannelList, ChannelMessageList, ChannelMessageView, ChannelPatch, ChannelRetentionBody,
    ChannelRetentionView, ChannelView, PresenceView, PublishAccepted, PublishBody, SubscriberView,
};
pub use command::{
    COMMAND_TIMEOUT_MAX_S, COMMAND_TIMEOUT_S, CancelCommandBody, CommandAccepted, CommandBody, CommandList,
    CommandStatus, CommandView,
};
pub use limits::{
    LIMIT_MAX, LIMITS, TenantLimits, TenantLimitsPatch, TenantPatch, UsageDayView, UsageMetrics,
};
pub use sign_in::{Challenge, ChallengeBody, NotVerified, Verified, VerifyBody};
pub use ssh_key::{RevokeBody, SshKeyBody, SshKeyList, SshKeyStatus, SshKeyType, SshKeyView};
pub use tenant::{TenantBody, TenantCreated, TenantList, TenantView};
