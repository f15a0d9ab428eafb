//! How long tasks may take, and when they are tried again.

use std::time::Duration;

use clap::Args;

use super::values::{duration, time_allowed};

/// How long tasks may take, and when they are tried again.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Deliveries and tasks")]
pub struct TasksSettings {
    /// From a task's dispatch to the report that settles it; over it the attempt has failed
    #[arg(long, env = "SIGNALBOX_TASK_TIMEOUT", value_parser = time_allowed, default_value = "15m")]
    pub task_timeout: Duration,
    /// The longest wait after a task's first failed attempt; it doubles with each further one
    #[arg(long, env = "SIGNALBOX_TASK_BACKOFF_INITIAL", value_parser = duration, default_value = "1s")]
    pub task_backoff_initial: Duration,
}
