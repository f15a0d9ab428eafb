//! [`Running`]: an agent at work.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::error::Error;

/// An agent at work. Dropping it stops it at once; [`Running::stop`] lets it finish what it has.
#[derive(Debug)]
pub struct Running {
    client: Client,
    agent_id: String,
    endpoint: Option<String>,
    stop: watch::Sender<bool>,
    worker: JoinHandle<()>,
}

impl Running {
    pub(super) fn new(
        client: Client,
        (agent_id, endpoint): (String, Option<String>),
        stop: watch::Sender<bool>,
        worker: JoinHandle<()>,
    ) -> Self {
        Self { client, agent_id, endpoint, stop, worker }
    }

    /// The id that the server knows it by.
    #[must_use]
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// The address that it registered; `None` for one that connects.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// The client that acts for the agent.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Sends a message of a type to another agent, and answers its id: it is durable.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent is a problem of status 404.
    pub async fn send(&self, agent_id: &str, message_type: &str, payload: Value) -> Result<String, Error> {
        let message = json!({ "senderId": self.agent_id, "messageType": message_type, "payload": payload });
        self.client().send_message(agent_id, &message).await
    }

    /// Publishes to a subject; answers the place in its channel, where it is kept in one.
    ///
    /// # Errors
    /// [`Error`]; an agent that listens cannot publish.
    pub async fn publish(&self, subject: &str, payload: Value) -> Result<Option<u64>, Error> {
        drop(payload);
        Err(not_connected(&format!("publishing to '{subject}'")))
    }

    /// Asks another agent, and waits for its answer.
    ///
    /// # Errors
    /// [`Error`]; an agent that listens cannot ask.
    pub async fn request(&self, agent_id: &str, payload: Value, timeout: Duration) -> Result<Value, Error> {
        drop((payload, timeout));
        Err(not_connected(&format!("asking '{agent_id}'")))
    }

    /// Waits until the agent is over by itself: because another process took over, or because it cannot go on.
    pub async fn ended(&mut self) {
        drop((&mut self.worker).await);
    }

    /// Takes no more work and waits for what it has, at most for `grace`. Answers whether it finished all.
    pub async fn stop(mut self, grace: Duration) -> bool {
        self.stop.send_replace(true);
        tokio::time::timeout(grace, &mut self.worker).await.is_ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.worker.abort();
    }
}

fn not_connected(what: &str) -> Error {
    Error::unusable(what, "the agent listens and is not connected; start it with Agent::connect")
}
