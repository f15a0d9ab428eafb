//! Making and changing a schedule, and asking it for sessions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Body, Faults, Fields, Text, or_default, present};
use crate::duration::Period;
use crate::id::{AgentId, WorkflowId};
use crate::text::no_control;
use crate::time::Timestamp;

/// A cron expression by its length; what it says is read by who schedules.
const CRON: Text = Text::new(1, 256, no_control);
/// A time zone's name by its length.
const TIME_ZONE: Text = Text::new(1, 64, no_control);

/// What becomes of a fire time while an earlier session of the schedule is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Overlap {
    /// It is passed over.
    Skip,
    /// It waits, when no other does.
    BufferOne,
    /// It waits.
    BufferAll,
    /// The session is cancelled for it.
    CancelOther,
    /// It has a session beside the other.
    AllowAll,
}

/// `POST /v1/opscore/schedules`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleBody {
    /// Unique in the tenant: letters, digits and `_ . : -`.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:-]+$", example = "nightly")]
    pub id: String,
    /// The workflow that it starts, at its newest revision.
    #[schema(value_type = String)]
    pub workflow_id: WorkflowId,
    /// The agent of tasks that name neither an agent nor a capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// The input of each session, at most 64 KiB; `${scheduledAt}` in a string of it is the fire time.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub input: Map<String, Value>,
    /// When: five fields, six with seconds before them, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    /// Either this or `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256, example = "0 3 * * *")]
    pub cron: Option<String>,
    /// When: again and again after this long, 1 s to 366 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// By whose clock `cron` is read: the name of an IANA time zone; UTC where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64, example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// What becomes of a fire time while an earlier session is open; `skip` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// How late a fire time may be acted on; 10 minutes where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<Period>,
    /// Whether it is paused; where absent, a new one is not and a known one stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub note: Option<String>,
}

/// `PATCH /v1/opscore/schedules/{id}`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PatchScheduleBody {
    /// The workflow that it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workflow_id: Option<WorkflowId>,
    /// The agent of tasks that name neither an agent nor a capability; null takes it away.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<Option<AgentId>>,
    /// The whole input from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input: Option<Map<String, Value>>,
    /// When, in place of what was said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cron: Option<String>,
    /// When, in place of what was said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// By whose clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub time_zone: Option<String>,
    /// What becomes of a fire time while an earlier session is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// How late a fire time may be acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<Period>,
    /// Whether it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// What it is for; null takes it away.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    pub note: Option<Option<String>>,
}

/// `POST /v1/opscore/schedules/{id}/trigger`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartScheduleBody {
    /// What becomes of it while another session is open; as the schedule has it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
}

/// `POST /v1/opscore/schedules/{id}/backfill`: the fire times from `from` until before `to`, 1,000 at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackfillBody {
    /// Where they begin.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Where they end.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// What becomes of each while another session is open; `bufferAll` where absent: one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
}

impl Body for ScheduleBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("id", Text::RESOURCE);
        fields.required_string("workflowId", Text::ID);
        check_plan(&mut fields);
        let is_one = fields.optional("cron").is_some() != fields.optional("every").is_some();
        if !is_one {
            fields.fault("", "must have exactly one of cron and every");
        }
    }
}

impl Body for PatchScheduleBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.optional_string("workflowId", Text::ID);
        check_plan(&mut fields);
        if fields.optional("cron").is_some() && fields.optional("every").is_some() {
            fields.fault("", "must not have both cron and every");
        }
    }
}

impl Body for StartScheduleBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        check_overlap(&mut fields);
    }
}

impl Body for BackfillBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        let from = fields.required_string("from", Text::TIMESTAMP).map(Timestamp::parse);
        let to = fields.required_string("to", Text::TIMESTAMP).map(Timestamp::parse);
        if let (Some(Ok(from)), Some(Ok(to))) = (from, to)
            && from >= to
        {
            fields.fault("to", "must be after from");
        }
        check_overlap(&mut fields);
    }
}

fn check_plan(fields: &mut Fields<'_, '_>) {
    fields.optional_string("agentId", Text::ID);
    fields.optional_object("input");
    fields.optional_string("cron", CRON);
    check_period(fields, "every");
    fields.optional_string("timeZone", TIME_ZONE);
    check_overlap(fields);
    check_period(fields, "catchUp");
    if fields.optional("paused").is_some_and(|paused| !paused.is_boolean()) {
        fields.fault("paused", "must be true or false");
    }
    fields.optional_string("note", Text::DESCRIPTION);
}

fn check_period(fields: &mut Fields<'_, '_>, name: &str) {
    if let Some(Err(fault)) = fields.optional(name).map(Period::from_value) {
        fields.fault(name, fault.to_string());
    }
}

fn check_overlap(fields: &mut Fields<'_, '_>) {
    if let Some(overlap) = fields.optional("overlap")
        && Overlap::deserialize(overlap).is_err()
    {
        fields.fault("overlap", "must be skip, bufferOne, bufferAll, cancelOther or allowAll");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn a_schedule_is_read_with_what_it_leaves_out() {
        let body = parse::<ScheduleBody>(br#"{"id":"s","workflowId":"w","every":90,"input":null}"#).unwrap();
        assert_eq!(body.every.map(|every| every.to_string()).as_deref(), Some("1m30s"));
        assert_eq!((body.overlap, body.catch_up, body.paused), (None, None, None));
        let all = json!({
            "id": "s", "workflowId": "w", "agentId": "a", "input": {"x": 1}, "cron": "@hourly",
            "timeZone": "Europe/Berlin", "overlap": "cancelOther", "catchUp": "1h", "paused": true, "note": "n"
        });
        let body = parse::<ScheduleBody>(all.to_string().as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&body).unwrap(), all);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let body = json!({
            "id": "..", "agentId": 5, "input": [], "cron": "", "every": "soon", "timeZone": 1,
            "overlap": "sometimes", "catchUp": 0, "paused": "yes", "note": {}
        });
        let pointers: Vec<String> = faults_of::<ScheduleBody>(&body.to_string())
            .iter()
            .map(|fault| fault.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        let expected = [
            "/id",
            "/workflowId",
            "/agentId",
            "/input",
            "/cron",
            "/every",
            "/timeZone",
            "/overlap",
            "/catchUp",
            "/paused",
            "/note",
            "",
        ];
        assert_eq!(pointers, expected);
        let none = faults_of::<ScheduleBody>(r#"{"id":"s","workflowId":"w"}"#);
        assert_eq!(none, [" must have exactly one of cron and every"]);
    }

    #[test]
    fn a_change_tells_null_from_absent() {
        let body = parse::<PatchScheduleBody>(br#"{"agentId":null,"overlap":"allowAll"}"#).unwrap();
        assert_eq!((body.agent_id, body.note, body.overlap), (Some(None), None, Some(Overlap::AllowAll)));
        let both = faults_of::<PatchScheduleBody>(r#"{"cron":"@daily","every":5}"#);
        assert_eq!(both, [" must not have both cron and every"]);
        assert_eq!(faults_of::<PatchScheduleBody>("{}"), Vec::<String>::new());
    }

    #[test]
    fn a_backfill_goes_forward() {
        let fault = faults_of::<BackfillBody>(r#"{"from":"2026-01-02","to":"2026-01-01","overlap":1}"#);
        let overlap = "/overlap must be skip, bufferOne, bufferAll, cancelOther or allowAll";
        assert_eq!(fault, ["/to must be after from", overlap]);
        assert_eq!(faults_of::<BackfillBody>("{}"), ["/from is required", "/to is required"]);
        assert_eq!(faults_of::<StartScheduleBody>(r#"{"overlap":"bufferOne"}"#), Vec::<String>::new());
    }
}
