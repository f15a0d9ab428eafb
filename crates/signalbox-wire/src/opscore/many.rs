//! The same for many sessions: which, and what became of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{ApproveBody, RefuseBody};
use crate::body::{Body, Faults, Text};
use crate::id::SessionId;
use crate::nearest::nearest;

/// Which sessions, and how many of them at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Which {
    /// Which sessions.
    pub filter: SessionFilterBody,
    /// How many at most, 1 to 1000; 1000 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the request before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `POST /v1/opscore/sessions/{pause|resume|cancel|retry|rerun|purge}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManyBody {
    /// Which sessions.
    #[serde(flatten)]
    pub which: Which,
    /// Why; kept as the error of those that are cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub reason: Option<String>,
}

/// `POST /v1/opscore/sessions/signal`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SignalManyBody {
    /// Which sessions.
    #[serde(flatten)]
    pub which: Which,
    /// The signal's name.
    #[schema(max_length = 256)]
    pub signal: String,
    /// What it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}

/// `POST /v1/opscore/sessions/approve`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApproveManyBody {
    /// Which sessions.
    #[serde(flatten)]
    pub which: Which,
    /// The task that asks, by its id in the workflow.
    #[schema(max_length = 256)]
    pub task_id: String,
    /// The digest of what was seen, and why it is agreed to: only tasks that ask for just that are approved.
    #[serde(flatten)]
    pub approval: ApproveBody,
}

/// `POST /v1/opscore/sessions/refuse`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefuseManyBody {
    /// Which sessions.
    #[serde(flatten)]
    pub which: Which,
    /// The task that asks, by its id in the workflow.
    #[schema(max_length = 256)]
    pub task_id: String,
    /// Why; and the digest of what was seen, where only tasks that ask for just that are refused.
    #[serde(flatten)]
    pub refusal: RefuseBody,
}

/// Which sessions: those that all that is given fits. The same as in the list of sessions; at least one is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SessionFilterBody {
    /// Those of this workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Those with one of these statuses, separated by commas; `open` is all that are not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "failed,cancelled")]
    pub status: Option<String>,
    /// Those in which this agent holds or held a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Those triggered at or after this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// Those triggered before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// Those with this text in their id, workflow, input or error, compared without case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManyAnswer {
    /// How many sessions matched.
    pub matched: u64,
    /// How many of them it was done to.
    pub done: u64,
    /// Those that it could not be done to.
    pub refused: Vec<Refused>,
    /// Whether more may match.
    pub more: bool,
    /// Where the next request goes on; null where nothing is left.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A session that it could not be done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Which.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// Why.
    pub detail: String,
}

/// What says which sessions, and how many.
const WHICH: [&str; 3] = ["filter", "limit", "cursor"];
const FILTERS: [&str; 6] = ["workflow", "status", "agent", "since", "until", "text"];
/// The most sessions that one request takes.
const LIMIT_MAX: u64 = 1_000;
/// The longest text of a filter or cursor that is looked at.
const TEXT_MAX: usize = 4_096;

impl Body for ManyBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.optional_string("reason", Text::DESCRIPTION);
        check_which(value, faults);
    }
}

impl Body for SignalManyBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("signal", Text::NAME);
        check_which(value, faults);
    }
}

impl Body for ApproveManyBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("taskId", Text::NAME);
        ApproveBody::check(value, faults);
        check_which(value, faults);
    }
}

impl Body for RefuseManyBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("taskId", Text::NAME);
        RefuseBody::check(value, faults);
        check_which(value, faults);
    }
}

fn check_which(value: &Value, faults: &mut Faults) {
    let Some(mut fields) = faults.object("", value) else { return };
    // What says how many must not be passed over as unknown: it would come to mean all.
    for name in value.as_object().into_iter().flat_map(|map| map.keys()) {
        if let Some(meant) = nearest(name, WHICH).filter(|_| !WHICH.contains(&name.as_str())) {
            fields.fault(name, format!("is not known here; did you mean '{meant}'?"));
        }
    }
    fields.optional_integer("limit", 1..=LIMIT_MAX);
    fields.optional_string("cursor", 1..=TEXT_MAX);
    let Some(filter) = fields.required("filter") else { return };
    check_filter(faults, filter);
}

/// A name with a typing error must not come to mean every session.
fn check_filter(faults: &mut Faults, value: &Value) {
    let Some(mut fields) = faults.object("/filter", value) else { return };
    for name in value.as_object().into_iter().flat_map(|map| map.keys()) {
        if !FILTERS.contains(&name.as_str()) {
            let meant = nearest(name, FILTERS).map(|meant| format!("; did you mean '{meant}'?"));
            let listed = FILTERS.join(", ");
            fields.fault(name, format!("is no filter; there are {listed}{}", meant.unwrap_or_default()));
        }
    }
    for name in FILTERS {
        fields.optional_string(name, 1..=TEXT_MAX);
    }
    if FILTERS.iter().all(|name| fields.optional(name).is_none()) {
        fields.fault(
            "",
            "must name at least one filter; {\"since\": \"1970-01-01T00:00:00Z\"} means all sessions",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn a_filter_is_given_and_means_what_it_says() {
        let body =
            parse::<ManyBody>(br#"{"filter": {"status": "failed"}, "limit": 5, "reason": "r"}"#).unwrap();
        assert_eq!((body.which.filter.status.as_deref(), body.which.limit), (Some("failed"), Some(5)));
        assert_eq!(faults_of::<ManyBody>("{}"), ["/filter is required"]);
        let empty = faults_of::<ManyBody>(r#"{"filter": {"status": null}}"#);
        assert!(empty[0].starts_with("/filter must name at least one filter"), "{empty:?}");
        let wrong = faults_of::<ManyBody>(r#"{"filter": {"stauts": "failed", "text": 5}, "limit": 0}"#);
        let pointers: Vec<&str> = wrong.iter().filter_map(|fault| fault.split_whitespace().next()).collect();
        assert_eq!(pointers, ["/limit", "/filter/stauts", "/filter/text"]);
        assert!(wrong[1].ends_with("did you mean 'status'?"), "{wrong:?}");
        let slip = faults_of::<ManyBody>(r#"{"filter": {"text": "x"}, "limt": 5, "reason": "r", "own": 1}"#);
        assert_eq!(slip, ["/limt is not known here; did you mean 'limit'?"]);
    }

    #[test]
    fn a_signal_and_an_approval_say_what_they_are_about() {
        let digest = "0a".repeat(32);
        let text = format!(r#"{{"filter": {{"workflow": "w"}}, "taskId": "ask", "digest": "{digest}"}}"#);
        let body = parse::<ApproveManyBody>(text.as_bytes()).unwrap();
        assert_eq!((body.task_id.as_str(), body.approval.digest), ("ask", digest));
        let body =
            parse::<RefuseManyBody>(br#"{"filter": {"workflow": "w"}, "taskId": "ask", "comment": "no"}"#)
                .unwrap();
        assert_eq!((body.task_id.as_str(), body.refusal.comment.as_deref()), ("ask", Some("no")));
        let body = parse::<SignalManyBody>(br#"{"filter": {"workflow": "w"}, "signal": "go", "payload": 1}"#)
            .unwrap();
        assert_eq!((body.signal.as_str(), body.payload), ("go", Some(Value::from(1))));
        assert_eq!(faults_of::<SignalManyBody>("{}"), ["/signal is required", "/filter is required"]);
        assert_eq!(
            faults_of::<ApproveManyBody>(r#"{"taskId": 5, "comment": 1, "filter": {"workflow": "w"}}"#).len(),
            3
        );
    }
}
