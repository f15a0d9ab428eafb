//! Ids and numbers as SQLite has them.

use crate::error::StoreError;

/// The text as an id, which it was when it was stored.
pub(super) fn id<T, E: std::fmt::Display>(parsed: Result<T, E>) -> Result<T, StoreError> {
    parsed.map_err(|error| StoreError::Corrupt(format!("a stored id: {error}")))
}

/// A stored number as one that is never negative.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt(format!("a stored sequence is {number}")))
}

/// A bound as SQL takes it.
pub(super) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
