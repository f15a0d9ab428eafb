//! What is served: the surfaces, the jobs behind them, and the driver between requests, engine and store.
//!
//! [`run`] is a server: configuration in, a listener, and a signal to stop. Nothing is global, so that two
//! servers can live in one process. Knows nothing of the command line that starts it.

pub mod address_file;
mod auth;
pub mod backup;
mod byte_budget;
mod clock;
pub mod config;
mod drain;
mod egress;
mod engine;
mod http;
mod jobs;
mod live;
mod lock;
mod quota;
mod server;
mod surface;
mod surfaces;
pub mod telemetry;
mod tools;
mod transport;

pub use config::Config;
pub use http::yaml::parse as parse_yaml;
pub use server::{Opening, Running, Server, StartError};
pub use surface::differences;
pub use surfaces::{openapi, workflow_faults};
