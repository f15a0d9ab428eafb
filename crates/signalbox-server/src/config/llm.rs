//! The language model that the built-in tool `generic_llm_completion` asks.

use std::time::Duration;

use clap::Args;
use signalbox_wire::keys::Secret;

use super::values::{base_url, header_secret, time_allowed};

/// The language model that the built-in tool `generic_llm_completion` asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Language model")]
pub struct LlmSettings {
    /// An OpenAI-compatible service that `generic_llm_completion` asks: what `/chat/completions` comes after, such as
    /// https://api.openai.com/v1 or http://127.0.0.1:11434/v1
    #[arg(long, env = "SIGNALBOX_LLM_URL", value_parser = base_url)]
    pub llm_url: Option<String>,
    /// The model that is asked where a call names none
    #[arg(long, env = "SIGNALBOX_LLM_MODEL")]
    pub llm_model: Option<String>,
    /// A key for that service; never logged
    #[arg(long, env = "SIGNALBOX_LLM_API_KEY", hide_env_values = true, value_parser = header_secret)]
    pub llm_api_key: Option<Secret>,
    /// How long a completion may take
    #[arg(long, env = "SIGNALBOX_LLM_TIMEOUT", value_parser = time_allowed, default_value = "60s")]
    pub llm_timeout: Duration,
}
