//! Whether an agent is connected, as every surface writes it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether an agent that is reached over a connection holds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It does.
    Connected,
    /// It does not: what is for it waits, and it is given no tasks.
    Offline,
}

impl Presence {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Offline => "offline",
        }
    }
}
