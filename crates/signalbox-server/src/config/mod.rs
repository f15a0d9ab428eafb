//! The configuration: one struct, from which the flags, the environment, `signalbox.toml` and the reference
//! page all come.
//!
//! Precedence: a flag, then its environment variable, then `signalbox.toml`, then the default. An unknown key
//! in the file is refused by name. Secrets are [`Secret`]s: they print as `[redacted]`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Command, FromArgMatches, ValueEnum};
use signalbox_core::limits::Policy;
use signalbox_core::retry::Backoff;
use signalbox_wire::keys::Secret;

/// Everything that an operator can set.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct Config {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, env = "SIGNALBOX_LISTEN", default_value = "127.0.0.1:8000")]
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
    #[arg(long, env = "SIGNALBOX_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
    /// Ask for a key on every surface, also on loopback; for a server behind a proxy
    #[arg(long, env = "SIGNALBOX_REQUIRE_KEYS", value_parser = BoolishValueParser::new())]
    pub require_keys: bool,
    /// Where clients reach this server, when that is not the address it listens on
    #[arg(long, env = "SIGNALBOX_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// How the log is written
    #[arg(long, env = "SIGNALBOX_LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,signalbox_store=debug`
    #[arg(long, env = "SIGNALBOX_LOG", default_value = "info")]
    pub log: String,
    /// How long requests and deliveries in flight may take after SIGTERM
    #[arg(long, env = "SIGNALBOX_SHUTDOWN_TIMEOUT", value_parser = duration, default_value = "10s")]
    pub shutdown_timeout: Duration,

    /// The key that creates tenants and may act in any; made at first start when absent
    #[arg(long, env = "SIGNALBOX_PLATFORM_KEY", hide_env_values = true, value_parser = secret, help_heading = "Keys and other services")]
    pub platform_key: Option<Secret>,
    /// An admin key of the tenant `default`; also read from OPSCORE_API_KEY
    #[arg(long, env = "SIGNALBOX_OPSCORE_API_KEY", hide_env_values = true, value_parser = secret, help_heading = "Keys and other services")]
    pub opscore_api_key: Option<Secret>,
    /// Where registrations are announced; also read from OPSCORE_WEBHOOK_URL
    #[arg(long, env = "SIGNALBOX_OPSCORE_WEBHOOK_URL", help_heading = "Keys and other services")]
    pub opscore_webhook_url: Option<String>,
    /// What signs and verifies announcements; also read from OPSCORE_WEBHOOK_SECRET
    #[arg(long, env = "SIGNALBOX_OPSCORE_WEBHOOK_SECRET", hide_env_values = true, value_parser = secret, help_heading = "Keys and other services")]
    pub opscore_webhook_secret: Option<Secret>,
    /// What signs the webhooks that workflows name; made at first start when absent, and kept in the data directory
    #[arg(long, env = "SIGNALBOX_WEBHOOK_SECRET", hide_env_values = true, value_parser = secret, help_heading = "Keys and other services")]
    pub webhook_secret: Option<Secret>,
    /// The AgentKit service that tasks are dispatched through, when it is another process; also read from AGENTKIT_API_URL
    #[arg(long, env = "SIGNALBOX_AGENTKIT_API_URL", help_heading = "Keys and other services")]
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
    /// Bytes of a value that a session keeps where it is; longer ones are kept apart, once each, and shown as references
    #[arg(long, value_parser = within(256_usize, 1 << 20), env = "SIGNALBOX_PAYLOAD_INLINE_MAX", default_value_t = 16 << 10, help_heading = "Limits")]
    pub payload_inline_max: usize,
    /// Bytes of what a task is given, with everything that it refers to
    #[arg(long, value_parser = within(1_024_u64, 1 << 30), env = "SIGNALBOX_PAYLOAD_BYTES_MAX", default_value_t = 16 << 20, help_heading = "Limits")]
    pub payload_bytes_max: u64,
    /// How long a client may take to send a request's headers
    #[arg(long, env = "SIGNALBOX_HEADER_TIMEOUT", value_parser = time_allowed, default_value = "10s", help_heading = "Limits")]
    pub header_timeout: Duration,
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
    /// From a task's dispatch to the report that settles it; over it the attempt has failed
    #[arg(long, env = "SIGNALBOX_TASK_TIMEOUT", value_parser = time_allowed, default_value = "15m", help_heading = "Deliveries and tasks")]
    pub task_timeout: Duration,
    /// The longest wait after a task's first failed attempt; it doubles with each further one
    #[arg(long, env = "SIGNALBOX_TASK_BACKOFF_INITIAL", value_parser = duration, default_value = "1s", help_heading = "Deliveries and tasks")]
    pub task_backoff_initial: Duration,
    /// How long a tool may take to answer
    #[arg(long, env = "SIGNALBOX_TOOL_TIMEOUT", value_parser = time_allowed, default_value = "15s", help_heading = "Deliveries and tasks")]
    pub tool_timeout: Duration,
    /// Refuse agents' and tools' endpoints on loopback addresses
    #[arg(long, env = "SIGNALBOX_EGRESS_FORBID_LOOPBACK", value_parser = BoolishValueParser::new(), help_heading = "Deliveries and tasks")]
    pub egress_forbid_loopback: bool,
    /// Refuse agents' and tools' endpoints in private address ranges
    #[arg(long, env = "SIGNALBOX_EGRESS_FORBID_PRIVATE", value_parser = BoolishValueParser::new(), help_heading = "Deliveries and tasks")]
    pub egress_forbid_private: bool,
    /// Let the built-in tool `http_get` read loopback and private addresses also where keys are required or the
    /// server listens beyond loopback
    #[arg(long, env = "SIGNALBOX_HTTP_GET_PRIVATE", value_parser = BoolishValueParser::new(), help_heading = "Deliveries and tasks")]
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

/// The names under which other services of this kind know some of the variables.
const FOREIGN_VARIABLES: [(&str, &str); 5] = [
    ("opscore_api_key", "OPSCORE_API_KEY"),
    ("opscore_webhook_url", "OPSCORE_WEBHOOK_URL"),
    ("opscore_webhook_secret", "OPSCORE_WEBHOOK_SECRET"),
    ("agentkit_api_url", "AGENTKIT_API_URL"),
    ("agentkit_api_key", "AGENTKIT_API_KEY"),
];

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A value that only shows to be wrong when it is used.
    #[error("the value of '{key}' cannot be taken: {reason}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The flags or variables are not what they should be; prints as the usage that clap makes.
    #[error(transparent)]
    Usage(#[from] clap::Error),
}

impl Config {
    /// Reads the configuration from `arguments` (without the program's name), the environment and the file.
    ///
    /// # Errors
    /// [`ConfigError`]: what is wrong, and where.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ConfigError> {
        let arguments: Vec<OsString> =
            std::iter::once(OsString::from("signalbox serve")).chain(arguments).collect();
        let first = Self::command().try_get_matches_from(&arguments)?;
        let file = Self::file(first.get_one::<PathBuf>("config"))?;
        let mut command = Self::command();
        let mut given = HashSet::new();
        for (key, value) in foreign_variables().into_iter().chain(file) {
            let is_set = first.value_source(&key).is_some_and(|source| {
                use clap::parser::ValueSource::{CommandLine, EnvVariable};
                matches!(source, CommandLine | EnvVariable)
            });
            if !is_set && given.insert(key.clone()) {
                command = command.mut_arg(key, |arg| arg.default_values(value));
            }
        }
        let matches = command.try_get_matches_from(&arguments)?;
        Ok(Self::from_arg_matches(&matches)?)
    }

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
            lease: self.delivery_timeout * 2 + Duration::from_secs(30),
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

    /// Reads a file into keys and values, refusing keys that do not exist.
    fn file(named: Option<&PathBuf>) -> Result<Vec<(String, Vec<String>)>, ConfigError> {
        let path = match named {
            Some(path) => path.as_path(),
            None if Path::new("signalbox.toml").is_file() => Path::new("signalbox.toml"),
            None => return Ok(Vec::new()),
        };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let bad = |reason: String| ConfigError::BadFile { path: path.to_owned(), reason };
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| bad(error.message().to_owned()))?;
        let command = Self::command();
        table
            .into_iter()
            .map(|(key, value)| {
                let id = key.replace('-', "_");
                if id == "config" || !command.get_arguments().any(|arg| arg.get_id() == id.as_str()) {
                    return Err(bad(format!(
                        "unknown key '{key}'; see docs/reference/configuration.md for all keys"
                    )));
                }
                let values = texts(&value).ok_or_else(|| {
                    bad(format!(
                        "the value of '{key}' must be a text, a number, true or false, or a list of these"
                    ))
                })?;
                Ok((id, values))
            })
            .collect()
    }
}

fn foreign_variables() -> Vec<(String, Vec<String>)> {
    let set = FOREIGN_VARIABLES.iter().filter_map(|(key, variable)| {
        let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
        Some(((*key).to_owned(), vec![value]))
    });
    set.collect()
}

fn texts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::Array(items) => items.iter().map(|item| texts(item)?.pop()).collect(),
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => {
            Some(vec![value.to_string()])
        }
        _ => None,
    }
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.trim().is_empty() { Err("must not be empty".to_owned()) } else { Ok(Secret::new(text)) }
}

/// A number within bounds: over them, or under, something would come to a standstill.
fn within<T>(min: T, max: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| match text.parse() {
        Ok(number) if min <= number && number <= max => Ok(number),
        _ => Err(format!("must be a whole number from {min} to {max}")),
    }
}

/// A duration in which something can happen.
fn time_allowed(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than no time at all".to_owned()),
        duration => Ok(duration),
    }
}

/// A whole number with a unit: `500ms`, `10s`, `15m`, `2h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| duration_fault(text))?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        _ => None,
    }
    .filter(|duration| *duration <= Duration::from_secs(100 * 365 * 86_400))
    .ok_or_else(|| duration_fault(text))
}

fn duration_fault(text: &str) -> String {
    format!("'{text}' is not a duration; write a whole number and a unit, such as 500ms, 10s, 15m, 2h or 7d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("10s", 10_000), ("15m", 900_000), ("1d", 86_400_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1.5s", "1w", "99999999999999999999s", "9999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_have_bounds() {
        for (flag, text) in [
            ("--connections-max", "0"),
            ("--connections-max", "18446744073709551615"),
            ("--deliveries-max", "0"),
            ("--deliveries-per-destination-max", "0"),
            ("--delivery-attempts", "0"),
            ("--commit-queue-max", "0"),
            ("--body-bytes-max", "0"),
            ("--cache-bytes", "99999999999999999"),
            ("--store-timeout", "0s"),
            ("--agent-sync-interval", "0ms"),
        ] {
            let refused = Config::read([flag, text].map(OsString::from)).expect_err(flag).to_string();
            assert!(refused.contains(flag) && refused.contains("must be"), "{refused}");
        }
        assert!(Config::read(["--connections-max", "1"].map(OsString::from)).is_ok());
    }

    #[test]
    fn a_file_is_overruled_by_flags_and_its_unknown_keys_are_refused() {
        let folder = std::env::temp_dir().join(format!("signalbox-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let path = folder.join("some.toml");
        let read = |content: &str, extra: &[&str]| {
            std::fs::write(&path, content).expect("file");
            let arguments =
                ["--config", path.to_str().expect("text")].into_iter().chain(extra.iter().copied());
            Config::read(arguments.map(OsString::from))
        };
        let config = read(
            "listen = \"127.0.0.1:9\"\nbody_bytes_max = 7\nsurfaces = [\"opscore\"]\ninsecure = true",
            &["--body-bytes-max", "8"],
        );
        let config = config.expect("a good file");
        assert_eq!(config.listen.port(), 9);
        assert_eq!(config.body_bytes_max, 8);
        assert_eq!(config.surfaces, [Surface::Opscore]);
        assert!(config.insecure);
        let fault = read("lisen = 1", &[]).expect_err("unknown key").to_string();
        assert!(fault.contains("lisen"), "{fault}");
        assert!(read("listen = \"nowhere\"", &[]).is_err());
        std::fs::remove_dir_all(&folder).expect("clean up");
    }

    #[test]
    fn secrets_do_not_print() {
        let arguments = ["--opscore-api-key", "s3cret", "--database", "postgres://u:pw@h/d"];
        let config = Config::read(arguments.map(OsString::from)).expect("good flags");
        let printed = format!("{config:?}");
        assert!(!printed.contains("s3cret") && !printed.contains("pw@"), "{printed}");
    }
}
