//! An entry of the event log, as every list and stream shows it.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::EventData;
use crate::id::{AgentId, SessionId};
use crate::time::Timestamp;

/// How much an entry matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Of use while something is investigated.
    Debug,
    /// What happened.
    Info,
    /// Something needs attention soon; `warn` is read too.
    Warning,
    /// Something failed.
    Error,
    /// Something must be done now.
    Critical,
    /// One that this version does not know; read in what a server answers, and never written. It sorts above all
    /// others, so that nothing that asks for the severe ones drops it.
    #[serde(skip_serializing)]
    Unknown,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Its place: in its session's strict sequence, or in the tenant's order; also the id in a stream.
    pub sequence: u64,
    /// What happened, as `thing.happened`.
    #[serde(rename = "type")]
    #[schema(example = "task.dispatched")]
    pub kind: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// The session that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub session_id: Option<SessionId>,
    /// The agent that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// The task that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// What happened, in one sentence.
    pub message: String,
    /// The rest.
    pub data: EventData,
}

/// What a stream tells in place of entries that are no longer kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapView {
    /// Always [`GapView::KIND`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The first place that is missing.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// The same in one sentence.
    pub message: String,
}

impl GapView {
    /// Its kind, and that of its event in a stream.
    pub const KIND: &'static str = "gap";

    /// From the first to the last place that is missing.
    #[must_use]
    pub fn new(from: u64, to: u64) -> Self {
        let message = format!("Entries {from} to {to} are no longer kept");
        Self { kind: Self::KIND.to_owned(), from, to, message }
    }
}

impl EventView {
    /// Whether the session came to its end with this event.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(self.kind.as_str(), "session.completed" | "session.failed" | "session.cancelled")
    }
}

impl LogLevel {
    /// Reads a level's name, without case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        const NAMES: [(&str, LogLevel); 6] = [
            ("debug", LogLevel::Debug),
            ("info", LogLevel::Info),
            ("warn", LogLevel::Warning),
            ("warning", LogLevel::Warning),
            ("error", LogLevel::Error),
            ("critical", LogLevel::Critical),
        ];
        NAMES.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| level)
    }

    /// The level's name; `unknown` where it is.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::parse(&name).unwrap_or(Self::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_and_read_back() {
        let text = concat!(
            r#"{"sequence":1,"type":"task.dispatched","timestamp":"2026-01-31T12:00:00.000000Z","level":"info","#,
            r#""agentId":"a","message":"Task t was given to agent a.","data":{"attempt":1,"result":1.0}}"#
        );
        let event: EventView = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }

    #[test]
    fn levels_order_by_severity_and_are_read_without_case() {
        assert!(LogLevel::Debug < LogLevel::Warning && LogLevel::Error < LogLevel::Critical);
        assert_eq!(LogLevel::parse("WARN"), LogLevel::parse("Warning"));
        assert_eq!((LogLevel::parse("loud"), LogLevel::parse("unknown")), (None, None));
    }
}
