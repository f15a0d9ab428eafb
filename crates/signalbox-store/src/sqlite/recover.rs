//! Brings into the tables what a process that did not end in order had in its redo log.

use std::path::Path;

use rusqlite::Connection;

use super::record::{Replay, Unapplied};
use super::redo;
use super::statements::SET_POSITION;
use crate::error::StoreError;

/// Applies the redo log beside the database at `path`, of which nothing is needed afterwards; answers the last number that
/// was given.
pub(super) fn from_redo_log(connection: &Connection, path: &Path) -> Result<u64, StoreError> {
    let log = redo::read(path).map_err(|error| refused(path, &error))?;
    let last = apply(connection, &log).map_err(|error| refused(path, &error))? + 1;
    // What the process before wrote to the tables may not have been flushed: this commit is, and all before it with it.
    set_position(connection, last).map_err(|error| refused(path, &error))?;
    Ok(last)
}

/// The number up to which the tables have everything.
pub(super) fn position(connection: &Connection) -> rusqlite::Result<u64> {
    let applied = "SELECT applied FROM redo_position WHERE id = 1";
    connection.query_row(applied, [], |row| row.get(0)).map(i64::cast_unsigned)
}

fn set_position(connection: &Connection, position: u64) -> rusqlite::Result<()> {
    connection.execute(SET_POSITION, [position.cast_signed()]).map(|_| ())
}

/// Applies the records of a redo log that are not in the tables yet, in one commit that is flushed.
pub(super) fn apply(connection: &Connection, log: &[u8]) -> Result<u64, String> {
    let told = |error: rusqlite::Error| error.to_string();
    let applied = position(connection).map_err(told)?;
    let mut missing = redo::records(log)?.skip_while(|(number, _)| *number <= applied).peekable();
    let Some((first, _)) = missing.peek() else { return Ok(applied) };
    if *first != applied + 1 {
        return Err(format!(
            "it begins with record {first}, and the database has those up to {applied}: the two do not belong together; \
             where the database was restored from a backup, remove the redo log"
        ));
    }
    let transaction = connection.unchecked_transaction().map_err(told)?;
    let mut replay = Replay::new(connection).map_err(told)?;
    let mut last = applied;
    for (number, record) in missing {
        replay.record(record).map_err(|unapplied| match unapplied {
            Unapplied::Unreadable => format!(
                "record {number} says what this version does not understand; start the version that wrote it"
            ),
            Unapplied::Failed(error) => format!(
                "record {number}: {error}; see to that, or put the redo log away: what it alone has is lost then"
            ),
        })?;
        last = number;
    }
    replay.finish().map_err(told)?;
    set_position(connection, last).map_err(told)?;
    transaction.commit().map_err(told)?;
    tracing::info!(records = last - applied, "what was left in the redo log is in the tables now");
    Ok(last)
}

fn refused(path: &Path, error: &impl std::fmt::Display) -> StoreError {
    StoreError::Open(format!("the redo log {}: {error}", redo::path_of(path).display()))
}
