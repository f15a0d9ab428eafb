//! Where this surface's words and the engine's meet for schedules.

use std::time::Duration;

use serde_json::{Map, Value};
use signalbox_core::cron::{BadRhythm, Rhythm};
use signalbox_core::engine::{ApplySchedule, ChangeSchedule, PlanChange};
use signalbox_core::schedule::{
    self, Cause, Fire, INPUT_BYTES_MAX, Outcome, Plan, Run, Schedule, ScheduleStatus,
};
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

/// A schedule as the engine takes it, or everything that stands against it.
pub(crate) fn apply(body: ScheduleBody) -> Result<ApplySchedule, Refusal> {
    let mut faults = Faults::default();
    let id = ScheduleId::parse(&body.id).map_err(|error| faults.add("/id", error.to_string()));
    let rhythm = rhythm(body.cron, body.every);
    let time_zone = body.time_zone.unwrap_or_else(|| TIME_ZONE.to_owned());
    match &rhythm {
        Some(rhythm) => check_rhythm(rhythm, &time_zone, &mut faults),
        None => faults.add("", "must have exactly one of cron and every"),
    }
    check_input(&body.input, &mut faults);
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

/// A change as the engine takes it, or everything that stands against it.
pub(crate) fn change(schedule: ScheduleId, body: PatchScheduleBody) -> Result<ChangeSchedule, Refusal> {
    let mut faults = Faults::default();
    let rhythm = rhythm(body.cron, body.every);
    // Any rhythm will do where only the time zone is given.
    let checked = rhythm.clone().unwrap_or(Rhythm::Every(CATCH_UP));
    check_rhythm(&checked, body.time_zone.as_deref().unwrap_or(TIME_ZONE), &mut faults);
    if let Some(input) = &body.input {
        check_input(input, &mut faults);
    }
    if !faults.is_empty() {
        return Err(faults.into_vec().into());
    }
    let change = PlanChange {
        workflow: body.workflow_id,
        agent: body.agent_id,
        input: body.input,
        rhythm,
        time_zone: body.time_zone,
        overlap: body.overlap.map(overlap),
        catch_up: body.catch_up.map(Duration::from),
        note: body.note,
        paused: body.paused,
    };
    Ok(ChangeSchedule { schedule, change })
}

fn rhythm(cron: Option<String>, every: Option<Period>) -> Option<Rhythm> {
    cron.map(Rhythm::Cron).or_else(|| every.map(|every| Rhythm::Every(every.into())))
}

fn check_rhythm(rhythm: &Rhythm, time_zone: &str, faults: &mut Faults) {
    for fault in rhythm.understand(time_zone, Timestamp::default()).err().unwrap_or_default() {
        let pointer = match &fault {
            BadRhythm::Expression(_) => "/cron",
            BadRhythm::Interval => "/every",
            BadRhythm::TimeZone => "/timeZone",
        };
        faults.add(pointer, fault.to_string());
    }
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

    fn body(value: Value) -> ScheduleBody {
        serde_json::from_value(value).expect("a body")
    }

    fn pointers(refusal: Refusal) -> Vec<String> {
        refusal.0.errors.into_iter().map(|fault| fault.pointer).collect()
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
        assert_eq!(pointers(apply(body(bad)).expect_err("bad")), ["/cron", "/timeZone", "/input"]);
        let bad = json!({"id": "s", "workflowId": "w", "every": "10ms"});
        assert_eq!(pointers(apply(body(bad)).expect_err("bad")), ["/every"]);
        let id = ScheduleId::parse("s").expect("valid");
        let zone = PatchScheduleBody { time_zone: Some("here".to_owned()), ..PatchScheduleBody::default() };
        assert_eq!(pointers(change(id.clone(), zone).expect_err("bad")), ["/timeZone"]);
        assert!(change(id, PatchScheduleBody::default()).is_ok());
    }

    #[test]
    fn every_overlap_comes_back_as_it_went() {
        use wire::Overlap::{AllowAll, BufferAll, BufferOne, CancelOther, Skip};
        for word in [Skip, BufferOne, BufferAll, CancelOther, AllowAll] {
            assert_eq!(overlap_out(overlap(word)), word);
        }
    }
}
