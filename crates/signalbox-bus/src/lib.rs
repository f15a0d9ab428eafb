//! What is passed on live, between the parts of one node and between nodes: publish, subscribe, request.
//!
//! Nothing on the bus is the truth. A message may be lost or come twice; whatever must not be lost is in the
//! store, and a subscriber that missed a message reads it there. Publishers never wait for subscribers: each
//! subscription has a [`Buffer`] with a bound, and is told how many messages it missed.
//!
//! [`Subject`]s are built from typed parts, and those of a tenant begin with the tenant, so that no
//! [`Pattern`] of one tenant can match a subject of another.

mod local;
mod message;
mod subject;
mod subscription;
mod wake_ups;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use bytes::Bytes;

pub use message::{Message, Reply};
pub use subject::{BadSubject, NAME_BYTES_MAX, Pattern, Subject, TOKENS_MAX};
pub use subscription::{Buffer, Received, Subscription};
pub use wake_ups::{WakeUps, Woken};

/// The largest payload, in bytes; NATS takes no more by default.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Why the bus did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The address names no bus that exists here.
    #[error("'{0}' is no bus that this build has; use 'local'")]
    Unknown(String),
    /// The payload is too large.
    #[error("a message of {bytes} bytes is too large for the bus; {PAYLOAD_BYTES_MAX} are the most")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Nobody answers on the subject.
    #[error("nobody answers on {0}")]
    NoResponders(Subject),
    /// Somebody listens on the subject, and no reply came in time.
    #[error("no reply came on {subject} within {} ms", within.as_millis())]
    TimedOut {
        /// Where the request went.
        subject: Subject,
        /// How long it was waited for.
        within: Duration,
    },
    /// The bus cannot be reached, or has more to send than it may hold.
    #[error("the bus is not available: {0}; what is durable goes on, try the rest again later")]
    Unavailable(String),
}

/// What carries messages. The contract suite in `tests/` says what each must do.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The name of this kind of bus, for people.
    fn kind(&self) -> &'static str;

    /// Whether anybody may be subscribed to anything. `false` saves making a message.
    fn may_have_subscribers(&self) -> bool;

    /// Whether other nodes are on this bus.
    fn reaches_other_nodes(&self) -> bool;

    /// Passes a message on without waiting for anybody.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when the bus is away or its buffer for what is to be sent is full.
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError>;

    /// Subscribes. What is published on this node after this has returned reaches the subscription.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when the bus is away.
    async fn subscribe(&self, pattern: &Pattern, buffer: Buffer) -> Result<Subscription, BusError>;

    /// Sends a message and waits for the first reply.
    ///
    /// # Errors
    /// [`BusError::NoResponders`] at once when nobody is subscribed to the subject; [`BusError::TimedOut`] when no
    /// reply has come `within` that time; [`BusError::Unavailable`] when the bus is away.
    async fn request(&self, subject: &Subject, payload: Bytes, within: Duration) -> Result<Bytes, BusError>;
}

/// The bus of a server process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus(Arc<dyn Backend>);

impl Bus {
    /// Opens the bus at `url`; `local` is the one inside this process.
    ///
    /// # Errors
    /// [`BusError::Unknown`] when there is no such bus.
    pub fn open(url: &str) -> Result<Self, BusError> {
        match url {
            "local" => Ok(Self(Arc::new(local::Local::default()))),
            other => Err(BusError::Unknown(other.to_owned())),
        }
    }

    /// The name of this kind of bus, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// Whether other nodes are on this bus.
    #[must_use]
    pub fn reaches_other_nodes(&self) -> bool {
        self.0.reaches_other_nodes()
    }

    /// Passes a message on to whoever is subscribed, without waiting for them.
    ///
    /// # Errors
    /// [`BusError::TooLarge`] over [`PAYLOAD_BYTES_MAX`]; [`BusError::Unavailable`] as [`Backend::publish`] says.
    pub fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        check(&payload)?;
        self.0.publish(subject, payload)
    }

    /// Wakes whoever is subscribed to a subject. Costs next to nothing while nobody is subscribed to anything: the
    /// message is not even made. A wake-up that cannot be sent is dropped, since those who wait for one also poll.
    pub fn wake(&self, make: impl FnOnce() -> (Subject, Bytes)) {
        if self.0.may_have_subscribers() {
            let (subject, payload) = make();
            let _ = self.publish(&subject, payload);
        }
    }

    /// Subscribes to all subjects that `pattern` matches.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when the bus is away.
    pub async fn subscribe(&self, pattern: &Pattern, buffer: Buffer) -> Result<Subscription, BusError> {
        self.0.subscribe(pattern, buffer).await
    }

    /// Sends a message and waits for the first reply, at most `within`.
    ///
    /// # Errors
    /// As [`Backend::request`] says, and [`BusError::TooLarge`] over [`PAYLOAD_BYTES_MAX`].
    pub async fn request(
        &self,
        subject: &Subject,
        payload: Bytes,
        within: Duration,
    ) -> Result<Bytes, BusError> {
        check(&payload)?;
        self.0.request(subject, payload, within).await
    }
}

fn check(payload: &Bytes) -> Result<(), BusError> {
    match payload.len() {
        bytes if bytes > PAYLOAD_BYTES_MAX => Err(BusError::TooLarge { bytes }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_bus_is_refused_by_name() {
        assert_eq!(Bus::open("carrier-pigeon").err(), Some(BusError::Unknown("carrier-pigeon".to_owned())));
    }
}
