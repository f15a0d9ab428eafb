//! The configuration: one struct, from which the flags, the environment, `signalbox.toml` and the reference
//! page all come.
//!
//! Precedence: a flag, then its environment variable, then `signalbox.toml`, then the default ([`read`]). What a
//! value may be is said in [`values`]. Unknown keys ([`file`]) and unknown variables ([`variables`]) are refused
//! with the nearest name. All faults are told at once, each with where it stands ([`fault`]). Secrets are
//! [`Secret`]s: they print as `[redacted]`.

mod agents;
mod contradictions;
mod delivery;
mod egress;
mod fault;
mod file;
mod http;
mod jobs;
mod limits;
mod live;
mod llm;
mod read;
mod retention;
mod server;
mod services;
mod sign_in;
mod storage;
mod tasks;
mod tools;
mod values;
mod variables;

#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::{Args, Command};
use signalbox_core::limits::Policy;
use signalbox_core::retry::Backoff;

pub use self::agents::AgentsSettings;
pub use self::delivery::DeliverySettings;
pub use self::egress::EgressSettings;
pub use self::fault::{ConfigError, Fault};
pub use self::http::HttpSettings;
pub(crate) use self::jobs::JobSettings;
pub use self::limits::LimitsSettings;
pub use self::live::LiveSettings;
pub use self::llm::LlmSettings;
pub use self::retention::RetentionSettings;
pub use self::server::{LogFormat, ServerSettings, Surface};
pub use self::services::ServicesSettings;
pub use self::sign_in::SignInSettings;
pub use self::storage::StorageSettings;
pub use self::tasks::TasksSettings;
pub use self::tools::ToolsSettings;

/// Everything that an operator can set: a part for each concern, each in its file with its keys, defaults and bounds.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where the server listens, what it serves, where it keeps its data, and how it logs and stops.
    #[command(flatten)]
    pub server: ServerSettings,
    /// Keys of a first start, what announcements are signed with, and the other services that it works with.
    #[command(flatten)]
    pub services: ServicesSettings,
    /// What connections and bodies may take.
    #[command(flatten)]
    pub http: HttpSettings,
    /// What may wait for the store, for how long, and what is kept in memory of it.
    #[command(flatten)]
    pub storage: StorageSettings,
    /// What each tenant may have and take, where it has no limit of its own.
    #[command(flatten)]
    pub limits: LimitsSettings,
    /// How messages and webhooks are delivered, and how many at once.
    #[command(flatten)]
    pub delivery: DeliverySettings,
    /// How long tasks may take, and when they are tried again.
    #[command(flatten)]
    pub tasks: TasksSettings,
    /// How long calls of tools may take, and how many are made at once.
    #[command(flatten)]
    pub tools: ToolsSettings,
    /// The language model that the built-in tool `generic_llm_completion` asks.
    #[command(flatten)]
    pub llm: LlmSettings,
    /// Which addresses may be called.
    #[command(flatten)]
    pub egress: EgressSettings,
    /// How long what is over is kept.
    #[command(flatten)]
    pub retention: RetentionSettings,
    /// How agents register.
    #[command(flatten)]
    pub agents: AgentsSettings,
    /// How agents are kept that hold a connection.
    #[command(flatten)]
    pub live: LiveSettings,
    /// How agents sign in with their SSH keys.
    #[command(flatten)]
    pub sign_in: SignInSettings,
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
        let announce =
            self.services.opscore_webhook_url.is_some() && self.services.opscore_webhook_secret.is_some();
        let delivery_backoff = Backoff {
            initial: self.delivery.delivery_backoff_initial,
            factor: 2.0,
            max: self.delivery.delivery_backoff_max,
        };
        Policy {
            delivery_attempts: self.delivery.delivery_attempts,
            delivery_backoff,
            task_backoff: Backoff {
                initial: self.tasks.task_backoff_initial,
                ..Policy::default().task_backoff
            },
            task_timeout: self.tasks.task_timeout,
            lease: self.longest_call() * 2 + Duration::from_secs(30),
            restart_by_endpoint: self.agents.restart_by_endpoint,
            ephemeral_grace: self.agents.ephemeral_grace,
            announce: announce && self.serves(Surface::Agentkit),
            payload_inline_max: self.http.payload_inline_max,
            payload_max: self.http.payload_bytes_max,
            ..Policy::default()
        }
    }

    /// How long a call may take that is due work. A language model is slow, and counts where there is one: what a killed
    /// process held waits for its lease to end.
    fn longest_call(&self) -> Duration {
        let completion = self.llm.llm_url.as_ref().map_or(Duration::ZERO, |_| self.llm.llm_timeout);
        self.delivery.delivery_timeout.max(self.tools.tool_timeout).max(completion)
    }

    /// Whether this surface is served.
    #[must_use]
    pub fn serves(&self, surface: Surface) -> bool {
        self.server.surfaces.contains(&surface)
    }

    /// Whether tasks are dispatched through another service's AgentKit surface.
    #[must_use]
    pub fn dispatches_through(&self) -> Option<&str> {
        self.services.agentkit_api_url.as_deref().filter(|_| !self.serves(Surface::Agentkit))
    }

    /// The database's address: the one given, else the file in the data directory.
    #[must_use]
    pub fn database_url(&self) -> String {
        match &self.server.database {
            Some(url) => url.expose().to_owned(),
            None => format!("sqlite://{}", self.server.data_dir.join("signalbox.db").display()),
        }
    }
}
