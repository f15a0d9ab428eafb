//! A runtime for agents that are reached over HTTP: [`Agent::start`] listens, registers, and from then on
//! hands each message to the handler and reports what came of it; [`Running`] is the agent at work.
//!
//! The invariant: a message is handled at most once in a process's life, and a task whose handler returned
//! is reported until the server takes the report or refuses it for good. A message that was taken is only
//! in memory: when the process dies, the server gives its task out again.

mod at_work;
mod happening;
mod inbox;
mod listener;
mod worker;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use signalbox_wire::agentkit::{CapabilityBody, RegisterBody};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::at_work::AtWork;
pub use self::happening::Happening;
use self::happening::Observer;
pub use self::inbox::TaskCall;
use self::inbox::{Inbox, QUEUE_MAX};
use self::worker::Worker;
use crate::client::Client;
use crate::error::Error;

/// An agent about to start.
#[derive(Debug)]
pub struct Agent {
    client: Client,
    registration: RegisterBody,
    listen: SocketAddr,
    concurrency: usize,
    observer: Observer,
}

/// An agent at work. Dropping it stops it at once; [`Running::stop`] lets it finish what it has.
#[derive(Debug)]
pub struct Running {
    agent_id: String,
    endpoint: String,
    stop: watch::Sender<bool>,
    worker: JoinHandle<()>,
}

impl Agent {
    /// An agent that registers as `name` and listens on a free loopback port.
    #[must_use]
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        let registration = RegisterBody {
            agent_name: name.into(),
            version: "1".to_owned(),
            contact_endpoint: None,
            capabilities: Vec::new(),
            metadata: None,
            agent_id: None,
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { client, registration, listen, concurrency: 1, observer: Observer::new(drop) }
    }

    /// The agent's own version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.registration.version = version.into();
        self
    }

    /// Something that it can do.
    #[must_use]
    pub fn capability(mut self, capability: impl Into<CapabilityBody>) -> Self {
        self.registration.capabilities.push(capability.into());
        self
    }

    /// Anything else worth knowing about it.
    #[must_use]
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.registration.metadata = Some(metadata);
        self
    }

    /// Where to listen; port 0 takes a free one.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// The address that the server reaches it under, where that is not the one it listens on.
    #[must_use]
    pub fn reached_at(mut self, endpoint: impl Into<String>) -> Self {
        self.registration.contact_endpoint = Some(endpoint.into());
        self
    }

    /// How many messages are handled at once (at least 1).
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Tells `observer` of everything that happens, for a log.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(Happening) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// Listens, then registers (taking over its name from a former process), then works.
    ///
    /// It does not report `idle` on arrival: a registered agent counts as available.
    ///
    /// A handler that ends within a second answers the delivery of its task with its report, where the server says
    /// that it reads the answer; a longer one is reported `active`, and then how it ended.
    ///
    /// # Errors
    /// [`Error::Local`] when the address cannot be listened on; any error of the registration.
    pub async fn start<H, F, E>(mut self, handler: H) -> Result<Running, Error>
    where
        H: Fn(TaskCall) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let local = |source| Error::Local { what: format!("listening on {}", self.listen), source };
        let listener = TcpListener::bind(self.listen).await.map_err(local)?;
        let address = listener.local_addr().map_err(local)?;
        let endpoint =
            self.registration.contact_endpoint.get_or_insert_with(|| format!("http://{address}/")).clone();

        let (stop, stopping) = watch::channel(false);
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let at_work = AtWork::default();
        let inbox = Arc::new(Inbox::new(sender, self.observer.clone(), at_work.clone()));
        // Served before it is registered: the first message may come before the registration's answer.
        let serving = tokio::spawn(listener::serve(listener, inbox, stopping.clone()));
        let agent_id = match self.client.register_agent(&self.registration, true).await {
            Ok(agent_id) => agent_id,
            Err(error) => {
                serving.abort();
                return Err(error);
            }
        };
        let worker = Worker::new(self.client, agent_id.clone(), self.observer, at_work, handler);
        let worker = tokio::spawn(worker.run(receiver, self.concurrency, stopping));
        Ok(Running { agent_id, endpoint, stop, worker })
    }
}

impl Running {
    /// The id that the server knows it by.
    #[must_use]
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// The address that it registered.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Takes no more messages and waits for those that it has, at most for `grace`. Answers whether it
    /// finished them all.
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
