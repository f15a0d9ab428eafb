//! What jobs are told of the configuration.

use std::time::Duration;

use signalbox_wire::keys::Secret;

use super::Config;

/// The settings that jobs work by.
pub(crate) struct JobSettings {
    /// How long an endpoint may take to answer a delivery.
    pub(crate) delivery_timeout: Duration,
    /// Bytes of what a task is given, with everything that it refers to.
    pub(crate) payload_bytes_max: u64,
    /// A key for the AgentKit service of another process.
    pub(crate) agentkit_api_key: Option<Secret>,
    /// How often the agents of that service are compared.
    pub(crate) agent_sync_interval: Duration,
    /// How long log entries and reports are kept.
    pub(crate) retention_events: Duration,
    /// How long ended sessions are kept.
    pub(crate) retention_sessions: Duration,
    /// How long delivered messages are kept.
    pub(crate) retention_messages: Duration,
    /// How often the connections that the store knows are compared with those that there are.
    pub(crate) connections_compared_every: Duration,
    service: Option<String>,
}

/// Whatever the heartbeats of agents: it reads a row for each connection.
const CONNECTIONS_COMPARED_EVERY_MAX: Duration = Duration::from_secs(60);

impl JobSettings {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            delivery_timeout: config.delivery.delivery_timeout,
            payload_bytes_max: config.http.payload_bytes_max,
            agentkit_api_key: config.services.agentkit_api_key.clone(),
            agent_sync_interval: config.services.agent_sync_interval,
            retention_events: config.retention.retention_events,
            retention_sessions: config.retention.retention_sessions,
            retention_messages: config.retention.retention_messages,
            connections_compared_every: (config.live.heartbeat_interval * 2)
                .min(CONNECTIONS_COMPARED_EVERY_MAX),
            service: config.dispatches_through().map(str::to_owned),
        }
    }

    /// The service that tasks are dispatched through, when it is another process.
    pub(crate) fn dispatches_through(&self) -> Option<&str> {
        self.service.as_deref()
    }
}
