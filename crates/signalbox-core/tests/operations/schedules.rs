//! Schedules: when their fire times come, what each comes to, and that none comes twice.

use std::time::Duration;

use serde_json::{Map, json};
use signalbox_core::Rejected;
use signalbox_core::cron::Rhythm;
use signalbox_core::definition::{Definition, Step};
use signalbox_core::delivery::Outcome as Delivery;
use signalbox_core::due::DueJob;
use signalbox_core::engine::{
    ApplyDefinition, ApplySchedule, Cancel, ChangeSchedule, ControlSchedule, DeleteDefinition,
    DeleteSchedule, PlanChange, ScheduleCommand, ScheduleControlled, TimerFired,
};
use signalbox_core::schedule::{Cause, Outcome, Overlap, Plan, RUNS_KEPT, Schedule, ScheduleStatus};
use signalbox_core::session::SessionStatus;
use signalbox_core::snapshot::Loaded;
use signalbox_wire::id::{AgentId, ScheduleId, SessionId, WorkflowId};
use signalbox_wire::time::Timestamp;

use crate::stage::{Stage, step};

const DELIVERED: Delivery = Delivery::Delivered { status: 202 };
const MINUTE: Duration = Duration::from_secs(60);

fn id() -> ScheduleId {
    ScheduleId::parse("nightly").expect("valid")
}

fn fire() -> DueJob {
    DueJob::Fire { schedule: id() }
}

fn workflow() -> WorkflowId {
    WorkflowId::parse("report").expect("valid")
}

fn plan(overlap: Overlap) -> Plan {
    Plan {
        workflow: workflow(),
        agent: None,
        input: Map::from_iter([("day".to_owned(), json!("${scheduledAt}"))]),
        rhythm: Rhythm::Every(MINUTE),
        time_zone: "UTC".to_owned(),
        overlap,
        catch_up: MINUTE * 10,
        note: None,
    }
}

/// A stage with a workflow of these steps and a schedule of it for every minute.
fn stage_with(steps: Vec<Step>, overlap: Overlap) -> Stage {
    let mut stage = Stage::new();
    let definition = Box::new(Definition::of(workflow(), steps));
    stage.run(&ApplyDefinition { definition }).expect("kept");
    stage.run(&ApplySchedule { schedule: id(), plan: plan(overlap), paused: None }).expect("made");
    stage
}

/// One whose sessions stay open, for nobody can do their task.
fn stage_of(overlap: Overlap) -> Stage {
    stage_with(vec![step("read", None)], overlap)
}

fn schedule(stage: &Stage) -> Schedule {
    match stage.store.loaded(&signalbox_core::decision::Key::Schedule(id())) {
        Some(Loaded::Schedule(read)) => Schedule::clone(&read.value),
        other => panic!("no schedule but {other:?}"),
    }
}

fn control(stage: &mut Stage, command: ScheduleCommand) -> Result<ScheduleControlled, Rejected> {
    stage.run(&ControlSchedule { schedule: id(), command })
}

/// What came of the newest fire times, as `number cause outcome` each.
fn runs(stage: &Stage) -> Vec<String> {
    let told = |outcome: &Outcome| match outcome {
        Outcome::Started(_) => "started".to_owned(),
        Outcome::Skipped(_) => "skipped".to_owned(),
        Outcome::Missed { count, .. } => format!("missed {count}"),
    };
    let runs = schedule(stage).runs;
    runs.iter().map(|run| format!("{} {} {}", run.number, run.cause.name(), told(&run.outcome))).collect()
}

fn sessions(stage: &Stage) -> Vec<(SessionId, SessionStatus)> {
    stage
        .store
        .sessions
        .values()
        .filter(|read| read.value.session.schedule == Some(id()))
        .map(|read| (read.value.session.id.clone(), read.value.session.status))
        .collect()
}

fn cancel(stage: &mut Stage, session: &SessionId) {
    stage.run(&Cancel { session: session.clone(), reason: None }).expect("cancelled");
}

#[test]
fn each_fire_time_makes_one_session_with_its_time_in_the_input() {
    let mut stage = stage_with(Vec::new(), Overlap::Skip);
    let since = schedule(&stage).since;
    stage.pass(MINUTE * 3 + Duration::from_secs(1), &DELIVERED);
    assert_eq!(runs(&stage), ["1 schedule started", "2 schedule started", "3 schedule started"]);
    assert_eq!(sessions(&stage).len(), 3);
    for (run, minutes) in schedule(&stage).runs.iter().zip(1..) {
        let Outcome::Started(session) = &run.outcome else { panic!("{run:?}") };
        assert_eq!(run.at, since + MINUTE * minutes);
        assert_eq!(stage.state(session).session.input["day"], json!(run.at));
    }
    assert_eq!(stage.store.due[&fire().id()].visible_at, since + MINUTE * 4);
}

#[test]
fn a_timer_that_comes_early_or_twice_changes_nothing() {
    let mut stage = stage_with(Vec::new(), Overlap::AllowAll);
    let next = schedule(&stage).next_at.expect("armed");
    stage.run(&TimerFired { work: fire() }).expect("fired");
    assert_eq!((sessions(&stage).len(), stage.store.due[&fire().id()].visible_at), (0, next));
    stage.now = next;
    let (first, ()) = stage.decide(&TimerFired { work: fire() }).expect("decided");
    let (second, ()) = stage.decide(&TimerFired { work: fire() }).expect("decided");
    stage.store.commit(&first, None).expect("the first");
    assert!(stage.store.commit(&second, None).is_err(), "two at once");
    stage.run(&TimerFired { work: fire() }).expect("fired");
    assert_eq!(runs(&stage), ["1 schedule started"]);
}

#[test]
fn skip_passes_over_while_a_session_is_open() {
    let mut stage = stage_of(Overlap::Skip);
    stage.pass(MINUTE * 2 + Duration::from_secs(1), &DELIVERED);
    assert_eq!(runs(&stage), ["1 schedule started", "2 schedule skipped"]);
    let first = sessions(&stage)[0].0.clone();
    cancel(&mut stage, &first);
    stage.pass(MINUTE, &DELIVERED);
    assert_eq!(runs(&stage).last().map(String::as_str), Some("3 schedule started"));
}

#[test]
fn buffer_one_keeps_one_that_starts_when_the_session_is_over() {
    let mut stage = stage_of(Overlap::BufferOne);
    stage.pass(MINUTE * 3 + Duration::from_secs(1), &DELIVERED);
    assert_eq!(runs(&stage), ["1 schedule started", "3 schedule skipped"]);
    let waiting = schedule(&stage).waiting;
    assert_eq!(waiting.iter().map(|fire| fire.number).collect::<Vec<_>>(), [2]);
    let first = sessions(&stage)[0].0.clone();
    cancel(&mut stage, &first);
    assert!(stage.store.due[&fire().id()].visible_at <= stage.now, "the end of a session wakes it up");
    stage.deliver();
    assert_eq!(runs(&stage).last().map(String::as_str), Some("2 schedule started"));
    assert!(schedule(&stage).waiting.is_empty());
}

#[test]
fn buffer_all_keeps_them_in_order() {
    let mut stage = stage_of(Overlap::BufferAll);
    stage.pass(MINUTE * 3 + Duration::from_secs(1), &DELIVERED);
    for _ in 0..3 {
        let (open, _) =
            sessions(&stage).into_iter().find(|(_, status)| !status.is_over()).expect("one is open");
        cancel(&mut stage, &open);
        stage.deliver();
    }
    assert_eq!(runs(&stage), ["1 schedule started", "2 schedule started", "3 schedule started"]);
    assert_eq!(sessions(&stage).iter().filter(|(_, status)| !status.is_over()).count(), 0);
}

/// The safety net: nobody has told that the session is over.
#[test]
fn what_waits_is_looked_at_every_few_seconds() {
    let mut stage = stage_of(Overlap::BufferAll);
    stage.pass(MINUTE * 2 + Duration::from_secs(1), &DELIVERED);
    assert!(stage.store.due[&fire().id()].visible_at <= stage.now + Duration::from_secs(5));
}

#[test]
fn cancel_other_cancels_the_open_session_for_the_next() {
    let mut stage = stage_of(Overlap::CancelOther);
    stage.pass(MINUTE * 3 + Duration::from_secs(1), &DELIVERED);
    assert_eq!(runs(&stage), ["1 schedule started", "2 schedule started", "3 schedule started"]);
    let statuses: Vec<_> = sessions(&stage).into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == SessionStatus::Cancelled).count(), 2);
    assert_eq!(statuses.iter().filter(|status| !status.is_over()).count(), 1);
}

/// A decision cannot cancel what it starts: the first and the last of several at once are what there is.
#[test]
fn of_several_at_once_that_cancel_each_other_the_last_remains() {
    let mut stage = stage_of(Overlap::CancelOther);
    stage.agent("reader", 1);
    let since = schedule(&stage).since;
    let (from, to) = (since, since + MINUTE * 5);
    control(&mut stage, ScheduleCommand::Backfill { from, to, overlap: Overlap::CancelOther })
        .expect("filled in");
    assert_eq!(runs(&stage), ["1 backfill started", "2 backfill skipped", "3 backfill skipped"]);
    stage.pass(Duration::from_secs(1), &DELIVERED);
    assert_eq!(runs(&stage)[3..], ["4 backfill started"]);
    let statuses: Vec<_> = sessions(&stage).into_iter().map(|(_, status)| status).collect();
    // The only agent has not said yet that it has stopped the first.
    assert_eq!(statuses, [SessionStatus::Cancelled, SessionStatus::Started]);
}

#[test]
fn allow_all_starts_beside_the_others() {
    let mut stage = stage_of(Overlap::AllowAll);
    stage.pass(MINUTE * 3 + Duration::from_secs(1), &DELIVERED);
    assert_eq!(sessions(&stage).iter().filter(|(_, status)| !status.is_over()).count(), 3);
}

#[test]
fn fire_times_that_come_too_late_are_passed_over_in_one_and_said() {
    let mut stage = stage_with(Vec::new(), Overlap::Skip);
    // Nobody was there for an hour: ten minutes of it are caught up with.
    stage.now = stage.now + MINUTE * 60;
    stage.pass(Duration::from_secs(1), &DELIVERED);
    let runs = runs(&stage);
    assert_eq!(runs[0], "1 schedule missed 50");
    assert_eq!(runs[1..].len(), 10, "{runs:?}");
    assert!(schedule(&stage).next_at > Some(stage.now));
}

#[test]
fn a_clock_that_jumps_far_ahead_makes_no_storm() {
    let mut stage = stage_with(Vec::new(), Overlap::AllowAll);
    let rhythm = Some(Rhythm::Cron("* * * * * *".to_owned()));
    let change = PlanChange { rhythm, catch_up: Some(MINUTE), ..PlanChange::default() };
    stage.run(&ChangeSchedule { schedule: id(), change }).expect("changed");
    stage.now = stage.now + Duration::from_secs(10 * 365 * 86_400);
    let mut decisions = 0;
    while stage.store.due[&fire().id()].visible_at <= stage.now {
        let before = sessions(&stage).len();
        stage.run(&TimerFired { work: fire() }).expect("fired");
        assert!(sessions(&stage).len() - before <= 10, "one decision starts only so many");
        decisions += 1;
    }
    assert!((6..10).contains(&decisions), "{decisions}");
    assert!((60..=61).contains(&sessions(&stage).len()), "{}", sessions(&stage).len());
    assert_eq!(stage.store.due.len(), 1);
    let first = &schedule(&stage).runs[0].outcome;
    assert!(matches!(first, Outcome::Missed { count: 1_000, .. }), "{first:?}");
}

/// Every pair of the table.
#[test]
fn every_operation_on_every_status() {
    let mut stage = stage_with(Vec::new(), Overlap::Skip);
    let active = |stage: &Stage| schedule(stage).status == ScheduleStatus::Active;
    control(&mut stage, ScheduleCommand::Resume).expect("as it is");
    assert!(active(&stage) && schedule(&stage).next_at.is_some());
    control(&mut stage, ScheduleCommand::Trigger { overlap: None }).expect("started");
    let (from, to) = (schedule(&stage).since, schedule(&stage).since + MINUTE);
    let fill = ScheduleCommand::Backfill { from: from - MINUTE, to, overlap: Overlap::BufferAll };
    control(&mut stage, ScheduleCommand::Pause).expect("paused");
    control(&mut stage, ScheduleCommand::Pause).expect("as it is");
    assert!(!active(&stage) && schedule(&stage).next_at.is_none());
    assert!(!stage.store.due.contains_key(&fire().id()), "nothing is due while it is paused");
    stage.pass(MINUTE * 5, &DELIVERED);
    stage.run(&TimerFired { work: fire() }).expect("fired");
    control(&mut stage, ScheduleCommand::Trigger { overlap: None }).expect("started all the same");
    assert_eq!(runs(&stage), ["1 trigger started", "2 trigger started"]);
    control(&mut stage, fill).expect("filled in");
    control(&mut stage, ScheduleCommand::Resume).expect("resumed");
    assert!(schedule(&stage).next_at > Some(stage.now), "what went by is gone");
    stage.pass(MINUTE, &DELIVERED);
    assert_eq!(runs(&stage)[2..], ["3 schedule started"]);
}

#[test]
fn a_trigger_follows_the_overlap_or_its_own() {
    let mut stage = stage_of(Overlap::Skip);
    let mut trigger = |overlap| control(&mut stage, ScheduleCommand::Trigger { overlap }).expect("decided");
    trigger(None);
    trigger(None);
    trigger(Some(Overlap::AllowAll));
    let controlled = trigger(Some(Overlap::BufferAll));
    assert_eq!((controlled.filled.first, controlled.filled.count), (4, 1));
    assert_eq!(runs(&stage), ["1 trigger started", "2 trigger skipped", "3 trigger started"]);
    assert_eq!(schedule(&stage).waiting[0].cause, Cause::Trigger);
}

#[test]
fn a_backfill_makes_a_session_for_each_time_gone_by() {
    let mut stage = stage_with(Vec::new(), Overlap::Skip);
    let rhythm = Some(Rhythm::Cron("0 * * * *".to_owned()));
    let change = PlanChange { rhythm, ..PlanChange::default() };
    stage.run(&ChangeSchedule { schedule: id(), change }).expect("changed");
    let at = |text: &str| Timestamp::parse(text).expect("a time");
    let fill = |from, to, overlap| ScheduleCommand::Backfill { from: at(from), to: at(to), overlap };
    let day = fill("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", Overlap::BufferAll);
    let controlled = control(&mut stage, day).expect("filled in");
    assert_eq!(controlled.filled.count, 24);
    assert_eq!(sessions(&stage).len(), 10, "one decision starts only so many");
    stage.pass(Duration::from_secs(1), &DELIVERED);
    let runs = schedule(&stage).runs;
    assert_eq!(
        (runs.len(), runs[0].at, runs[23].at),
        (24, at("2026-01-01T00:00:00Z"), at("2026-01-01T23:00:00Z"))
    );
    assert!(runs.iter().all(|run| run.cause == Cause::Backfill));
    let too_long = fill("2020-01-01", "2021-01-01", Overlap::BufferAll);
    assert!(matches!(control(&mut stage, too_long), Err(Rejected::BackfillTooLong { .. })));
    let none = control(&mut stage, fill("2026-01-01T00:00:01Z", "2026-01-01T00:59:00Z", Overlap::Skip));
    assert_eq!(none.expect("nothing to do").filled.count, 0);
}

#[test]
fn what_waits_is_bounded() {
    let mut stage = stage_of(Overlap::BufferAll);
    let since = schedule(&stage).since;
    let fill = |minutes: u32| ScheduleCommand::Backfill {
        from: since,
        to: since + MINUTE * minutes + Duration::from_micros(1),
        overlap: Overlap::BufferAll,
    };
    control(&mut stage, fill(999)).expect("filled in");
    assert_eq!((sessions(&stage).len(), schedule(&stage).waiting.len()), (1, 998));
    assert!(matches!(control(&mut stage, fill(3)), Err(Rejected::BackfillFull { asked: 3, waiting: 998 })));
    for _ in 0..3 {
        control(&mut stage, ScheduleCommand::Trigger { overlap: None }).expect("decided");
    }
    assert_eq!(schedule(&stage).waiting.len(), 1_000);
    assert_eq!(runs(&stage).last().map(String::as_str), Some("1002 trigger skipped"));
}

#[test]
fn a_fire_time_that_cannot_start_says_why_and_the_next_one_is_tried() {
    let mut stage = stage_with(Vec::new(), Overlap::Skip);
    stage.run(&DeleteDefinition { workflow: workflow() }).expect("deleted");
    stage.pass(MINUTE + Duration::from_secs(1), &DELIVERED);
    let Outcome::Skipped(reason) = &schedule(&stage).runs[0].outcome else { panic!("{:?}", runs(&stage)) };
    assert!(reason.contains("report"), "{reason}");
    let definition = Box::new(Definition::of(workflow(), Vec::new()));
    stage.run(&ApplyDefinition { definition }).expect("kept");
    stage.pass(MINUTE, &DELIVERED);
    assert_eq!(runs(&stage), ["1 schedule skipped", "2 schedule started"]);
}

#[test]
fn a_fire_time_whose_input_no_longer_fits_is_passed_over() {
    let mut stage = stage_with(Vec::new(), Overlap::Skip);
    let mut changed = Definition::of(workflow(), Vec::new());
    changed.input = Some(serde_json::json!(["town"]));
    stage.run(&ApplyDefinition { definition: Box::new(changed) }).expect("kept");
    stage.pass(MINUTE + Duration::from_secs(1), &DELIVERED);
    let Outcome::Skipped(reason) = &schedule(&stage).runs[0].outcome else { panic!("{:?}", runs(&stage)) };
    assert!(reason.contains("/town is required"), "{reason}");
}

/// The workflow is kept between the look at it and the commit.
#[test]
fn what_was_passed_over_for_an_absence_that_is_over_conflicts() {
    let mut stage = stage_with(Vec::new(), Overlap::Skip);
    stage.run(&DeleteDefinition { workflow: workflow() }).expect("deleted");
    stage.now = stage.now + MINUTE * 2;
    let (decision, ()) = stage.decide(&TimerFired { work: fire() }).expect("decided");
    let definition = Box::new(Definition::of(workflow(), Vec::new()));
    stage.run(&ApplyDefinition { definition }).expect("kept");
    assert!(stage.store.commit(&decision, None).is_err());
}

/// The session ends between the look at it and the commit.
#[test]
fn what_waits_for_a_session_that_is_over_conflicts() {
    let mut stage = stage_of(Overlap::BufferAll);
    stage.pass(MINUTE + Duration::from_secs(1), &DELIVERED);
    stage.now = stage.now + MINUTE;
    let (decision, ()) = stage.decide(&TimerFired { work: fire() }).expect("decided");
    let first = sessions(&stage)[0].0.clone();
    cancel(&mut stage, &first);
    assert!(stage.store.commit(&decision, None).is_err());
}

#[test]
fn a_schedule_that_says_the_same_changes_nothing_and_another_rhythm_starts_anew() {
    let mut stage = stage_with(Vec::new(), Overlap::Skip);
    let before = schedule(&stage);
    stage.now = stage.now + Duration::from_secs(30);
    let same = ApplySchedule { schedule: id(), plan: plan(Overlap::Skip), paused: None };
    let (_, is_new) = stage.run(&same).expect("the same");
    assert_eq!((schedule(&stage), is_new), (before.clone(), false));
    let change = PlanChange { overlap: Some(Overlap::AllowAll), ..PlanChange::default() };
    stage.run(&ChangeSchedule { schedule: id(), change }).expect("changed");
    assert_eq!(schedule(&stage).next_at, before.next_at, "the rhythm is the same");
    let change = PlanChange { rhythm: Some(Rhythm::Every(MINUTE * 2)), ..PlanChange::default() };
    stage.run(&ChangeSchedule { schedule: id(), change }).expect("changed");
    assert_eq!(schedule(&stage).next_at, Some(stage.now + MINUTE * 2));
}

#[test]
fn what_a_plan_names_must_be_there() {
    let mut stage = stage_of(Overlap::Skip);
    let nobody = AgentId::parse("nobody").expect("valid");
    for change in [
        PlanChange { workflow: WorkflowId::parse("none").ok(), ..PlanChange::default() },
        PlanChange { agent: Some(Some(nobody)), ..PlanChange::default() },
        PlanChange { rhythm: Some(Rhythm::Cron("never".to_owned())), ..PlanChange::default() },
    ] {
        stage.run(&ChangeSchedule { schedule: id(), change }).expect_err("refused");
    }
    let other = ScheduleId::parse("other").expect("valid");
    let unknown = stage.run(&ControlSchedule { schedule: other.clone(), command: ScheduleCommand::Pause });
    assert!(matches!(unknown, Err(Rejected::UnknownSchedule(_))));
    assert!(stage.run(&DeleteSchedule { schedule: other }).is_err());
}

#[test]
fn a_removed_schedule_fires_no_more_and_its_sessions_go_on() {
    let mut stage = stage_of(Overlap::BufferAll);
    stage.pass(MINUTE * 2 + Duration::from_secs(1), &DELIVERED);
    stage.run(&DeleteSchedule { schedule: id() }).expect("removed");
    assert!(stage.store.due.is_empty());
    let (session, status) = sessions(&stage).remove(0);
    assert!(!status.is_over());
    cancel(&mut stage, &session);
    stage.pass(MINUTE * 10, &DELIVERED);
    assert_eq!((sessions(&stage).len(), stage.store.due.len()), (1, 0));
}

#[test]
fn only_the_newest_fire_times_are_remembered() {
    let mut stage = stage_with(Vec::new(), Overlap::Skip);
    stage.pass(MINUTE * 150 + Duration::from_secs(1), &DELIVERED);
    let schedule = schedule(&stage);
    assert_eq!((schedule.fires, schedule.runs.len()), (150, RUNS_KEPT));
}
