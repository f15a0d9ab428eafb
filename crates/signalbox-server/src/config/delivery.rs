//! How messages and webhooks are delivered, and how many at once.

use std::time::Duration;

use clap::Args;

use super::values::{duration, time_allowed, within};

/// How messages and webhooks are delivered, and how many at once.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Deliveries and tasks")]
pub struct DeliverySettings {
    /// How long an endpoint may take to answer a delivery
    #[arg(long, env = "SIGNALBOX_DELIVERY_TIMEOUT", value_parser = time_allowed, default_value = "15s")]
    pub delivery_timeout: Duration,
    /// Attempts of a delivery before it becomes a dead letter
    #[arg(
        long,
        value_parser = within(1_u32, 1_000), env = "SIGNALBOX_DELIVERY_ATTEMPTS",
        default_value_t = 8
    )]
    pub delivery_attempts: u32,
    /// The longest wait after a delivery's first attempt; it doubles with each further one
    #[arg(long, env = "SIGNALBOX_DELIVERY_BACKOFF_INITIAL", value_parser = duration, default_value = "1s")]
    pub delivery_backoff_initial: Duration,
    /// The longest wait between attempts of a delivery
    #[arg(long, env = "SIGNALBOX_DELIVERY_BACKOFF_MAX", value_parser = duration, default_value = "60s")]
    pub delivery_backoff_max: Duration,
    /// Deliveries in flight at once
    #[arg(
        long,
        value_parser = within(1_usize, 100_000), env = "SIGNALBOX_DELIVERIES_MAX",
        default_value_t = 1_024
    )]
    pub deliveries_max: usize,
    /// Deliveries in flight at once to one destination
    #[arg(
        long,
        value_parser = within(1_usize, 100_000), env = "SIGNALBOX_DELIVERIES_PER_DESTINATION_MAX",
        default_value_t = 64
    )]
    pub deliveries_per_destination_max: usize,
    /// Messages that may wait for one destination; over it, `POST /v1/agents/{agentId}/run` answers 429
    #[arg(
        long,
        value_parser = within(64_usize, 100_000_000), env = "SIGNALBOX_WAITING_PER_DESTINATION_MAX",
        default_value_t = 100_000
    )]
    pub waiting_per_destination_max: usize,
}
