//! A runtime for agents: [`Agent::start`] registers, and from then on hands each piece of work to its handler and tells
//! what came of it; [`Running`] is the agent at work. It is reached at an endpoint that it listens on, or over a connection
//! that it opens itself ([`Agent::connect`]); handlers are the same for both.
//!
//! The invariant: a message is handled at most once in a process's life, and a task whose handler returned
//! is reported until the server takes the report or refuses it for good. A message that was taken is only
//! in memory: when the process dies, the server gives its task out again.

mod about;
mod at_work;
mod call;
mod connection;
mod context;
mod credentials;
mod failure;
mod handlers;
mod happening;
mod inbox;
mod line;
mod listener;
mod logs;
mod replaced;
mod reporter;
mod running;
mod start;
mod subscription;
mod worker;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use signalbox_wire::agentkit::{CapabilityBody, RegisterBody};

pub use self::call::{Call, Kind};
pub use self::context::{Context, Progress};
pub use self::credentials::{Credentials, SshCredentials};
pub use self::failure::Failure;
use self::handlers::{Handler, Handlers};
pub use self::happening::Happening;
use self::happening::Observer;
pub use self::line::Line;
pub use self::running::Running;
pub use self::subscription::Subscription;
use crate::client::Client;

/// How often a connected agent gives a sign of life: the server looks for one each 30 s, unless it is told otherwise. One that
/// listens looks as often whether it is still the one that is registered.
const HEARTBEAT: Duration = Duration::from_secs(25);

/// An agent about to start.
#[derive(Debug)]
pub struct Agent {
    client: Client,
    registration: RegisterBody,
    registered: Option<String>,
    listen: SocketAddr,
    credentials: Option<Credentials>,
    subscriptions: Vec<Subscription>,
    concurrency: usize,
    heartbeat: Duration,
    handlers: Handlers,
    observer: Observer,
}

impl Agent {
    /// An agent that registers as `name`, and that listens on a free loopback port unless it is told to
    /// [`connect`](Self::connect).
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
        Self {
            client,
            registration,
            registered: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            credentials: None,
            subscriptions: Vec::new(),
            concurrency: 1,
            heartbeat: HEARTBEAT,
            handlers: Handlers::default(),
            observer: Observer::new(drop),
        }
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

    /// The agent is registered already, under this id: it does not register itself. For agents that have an SSH key and no
    /// API key.
    #[must_use]
    pub fn registered(mut self, agent_id: impl Into<String>) -> Self {
        self.registered = Some(agent_id.into());
        self
    }

    /// Where to listen; port 0 takes a free one.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self.credentials = None;
        self
    }

    /// The address that the server reaches it under, where that is not the one it listens on.
    #[must_use]
    pub fn reached_at(mut self, endpoint: impl Into<String>) -> Self {
        self.registration.contact_endpoint = Some(endpoint.into());
        self
    }

    /// Opens a connection to the server, by these credentials, in place of listening: for agents that cannot be reached
    /// from outside, and for channels.
    #[must_use]
    pub fn connect(mut self, credentials: Credentials) -> Self {
        self.registration.contact_endpoint = None;
        self.credentials = Some(credentials);
        self
    }

    /// How much is handled at once (at least 1). More than one is told to the server as `metadata.concurrency`.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// How often it gives a sign of life over its connection, where the server's `heartbeat_interval` is below 25 s;
    /// 300 s at most. An agent that listens looks as often whether another process has registered under its name.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval.max(Duration::from_millis(100));
        self
    }

    /// Handles whatever has no handler of its own.
    #[must_use]
    pub fn handler<H, F, E>(mut self, handler: H) -> Self
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, E>> + Send + 'static,
        E: Into<Failure>,
    {
        self.handlers.rest(Handler::new(handler));
        self
    }

    /// Handles the tasks of this name.
    #[must_use]
    pub fn task<H, F, E>(self, name: impl Into<String>, handler: H) -> Self
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, E>> + Send + 'static,
        E: Into<Failure>,
    {
        self.named(Kind::Task, name, Handler::new(handler))
    }

    /// Handles the messages of this type.
    #[must_use]
    pub fn message<H, F, E>(self, message_type: impl Into<String>, handler: H) -> Self
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, E>> + Send + 'static,
        E: Into<Failure>,
    {
        self.named(Kind::Message, message_type, Handler::new(handler))
    }

    /// Handles the commands of this name. Commands come over a connection.
    #[must_use]
    pub fn command<H, F, E>(self, command: impl Into<String>, handler: H) -> Self
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, E>> + Send + 'static,
        E: Into<Failure>,
    {
        self.named(Kind::Command, command, Handler::new(handler))
    }

    /// Subscribes to a subject or pattern, and handles what is published there and what is asked there. Publications come
    /// over a connection.
    #[must_use]
    pub fn subscribe<H, F, E>(mut self, subscription: impl Into<Subscription>, handler: H) -> Self
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, E>> + Send + 'static,
        E: Into<Failure>,
    {
        let subscription = subscription.into();
        self.handlers.subject(subscription.subject.clone(), Handler::new(handler));
        self.subscription(subscription)
    }

    /// Subscribes to a subject or pattern for the handler of the rest ([`Agent::handler`]).
    #[must_use]
    pub fn subscription(mut self, subscription: impl Into<Subscription>) -> Self {
        self.subscriptions.push(subscription.into());
        self
    }

    /// Tells `observer` of everything that happens: for a program that acts on it, or that logs by other means than
    /// `tracing`, which is told in any case.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(Happening) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    fn named(mut self, kind: Kind, name: impl Into<String>, handler: Handler) -> Self {
        self.handlers.name(kind, name, handler);
        self
    }
}
