//! Channels: named subjects with a history, in which every message has a sequence without gaps.
//!
//! A channel's row counts its sequences, so that publishing to one channel conflicts with nothing else, and publishes that
//! wait for it are decided as one. What its retention lets go of is a beginning of the history, never a part between:
//! whoever reads from a sequence on knows by the next one that it gets whether something is gone.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signalbox_wire::id::{AgentId, ChannelId, MessageId};
use signalbox_wire::time::Timestamp;

/// Messages that a channel keeps where it was not said.
pub const MESSAGES_KEPT_DEFAULT: u64 = 10_000;
/// How long a channel keeps a message where it was not said.
pub const MESSAGE_AGE_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What of a channel's history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRetention {
    /// The newest messages, so many; with 0 nothing is kept, and the channel is live only.
    pub max_messages: u64,
    /// Those that are no older than this.
    pub max_age: Duration,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// The channel.
    pub id: ChannelId,
    /// Its subject: parts with dots between them, unique in the tenant.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What of its history is kept.
    pub retention: ChannelRetention,
    /// The sequence of the next message, from 1.
    pub next_sequence: u64,
    /// Messages before this sequence are no longer kept, whether they have been removed yet or not.
    pub first_kept: u64,
    /// When the newest message was published: those after it are not earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The agent that made it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<AgentId>,
}

/// A name that a channel has taken in its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelName {
    /// The name.
    pub name: String,
    /// Whose it is.
    pub channel: ChannelId,
}

/// A message of a channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChannelMessage {
    /// The channel.
    pub channel: ChannelId,
    /// Its place in the channel's history.
    pub sequence: u64,
    /// Its publisher's own id for it.
    pub id: MessageId,
    /// The agent that published it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<AgentId>,
    /// What was published, as JSON.
    pub payload: Box<RawValue>,
    /// When it was accepted.
    pub at: Timestamp,
}

impl Default for ChannelRetention {
    fn default() -> Self {
        Self { max_messages: MESSAGES_KEPT_DEFAULT, max_age: MESSAGE_AGE_DEFAULT }
    }
}

impl Channel {
    /// Whether its messages are kept at all.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.retention.max_messages > 0
    }

    /// The sequence of its newest message; 0 where there has been none.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.next_sequence.saturating_sub(1)
    }

    /// Lets go of what is over the number that is kept.
    pub(crate) fn trim(&mut self) {
        self.first_kept = self.first_kept.max(self.next_sequence.saturating_sub(self.retention.max_messages));
    }
}

impl PartialEq for ChannelMessage {
    fn eq(&self, other: &Self) -> bool {
        (&self.channel, self.sequence, &self.id, &self.from, self.at)
            == (&other.channel, other.sequence, &other.id, &other.from, other.at)
            && self.payload.get() == other.payload.get()
    }
}
