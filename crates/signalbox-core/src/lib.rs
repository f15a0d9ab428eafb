//! What is decided: agents, sessions, tasks, deliveries, leases, routing and retry as pure state machines.
//!
//! Everything here is a function of its arguments: time and randomness come in through [`DecisionContext`], stored state
//! through [`Snapshot`], and what should change goes out as a [`Decision`]. Nothing awaits, nothing is sent,
//! nothing is read from a clock. The one loop that every caller runs is described at [`engine`].

pub mod agent;
mod agent_json;
pub mod agent_reports;
pub mod breaker;
pub mod channel;
pub mod chunks;
pub mod command;
pub mod connection;
pub mod context;
pub mod cron;
pub mod decision;
pub mod definition;
pub mod delivery;
pub mod due;
pub mod engine;
pub mod event;
pub mod expression;
pub mod figures;
pub mod graph;
pub mod hook;
pub mod language;
pub mod lease;
pub mod limits;
pub mod payload;
pub mod quota;
pub mod reach;
pub mod report;
pub mod retry;
pub mod routing;
pub mod schedule;
pub mod session;
pub mod snapshot;
pub mod ssh_key;
pub mod steps;
pub mod task;
pub mod task_attempt;
pub mod task_message;
pub mod token_keys;

pub use context::DecisionContext;
pub use decision::{Decision, Row, Write};
pub use snapshot::{Halt, Need, Rejected, Snapshot, Versioned};
