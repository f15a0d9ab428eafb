//! Where a message is, and what became of those that could not be delivered.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::id::{AgentId, MessageId};
use crate::time::Timestamp;

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// It will be tried, or tried again.
    Scheduled,
    /// The endpoint took it.
    Delivered,
    /// It was given up; it can be redriven.
    Dead,
    /// It was no longer wanted before it was taken: its task had moved on.
    Cancelled,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// `GET /v1/messages/{messageId}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageView {
    /// Its id, the same at every attempt.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// What kind of delivery it is, such as `message` or `webhook`.
    pub kind: String,
    /// Who gets it; null for a delivery that is not to an agent.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// How far it is.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; null when it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last attempt failed; null when none did.
    pub last_error: Option<String>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the endpoint took it; null before.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub delivered_at: Option<Timestamp>,
}

/// One entry of `GET /v1/dead-letters`: the delivery, what it carried, and how it was last answered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterView {
    /// Its id, the same at every attempt and after it is redriven.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// What kind of delivery it is.
    pub kind: String,
    /// Who should have got it; null for a delivery that was not to an agent.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// Always `dead`.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The HTTP status of the last answer; null when there was no answer.
    pub last_status: Option<u16>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was given up.
    #[schema(value_type = String, format = DateTime)]
    pub dead_at: Timestamp,
    /// What was to be delivered, as it was.
    #[schema(value_type = Value)]
    pub body: Box<RawValue>,
}

/// What a redrive answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RedriveAnswer {
    /// How many deliveries are scheduled again.
    pub redriven: u64,
}

/// What sending many on their way again answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RedriveManyAnswer {
    /// How many deliveries are scheduled again.
    pub redriven: u64,
    /// How many were passed over: those of tasks, whose sessions are what can be retried or run again.
    #[serde(default)]
    pub passed_over: u64,
    /// Whether more may match.
    pub more: bool,
    /// Where the next request goes on; null where nothing is left.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// What dropping many answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiscardManyAnswer {
    /// How many dead letters were dropped.
    pub discarded: u64,
    /// Whether more may match.
    pub more: bool,
    /// Where the next request goes on; null where nothing is left.
    #[serde(default)]
    pub next_cursor: Option<String>,
}
