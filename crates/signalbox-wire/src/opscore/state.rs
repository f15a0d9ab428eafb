//! What an agent reports of its state. Reading a [`StateBody`] is the hottest path of the server.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text};
use crate::id::{AgentId, SessionId};
use crate::plain::Plain;
use crate::presence::Presence;
use crate::raw::RawObject;
use crate::time::Timestamp;

/// `POST /v1/opscore/agent/{agentId}/state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateBody {
    /// Who reports; the same as in the path.
    #[schema(value_type = String)]
    pub agent_id: AgentId,
    /// When the agent was in that state.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// One word, kept as sent and compared without case.
    #[schema(min_length = 1, max_length = 64, example = "idle")]
    pub state: String,
    /// Anything else about it: `opscore_task_id`, as it was given, names the task it is about, `result` is what
    /// came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub details: Option<RawObject>,
}

/// `GET /v1/opscore/agent/{agentId}/state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateView {
    /// Whose state it is.
    #[schema(value_type = String)]
    pub agent_id: AgentId,
    /// The newest state reported, as it was sent.
    pub state: String,
    /// What was reported with it; null when nothing was.
    #[schema(value_type = Option<Object>)]
    pub details: Option<RawObject>,
    /// When the agent was in that state.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// Whether it is connected, of an agent that is reached so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
    /// Since when that is so; absent for one that never was connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub presence_since: Option<Timestamp>,
    /// The last sign of life of an agent that is reached over a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Timestamp>,
}

/// One entry of `GET /v1/opscore/agent/{agentId}/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The state as it was sent.
    pub state: String,
    /// What was reported with it; null when nothing was.
    #[schema(value_type = Option<Object>)]
    pub details: Option<RawObject>,
    /// When the agent was in that state, by its own clock.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// When the report came in, by the server's clock.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
}

/// The header that tells an agent that its answer to this delivery is read, and may be its report of the task.
pub const ACCEPTS_REPORT: &str = "x-accepts-report";

/// What an agent may answer to the delivery of a task: its report of the attempt.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TaskAnswer {
    /// One of the words that carry meaning, as sent.
    pub state: String,
    /// Anything else about it; `result` is what came of it.
    #[serde(default)]
    pub details: Option<RawObject>,
}

impl TaskAnswer {
    /// The words that carry meaning; compared without case.
    pub const STATES: [&str; 9] =
        ["initializing", "idle", "active", "busy", "finished", "completed", "error", "failed", "offline"];

    /// Reads the body of an answer; `None` where it is no report.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        // A list of the fields in their order would be read as well.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let answer: Self = serde_json::from_slice(body).ok().filter(|_| is_object)?;
        Self::STATES.iter().any(|state| state.eq_ignore_ascii_case(&answer.state)).then_some(answer)
    }
}

/// The fields of the details that name a task and its session, in the order in which they count.
const TASK_AND_SESSION: [&str; 6] =
    ["opscore_task_id", "task_id", "taskId", "opscore_session_id", "session_id", "sessionId"];

impl StateBody {
    /// The task that the report names, and its session where that is named too, found in one pass.
    #[must_use]
    pub fn task_and_session(&self) -> (Option<String>, Option<String>) {
        let Some(details) = &self.details else { return (None, None) };
        let texts = match details.plain_strings(TASK_AND_SESSION) {
            Some(texts) => texts.map(|text| text.map(str::to_owned)),
            None => details
                .fields(TASK_AND_SESSION)
                .map(|raw| raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())),
        };
        let [first, second, third, sessions @ ..] = texts;
        let task = first.or(second).or(third).filter(|id| !id.is_empty());
        // Agents have sessions of their own; those are none of ours.
        let session = sessions.into_iter().flatten().find(|id| id.starts_with(SessionId::PREFIX));
        (task, session)
    }
}

impl Body for StateBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("agentId", Text::ID);
        fields.required_string("timestamp", Text::TIMESTAMP);
        fields.required_string("state", Text::STATE);
        fields.optional_object("details");
    }

    fn quick(bytes: &[u8]) -> Option<Self> {
        // The other rules are those of the fields' types.
        let read = Self::plain(bytes).or_else(|| serde_json::from_slice::<Self>(bytes).ok());
        read.filter(|body| Text::STATE.fits(&body.state))
    }
}

impl StateBody {
    /// Reads what nearly every report is, in one pass.
    fn plain(bytes: &[u8]) -> Option<Self> {
        let mut walk = Plain::new(std::str::from_utf8(bytes).ok()?);
        let (mut agent, mut timestamp, mut state, mut details) = (None, None, None, None);
        walk.members(|key, value| match key {
            "agentId" => once(&mut agent, value.string()?),
            "timestamp" => once(&mut timestamp, value.string()?),
            "state" => once(&mut state, value.string()?),
            "details" => once(&mut details, value.object()?),
            _ => value.any(),
        })?;
        walk.end()?;
        Some(Self {
            agent_id: AgentId::parse(agent?).ok()?,
            timestamp: Timestamp::parse(timestamp?).ok()?,
            state: state?.to_owned(),
            details: details.map(RawObject::walked),
        })
    }
}

/// Fills what is still empty; of a field given twice the last counts, which is for the general way to see.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::body::tests::faults_of;
    use crate::body::{from_value, parse};

    const REPORT: &str = r#"{"agentId":"a","timestamp":"2024-01-01T12:00:00.000000+00:00","state":"Idle","details":{"x": 1.0}}"#;

    #[test]
    fn a_report_is_read_and_its_details_kept_as_they_were() {
        let body = parse::<StateBody>(REPORT.as_bytes()).unwrap();
        assert_eq!(body.state, "Idle");
        assert_eq!(body.details.as_ref().unwrap().as_str(), r#"{"x": 1.0}"#);
        assert_eq!(body.timestamp, Timestamp::from_seconds(1_704_110_400));
        let without = parse::<StateBody>(
            br#"{"agentId":"a","timestamp":"2024-01-01T12:00:00","state":"idle","details":null,"details":null}"#,
        );
        assert_eq!(without.unwrap().details, None);
    }

    #[test]
    fn the_task_is_found_under_each_of_its_names_in_their_order() {
        let named = |details: Value| {
            let mut body = parse::<StateBody>(REPORT.as_bytes()).unwrap();
            body.details = Some(serde_json::from_value(details).unwrap());
            body.task_and_session()
        };
        let some = |id: &str| Some(id.to_owned());
        assert_eq!(named(json!({"taskId": "c", "task_id": "b", "opscore_task_id": "a"})), (some("a"), None));
        assert_eq!(
            named(json!({"opscore_task_id": null, "task_id": 5, "taskId": "c", "sessionId": "ses_1"})),
            (some("c"), some("ses_1"))
        );
        assert_eq!(
            named(json!({"session_id": "ses_2", "opscore_session_id": "ses_1"})),
            (None, some("ses_1"))
        );
        assert_eq!(named(json!({"task_id": "", "session_id": "a chat of its own"})), (None, None));
    }

    #[test]
    fn an_answer_is_a_report_only_where_its_state_means_something() {
        let read =
            |text: &str| TaskAnswer::read(text.as_bytes()).map(|answer| (answer.state, answer.details));
        let details = RawObject::parse(r#"{"result": 1.0}"#.to_owned()).unwrap();
        assert_eq!(
            read(r#" {"state":"Completed","details":{"result": 1.0},"x":1}"#),
            Some(("Completed".to_owned(), Some(details)))
        );
        for text in [r#"{"state":"failed"}"#, r#"{"state":"failed","details":null}"#] {
            assert_eq!(read(text), Some(("failed".to_owned(), None)), "{text}");
        }
        for text in [
            "",
            "ok",
            "[]",
            r#"["completed"]"#,
            r#"{"status":"accepted"}"#,
            r#"{"state":"accepted"}"#,
            r#"{"state":1}"#,
            r#"{"state":"completed","details":[]}"#,
            r#"{"state":"completed","details":{"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let expected = [
            "/agentId is required",
            "/timestamp must be an RFC 3339 or ISO 8601 timestamp, such as 2026-01-31T12:00:00Z",
            "/state must be one word, without spaces or control characters",
            "/details must be an object, not an array",
        ];
        assert_eq!(
            faults_of::<StateBody>(r#"{"timestamp":"noon","state":"two words","details":[]}"#),
            expected
        );
        assert_eq!(faults_of::<StateBody>("{}").len(), 3);
        let unreadable = REPORT.replace("1.0", r#""\ud800""#);
        assert!(matches!(&faults_of::<StateBody>(&unreadable)[..], [one] if one.contains("not JSON")));
        let long = REPORT.replace("Idle", &"x".repeat(65));
        assert_eq!(faults_of::<StateBody>(&long), ["/state must have at most 64 characters, not 65"]);
    }

    proptest! {
        #[test]
        fn the_quick_way_takes_only_what_the_long_way_takes(
            agent in prop_oneof![Just(json!("a")), Just(json!("")), Just(json!("a\u{0}")), Just(json!(5)), Just(Value::Null)],
            timestamp in prop_oneof![Just("2024-01-01T12:00:00Z"), Just("2024-01-01"), Just(""), Just(" 2024-01-01 12:00 ")],
            state in "[a-z\u{0} \u{e4}]{0,3}|[a-z]{63,66}",
            details in prop_oneof![Just(json!({"a": [1, {"b": null}]})), Just(json!([])), Just(Value::Null), Just(json!("x"))],
        ) {
            let value = json!({"agentId": agent, "timestamp": timestamp, "state": state, "details": details});
            let quick = StateBody::quick(value.to_string().as_bytes());
            prop_assert_eq!(quick, from_value::<StateBody>(value).ok());
        }

        #[test]
        fn names_are_found_in_one_pass_as_in_general(
            text in r#"\{("(task_id|taskId|sessionId|x)":("[a\\u06]{0,5}"|[0-9]|null|\{"task_id":"b"\}),?){0,4}\}"#,
        ) {
            if let Ok(details) = RawObject::parse(text) {
                let in_general = details
                    .fields(TASK_AND_SESSION)
                    .map(|raw| raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok()));
                if let Some(found) = details.plain_strings(TASK_AND_SESSION) {
                    prop_assert_eq!(found.map(|text| text.map(str::to_owned)), in_general);
                }
            }
        }

        #[test]
        fn one_pass_reads_what_the_general_way_reads(
            text in r#"\{ ?"agentId":"a[\u{0}\u{7f}é\\]?","timestamp":"2024-01-01T12:00:0[0-9](\.[0-9]{0,10})?(Z|\+00:00|)",("state":"(idle|[a-z "\\]{0,3})",?){1,2}"details": ?(\{("[a$]":[0-9{}"\[\],eE.-]{0,4},?){0,2}\}|null|\[\])(,"x":[0-9a{}]{1,2})?\} ?,?"#,
        ) {
            if let Some(plain) = StateBody::plain(text.as_bytes()) {
                prop_assert_eq!(Some(plain), serde_json::from_str::<StateBody>(&text).ok());
            }
        }
    }
}
