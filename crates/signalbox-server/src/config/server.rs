//! Where the server listens, what it serves, where it keeps its data, and how it logs and stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use signalbox_bus::{Address, Prefix};
use signalbox_wire::keys::Secret;

use super::values::{bus, duration, host_and_port, http_url, log_directives, secret, subject_prefix, switch};

/// Where the server listens, what it serves, where it keeps its data, and how it logs and stops.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerSettings {
    /// The address or host name, and the port, to listen on; port 0 takes a free one
    #[arg(long, env = "SIGNALBOX_LISTEN", value_parser = host_and_port, default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// A file with the certificate, and those it follows from, as PEM: what is listened on is then https. Read again on SIGHUP
    #[arg(long, env = "SIGNALBOX_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// A file with the certificate's private key as PEM
    #[arg(long, env = "SIGNALBOX_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Where the embedded database, the keys and the lock live; also `address`, while it serves: where commands that are run in the same folder find it
    #[arg(long, env = "SIGNALBOX_DATA_DIR", default_value = "signalbox-data")]
    pub data_dir: PathBuf,
    /// Where state is kept: postgres://user:password@host/database; the embedded SQLite when absent
    #[arg(long, env = "SIGNALBOX_DATABASE", hide_env_values = true, value_parser = secret)]
    pub database: Option<Secret>,
    /// Where live traffic goes: `local`, inside this process, or nats://user:password@host:4222 for several nodes, tls://… with TLS
    #[arg(long, env = "SIGNALBOX_BUS", hide_env_values = true, value_parser = bus, default_value = "local")]
    pub bus: Address,
    /// What all subjects begin with on a NATS that is shared: the same for the nodes of one deployment, another for each other
    #[arg(long, env = "SIGNALBOX_BUS_SUBJECT_PREFIX", value_parser = subject_prefix, default_value = "signalbox")]
    pub bus_subject_prefix: Prefix,
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
