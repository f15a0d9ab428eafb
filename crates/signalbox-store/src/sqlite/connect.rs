//! Connections to the file, how they are set, and the migrations that bring its tables up to date.
//!
//! Migrations are numbered and only ever added; each is applied once, in a transaction. A file that has seen
//! one that this program does not know is refused.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use crate::checksum;
use crate::error::StoreError;

/// All migrations by their number, in order.
const MIGRATIONS: &[(i64, &str)] = &[(1, include_str!("migrations/0001_initial.sql"))];

/// Pages of the log file after which a commit copies them into the main file itself: only when
/// [checkpoints](super::checkpoint) beside the writer do not come about.
const CHECKPOINT_PAGES: u32 = 65_536;
/// Bytes of a page of a new file. A report changes one row, and with it one page goes to the disk.
pub(super) const PAGE_BYTES: u32 = 2_048;
/// KiB of pages that the writer holds in memory. With more, each commit takes longer: whenever a tree was rebalanced,
/// SQLite looks through all of them for pages behind the end of the file.
const WRITER_CACHE_KIB: u32 = 8 * 1024;
/// KiB of pages that each reader holds in memory.
const READER_CACHE_KIB: u32 = 4 * 1024;
/// Bytes that the log file keeps on disk once its pages have been copied.
const LOG_BYTES_KEPT: u32 = 64 << 20;
/// How long to wait for a lock that a foreign program, such as a backup tool, holds.
const FOREIGN_LOCK_WAIT: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 64;

/// Opens the one connection that writes, creating the file where there is none.
pub(super) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    make_private(path);
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(FOREIGN_LOCK_WAIT)?;
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA mmap_size = 0;
         PRAGMA cache_size = -{WRITER_CACHE_KIB};
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = {LOG_BYTES_KEPT};"
    ))?;
    keep_statements(&connection)?;
    Ok(connection)
}

/// Whether commits of the writing connection are flushed one by one; those that are not are on the disk with the next that is.
pub(super) fn flush_commits(connection: &Connection, each: bool) -> rusqlite::Result<()> {
    connection.execute_batch(if each { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })
}

/// Makes the file, where there is none, readable for its owner alone; the log beside it takes over its rights.
/// What stands in the way is told by whoever opens it.
pub(super) fn make_private(path: &Path) {
    let _there_is_one = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

/// Opens a connection that only reads.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(FOREIGN_LOCK_WAIT)?;
    connection.execute_batch(&format!(
        "PRAGMA temp_store = MEMORY;
         PRAGMA mmap_size = 0;
         PRAGMA cache_size = -{READER_CACHE_KIB};"
    ))?;
    keep_statements(&connection)?;
    Ok(connection)
}

/// Keeps statements prepared. SQLite would prepare one anew whenever a value is bound that its plan could depend on,
/// such as a `LIMIT`; no statement here needs that, and it takes longer than most of them run.
fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(())
}

/// Brings the tables up to date.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = MIGRATIONS.last().map_or(0, |(number, _)| *number);
    let refused = |error| StoreError::Open(format!("the tables: {error}"));
    let Applied { last: applied, other } = apply_missing(connection).map_err(refused)?;
    if let Some(number) = other {
        return Err(StoreError::Open(checksum::refusal(number)));
    }
    if applied > known {
        return Err(StoreError::Open(format!(
            "the database was written by a newer version: it has migration {applied}, this program knows {known}; \
             use that version or a backup made before it"
        )));
    }
    Ok(())
}

/// What had been applied to a file.
struct Applied {
    /// The last migration.
    last: i64,
    /// One that was another than this program's.
    other: Option<i64>,
}

fn apply_missing(connection: &mut Connection) -> rusqlite::Result<Applied> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, checksum TEXT NOT NULL)",
    )?;
    let last: i64 =
        transaction.query_row("SELECT coalesce(max(number), 0) FROM migrations", [], |row| row.get(0))?;
    // Builds before there were checksums have none.
    let has_checksums =
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info('migrations') WHERE name = 'checksum')";
    if !transaction.query_row(has_checksums, [], |row| row.get(0))? {
        return Ok(Applied { last, other: Some(last) });
    }
    for (number, sql) in MIGRATIONS {
        let applied = "SELECT checksum FROM migrations WHERE number = ?1";
        let applied: Option<String> =
            transaction.query_row(applied, [number], |row| row.get(0)).optional()?;
        let own = checksum::of(sql);
        match applied {
            Some(applied) if applied == own => {}
            Some(_) => return Ok(Applied { last, other: Some(*number) }),
            None => {
                transaction.execute_batch(sql)?;
                transaction.execute(
                    "INSERT INTO migrations (number, checksum) VALUES (?1, ?2)",
                    params![number, own],
                )?;
            }
        }
    }
    transaction.commit()?;
    Ok(Applied { last, other: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_not_prepared_again_for_what_is_bound_to_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let connection = writer(&directory.path().join("a.db")).expect("opened");
        let mut statement = connection.prepare("SELECT 1 LIMIT ?1").expect("prepared");
        for limit in 1..9 {
            assert_eq!(statement.query_row([limit], |row| row.get(0)), Ok(1));
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }

    #[test]
    fn migrations_start_from_nothing_repeat_harmlessly_and_refuse_a_newer_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.db");
        let mut connection = writer(&path).expect("opened");
        migrate(&mut connection).expect("from nothing");
        migrate(&mut connection).expect("again");
        let newer = 1_000;
        connection.execute("INSERT INTO migrations VALUES (?1, '')", [newer]).expect("inserted");
        let refused = migrate(&mut connection).expect_err("newer");
        assert!(refused.to_string().contains("newer version"), "{refused}");
    }

    #[test]
    fn a_file_whose_migration_was_another_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut connection = writer(&directory.path().join("a.db")).expect("opened");
        migrate(&mut connection).expect("from nothing");
        let refused = |connection: &mut Connection, change: &str| {
            connection.execute_batch(change).expect("changed");
            let refused = migrate(connection).expect_err("another").to_string();
            assert!(refused.contains("migration 1") && refused.contains("unreleased"), "{refused}");
        };
        refused(&mut connection, "UPDATE migrations SET checksum = 'another'");
        refused(&mut connection, "ALTER TABLE migrations DROP COLUMN checksum");
    }
}
