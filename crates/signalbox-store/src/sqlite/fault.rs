//! What SQLite's errors mean to a store's caller.

use rusqlite::ErrorCode;

use crate::error::StoreError;

/// What this error means.
pub(super) fn fault(error: &rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(cause, _)
            if matches!(cause.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
        {
            StoreError::Corrupt(error.to_string())
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Whether the error comes from what was asked rather than from the database's condition, so that the same
/// commits without the one at fault may succeed.
pub(super) fn is_of_the_request(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(cause, _) => matches!(
            cause.code,
            ErrorCode::ConstraintViolation
                | ErrorCode::TooBig
                | ErrorCode::TypeMismatch
                | ErrorCode::ParameterOutOfRange
                | ErrorCode::OutOfMemory
        ),
        _ => true,
    }
}
