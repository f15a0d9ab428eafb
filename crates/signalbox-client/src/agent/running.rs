//! [`Running`]: an agent at work.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connection::{Acting, Link};
use super::line::Line;
use super::subscription::Subscription;
use crate::client::Client;
use crate::error::Error;

/// An agent at work. Dropping it stops it at once; [`Running::stop`] lets it finish what it has.
#[derive(Debug)]
pub struct Running {
    acting: Acting,
    link: Option<Link>,
    agent_id: String,
    endpoint: Option<String>,
    stop: watch::Sender<bool>,
    worker: JoinHandle<()>,
    /// Whether the worker was waited for to its end: it must not be waited for again.
    is_over: bool,
}

impl Running {
    pub(super) fn new(
        (acting, link): (Acting, Option<Link>),
        (agent_id, endpoint): (String, Option<String>),
        stop: watch::Sender<bool>,
        worker: JoinHandle<()>,
    ) -> Self {
        Self { acting, link, agent_id, endpoint, stop, worker, is_over: false }
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

    /// The client that acts for the agent; by an SSH key, with a token that is good for a while.
    #[must_use]
    pub fn client(&self) -> Client {
        self.acting.client()
    }

    /// What tells and asks others for the agent, also while [`Running::stop`] waits for handlers.
    #[must_use]
    pub fn line(&self) -> Line {
        Line { acting: self.acting.clone(), link: self.link.clone(), agent_id: self.agent_id.clone() }
    }

    /// Sends a message of a type to another agent, and answers its id: it is durable.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent is a problem of status 404.
    pub async fn send(&self, agent_id: &str, message_type: &str, payload: Value) -> Result<String, Error> {
        self.line().send(agent_id, message_type, payload).await
    }

    /// Publishes to a subject; answers the place in its channel, where it is kept in one. `Ok` means that the server has it.
    ///
    /// # Errors
    /// [`Error`]; an agent that listens cannot publish.
    pub async fn publish(&self, subject: &str, payload: Value) -> Result<Option<u64>, Error> {
        self.line().publish(subject, payload).await
    }

    /// Publishes to a subject under an id of the caller's own: given again with the same payload, it is the same message.
    ///
    /// # Errors
    /// [`Error`], as of [`Running::publish`].
    pub async fn publish_as(
        &self,
        message_id: &str,
        subject: &str,
        payload: Value,
    ) -> Result<Option<u64>, Error> {
        self.line()
            .link(&format!("publishing to '{subject}'"))?
            .publish(subject, payload, Some(message_id))
            .await
    }

    /// Asks another agent, and waits for its answer, for 300 s at most.
    ///
    /// # Errors
    /// [`Error`]; an agent that listens cannot ask.
    pub async fn request(&self, agent_id: &str, payload: Value, timeout: Duration) -> Result<Value, Error> {
        self.line().request(agent_id, payload, timeout).await
    }

    /// Asks whoever is subscribed to a subject, and waits for the first answer, for 300 s at most.
    ///
    /// # Errors
    /// [`Error`]; an agent that listens cannot ask.
    pub async fn request_subject(
        &self,
        subject: &str,
        payload: Value,
        timeout: Duration,
    ) -> Result<Value, Error> {
        self.line()
            .link(&format!("asking '{subject}'"))?
            .request(("subject", subject), payload, timeout)
            .await
    }

    /// Subscribes to one more subject or pattern, on this connection and each after it; what comes goes to the handler of the
    /// rest, or to that of a pattern that it fits.
    ///
    /// # Errors
    /// [`Error`]; an agent that listens cannot subscribe.
    pub async fn subscribe(&self, subscription: impl Into<Subscription>) -> Result<(), Error> {
        let subscription = subscription.into();
        self.line().link(&format!("subscribing to '{}'", subscription.subject))?.subscribe(subscription).await
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// [`Error`]; an agent that listens has none.
    pub async fn unsubscribe(&self, subject: &str) -> Result<(), Error> {
        self.line().link(&format!("unsubscribing from '{subject}'"))?.unsubscribe(subject.to_owned()).await
    }

    /// Waits until the agent is over by itself: because another process took over, or because it cannot go on.
    pub async fn ended(&mut self) {
        if !self.is_over {
            drop((&mut self.worker).await);
            self.is_over = true;
        }
    }

    /// Takes no more work and waits for what it has, at most for `grace`. Answers whether it finished all.
    pub async fn stop(mut self, grace: Duration) -> bool {
        self.stop.send_replace(true);
        tokio::time::timeout(grace, self.ended()).await.is_ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.worker.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_over_can_be_waited_for_and_stopped_again() {
        let acting = Acting::new(Client::new("http://127.0.0.1:9", Some("k")).unwrap());
        let worker = tokio::spawn(async {});
        let mut running =
            Running::new((acting, None), ("a".to_owned(), None), watch::Sender::new(false), worker);
        running.ended().await;
        running.ended().await;
        assert!(running.stop(Duration::MAX).await);
    }
}
