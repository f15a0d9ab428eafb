//! How agents register.

use std::time::Duration;

use clap::Args;

use super::values::{duration, switch};

/// How agents register.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Agents")]
pub struct AgentsSettings {
    /// Take a registration under a taken name and with the same contact endpoint for that agent, restarted, as with
    /// `?replace=true`; for agents that were written for services which forget all agents at a restart
    #[arg(long, env = "SIGNALBOX_RESTART_BY_ENDPOINT", value_parser = switch)]
    pub restart_by_endpoint: bool,
    /// How long an agent with `metadata.ephemeral` may be without a connection before it is deregistered
    #[arg(long, env = "SIGNALBOX_EPHEMERAL_GRACE", value_parser = duration, default_value = "5m")]
    pub ephemeral_grace: Duration,
}
