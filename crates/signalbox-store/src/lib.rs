//! What is kept: one store over embedded SQLite or PostgreSQL.
//!
//! A store loads what a decision [needs](signalbox_core::Need) and applies a [`Decision`] whole or answers
//! [`StoreError::Conflict`]; it never knows what was decided. Every method takes the tenant first, except
//! those that serve all tenants at once (due work, the key index), which hand the tenant back.
//!
//! [`Decision`]: signalbox_core::Decision

mod api;
mod backend;
mod cache;
mod checksum;
mod commit;
mod error;
mod lost;
mod postgres;
mod read_row;
mod removal;
mod retention;
mod rotation;
mod schema;
mod sessions;
mod sqlite;
mod store;
mod strangers;

pub use api::*;
pub use error::StoreError;
pub use store::{CONNECTED_NODES_MAX, PLACE_MAX, PLACES_MAX, Store};

/// Copies the SQLite store in the file `from` to a new file `to`, also while another process uses it.
///
/// # Errors
/// [`StoreError::Open`] when the copy cannot be made there.
pub fn backup_file(from: &std::path::Path, to: &std::path::Path) -> Result<(), StoreError> {
    sqlite::backup::copy(from, to)
}

/// Reads all of the SQLite store in the file, which no process uses.
///
/// # Errors
/// [`StoreError::Open`] where it is not whole, or something else.
pub fn check_file(file: &std::path::Path) -> Result<(), StoreError> {
    sqlite::backup::check(file)
}
