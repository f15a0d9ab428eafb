//! The Rust client of Signalbox: typed calls over HTTP ([`Client`]), a session's events followed live
//! ([`EventStream`]), and a small runtime for agents that are reached over HTTP ([`agent::Agent`]).
//!
//! The invariant: a request is sent again only where a repeat cannot do the work twice. Knows nothing of
//! the server's inside: it shares the wire formats with it and no more.

pub mod agent;

mod agents;
mod client;
mod edge;
mod error;
mod follow;
mod messages;
mod model;
mod retry;
mod sessions;
mod sse;
mod transport;
mod workflows;

#[cfg(test)]
mod test_server;

pub use client::{Client, ListQuery};
pub use error::{Error, Fault, Problem};
pub use follow::EventStream;
pub use model::{
    AgentInfo, AgentState, DeadLetter, Event, LogEntry, MessageStatus, Page, Registration, Session, StateReport,
    Task, Triggered,
};
pub use retry::RetryPolicy;
pub use signalbox_wire::time::Timestamp;
