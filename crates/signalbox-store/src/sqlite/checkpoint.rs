//! Copying the log file's pages into the main file, beside the writer rather than in its way.
//!
//! A thread of its own copies whenever enough has been written. It never catches up with a busy writer, so the
//! log file would only grow: once it is long, the writer itself copies the little that is left and starts the
//! log file anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::connect;
use crate::commit::Commit;

/// Bytes written, about, after which pages are copied.
const COPY_AFTER_BYTES: usize = 8 << 20;
/// Pages in the log file after which it is started anew.
const RESTART_AFTER_PAGES: i64 = 16_384;
/// About what a row or an entry takes in the log file besides its body.
const ROW_BYTES: usize = connect::PAGE_BYTES as usize;
const ENTRY_BYTES: usize = 200;

/// The writer's end of it.
pub(super) struct Checkpoints {
    requests: Option<SyncSender<()>>,
    is_log_long: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    written_bytes: usize,
}

impl Checkpoints {
    /// Starts the thread. Where that fails, SQLite's own checkpoints within commits remain.
    pub(super) fn start(path: &Path) -> Self {
        let (requests, requested) = sync_channel(1);
        let is_log_long = Arc::new(AtomicBool::new(false));
        let thread = connect::writer(path).map_err(|error| error.to_string()).and_then(|connection| {
            let is_log_long = Arc::clone(&is_log_long);
            let thread = std::thread::Builder::new().name("store-checkpoint".to_owned());
            let spawned = thread.spawn(move || copy_on_request(&connection, &requested, &is_log_long));
            spawned.map_err(|error| error.to_string())
        });
        if let Err(error) = &thread {
            tracing::warn!(%error, "pages will be copied within commits, which will now and then take longer");
        }
        Self { requests: Some(requests), is_log_long, thread: thread.ok(), written_bytes: 0 }
    }

    /// Counts what a commit writes.
    pub(super) fn count(&mut self, commit: &Commit) {
        let rows = commit
            .changes
            .iter()
            .map(|change| change.put.as_ref().map_or(0, |put| put.body.len()) + ROW_BYTES);
        let entries = commit.events.iter().map(|event| event.data.len() + ENTRY_BYTES);
        let due = commit.due.len() + commit.done.len();
        self.written_bytes += rows.sum::<usize>() + entries.sum::<usize>() + due * ROW_BYTES;
    }

    /// Counts rows and bytes that were written from the redo log.
    pub(super) fn count_rows(&mut self, rows: usize, bytes: usize) {
        self.written_bytes += rows * ROW_BYTES + bytes;
    }

    /// Called between two physical commits.
    pub(super) fn between_commits(&mut self, connection: &Connection) {
        if self.is_log_long.swap(false, Ordering::AcqRel) {
            copy(connection);
        }
        if self.written_bytes >= COPY_AFTER_BYTES
            && let Some(requests) = &self.requests
        {
            self.written_bytes = 0;
            // With one waiting already, nothing is lost.
            let _waiting_already = requests.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn copy_on_request(connection: &Connection, requested: &Receiver<()>, is_log_long: &AtomicBool) {
    while requested.recv().is_ok() {
        if copy(connection).is_some_and(|pages| pages >= RESTART_AFTER_PAGES) {
            is_log_long.store(true, Ordering::Release);
        }
    }
}

/// Copies all pages of the log file into the main file, and flushes that. After a flush that failed nothing less is of use: the
/// system tells of it once, and takes for written what is not.
pub(super) fn copy_all(connection: &Connection) -> rusqlite::Result<()> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 {
        return Ok(());
    }
    let cause = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    let told = "all pages have to be copied, and another program reads the database";
    Err(rusqlite::Error::SqliteFailure(cause, Some(told.to_owned())))
}

/// Copies what nobody reads or writes just now; answers how many pages the log file has.
fn copy(connection: &Connection) -> Option<i64> {
    let pages = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1));
    pages.inspect_err(|error| tracing::warn!(%error, "the log file could not be copied now")).ok()
}
