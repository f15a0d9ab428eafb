//! What the server puts around the engine: checks against JSON Schemas, and values put together again.

pub(crate) mod payloads;
pub(crate) mod schema;
