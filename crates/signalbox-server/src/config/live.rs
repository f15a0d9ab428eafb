//! How agents are kept that hold a connection.

use std::time::Duration;

use clap::Args;

use super::values::{origin, switch, time_allowed, within};

/// How agents are kept that hold a connection.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connected agents")]
pub struct LiveSettings {
    /// How often connected agents send a heartbeat; after three that are missed, an agent is offline
    #[arg(long, env = "SIGNALBOX_HEARTBEAT_INTERVAL", value_parser = time_allowed, default_value = "30s")]
    pub heartbeat_interval: Duration,
    /// Agents connected to this node at once; beyond it the answer is 503
    #[arg(long, value_parser = within(1_usize, 1_000_000), env = "SIGNALBOX_AGENT_CONNECTIONS_MAX", default_value_t = 100_000)]
    pub agent_connections_max: usize,
    /// Bytes of a message of a connected agent; one that sends more is closed with 1009
    #[arg(long, value_parser = within(1_024_usize, 64 << 20), env = "SIGNALBOX_AGENT_MESSAGE_BYTES_MAX", default_value_t = 1 << 20)]
    pub agent_message_bytes_max: usize,
    /// Messages that may wait for one connected agent; one that falls further behind is closed with 4429
    #[arg(long, value_parser = within(16_usize, 1_000_000), env = "SIGNALBOX_AGENT_BUFFER_MESSAGES_MAX", default_value_t = 8_192)]
    pub agent_buffer_messages_max: usize,
    /// Bytes that may wait for one connected agent
    #[arg(long, value_parser = within(16_384_usize, 1 << 30), env = "SIGNALBOX_AGENT_BUFFER_BYTES_MAX", default_value_t = 4 << 20)]
    pub agent_buffer_bytes_max: usize,
    /// Tasks, commands and messages on their way to one connected agent that it is not known to have; more wait in the store
    #[arg(long, value_parser = within(1_usize, 100_000), env = "SIGNALBOX_AGENT_UNACKNOWLEDGED_MAX", default_value_t = 256)]
    pub agent_unacknowledged_max: usize,
    /// Whether messages are compressed where the agent offers it; it takes up to 300 KiB more for a connection in use
    #[arg(long, env = "SIGNALBOX_WEBSOCKET_COMPRESSION", value_parser = switch)]
    pub websocket_compression: bool,
    /// Origins whose pages may open a WebSocket, such as https://console.example, besides those of this server; programs that are no browser name none
    #[arg(long, env = "SIGNALBOX_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub allowed_origins: Vec<String>,
}
