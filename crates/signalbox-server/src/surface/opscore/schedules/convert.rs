//! Where this surface's words and the engine's meet for schedules.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use signalbox_core::cron::{BadRhythm, Rhythm};
use signalbox_core::engine::{ApplySchedule, ChangeSchedule, PlanChange};
use signalbox_core::schedule::{
    self, Cause, Fire, INPUT_BYTES_MAX, Outcome, Plan, Run, Schedule, ScheduleStatus,
};
use signalbox_wire::body::Body;
use signalbox_wire::duration::Period;
use signalbox_wire::fault::Faults;
use signalbox_wire::id::ScheduleId;
use signalbox_wire::opscore::{
    self as wire, FireCause, FireOutcome, FireView, PatchScheduleBody, ScheduleBody, ScheduleView,
};
use signalbox_wire::time::Timestamp;

use crate::http::problem::Refusal;

/// Where nothing is said of it.
const TIME_ZONE: &str = "UTC";
/// Where nothing is said of it.
const CATCH_UP: Duration = Duration::from_secs(600);

/// A schedule whose times are understood too, so that all its faults are told together.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct WholeSchedule(ScheduleBody);

/// The same for a change.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct WholeChange(PatchScheduleBody);

impl Body for WholeSchedule {
    fn check(value: &Value, faults: &mut Faults) {
        ScheduleBody::check(value, faults);
        check_whole(value, faults);
    }
}

impl Body for WholeChange {
    fn check(value: &Value, faults: &mut Faults) {
        PatchScheduleBody::check(value, faults);
        check_whole(value, faults);
    }
}

/// What the shape of a body does not show. Parts that are ill-shaped are passed over: they are told beside this.
fn check_whole(body: &Value, faults: &mut Faults) {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let every = body.get("every").and_then(|every| Period::from_value(every).ok());
    let rhythms = [
        text("cron").map(|cron| Rhythm::Cron(cron.to_owned())),
        every.map(|every| Rhythm::Every(every.into())),
    ];
    let mut wrong: Vec<BadRhythm> = Vec::new();
    // Any rhythm will do where there is only the time zone to be understood.
    for rhythm in rhythms.into_iter().flatten().chain([Rhythm::Every(CATCH_UP)]) {
        let zone = text("timeZone").unwrap_or(TIME_ZONE);
        let found = rhythm.understand(zone, Timestamp::default()).err().unwrap_or_default();
        wrong.extend(found.into_iter().filter(|fault| !wrong.contains(fault)).collect::<Vec<_>>());
    }
    for fault in wrong {
        let pointer = match &fault {
            BadRhythm::Expression(_) => "/cron",
            BadRhythm::Interval => "/every",
            BadRhythm::TimeZone => "/timeZone",
        };
        faults.add(pointer, fault.to_string());
    }
    if let Some(Value::Object(input)) = body.get("input") {
        check_input(input, faults);
    }
}

/// A schedule as the engine takes it, or what stands against its id.
pub(crate) fn apply(WholeSchedule(body): WholeSchedule) -> Result<ApplySchedule, Refusal> {
    let mut faults = Faults::default();
    let id = ScheduleId::parse(&body.id).map_err(|error| faults.add("/id", error.to_string()));
    let rhythm = rhythm(body.cron, body.every);
    let time_zone = body.time_zone.unwrap_or_else(|| TIME_ZONE.to_owned());
    match (id, rhythm) {
        (Ok(schedule), Some(rhythm)) if faults.is_empty() => {
            let plan = Plan {
                workflow: body.workflow_id,
                agent: body.agent_id,
                input: body.input,
                rhythm,
                time_zone,
                overlap: body.overlap.map(overlap).unwrap_or_default(),
                catch_up: body.catch_up.map_or(CATCH_UP, Duration::from),
                note: body.note,
            };
            Ok(ApplySchedule { schedule, plan, paused: body.paused })
        }
        _ => Err(faults.into_vec().into()),
    }
}

/// A change as the engine takes it.
pub(crate) fn change(schedule: ScheduleId, WholeChange(body): WholeChange) -> ChangeSchedule {
    let change = PlanChange {
        workflow: body.workflow_id,
        agent: body.agent_id,
        input: body.input,
        rhythm: rhythm(body.cron, body.every),
        time_zone: body.time_zone,
        overlap: body.overlap.map(overlap),
        catch_up: body.catch_up.map(Duration::from),
        note: body.note,
        paused: body.paused,
    };
    ChangeSchedule { schedule, change }
}

fn rhythm(cron: Option<String>, every: Option<Period>) -> Option<Rhythm> {
    cron.map(Rhythm::Cron).or_else(|| every.map(|every| Rhythm::Every(every.into())))
}

fn check_input(input: &Map<String, Value>, faults: &mut Faults) {
    let bytes = serde_json::to_string(input).map_or(usize::MAX, |text| text.len());
    if bytes > INPUT_BYTES_MAX {
        let cure = "keep what is larger elsewhere and name it";
        faults.add("/input", format!("must have at most {INPUT_BYTES_MAX} bytes as JSON; {cure}"));
    }
}

/// What becomes of a fire time, as the engine knows it.
pub(crate) fn overlap(overlap: wire::Overlap) -> schedule::Overlap {
    match overlap {
        wire::Overlap::Skip => schedule::Overlap::Skip,
        wire::Overlap::BufferOne => schedule::Overlap::BufferOne,
        wire::Overlap::BufferAll => schedule::Overlap::BufferAll,
        wire::Overlap::CancelOther => schedule::Overlap::CancelOther,
        wire::Overlap::AllowAll => schedule::Overlap::AllowAll,
    }
}

fn overlap_out(overlap: schedule::Overlap) -> wire::Overlap {
    match overlap {
        schedule::Overlap::Skip => wire::Overlap::Skip,
        schedule::Overlap::BufferOne => wire::Overlap::BufferOne,
        schedule::Overlap::BufferAll => wire::Overlap::BufferAll,
        schedule::Overlap::CancelOther => wire::Overlap::CancelOther,
        schedule::Overlap::AllowAll => wire::Overlap::AllowAll,
    }
}

/// A schedule as it is shown.
pub(crate) fn schedule(kept: &Schedule) -> ScheduleView {
    let plan = &kept.plan;
    let (cron, every) = match &plan.rhythm {
        Rhythm::Cron(expression) => (Some(expression.clone()), None),
        Rhythm::Every(every) => (None, Period::try_from(*every).ok()),
    };
    ScheduleView {
        id: kept.id.clone(),
        workflow_id: plan.workflow.clone(),
        agent_id: plan.agent.clone(),
        input: plan.input.clone(),
        cron,
        every,
        time_zone: plan.time_zone.clone(),
        overlap: overlap_out(plan.overlap),
        catch_up: Period::try_from(plan.catch_up).ok(),
        note: plan.note.clone(),
        status: match kept.status {
            ScheduleStatus::Active => wire::ScheduleStatus::Active,
            ScheduleStatus::Paused => wire::ScheduleStatus::Paused,
        },
        next_at: kept.next_at,
        waiting: kept.waiting.len(),
        created_at: kept.created_at,
        updated_at: kept.updated_at,
    }
}

/// The fire times of a schedule that are kept, newest first.
pub(crate) fn fires(kept: &Schedule) -> Vec<FireView> {
    let waiting = kept.waiting.iter().map(waiting);
    let mut fires: Vec<FireView> = kept.runs.iter().map(run).chain(waiting).collect();
    fires.sort_unstable_by_key(|fire| std::cmp::Reverse(fire.number));
    fires
}

fn waiting(fire: &Fire) -> FireView {
    FireView {
        number: fire.number,
        scheduled_at: fire.at,
        cause: cause(fire.cause),
        outcome: FireOutcome::Waiting,
        session_id: None,
        reason: None,
        decided_at: None,
    }
}

fn run(run: &Run) -> FireView {
    let (outcome, session_id, reason) = match &run.outcome {
        Outcome::Started(session) => (FireOutcome::Started, Some(session.clone()), None),
        Outcome::Skipped(reason) => (FireOutcome::Skipped, None, Some(reason.clone())),
        Outcome::Missed { until, count } => {
            let reason = format!("came too late to be caught up with: {count} fire times up to {until}");
            (FireOutcome::Missed, None, Some(reason))
        }
    };
    FireView {
        number: run.number,
        scheduled_at: run.at,
        cause: cause(run.cause),
        outcome,
        session_id,
        reason,
        decided_at: Some(run.decided_at),
    }
}

fn cause(cause: Cause) -> FireCause {
    match cause {
        Cause::Schedule => FireCause::Schedule,
        Cause::Trigger => FireCause::Trigger,
        Cause::Backfill => FireCause::Backfill,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(value: Value) -> WholeSchedule {
        serde_json::from_value(value).expect("a body")
    }

    fn pointers<T: Body>(value: &Value) -> Vec<String> {
        let mut faults = Faults::default();
        T::check(value, &mut faults);
        faults.into_vec().into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let applied = apply(body(json!({"id": "s", "workflowId": "w", "cron": "@daily"}))).expect("taken");
        assert_eq!((applied.plan.time_zone.as_str(), applied.plan.catch_up), (TIME_ZONE, CATCH_UP));
        assert_eq!((applied.plan.overlap, applied.paused), (schedule::Overlap::Skip, None));
        let shown = schedule(&Schedule::new(applied.schedule, applied.plan, Timestamp::default()));
        assert_eq!(shown.catch_up.map(|late| late.to_string()).as_deref(), Some("10m"));
    }

    #[test]
    fn what_cannot_be_understood_is_told_at_its_place() {
        let large = "x".repeat(INPUT_BYTES_MAX);
        let bad = json!({
            "id": "s", "workflowId": "w", "cron": "* *", "timeZone": "Mars/Base", "input": {"large": large}
        });
        assert_eq!(pointers::<WholeSchedule>(&bad), ["/cron", "/timeZone", "/input"]);
        let bad = json!({"id": "s", "workflowId": "w", "every": "10ms"});
        assert_eq!(pointers::<WholeSchedule>(&bad), ["/every"]);
        assert_eq!(pointers::<WholeChange>(&json!({"timeZone": "here"})), ["/timeZone"]);
        assert_eq!(pointers::<WholeChange>(&json!({})), [""; 0]);
        let id = ScheduleId::parse("s").expect("valid");
        assert!(change(id, WholeChange(PatchScheduleBody::default())).change.rhythm.is_none());
    }

    #[test]
    fn a_rhythm_is_told_of_beside_everything_else() {
        let bad = json!({"id": 5, "cron": "* *", "every": "10ms", "timeZone": "here", "overlap": "maybe", "paused": 1});
        let expected = ["/id", "/workflowId", "/overlap", "/paused", "", "/cron", "/timeZone", "/every"];
        assert_eq!(pointers::<WholeSchedule>(&bad), expected);
        assert_eq!(
            pointers::<WholeChange>(&json!({"timeZone": "here", "input": 1})),
            ["/input", "/timeZone"]
        );
        assert_eq!(pointers::<WholeSchedule>(&json!({"id": "s", "workflowId": "w", "cron": ""})), ["/cron"]);
    }

    #[test]
    fn every_overlap_comes_back_as_it_went() {
        use wire::Overlap::{AllowAll, BufferAll, BufferOne, CancelOther, Skip};
        for word in [Skip, BufferOne, BufferAll, CancelOther, AllowAll] {
            assert_eq!(overlap_out(overlap(word)), word);
        }
    }
}
