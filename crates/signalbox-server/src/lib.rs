//! What is served: the surfaces, the jobs behind them, and the driver between requests, engine and store.
//!
//! [`run`] is a server: configuration in, a listener, and a signal to stop. Nothing is global, so that two
//! servers can live in one process. Knows nothing of the command line that starts it.

mod agentkit;
mod app;
mod artcafe;
mod auth;
mod body;
mod clock;
pub mod config;
mod context;
mod docs;
mod drive;
mod edge;
mod egress;
mod fast_path;
mod idempotency;
mod in_flight;
mod jobs;
mod lock;
mod metrics;
mod opscore;
mod params;
mod payloads;
mod problem;
mod process;
mod reply;
mod schema;
mod server;
mod start_inputs;
mod streams;
pub mod telemetry;
mod tools;

pub use config::Config;
pub use docs::openapi;
pub use server::{Server, StartError, backup};
