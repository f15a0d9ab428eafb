//! A command: a request to an agent over its connection, which answers it once.
//!
//! | status  | sent   | acknowledged | its agent connects anew | answered         | says how far it is | its time is over | cancelled   |
//! |---------|--------|--------------|-------------------------|------------------|--------------------|------------------|-------------|
//! | queued  | → sent | → sent       | queued                  | → success, error | → sent             | → expired        | → cancelled |
//! | sent    | –      | sent         | → queued (see below)    | → success, error | sent               | → expired        | → cancelled |
//! | success, error, expired, cancelled | – | – | –               | recorded, and refused | –             | –                | –           |
//!
//! One row of due work carries it: it is sent while its agent is connected, and ends at its time whatever has become of it.
//! That the agent's side has it is told by a library that answers pings, and the process behind it may have died since. So
//! what was sent is sent again over a connection that does not go on with an earlier one, [`COMMAND_SENDS_MAX`] times in all,
//! unless the agent itself acknowledged it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, CommandId};
use signalbox_wire::time::Timestamp;

use crate::limits::COMMAND_SENDS_MAX;

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentCommand {
    /// Its id, the same whenever it is sent.
    pub id: CommandId,
    /// Who is to do it.
    pub agent: AgentId,
    /// What is to be done, in a word of the agent's own.
    pub command: String,
    /// With what.
    pub args: Map<String, Value>,
    /// How long it may take, from its creation to its answer.
    pub timeout: Duration,
    /// Where it stands.
    pub status: CommandStatus,
    /// Who wants it, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The `traceparent` that goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// How far the agent said last that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// What the agent answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// What the agent said went wrong, or why it ended without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// How often it was sent, or tried to.
    #[serde(default)]
    pub tries: u32,
    /// Over how many connections it went out, as far as that is known.
    #[serde(default)]
    pub sends: u32,
    /// The agent itself said that it has it: it is not sent again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_acknowledged: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its time is over.
    pub expires_at: Timestamp,
    /// When the agent had it first, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// When it was answered, or ended without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// An answer came after its end: that is in the log, once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_answered_late: bool,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandStatus {
    /// It waits for the agent to be connected.
    Queued,
    /// The agent has it.
    Sent,
    /// The agent has done it.
    Success,
    /// The agent has not.
    Error,
    /// It was not answered in time.
    Expired,
    /// It is no longer wanted.
    Cancelled,
}

impl CommandStatus {
    /// Whether nothing more comes of it.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Success => "success",
            Self::Error => "error",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl AgentCommand {
    /// Whether it is sent again where its agent may have lost it.
    #[must_use]
    pub fn comes_again(&self, now: Timestamp) -> bool {
        !self.status.is_over()
            && !self.is_acknowledged
            && self.sends < COMMAND_SENDS_MAX
            && now < self.expires_at
    }

    /// The agent has it.
    pub(crate) fn sent(&mut self, now: Timestamp) {
        self.status = CommandStatus::Sent;
        self.sent_at.get_or_insert(now);
    }

    /// Nothing more comes of it.
    pub(crate) fn end(&mut self, status: CommandStatus, error: Option<Value>, now: Timestamp) {
        (self.status, self.ended_at) = (status, Some(now));
        if error.is_some() {
            self.error = error;
        }
    }
}
