//! The configuration: one struct, from which the flags, the environment, `signalbox.toml` and the reference
//! page all come.
//!
//! Precedence: a flag, then its environment variable, then `signalbox.toml`, then the default ([`read`]). What a
//! value may be is said in [`values`]. Unknown keys ([`file`]) and unknown variables ([`variables`]) are refused
//! with the nearest name. All faults are told at once, each with where it stands ([`fault`]). Secrets are
//! [`Secret`]s: they print as `[redacted]`.

mod contradictions;
mod fault;
mod file;
mod read;
mod values;
mod variables;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Command, ValueEnum};
use signalbox_core::limits::Policy;
use signalbox_core::retry::Backoff;
use signalbox_wire::keys::Secret;

pub use self::fault::{ConfigError, Fault};
use self::values::{
    duration, host_and_port, http_url, key, log_directives, secret, service_url, switch, time_allowed, within,
};

/// Everything that an operator can set.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct Config {
    /// The address or host name, and the port, to listen on; port 0 takes a free one
    #[arg(long, env = "SIGNALBOX_LISTEN", value_parser = host_and_port, default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Where the embedded database, the keys and the lock live
    #[arg(long, env = "SIGNALBOX_DATA_DIR", default_value = "signalbox-data")]
    pub data_dir: PathBuf,
    /// Where state is kept: postgres://user:password@host/database; the embedded SQLite when absent
    #[arg(long, env = "SIGNALBOX_DATABASE", hide_env_values = true, value_parser = secret)]
    pub database: Option<Secret>,
    /// Where live traffic goes: `local`, inside this process
    #[arg(long, env = "SIGNALBOX_BUS", default_value = "local")]
    pub bus: String,
    /// A file with any of these keys; signalbox.toml in the working directory when there is one
    #[arg(long, env = "SIGNALBOX_CONFIG")]
    pub config: Option<PathBuf>,
    /// Which surfaces to serve
    #[arg(long, env = "SIGNALBOX_SURFACES", value_delimiter = ',', default_values = ["agentkit", "opscore", "artcafe"])]
    pub surfaces: Vec<Surface>,
    /// Serve beyond loopback without any key configured: everybody who can connect may do everything
    #[arg(long, env = "SIGNALBOX_INSECURE", value_parser = switch)]
    pub insecure: bool,
    /// Ask for a key on every surface, also on loopback; for a server behind a proxy
    #[arg(long, env = "SIGNALBOX_REQUIRE_KEYS", value_parser = switch)]
    pub require_keys: bool,
    /// Where clients reach this server, when that is not the address it listens on
    #[arg(long, env = "SIGNALBOX_PUBLIC_URL", value_parser = http_url)]
    pub public_url: Option<String>,
    /// How the log is written
    #[arg(long, env = "SIGNALBOX_LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,signalbox_store=debug`
    #[arg(long, env = "SIGNALBOX_LOG", value_parser = log_directives, default_value = "info")]
    pub log: String,
    /// How long requests and deliveries in flight may take after SIGTERM
    #[arg(long, env = "SIGNALBOX_SHUTDOWN_TIMEOUT", value_parser = duration, default_value = "10s")]
    pub shutdown_timeout: Duration,
    /// How long after SIGTERM everything is still served while /ready says 503, before the listener closes; longer than a load balancer takes to ask
    #[arg(long, env = "SIGNALBOX_SHUTDOWN_DELAY", value_parser = duration, default_value = "500ms")]
    pub shutdown_delay: Duration,

    /// The key that creates tenants and may act in any, at least 16 characters; made at first start when absent
    #[arg(long, env = "SIGNALBOX_PLATFORM_KEY", hide_env_values = true, value_parser = key, help_heading = "Keys and other services")]
    pub platform_key: Option<Secret>,
    /// An admin key of the tenant `default`, at least 16 characters; also read from OPSCORE_API_KEY
    #[arg(long, env = "SIGNALBOX_OPSCORE_API_KEY", hide_env_values = true, value_parser = key, help_heading = "Keys and other services")]
    pub opscore_api_key: Option<Secret>,
    /// Where registrations are announced; also read from OPSCORE_WEBHOOK_URL
    #[arg(long, env = "SIGNALBOX_OPSCORE_WEBHOOK_URL", value_parser = http_url, help_heading = "Keys and other services")]
    pub opscore_webhook_url: Option<String>,
    /// What signs and verifies announcements; also read from OPSCORE_WEBHOOK_SECRET
    #[arg(long, env = "SIGNALBOX_OPSCORE_WEBHOOK_SECRET", hide_env_values = true, value_parser = secret, help_heading = "Keys and other services")]
    pub opscore_webhook_secret: Option<Secret>,
    /// What signs the webhooks that workflows name; made at first start when absent, and kept in the data directory
    #[arg(long, env = "SIGNALBOX_WEBHOOK_SECRET", hide_env_values = true, value_parser = secret, help_heading = "Keys and other services")]
    pub webhook_secret: Option<Secret>,
    /// The AgentKit service that tasks are dispatched through, when it is another process, with or without `/v1`; also read from AGENTKIT_API_URL
    #[arg(long, env = "SIGNALBOX_AGENTKIT_API_URL", value_parser = service_url, help_heading = "Keys and other services")]
    pub agentkit_api_url: Option<String>,
    /// A key for that service; also read from AGENTKIT_API_KEY
    #[arg(long, env = "SIGNALBOX_AGENTKIT_API_KEY", hide_env_values = true, value_parser = secret, help_heading = "Keys and other services")]
    pub agentkit_api_key: Option<Secret>,
    /// How often the agents of that service are compared, in case an announcement was lost
    #[arg(long, env = "SIGNALBOX_AGENT_SYNC_INTERVAL", value_parser = time_allowed, default_value = "60s", help_heading = "Keys and other services")]
    pub agent_sync_interval: Duration,

    /// Connections at once; further ones wait
    #[arg(long, value_parser = within(1_usize, 1_000_000), env = "SIGNALBOX_CONNECTIONS_MAX", default_value_t = 10_000, help_heading = "Limits")]
    pub connections_max: usize,
    /// Bytes of a request's body
    #[arg(long, value_parser = within(1_usize, 1 << 30), env = "SIGNALBOX_BODY_BYTES_MAX", default_value_t = 1 << 20, help_heading = "Limits")]
    pub body_bytes_max: usize,
    /// Bytes of all bodies that are being received at once, those up to 16 KiB not counted; beyond it the answer is 503
    #[arg(long, value_parser = within(1_u64 << 16, 64 << 30), env = "SIGNALBOX_INBOUND_BYTES_MAX", default_value_t = 256 << 20, help_heading = "Limits")]
    pub inbound_bytes_max: u64,
    /// Bytes of all bodies and answers of deliveries, webhooks and tool calls under way, those up to 16 KiB not counted; what does not fit waits
    #[arg(long, value_parser = within(1_u64 << 20, 64 << 30), env = "SIGNALBOX_OUTBOUND_BYTES_MAX", default_value_t = 256 << 20, help_heading = "Limits")]
    pub outbound_bytes_max: u64,
    /// Bytes of a value that a session keeps where it is; longer ones are kept apart, once each, and shown as references
    #[arg(long, value_parser = within(256_usize, 1 << 20), env = "SIGNALBOX_PAYLOAD_INLINE_MAX", default_value_t = 16 << 10, help_heading = "Limits")]
    pub payload_inline_max: usize,
    /// Bytes of what a task is given, with everything that it refers to
    #[arg(long, value_parser = within(1_024_u64, 1 << 30), env = "SIGNALBOX_PAYLOAD_BYTES_MAX", default_value_t = 16 << 20, help_heading = "Limits")]
    pub payload_bytes_max: u64,
    /// How long a client may take to send a request's headers
    #[arg(long, env = "SIGNALBOX_HEADER_TIMEOUT", value_parser = time_allowed, default_value = "10s", help_heading = "Limits")]
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests; longer than clients keep theirs
    #[arg(long, env = "SIGNALBOX_KEEP_ALIVE_TIMEOUT", value_parser = time_allowed, default_value = "75s", help_heading = "Limits")]
    pub keep_alive_timeout: Duration,
    /// How long a client may take to send a request's body
    #[arg(long, env = "SIGNALBOX_BODY_TIMEOUT", value_parser = time_allowed, default_value = "30s", help_heading = "Limits")]
    pub body_timeout: Duration,
    /// Commits that may wait for the database's writer
    #[arg(long, value_parser = within(1_usize, 1_000_000), env = "SIGNALBOX_COMMIT_QUEUE_MAX", default_value_t = 16_384, help_heading = "Limits")]
    pub commit_queue_max: usize,
    /// Bytes that they may take together
    #[arg(long, value_parser = within(1_u64 << 20, 64 << 30), env = "SIGNALBOX_COMMIT_QUEUE_BYTES_MAX", default_value_t = 256 << 20, help_heading = "Limits")]
    pub commit_queue_bytes_max: u64,
    /// How long a commit or a read may take before the answer is 503
    #[arg(long, env = "SIGNALBOX_STORE_TIMEOUT", value_parser = time_allowed, default_value = "10s", help_heading = "Limits")]
    pub store_timeout: Duration,
    /// Bytes of rows kept in memory, at most
    #[arg(long, value_parser = within(0_u64, 64 << 30), env = "SIGNALBOX_CACHE_BYTES", default_value_t = 256 << 20, help_heading = "Limits")]
    pub cache_bytes: u64,

    /// How long an endpoint may take to answer a delivery
    #[arg(long, env = "SIGNALBOX_DELIVERY_TIMEOUT", value_parser = time_allowed, default_value = "15s", help_heading = "Deliveries and tasks")]
    pub delivery_timeout: Duration,
    /// Attempts of a delivery before it becomes a dead letter
    #[arg(
        long,
        value_parser = within(1_u32, 1_000), env = "SIGNALBOX_DELIVERY_ATTEMPTS",
        default_value_t = 8,
        help_heading = "Deliveries and tasks"
    )]
    pub delivery_attempts: u32,
    /// The longest wait after a delivery's first attempt; it doubles with each further one
    #[arg(long, env = "SIGNALBOX_DELIVERY_BACKOFF_INITIAL", value_parser = duration, default_value = "1s", help_heading = "Deliveries and tasks")]
    pub delivery_backoff_initial: Duration,
    /// The longest wait between attempts of a delivery
    #[arg(long, env = "SIGNALBOX_DELIVERY_BACKOFF_MAX", value_parser = duration, default_value = "60s", help_heading = "Deliveries and tasks")]
    pub delivery_backoff_max: Duration,
    /// Deliveries in flight at once
    #[arg(
        long,
        value_parser = within(1_usize, 100_000), env = "SIGNALBOX_DELIVERIES_MAX",
        default_value_t = 1_024,
        help_heading = "Deliveries and tasks"
    )]
    pub deliveries_max: usize,
    /// Deliveries in flight at once to one destination
    #[arg(
        long,
        value_parser = within(1_usize, 100_000), env = "SIGNALBOX_DELIVERIES_PER_DESTINATION_MAX",
        default_value_t = 64,
        help_heading = "Deliveries and tasks"
    )]
    pub deliveries_per_destination_max: usize,
    /// Messages that may wait for one destination; over it, `POST /v1/agents/{agentId}/run` answers 429
    #[arg(
        long,
        value_parser = within(64_usize, 100_000_000), env = "SIGNALBOX_WAITING_PER_DESTINATION_MAX",
        default_value_t = 100_000,
        help_heading = "Deliveries and tasks"
    )]
    pub waiting_per_destination_max: usize,
    /// From a task's dispatch to the report that settles it; over it the attempt has failed
    #[arg(long, env = "SIGNALBOX_TASK_TIMEOUT", value_parser = time_allowed, default_value = "15m", help_heading = "Deliveries and tasks")]
    pub task_timeout: Duration,
    /// The longest wait after a task's first failed attempt; it doubles with each further one
    #[arg(long, env = "SIGNALBOX_TASK_BACKOFF_INITIAL", value_parser = duration, default_value = "1s", help_heading = "Deliveries and tasks")]
    pub task_backoff_initial: Duration,
    /// How long a tool may take to answer
    #[arg(long, env = "SIGNALBOX_TOOL_TIMEOUT", value_parser = time_allowed, default_value = "15s", help_heading = "Deliveries and tasks")]
    pub tool_timeout: Duration,
    /// Calls of tools for workflows in flight at once
    #[arg(long, value_parser = within(1_usize, 100_000), env = "SIGNALBOX_TOOL_CALLS_MAX", default_value_t = 256, help_heading = "Deliveries and tasks")]
    pub tool_calls_max: usize,
    /// Refuse agents' and tools' endpoints on loopback addresses
    #[arg(long, env = "SIGNALBOX_EGRESS_FORBID_LOOPBACK", value_parser = switch, help_heading = "Deliveries and tasks")]
    pub egress_forbid_loopback: bool,
    /// Refuse agents' and tools' endpoints in private address ranges
    #[arg(long, env = "SIGNALBOX_EGRESS_FORBID_PRIVATE", value_parser = switch, help_heading = "Deliveries and tasks")]
    pub egress_forbid_private: bool,
    /// Let the built-in tool `http_get` read loopback and private addresses also where keys are required or the
    /// server listens beyond loopback
    #[arg(long, env = "SIGNALBOX_HTTP_GET_PRIVATE", value_parser = switch, help_heading = "Deliveries and tasks")]
    pub http_get_private: bool,

    /// How long log entries and reports are kept
    #[arg(long, env = "SIGNALBOX_RETENTION_EVENTS", value_parser = duration, default_value = "7d", help_heading = "Retention")]
    pub retention_events: Duration,
    /// How long ended sessions are kept, with their history
    #[arg(long, env = "SIGNALBOX_RETENTION_SESSIONS", value_parser = duration, default_value = "30d", help_heading = "Retention")]
    pub retention_sessions: Duration,
    /// How long delivered messages are kept; dead letters stay until they are removed
    #[arg(long, env = "SIGNALBOX_RETENTION_MESSAGES", value_parser = duration, default_value = "1d", help_heading = "Retention")]
    pub retention_messages: Duration,
}

/// One of the APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Surface {
    /// `/v1/agents`, `/v1/tools`, and what belongs to deliveries.
    Agentkit,
    /// `/v1/opscore`.
    Opscore,
    /// `/api/v1`.
    Artcafe,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For reading.
    Text,
}

impl Config {
    /// The `serve` command with every flag.
    #[must_use]
    pub fn command() -> Command {
        Self::augment_args(Command::new("signalbox serve").about("Serve the control plane"))
    }

    /// What the engine is told of it.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let announce = self.opscore_webhook_url.is_some() && self.opscore_webhook_secret.is_some();
        let delivery_backoff =
            Backoff { initial: self.delivery_backoff_initial, factor: 2.0, max: self.delivery_backoff_max };
        Policy {
            delivery_attempts: self.delivery_attempts,
            delivery_backoff,
            task_backoff: Backoff { initial: self.task_backoff_initial, ..Policy::default().task_backoff },
            task_timeout: self.task_timeout,
            lease: self.delivery_timeout.max(self.tool_timeout) * 2 + Duration::from_secs(30),
            announce: announce && self.serves(Surface::Agentkit),
            payload_inline_max: self.payload_inline_max,
            payload_max: self.payload_bytes_max,
            ..Policy::default()
        }
    }

    /// Whether this surface is served.
    #[must_use]
    pub fn serves(&self, surface: Surface) -> bool {
        self.surfaces.contains(&surface)
    }

    /// Whether tasks are dispatched through another service's AgentKit surface.
    #[must_use]
    pub fn dispatches_through(&self) -> Option<&str> {
        self.agentkit_api_url.as_deref().filter(|_| !self.serves(Surface::Agentkit))
    }

    /// The database's address: the one given, else the file in the data directory.
    #[must_use]
    pub fn database_url(&self) -> String {
        match &self.database {
            Some(url) => url.expose().to_owned(),
            None => format!("sqlite://{}", self.data_dir.join("signalbox.db").display()),
        }
    }
}
