//! How long what is over is kept.

use std::time::Duration;

use clap::Args;

use super::values::duration;

/// How long what is over is kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Retention")]
pub struct RetentionSettings {
    /// How long log entries and reports are kept
    #[arg(long, env = "SIGNALBOX_RETENTION_EVENTS", value_parser = duration, default_value = "7d")]
    pub retention_events: Duration,
    /// How long ended sessions are kept, with their history
    #[arg(long, env = "SIGNALBOX_RETENTION_SESSIONS", value_parser = duration, default_value = "30d")]
    pub retention_sessions: Duration,
    /// How long delivered messages are kept; dead letters stay until they are removed
    #[arg(long, env = "SIGNALBOX_RETENTION_MESSAGES", value_parser = duration, default_value = "1d")]
    pub retention_messages: Duration,
}
