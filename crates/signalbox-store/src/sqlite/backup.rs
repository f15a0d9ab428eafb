//! A copy of the whole file, made while the store goes on working.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{connect, recover, redo};
use crate::error::StoreError;

/// Copies the store at `from` to a new file at `to`, as it is at one moment.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let fails = |error: &dyn std::fmt::Display| {
        StoreError::Open(format!("the backup to {} was not made: {error}", to.display()))
    };
    if to.exists() {
        return Err(fails(&"the file exists already; name a new one"));
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let copied = || -> Result<(), String> {
        // Read first: what is missing of it was in the tables before these are copied.
        let log = redo::read(from).map_err(|error| error.to_string())?;
        copy_whole(from, partial).map_err(|error| error.to_string())?;
        complete(partial, &log)
    };
    let made = copied().map_err(|error| fails(&error)).and_then(|()| {
        // Only a whole copy ever carries the name that was asked for.
        std::fs::rename(partial, to).map_err(|error| fails(&error))
    });
    if made.is_err() {
        for end in ["", "-wal", "-shm"] {
            let mut name = partial.as_os_str().to_owned();
            name.push(end);
            let _there_may_be_none = std::fs::remove_file(Path::new(&name));
        }
    }
    made
}

/// Whether a copy is a whole store.
pub(crate) fn check(file: &Path) -> Result<(), StoreError> {
    let fails = |error: &dyn std::fmt::Display| StoreError::Open(format!("it is no whole store: {error}"));
    let looked = || {
        let copy = connect::reader(file)?;
        let found: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'agents'";
        let has_agents: bool = copy.query_row(tables, [], |row| row.get(0))?;
        Ok((found, has_agents))
    };
    match looked().map_err(|error: rusqlite::Error| fails(&error))? {
        (found, _) if found != "ok" => Err(fails(&found)),
        (_, false) => Err(fails(&"there are no agents' rows in it")),
        _ => Ok(()),
    }
}

/// Brings into a copy what was in the redo log only.
fn complete(copy: &Path, log: &[u8]) -> Result<(), String> {
    let copy = Connection::open(copy).map_err(|error| error.to_string())?;
    recover::apply(&copy, log)?;
    // Only then all of it is in the one file.
    let mode: String = copy
        .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    if mode != "delete" {
        return Err(format!("its log could not be taken in; its journal mode is {mode} still"));
    }
    copy.close().map_err(|(_, error)| error.to_string())
}

fn copy_whole(from: &Path, to: &Path) -> rusqlite::Result<()> {
    let source = connect::reader(from)?;
    connect::make_private(to);
    let mut copy = Connection::open(to)?;
    // One step for all pages: with several, every commit in between would start the copy again.
    let step = Backup::new(&source, &mut copy)?.step(-1)?;
    match step {
        StepResult::Done => {}
        _ => return Err(rusqlite::Error::InvalidQuery),
    }
    copy.close().map_err(|(_, error)| error)
}
