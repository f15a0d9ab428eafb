//! What a fault of PostgreSQL means to the store: who is told what, and what may be tried again.
//!
//! Texts made here name the fault, never a value: the server's "detail" would quote rows.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use crate::StoreError;

/// What is wrong, in words.
pub(super) fn text(error: &tokio_postgres::Error) -> String {
    if let Some(fault) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", fault.message(), fault.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The fault as the caller of a read or a statement of its own is told.
pub(super) fn of_statement(error: &tokio_postgres::Error) -> StoreError {
    if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) {
        return StoreError::Conflict;
    }
    StoreError::Unavailable(format!("PostgreSQL: {}", text(error)))
}

/// The fault of an attempt to connect, with its cure where there is a known one.
pub(super) fn of_connection(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Unavailable(connection_text(error))
}

/// The fault of the first attempt to connect: what only another URL or another server can cure is told so.
pub(super) fn of_first_connection(error: &tokio_postgres::Error) -> StoreError {
    let is_refusal =
        error.code().is_some_and(|code| ["28", "3D"].iter().any(|class| code.code().starts_with(class)));
    if is_refusal || is_of_tls(error) {
        StoreError::Open(connection_text(error))
    } else {
        of_connection(error)
    }
}

fn connection_text(error: &tokio_postgres::Error) -> String {
    let cure = match error.code() {
        Some(&SqlState::INVALID_PASSWORD) => "; check the user and password of the database URL",
        Some(&SqlState::INVALID_CATALOG_NAME) => "; create it, or correct the database URL",
        Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            "; check the server's pg_hba.conf, and whether it wants sslmode=require in the database URL"
        }
        None if is_of_tls(error) => {
            "; name the authority's certificate with sslrootcert=/path/to/ca.pem in the database URL, and the \
             server as its own certificate does"
        }
        _ => "",
    };
    format!("cannot connect to PostgreSQL: {}{cure}", text(error))
}

fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with("error performing TLS handshake")
}

/// Whether the fault lies in what was to be written, so that the same statement cannot succeed later.
pub(super) fn is_of_the_data(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => ["22", "23", "54"].iter().any(|class| code.code().starts_with(class)),
        // The driver could not encode a value; the connection has seen nothing of it.
        None => {
            let text = error.to_string();
            text.starts_with("error serializing parameter") || text.starts_with("error encoding message")
        }
    }
}

/// Whether another row has a value that must be unique.
pub(super) fn is_duplicate(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// Whether something is not as this process remembers it: the statement says so by dividing by zero.
pub(super) fn is_of_memory(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::DIVISION_BY_ZERO)
}

/// Whether the server undid the transaction only because of what others did at the same time.
pub(super) fn is_of_the_moment(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE))
}
