//! Keys of a first start, what announcements are signed with, and the other services that it works with.

use std::time::Duration;

use clap::Args;
use signalbox_wire::keys::Secret;

use super::values::{http_url, key, secret, service_url, time_allowed};

/// Keys of a first start, what announcements are signed with, and the other services that it works with.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keys and other services")]
pub struct ServicesSettings {
    /// The key that creates tenants and may act in any, at least 16 characters; made at first start when absent
    #[arg(long, env = "SIGNALBOX_PLATFORM_KEY", hide_env_values = true, value_parser = key)]
    pub platform_key: Option<Secret>,
    /// An admin key of the tenant `default`, at least 16 characters; also read from OPSCORE_API_KEY
    #[arg(long, env = "SIGNALBOX_OPSCORE_API_KEY", hide_env_values = true, value_parser = key)]
    pub opscore_api_key: Option<Secret>,
    /// Where registrations are announced; also read from OPSCORE_WEBHOOK_URL
    #[arg(long, env = "SIGNALBOX_OPSCORE_WEBHOOK_URL", value_parser = http_url)]
    pub opscore_webhook_url: Option<String>,
    /// What signs and verifies announcements; also read from OPSCORE_WEBHOOK_SECRET
    #[arg(long, env = "SIGNALBOX_OPSCORE_WEBHOOK_SECRET", hide_env_values = true, value_parser = secret)]
    pub opscore_webhook_secret: Option<Secret>,
    /// What signs the webhooks that workflows name; made at first start when absent, and kept in the data directory
    #[arg(long, env = "SIGNALBOX_WEBHOOK_SECRET", hide_env_values = true, value_parser = secret)]
    pub webhook_secret: Option<Secret>,
    /// The AgentKit service that tasks are dispatched through, when it is another process, with or without `/v1`; also read from AGENTKIT_API_URL
    #[arg(long, env = "SIGNALBOX_AGENTKIT_API_URL", value_parser = service_url)]
    pub agentkit_api_url: Option<String>,
    /// A key for that service; also read from AGENTKIT_API_KEY
    #[arg(long, env = "SIGNALBOX_AGENTKIT_API_KEY", hide_env_values = true, value_parser = secret)]
    pub agentkit_api_key: Option<Secret>,
    /// How often the agents of that service are compared, in case an announcement was lost
    #[arg(long, env = "SIGNALBOX_AGENT_SYNC_INTERVAL", value_parser = time_allowed, default_value = "60s")]
    pub agent_sync_interval: Duration,
}
