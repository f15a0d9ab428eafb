//! What is passed on live, between the parts of one node and between nodes: publish, subscribe, request.
//!
//! Nothing on the bus is the truth. A message may be lost or come twice; whatever must not be lost is in the
//! store, and a subscriber that missed a message reads it there. Publishers never wait for subscribers: each
//! subscription has a [`Buffer`] with a bound, and is told how many messages it missed.
//!
//! [`Subject`]s are built from typed parts, and those of a tenant begin with the tenant, so that no
//! [`Pattern`] of one tenant can match a subject of another.

mod address;
mod backend;
mod bus;
mod ended;
mod error;
mod local;
mod message;
mod nats;
mod subject;
mod subscription;
mod wake_ups;

pub use address::{Address, BadAddress, NatsAddress};
pub use backend::Backend;
pub use bus::Bus;
pub use bytes::Bytes;
pub use ended::{Ended, EndedCredentials};
pub use error::{BadPrefix, BusError, PAYLOAD_BYTES_MAX};
pub use message::{Message, Reply};
pub use nats::{Options, Prefix};
pub use subject::{BadSubject, NAME_BYTES_MAX, Pattern, Subject, TOKENS_MAX};
pub use subscription::{Buffer, Received, Subscription};
pub use wake_ups::{WakeUps, Woken};
