//! [`Line`]: what an agent at work tells and asks others by.

use std::time::Duration;

use serde_json::{Value, json};

use super::connection::{Acting, Link};
use crate::client::Client;
use crate::error::Error;

/// An agent's line to others. It goes on while [`Running::stop`](super::Running::stop) waits for handlers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Line {
    pub(super) acting: Acting,
    pub(super) link: Option<Link>,
    pub(super) agent_id: String,
}

impl Line {
    /// The client that acts for the agent; by an SSH key, with a token that is good for a while.
    #[must_use]
    pub fn client(&self) -> Client {
        self.acting.client()
    }

    /// Sends a message of a type to another agent, and answers its id: it is durable.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent is a problem of status 404.
    pub async fn send(&self, agent_id: &str, message_type: &str, payload: Value) -> Result<String, Error> {
        let message = json!({ "senderId": self.agent_id, "messageType": message_type, "payload": payload });
        self.client().send_message(agent_id, &message).await
    }

    /// Publishes to a subject; answers the place in its channel, where it is kept in one. `Ok` means that the server has it.
    ///
    /// # Errors
    /// [`Error`]; an agent that listens cannot publish.
    pub async fn publish(&self, subject: &str, payload: Value) -> Result<Option<u64>, Error> {
        self.link(&format!("publishing to '{subject}'"))?.publish(subject, payload, None).await
    }

    /// Asks another agent, and waits for its answer, for 300 s at most.
    ///
    /// # Errors
    /// [`Error`]; an agent that listens cannot ask.
    pub async fn request(&self, agent_id: &str, payload: Value, timeout: Duration) -> Result<Value, Error> {
        self.link(&format!("asking '{agent_id}'"))?.request(("to", agent_id), payload, timeout).await
    }

    pub(super) fn link(&self, what: &str) -> Result<&Link, Error> {
        let reason = "the agent listens and is not connected; start it with Agent::connect";
        self.link.as_ref().ok_or_else(|| Error::unusable(what, reason))
    }
}
