//! What is kept: one store over embedded SQLite or PostgreSQL.
//!
//! A store loads what a decision [needs](signalbox_core::Need) and applies a [`Decision`] whole or answers
//! [`StoreError::Conflict`]; it never knows what was decided. Every method takes the tenant first, except
//! those that serve all tenants at once (due work, the key index), which hand the tenant back.

mod api;
mod error;

pub use api::*;
pub use error::StoreError;
