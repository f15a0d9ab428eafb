//! Whether the process is alive, and whether it can do its work.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /health`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// Always `ok`.
    pub status: AliveWord,
}

/// The word `ok`, and no other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AliveWord {
    /// `ok`
    #[default]
    Ok,
}

/// `GET /ready`, where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadyView {
    /// Always `ready`.
    pub status: ReadyWord,
    /// What keeps the state: `sqlite` or `postgres`.
    pub store: String,
    /// What carries live traffic: `local` or `nats`.
    pub bus: String,
    /// What is not as it should be, though the process can work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The word `ready`, and no other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadyWord {
    /// `ready`
    #[default]
    Ready,
}
