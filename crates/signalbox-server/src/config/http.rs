//! What connections and bodies may take.

use std::time::Duration;

use clap::Args;

use super::values::{time_allowed, within};

/// What connections and bodies may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct HttpSettings {
    /// Connections at once; further ones wait
    #[arg(long, value_parser = within(1_usize, 1_000_000), env = "SIGNALBOX_CONNECTIONS_MAX", default_value_t = 10_000)]
    pub connections_max: usize,
    /// Bytes of a request's body
    #[arg(long, value_parser = within(1_usize, 1 << 30), env = "SIGNALBOX_BODY_BYTES_MAX", default_value_t = 1 << 20)]
    pub body_bytes_max: usize,
    /// Bytes of all bodies that are being received at once, those up to 16 KiB not counted; beyond it the answer is 503
    #[arg(long, value_parser = within(1_u64 << 16, 64 << 30), env = "SIGNALBOX_INBOUND_BYTES_MAX", default_value_t = 256 << 20)]
    pub inbound_bytes_max: u64,
    /// Bytes of all bodies and answers of deliveries, webhooks and tool calls under way, those up to 16 KiB not counted; what does not fit waits
    #[arg(long, value_parser = within(1_u64 << 20, 64 << 30), env = "SIGNALBOX_OUTBOUND_BYTES_MAX", default_value_t = 256 << 20)]
    pub outbound_bytes_max: u64,
    /// Bytes of a value that a session keeps where it is; longer ones are kept apart, once each, and shown as references
    #[arg(long, value_parser = within(256_usize, 1 << 20), env = "SIGNALBOX_PAYLOAD_INLINE_MAX", default_value_t = 16 << 10)]
    pub payload_inline_max: usize,
    /// Bytes of what a task is given, with everything that it refers to
    #[arg(long, value_parser = within(1_024_u64, 1 << 30), env = "SIGNALBOX_PAYLOAD_BYTES_MAX", default_value_t = 16 << 20)]
    pub payload_bytes_max: u64,
    /// How long a client may take to send a request's headers
    #[arg(long, env = "SIGNALBOX_HEADER_TIMEOUT", value_parser = time_allowed, default_value = "10s")]
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests; longer than clients keep theirs
    #[arg(long, env = "SIGNALBOX_KEEP_ALIVE_TIMEOUT", value_parser = time_allowed, default_value = "75s")]
    pub keep_alive_timeout: Duration,
    /// How long a client may take to send a request's body
    #[arg(long, env = "SIGNALBOX_BODY_TIMEOUT", value_parser = time_allowed, default_value = "30s")]
    pub body_timeout: Duration,
}
