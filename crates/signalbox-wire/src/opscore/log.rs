//! What agents write to the log: one entry or a batch.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::LogLevel;
use crate::body::{Body, Faults, Text};
use crate::id::{AgentId, SessionId};
use crate::time::Timestamp;

/// The most entries that one request may bring.
const ENTRIES_MAX: usize = 1000;
const MESSAGE: Text = Text::new(1, 65_536, crate::text::anything);

/// `POST /v1/opscore/agent/{agentId}/logs`: an entry, an array of them, or `{"logs": […]}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct LogBody {
    /// The entries, in the order that they came in.
    pub entries: Vec<LogEntry>,
}

/// The three forms that [`LogBody`] is read from, for the description of the API.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum LogForm {
    /// One entry.
    One(LogEntry),
    /// Up to 1000 of them.
    Batch(Vec<LogEntry>),
    /// The same in an object.
    Logs {
        /// Up to 1000 entries.
        logs: Vec<LogEntry>,
    },
}

impl PartialSchema for LogBody {
    fn schema() -> RefOr<Schema> {
        LogForm::schema()
    }
}

impl ToSchema for LogBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        LogForm::schemas(schemas);
    }
}

/// One entry as an agent writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// How much it matters: debug, info, warn or warning, error, critical, in any case.
    #[serde(deserialize_with = "known_level")]
    pub level: LogLevel,
    /// What it says.
    #[schema(min_length = 1, max_length = 65536)]
    pub message: String,
    /// When; the time of arrival where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub timestamp: Option<Timestamp>,
    /// The rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub fields: Option<Map<String, Value>>,
    /// The session that it belongs to; `sessionId` is taken too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The same, under the name that agents get it under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opscore_session_id: Option<String>,
    /// The task that it belongs to, by its id in the definition or by the name that agents get it under; `taskId` is
    /// taken too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The same, under the name that agents get it under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opscore_task_id: Option<String>,
}

/// One entry of `GET /v1/opscore/logs`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogView {
    /// Its place in the tenant's order; also the id in the stream.
    pub sequence: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// Who wrote it, or which agent it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// The session that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub session_id: Option<SessionId>,
    /// The task that it belongs to: its id in the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The same task under the name that agents get it under, where the entry names it by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opscore_task_id: Option<String>,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// What it says.
    pub message: String,
    /// The rest: of an entry that an agent wrote, its own fields; of an event of a session, what the session's history
    /// tells as `data`. Null when there is none.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub fields: Option<Box<RawValue>>,
}

/// What the post of logs answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogsAccepted {
    /// How many entries were kept.
    pub accepted: usize,
}

impl LogEntry {
    /// The session that it names, under either name.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session_id.as_deref().or(self.opscore_session_id.as_deref())
    }

    /// The task that it names, under either name.
    #[must_use]
    pub fn task(&self) -> Option<&str> {
        self.task_id.as_deref().or(self.opscore_task_id.as_deref())
    }
}

impl<'de> Deserialize<'de> for LogBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let mut entries = match value.get_mut("logs").map(Value::take) {
            Some(logs @ Value::Array(_)) => logs,
            _ if value.is_array() => value,
            _ => Value::Array(vec![value]),
        };
        entries.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut).for_each(rename);
        let entries = serde_json::from_value(entries).map_err(serde::de::Error::custom)?;
        Ok(Self { entries })
    }
}

/// What is written to the log has a level that is known.
fn known_level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogLevel, D::Error> {
    match LogLevel::deserialize(deserializer)? {
        LogLevel::Unknown => Err(serde::de::Error::custom("unknown log level")),
        level => Ok(level),
    }
}

/// The names that this surface's answers use, read as well.
const RENAMED: [(&str, &str); 2] = [("sessionId", "session_id"), ("taskId", "task_id")];

fn rename(entry: &mut Map<String, Value>) {
    for (given, known) in RENAMED {
        if let Some(value) = entry.remove(given)
            && entry.get(known).is_none_or(Value::is_null)
        {
            entry.insert(known.to_owned(), value);
        }
    }
}

impl Body for LogBody {
    fn check(value: &Value, faults: &mut Faults) {
        if value.is_array() {
            faults.array("", value, ENTRIES_MAX, check_entry);
        } else if let Some(mut fields) = faults.object("", value) {
            if fields.optional("logs").is_some() {
                fields.optional_array("logs", ENTRIES_MAX, check_entry);
            } else {
                check_entry(faults, "", value);
            }
        }
    }
}

fn check_entry(faults: &mut Faults, pointer: &str, value: &Value) {
    let Some(mut fields) = faults.object(pointer, value) else { return };
    let level = fields.required_string("level", 1..=16);
    if level.is_some_and(|level| LogLevel::parse(level).is_none()) {
        fields.fault("level", "must be debug, info, warn, warning, error or critical");
    }
    fields.required_string("message", MESSAGE);
    fields.optional_string("timestamp", Text::TIMESTAMP);
    fields.optional_object("fields");
    for name in ["session_id", "sessionId", "opscore_session_id", "task_id", "taskId", "opscore_task_id"] {
        fields.optional_string(name, Text::ID);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn one_and_many_come_in_three_forms() {
        let entry = json!({"level": "WARN", "message": "m", "opscore_task_id": "t", "session_id": "s"});
        for body in [entry.clone(), json!([entry]), json!({"logs": [entry]})] {
            let read = parse::<LogBody>(body.to_string().as_bytes()).unwrap();
            let [only] = &read.entries[..] else { panic!("{body}") };
            assert_eq!((only.level, only.session(), only.task()), (LogLevel::Warning, Some("s"), Some("t")));
        }
        let entry =
            json!({"level": "info", "message": "m", "taskId": "t", "sessionId": "s", "session_id": null});
        let read = parse::<LogBody>(json!([entry]).to_string().as_bytes()).unwrap();
        assert_eq!((read.entries[0].session(), read.entries[0].task()), (Some("s"), Some("t")));
        assert_eq!(parse::<LogBody>(b"[]").unwrap().entries.len(), 0);
        let kept = parse::<LogBody>(br#"{"level":"info","message":"m","logs":null}"#).unwrap();
        assert_eq!(kept.entries.len(), 1);
    }

    #[test]
    fn all_faults_of_all_entries_are_told_at_once() {
        let found = faults_of::<LogBody>(
            r#"{"logs":[{"level":"loud","message":""},{"level":"info","message":"m"},
                {"message":"m","timestamp":"now","fields":[],"task_id":7}]}"#,
        );
        let expected = [
            "/logs/0/level must be debug, info, warn, warning, error or critical",
            "/logs/0/message must not be empty",
            "/logs/2/level is required",
            "/logs/2/timestamp must be an RFC 3339 or ISO 8601 timestamp, such as 2026-01-31T12:00:00Z",
            "/logs/2/fields must be an object, not an array",
            "/logs/2/task_id must be a string, not a number",
        ];
        assert_eq!(found, expected);
        assert_eq!(faults_of::<LogBody>("[5]"), ["/0 must be an object, not a number"]);
        assert_eq!(faults_of::<LogBody>(r#"{"logs":5}"#), ["/logs must be an array, not a number"]);
        let many = json!(vec![json!({"level": "info", "message": "m"}); ENTRIES_MAX + 1]);
        assert_eq!(faults_of::<LogBody>(&many.to_string()), [" must have at most 1000 items, not 1001"]);
    }
}
