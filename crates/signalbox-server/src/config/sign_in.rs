//! How agents sign in with their SSH keys.

use std::time::Duration;

use clap::Args;

use super::values::{time_allowed, within};

/// How agents sign in with their SSH keys.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Signing in")]
pub struct SignInSettings {
    /// Take signatures of RSA keys made with SHA-1 (`ssh-rsa`); only for agents whose libraries cannot do better
    #[arg(long, env = "SIGNALBOX_ALLOW_SHA1_SIGNATURES")]
    pub allow_sha1_signatures: bool,
    /// How long a key signs tokens before the next one takes over; it checks them until the last one is over
    #[arg(long, env = "SIGNALBOX_TOKEN_KEY_ROTATION", value_parser = time_allowed, default_value = "30d")]
    pub token_key_rotation: Duration,
    /// Challenges and answers that one agent may ask for and give from one address in a minute; beyond it the answer is 429
    #[arg(long, value_parser = within(1_u32, 1_000_000_000), env = "SIGNALBOX_SIGN_IN_TRIES_PER_AGENT", default_value_t = 60)]
    pub sign_in_tries_per_agent: u32,
    /// Challenges and answers of all agents from one address in a minute; beyond it the answer is 429
    #[arg(long, value_parser = within(1_u32, 1_000_000_000), env = "SIGNALBOX_SIGN_IN_TRIES_PER_ADDRESS", default_value_t = 6_000)]
    pub sign_in_tries_per_address: u32,
}
