//! What a handler can tell while it works, and be told: progress, log lines, and that it is no longer wanted.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use signalbox_wire::opscore::{LogEntry, LogLevel};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::logs::LogSink;
use crate::edge;

/// How far a task is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// From 0 to 100.
    pub percent: f64,
    /// What is being done.
    pub note: Option<String>,
}

/// A handler's line to the agent's runtime. Cheap to clone. The default one leads nowhere, for tests of handlers.
#[derive(Clone, Default)]
pub struct Context(Arc<Parts>);

#[derive(Default)]
struct Parts {
    progress: Option<watch::Sender<Option<Progress>>>,
    logs: Option<LogSink>,
    task_id: Option<String>,
    session_id: Option<String>,
    cancelled: CancellationToken,
}

impl Context {
    pub(super) fn new(
        (task_id, session_id): (Option<String>, Option<String>),
        logs: LogSink,
    ) -> (Self, watch::Receiver<Option<Progress>>) {
        let (progress, told) = watch::channel(None);
        let parts = Parts {
            progress: Some(progress),
            logs: Some(logs),
            task_id,
            session_id,
            cancelled: CancellationToken::new(),
        };
        (Self(Arc::new(parts)), told)
    }

    /// Tells how far a task is, in percent. Of several in short succession only the last may be told. Nothing happens for
    /// what is no task.
    pub fn progress(&self, percent: f64, note: Option<&str>) {
        let percent = if percent.is_finite() { percent.clamp(0.0, 100.0) } else { 0.0 };
        if let Some(progress) = &self.0.progress {
            progress.send_replace(Some(Progress { percent, note: note.map(str::to_owned) }));
        }
    }

    /// Writes a line to the central log, with the task and the session that the work belongs to, and so with their trace. It goes there
    /// in batches; where more is written than can be sent, the newest is dropped and how many were is told in the log.
    pub fn log(&self, level: LogLevel, message: impl Into<String>, fields: Option<Map<String, Value>>) {
        let Some(logs) = &self.0.logs else { return };
        let entry = LogEntry {
            level,
            message: message.into(),
            timestamp: Some(edge::now()),
            fields,
            session_id: self.0.session_id.clone(),
            opscore_session_id: None,
            task_id: None,
            opscore_task_id: self.0.task_id.clone(),
        };
        logs.write(entry);
    }

    /// Whether the work is no longer wanted.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.is_cancelled()
    }

    /// Ends when the work is no longer wanted. The handler's future is dropped then by itself: this is for work that goes on
    /// elsewhere, in threads or processes.
    pub async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }

    pub(super) fn cancel(&self) {
        self.0.cancelled.cancel();
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("task_id", &self.0.task_id).finish_non_exhaustive()
    }
}
