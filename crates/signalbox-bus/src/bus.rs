//! The bus of a server process, whatever carries its messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::address::Address;
use crate::backend::Backend;
use crate::error::{BusError, PAYLOAD_BYTES_MAX};
use crate::local::Local;
use crate::nats::{Nats, Options};
use crate::subject::{Pattern, Subject};
use crate::subscription::{Buffer, Subscription};

/// The bus of a server process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus(Arc<dyn Backend>);

impl Bus {
    /// The bus inside this process.
    #[must_use]
    pub fn local() -> Self {
        Self(Arc::new(Local::default()))
    }

    /// Opens the bus at an address. One of other machines need not be there yet: it is looked for until it is, and
    /// [`Self::outage`] tells. For tasks in the runtime that this is called in.
    #[must_use]
    pub fn connect(address: &Address, options: Options) -> Self {
        match address {
            Address::Local => Self::local(),
            Address::Nats(nats) => Self(Arc::new(Nats::start(nats, options))),
        }
    }

    /// Why the bus carries nothing now, where it does not.
    #[must_use]
    pub fn outage(&self) -> Option<String> {
        self.0.outage()
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

    /// Subscribes to all subjects that `pattern` matches, also while the bus is away: see [`Backend::subscribe`].
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when the bus cannot take another subscription.
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
