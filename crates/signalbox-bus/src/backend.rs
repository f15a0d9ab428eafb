//! What carries messages: the trait that each bus implements.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::BusError;
use crate::subject::{Pattern, Subject};
use crate::subscription::{Buffer, Subscription};

/// What carries messages. The contract suite in `tests/` says what each must do.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The name of this kind of bus, for people.
    fn kind(&self) -> &'static str;

    /// Why the bus carries nothing now, where it does not.
    fn outage(&self) -> Option<String>;

    /// Whether anybody may be subscribed to anything. `false` saves making a message.
    fn may_have_subscribers(&self) -> bool;

    /// Whether other nodes are on this bus.
    fn reaches_other_nodes(&self) -> bool;

    /// Passes a message on without waiting for anybody.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when the bus is away or its buffer for what is to be sent is full.
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError>;

    /// Subscribes. What is published after this has returned reaches the subscription, from whatever node. A subscription
    /// outlives the loss of the bus, and one that is made meanwhile begins when the bus is back: either is told
    /// [`crate::Received::Missed`] then.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when the bus cannot take another subscription.
    async fn subscribe(&self, pattern: &Pattern, buffer: Buffer) -> Result<Subscription, BusError>;

    /// Sends a message and waits for the first reply.
    ///
    /// # Errors
    /// [`BusError::NoResponders`] at once when nobody is subscribed to the subject; [`BusError::TimedOut`] when no
    /// reply has come `within` that time; [`BusError::Unavailable`] when the bus is away.
    async fn request(&self, subject: &Subject, payload: Bytes, within: Duration) -> Result<Bytes, BusError>;
}
