//! Which addresses may be called.

use clap::Args;

use super::values::switch;

/// Which addresses may be called.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Deliveries and tasks")]
pub struct EgressSettings {
    /// Refuse agents' and tools' endpoints on loopback addresses
    #[arg(long, env = "SIGNALBOX_EGRESS_FORBID_LOOPBACK", value_parser = switch)]
    pub egress_forbid_loopback: bool,
    /// Refuse agents' and tools' endpoints in private address ranges
    #[arg(long, env = "SIGNALBOX_EGRESS_FORBID_PRIVATE", value_parser = switch)]
    pub egress_forbid_private: bool,
    /// Let the built-in tool `http_get` read loopback and private addresses also where keys are required or the
    /// server listens beyond loopback
    #[arg(long, env = "SIGNALBOX_HTTP_GET_PRIVATE", value_parser = switch)]
    pub http_get_private: bool,
}
