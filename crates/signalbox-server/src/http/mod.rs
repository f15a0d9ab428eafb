//! HTTP: the listener, what every request and answer goes through, bodies, parameters, problems, idempotency,
//! server-sent events and the fast path.

mod access;
pub(crate) mod answered;
pub(crate) mod body;
pub(crate) mod context;
pub(crate) mod docs;
pub(crate) mod edge;
pub(crate) mod fast_path;
pub(crate) mod idempotency;
mod on_demand;
mod own_agent;
pub(crate) mod params;
pub(crate) mod peer;
pub(crate) mod problem;
pub(crate) mod reply;
pub(crate) mod route_table;
pub(crate) mod streams;
pub(crate) mod unknown_fields;
pub(crate) mod yaml;
