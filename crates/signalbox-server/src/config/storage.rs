//! What may wait for the store, for how long, and what is kept in memory of it.

use std::time::Duration;

use clap::Args;

use super::values::{time_allowed, within};

/// What may wait for the store, for how long, and what is kept in memory of it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct StorageSettings {
    /// Commits that may wait for the database's writer
    #[arg(long, value_parser = within(1_usize, 1_000_000), env = "SIGNALBOX_COMMIT_QUEUE_MAX", default_value_t = 16_384)]
    pub commit_queue_max: usize,
    /// Bytes that they may take together
    #[arg(long, value_parser = within(1_u64 << 20, 64 << 30), env = "SIGNALBOX_COMMIT_QUEUE_BYTES_MAX", default_value_t = 256 << 20)]
    pub commit_queue_bytes_max: u64,
    /// How long a commit or a read may take before the answer is 503
    #[arg(long, env = "SIGNALBOX_STORE_TIMEOUT", value_parser = time_allowed, default_value = "10s")]
    pub store_timeout: Duration,
    /// Bytes of rows kept in memory, at most
    #[arg(long, value_parser = within(0_u64, 64 << 30), env = "SIGNALBOX_CACHE_BYTES", default_value_t = 256 << 20)]
    pub cache_bytes: u64,
}
