//! The way of handlers' log lines to Ops-Core: [`LogSink`] takes them without waiting, a task sends them in batches. The
//! invariant: what waits is bounded, and what was dropped is told in the log itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use signalbox_wire::opscore::{LogEntry, LogLevel};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::edge;

/// Lines that may wait to be sent.
const WAITING_MAX: usize = 2_048;
/// Lines of one batch.
const BATCH_MAX: usize = 500;
/// How long lines are gathered before they are sent.
const GATHER_FOR: Duration = Duration::from_millis(500);
/// Characters of a line; the rest of a longer one is cut off.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Where lines are written to.
#[derive(Debug, Clone)]
pub(super) struct LogSink {
    lines: mpsc::Sender<LogEntry>,
    dropped: Arc<AtomicU64>,
}

/// Takes what is written and sends it, until every sink is gone.
#[derive(Debug)]
pub(super) struct LogSender {
    lines: mpsc::Receiver<LogEntry>,
    dropped: Arc<AtomicU64>,
}

/// A sink and its sender.
pub(super) fn channel() -> (LogSink, LogSender) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    (LogSink { lines: sender, dropped: Arc::clone(&dropped) }, LogSender { lines: receiver, dropped })
}

impl LogSink {
    /// Takes a line, or counts it as dropped.
    pub(super) fn write(&self, mut entry: LogEntry) {
        if entry.message.len() > MESSAGE_BYTES_MAX {
            let mut end = MESSAGE_BYTES_MAX;
            while !entry.message.is_char_boundary(end) {
                end -= 1;
            }
            entry.message.truncate(end);
        }
        if entry.message.is_empty() {
            entry.message.push(' ');
        }
        if self.lines.try_send(entry).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl LogSender {
    /// Sends until every sink is gone and all is sent. `client` is asked for each batch, as its token may change.
    pub(super) async fn run(mut self, agent_id: String, client: impl Fn() -> Client + Send) {
        while let Some(first) = self.lines.recv().await {
            let mut batch = vec![first];
            let until = Instant::now() + GATHER_FOR;
            while batch.len() < BATCH_MAX {
                match timeout_at(until, self.lines.recv()).await {
                    Ok(Some(line)) => batch.push(line),
                    Ok(None) | Err(_) => break,
                }
            }
            let lost = self.dropped.swap(0, Ordering::Relaxed);
            if lost > 0 {
                batch.push(dropped_line(lost));
            }
            let lines = batch.len() as u64;
            if client().post_logs(&agent_id, &batch).await.is_err() {
                self.dropped.fetch_add(lines.saturating_add(lost), Ordering::Relaxed);
            }
        }
    }
}

fn dropped_line(lost: u64) -> LogEntry {
    LogEntry {
        level: LogLevel::Warning,
        message: format!(
            "{lost} lines of the agent's log were dropped: they came faster than they could be sent"
        ),
        timestamp: Some(edge::now()),
        fields: Some(Map::from_iter([("dropped".to_owned(), Value::from(lost))])),
        session_id: None,
        opscore_session_id: None,
        task_id: None,
        opscore_task_id: None,
    }
}
