//! Channels: what is asked for, and how they and their messages are shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::body::{Body, Faults, Fields, Text};
use crate::id::{AgentId, ChannelId, MessageId};
use crate::raw;
use crate::time::Timestamp;

/// The most messages that a channel may be asked to keep.
const MAX_MESSAGES: u64 = 1_000_000;
/// The longest that a channel may be asked to keep a message, in seconds.
const MAX_AGE_S: u64 = 10 * 366 * 24 * 3_600;

/// How much of its history a channel keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelRetentionBody {
    /// The newest messages, so many; 10,000 where it is not said. With 0 the channel is live only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub max_messages: Option<u64>,
    /// Seconds that a message is kept; 604800 (a week) where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 316_224_000)]
    pub max_age_s: Option<u64>,
}

/// `POST /api/v1/channels`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelBody {
    /// Its subject: parts with dots between them, such as `orders.eu`.
    #[schema(min_length = 1, max_length = 256, example = "orders.eu")]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub description: Option<String>,
    /// How much of its history is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<ChannelRetentionBody>,
}

/// `PATCH /api/v1/channels/{channel_id}`; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelPatch {
    /// What it is for; null for nothing.
    #[serde(default, deserialize_with = "crate::body::present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    pub description: Option<Option<String>>,
    /// How much of its history is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<ChannelRetentionBody>,
}

/// How much of its history a channel keeps, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelRetentionView {
    /// The newest messages, so many.
    pub max_messages: u64,
    /// Seconds that a message is kept.
    pub max_age_s: u64,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// Its id.
    #[schema(value_type = String)]
    pub channel_id: ChannelId,
    /// Its subject.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// How much of its history is kept.
    pub retention: ChannelRetentionView,
    /// The sequence of its newest message; 0 where there has been none.
    pub last_sequence: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The agent that made it, where one did.
    #[schema(value_type = Option<String>)]
    pub created_by: Option<AgentId>,
}

/// A page of the channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelList {
    /// The page.
    pub channels: Vec<ChannelView>,
    /// Where the next page begins; null on the last.
    #[serde(default)]
    pub next_token: Option<String>,
}

/// `POST /api/v1/channels/{channel_id}/messages`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PublishBody {
    /// What is published: any JSON.
    #[schema(value_type = Value)]
    pub payload: Box<RawValue>,
    /// The publisher's own id for it: the same id and payload again is the same message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    pub message_id: Option<MessageId>,
}

/// A message that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishAccepted {
    /// Its id.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// Its place in the channel's history; absent where the channel keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// A message of a channel's history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChannelMessageView {
    /// Its publisher's id for it.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// Its place in the channel's history.
    pub sequence: u64,
    /// The channel's subject.
    pub subject: String,
    /// The channel.
    #[schema(value_type = String)]
    pub channel_id: ChannelId,
    /// The agent that published it, where one did.
    #[schema(value_type = Option<String>)]
    pub from: Option<AgentId>,
    /// What was published.
    #[schema(value_type = Value)]
    pub payload: Box<RawValue>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
}

/// A page of a channel's history, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChannelMessageList {
    /// The page.
    pub messages: Vec<ChannelMessageView>,
    /// Where the next page begins; null at the end.
    #[serde(default)]
    pub next_token: Option<String>,
}

/// An agent that is subscribed to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriberView {
    /// The agent.
    #[schema(value_type = String)]
    pub agent_id: AgentId,
    /// What it has subscribed to: the channel's subject, or a pattern that matches it.
    pub subject: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// Who is subscribed to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresenceView {
    /// The agents, by id.
    pub agents: Vec<SubscriberView>,
}

fn retention(fields: &mut Fields<'_, '_>) {
    if let Some(mut retention) = fields.optional_object("retention") {
        retention.optional_integer("max_messages", 0..=MAX_MESSAGES);
        retention.optional_integer("max_age_s", 1..=MAX_AGE_S);
    }
}

impl Body for ChannelBody {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.required_string("name", Text::NAME);
            fields.optional_string("description", Text::DESCRIPTION);
            retention(&mut fields);
        }
    }
}

impl Body for ChannelPatch {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.optional_string("description", Text::DESCRIPTION);
            retention(&mut fields);
        }
    }
}

impl Body for PublishBody {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            // Null is a payload, and not its absence.
            if value.get("payload").is_none() {
                fields.fault("payload", "is required; send null for nothing");
            }
            fields.optional_string("message_id", Text::MESSAGE_ID);
        }
    }

    fn quick(bytes: &[u8]) -> Option<Self> {
        let body: Self = serde_json::from_slice(bytes).ok()?;
        let is_good = raw::check(body.payload.get().as_bytes()).is_ok()
            && body.message_id.as_ref().is_none_or(|id| Text::MESSAGE_ID.fits(id.as_str()));
        is_good.then_some(body)
    }
}
