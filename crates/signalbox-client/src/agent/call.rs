//! [`Call`]: a piece of work as its handler sees it, whatever way it came.

use serde_json::{Map, Value};
use signalbox_wire::time::Timestamp;

use super::context::Context;

/// What a piece of work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A task of a workflow; what the handler ends with is the task's result.
    #[default]
    Task,
    /// A message of another agent or caller; nobody waits for what the handler ends with.
    Message,
    /// A command; what the handler ends with is its answer.
    Command,
    /// A message of a channel or subject that the agent is subscribed to.
    Publication,
    /// A question of another agent, which waits for what the handler ends with.
    Request,
}

/// A piece of work for a handler. `Default` makes an empty one, for tests of handlers.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// What it is.
    pub kind: Kind,
    /// The task's name, the message's type, the command, or the subject.
    pub name: String,
    /// The task's parameters, the command's arguments, or what was sent.
    pub payload: Value,
    /// The id by which a repeat of it is known.
    pub id: Option<String>,
    /// The task's id with its attempt, which reports name; of a task.
    pub task_id: Option<String>,
    /// The session that it belongs to.
    pub session_id: Option<String>,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// When it has failed where nothing was reported by then.
    pub deadline: Option<Timestamp>,
    /// The trace that it belongs to, as the W3C header has it.
    pub traceparent: Option<String>,
    /// Who sent it; `opscore` for a workflow's task.
    pub from: Option<String>,
    /// Its place in its channel; of a publication that is kept.
    pub sequence: Option<u64>,
    /// The rest of what came, such as `sessionContext`.
    pub more: Map<String, Value>,
    /// What the handler can tell while it works, and be told.
    pub context: Context,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Message => "message",
            Self::Command => "command",
            Self::Publication => "publication",
            Self::Request => "request",
        }
    }
}

impl Call {
    /// Reads the payload as a type of the handler's own.
    ///
    /// # Errors
    /// What does not fit, with the name of the call.
    pub fn payload_as<T: serde::de::DeserializeOwned>(&self) -> Result<T, super::Failure> {
        T::deserialize(&self.payload).map_err(|error| {
            let message =
                format!("the payload of the {} '{}' does not fit: {error}", self.kind.as_str(), self.name);
            super::Failure::new(message).code("invalid-payload")
        })
    }
}
