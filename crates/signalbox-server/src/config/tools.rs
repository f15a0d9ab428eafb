//! How long calls of tools may take, and how many are made at once.

use std::time::Duration;

use clap::Args;

use super::values::{time_allowed, within};

/// How long calls of tools may take, and how many are made at once.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Deliveries and tasks")]
pub struct ToolsSettings {
    /// How long a tool may take to answer
    #[arg(long, env = "SIGNALBOX_TOOL_TIMEOUT", value_parser = time_allowed, default_value = "15s")]
    pub tool_timeout: Duration,
    /// Calls of tools for workflows in flight at once
    #[arg(long, value_parser = within(1_usize, 100_000), env = "SIGNALBOX_TOOL_CALLS_MAX", default_value_t = 256)]
    pub tool_calls_max: usize,
}
