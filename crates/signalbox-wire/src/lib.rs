//! What clients see: ids, JSON bodies by surface, problems, signatures.
//!
//! Knows nothing of the engine, the store, HTTP servers or an async runtime.

pub mod agentkit;
pub mod artcafe;
pub mod body;
pub mod capability;
pub mod challenge;
pub mod duration;
pub mod envelope;
pub mod fault;
pub mod id;
pub mod json;
pub mod jwt;
pub mod keys;
pub mod nearest;
pub mod opscore;
pub mod outbound;
pub mod paging;
mod plain;
pub mod presence;
pub mod problem;
pub mod problem_kind;
pub mod process;
pub mod raw;
pub mod reason;
pub mod signature;
pub mod ssh;
pub mod text;
pub mod time;
#[cfg(test)]
mod unknown_words;

pub use plain::quote;
