//! What the log keeps: one entry for every change, appended in the commit that makes it true.

use serde::Serialize;
use signalbox_wire::id::{AgentId, SessionId, TaskId};
use signalbox_wire::json;
use signalbox_wire::time::Timestamp;

/// How much an entry matters to somebody who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Of use while something is investigated.
    Debug = 10,
    /// What happened.
    Info = 20,
    /// Something needs attention soon.
    Warning = 30,
    /// Something failed.
    Error = 40,
    /// Something must be done now.
    Critical = 50,
}

impl Level {
    /// The level's number in the store: larger is more severe.
    #[must_use]
    pub fn number(self) -> i64 {
        self as i64
    }

    /// The level with this number, or the next below it.
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        match number {
            50.. => Self::Critical,
            40.. => Self::Error,
            30.. => Self::Warning,
            20.. => Self::Info,
            _ => Self::Debug,
        }
    }

    /// The level's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// An entry for the log. Its place in the tenant's order is given by the commit.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened, as `thing.happened`.
    pub kind: String,
    /// How much it matters.
    pub level: Level,
    /// When.
    pub at: Timestamp,
    /// The session it belongs to, with its place in that session's strict sequence, from 1; 0 for an entry that
    /// mentions the session and is no part of its history.
    pub session: Option<(SessionId, u64)>,
    /// The agent it is about.
    pub agent: Option<AgentId>,
    /// The task it is about.
    pub task: Option<TaskId>,
    /// The rest, as a JSON object.
    pub data: String,
}

impl NewEvent {
    /// An entry at `at` with `data` as its body.
    #[must_use]
    pub fn new(kind: impl Into<String>, level: Level, at: Timestamp, data: &impl Serialize) -> Self {
        Self::written(kind, level, at, json::to_string(data).unwrap_or_else(|_| "{}".to_owned()))
    }

    /// An entry at `at` whose body is written already, as a JSON object.
    #[must_use]
    pub fn written(kind: impl Into<String>, level: Level, at: Timestamp, data: String) -> Self {
        Self { kind: kind.into(), level, at, session: None, agent: None, task: None, data }
    }

    /// The same entry, about `agent`.
    #[must_use]
    pub fn about(mut self, agent: &AgentId) -> Self {
        self.agent = Some(agent.clone());
        self
    }
}
