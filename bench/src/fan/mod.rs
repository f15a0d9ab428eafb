//! Fan-out: one publisher, many subscribers, each over a WebSocket of its own, and the same code for every server.
//!
//! All connections are new in every run. Subscribers are dealt out to the load threads; the publisher has its own. In a
//! backlog the publisher sends as fast as it may while no subscriber is further behind than a window, so that nobody is
//! cut off for being slow; when paced it sends what is due each millisecond, and a delivery is late by how long ago it
//! was due.

mod board;
mod dialect;
mod publisher;
mod run;
mod subscriber;

pub(crate) use board::{Pace, Plan};
pub(crate) use dialect::{Dialect, PAYLOAD_BYTES, Seat};
pub(crate) use run::run;
