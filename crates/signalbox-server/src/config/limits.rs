//! What tenants may have and take, where a tenant has no limit of its own.

use clap::Args;
use signalbox_core::quota::TenantLimits;
use signalbox_wire::artcafe::LIMIT_MAX;

use super::values::within;

/// What each tenant may have and take, where it has no limit of its own. None is set until it is.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits of each tenant")]
pub struct LimitsSettings {
    /// Agents that are registered; not limited when absent, as with all limits of tenants, and a tenant may have its own
    #[arg(long, value_parser = within(0_u64, LIMIT_MAX), env = "SIGNALBOX_LIMIT_AGENTS")]
    pub limit_agents: Option<u64>,
    /// Agents that are connected at once
    #[arg(long, value_parser = within(0_u64, LIMIT_MAX), env = "SIGNALBOX_LIMIT_CONNECTIONS")]
    pub limit_connections: Option<u64>,
    /// Channels
    #[arg(long, value_parser = within(0_u64, LIMIT_MAX), env = "SIGNALBOX_LIMIT_CHANNELS")]
    pub limit_channels: Option<u64>,
    /// SSH keys
    #[arg(long, value_parser = within(0_u64, LIMIT_MAX), env = "SIGNALBOX_LIMIT_SSH_KEYS")]
    pub limit_ssh_keys: Option<u64>,
    /// API keys
    #[arg(long, value_parser = within(0_u64, LIMIT_MAX), env = "SIGNALBOX_LIMIT_API_KEYS")]
    pub limit_api_keys: Option<u64>,
    /// Messages in one day by UTC, over all nodes; what nodes took in the last five seconds may come on top
    #[arg(long, value_parser = within(0_u64, LIMIT_MAX), env = "SIGNALBOX_LIMIT_MESSAGES_PER_DAY")]
    pub limit_messages_per_day: Option<u64>,
    /// Requests in one second on each node, messages over agents' connections among them, of which a second's worth may come
    /// at once; the platform key is not counted
    #[arg(long, value_parser = within(0_u64, LIMIT_MAX), env = "SIGNALBOX_LIMIT_REQUESTS_PER_SECOND")]
    pub limit_requests_per_second: Option<u64>,
}

impl LimitsSettings {
    /// As the limits of a tenant.
    pub(crate) fn of_tenants(&self) -> TenantLimits {
        TenantLimits {
            agents: self.limit_agents,
            connections: self.limit_connections,
            channels: self.limit_channels,
            ssh_keys: self.limit_ssh_keys,
            api_keys: self.limit_api_keys,
            messages_per_day: self.limit_messages_per_day,
            requests_per_second: self.limit_requests_per_second,
        }
    }
}
