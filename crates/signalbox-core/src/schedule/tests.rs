//! Every pair of the tables, and what is kept within its bounds.

use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn session(number: usize) -> SessionId {
    SessionId::parse(&format!("s{number}")).expect("valid")
}

fn plan() -> Plan {
    let Value::Object(input) = json!({
        "day": "${scheduledAt}", "n": 5, "deep": [{"text": "from ${scheduledAt} on, ${input.x}"}]
    }) else {
        unreachable!("an object")
    };
    Plan {
        workflow: WorkflowId::parse("w").expect("valid"),
        agent: None,
        input,
        rhythm: Rhythm::Every(Duration::from_secs(60)),
        time_zone: "UTC".to_owned(),
        overlap: Overlap::Skip,
        catch_up: Duration::from_secs(600),
        note: None,
    }
}

fn schedule() -> (Schedule, Recurrence) {
    let schedule = Schedule::new(ScheduleId::parse("s").expect("valid"), plan(), at(0));
    let recurrence = schedule.plan.recurrence(schedule.since).expect("understood");
    (schedule, recurrence)
}

#[test]
fn every_overlap_in_every_situation() {
    use Overlap::{AllowAll, BufferAll, BufferOne, CancelOther, Skip};
    use Verdict::{Replace, Start, Wait};
    const SKIPPED: Verdict = Verdict::Skip("");
    let situations = [(false, 0), (true, 0), (true, 1), (false, 1), (true, WAITING_MAX)];
    let table = [
        (Skip, [Start, SKIPPED, SKIPPED, SKIPPED, SKIPPED]),
        (BufferOne, [Start, Wait, SKIPPED, SKIPPED, SKIPPED]),
        (BufferAll, [Start, Wait, Wait, Wait, SKIPPED]),
        (CancelOther, [Start, Replace, Replace, Replace, Replace]),
        (AllowAll, [Start, Start, Start, Start, Start]),
    ];
    for (overlap, expected) in table {
        for ((is_open, waiting), expected) in situations.into_iter().zip(expected) {
            let verdict = match overlap.verdict(is_open, waiting) {
                Verdict::Skip(reason) => {
                    assert!(!reason.is_empty());
                    SKIPPED
                }
                verdict => verdict,
            };
            assert_eq!(verdict, expected, "{overlap:?} with {is_open} open and {waiting} waiting");
        }
    }
}

#[test]
fn fire_times_come_while_it_is_active_and_not_while_it_is_paused() {
    let (mut schedule, recurrence) = schedule();
    schedule.arm(&recurrence, at(0));
    assert_eq!(schedule.next_at, Some(at(60)));
    schedule.pass(&recurrence, at(60));
    assert_eq!((schedule.last_at, schedule.next_at), (Some(at(60)), Some(at(120))));
    schedule.status = ScheduleStatus::Paused;
    schedule.arm(&recurrence, at(70));
    assert_eq!(schedule.next_at, None);
    schedule.status = ScheduleStatus::Active;
    schedule.arm(&recurrence, at(1_000));
    assert_eq!(schedule.next_at, Some(at(1_020)), "what went by meanwhile is gone");
}

#[test]
fn a_fire_time_that_has_come_comes_never_again_unless_the_clock_was_far_off() {
    let (mut schedule, recurrence) = schedule();
    schedule.pass(&recurrence, at(120));
    schedule.arm(&recurrence, at(90));
    assert_eq!(schedule.next_at, Some(at(180)), "another process's clock is behind");
    schedule.arm(&recurrence, at(50));
    assert_eq!(schedule.next_at, Some(at(60)), "the clock was put right");
}

#[test]
fn what_waits_starts_in_order_once_it_may() {
    let (mut schedule, _) = schedule();
    assert_eq!(schedule.next_in_line(), None);
    for (cause, overlap) in [
        (Cause::Schedule, Overlap::BufferAll),
        (Cause::Backfill, Overlap::BufferAll),
        (Cause::Backfill, Overlap::AllowAll),
    ] {
        let fire = schedule.fire(at(60), cause, overlap);
        schedule.waiting.push(fire);
    }
    assert_eq!(schedule.waiting.iter().map(|fire| fire.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(schedule.next_in_line(), Some(0));
    schedule.status = ScheduleStatus::Paused;
    assert_eq!(schedule.next_in_line(), Some(1), "what was asked for happens all the same");
    schedule.open.push(session(0));
    assert_eq!(schedule.next_in_line(), None);
    schedule.waiting.remove(1);
    assert_eq!(schedule.next_in_line(), Some(1), "it goes beside the other");
}

#[test]
fn what_is_remembered_is_bounded_and_the_newest() {
    let (mut schedule, _) = schedule();
    for number in 0..300 {
        let fire = schedule.fire(at(60), Cause::Schedule, Overlap::AllowAll);
        schedule.opened(session(number));
        let outcome = Outcome::Started(session(number));
        let Fire { number, at, cause, .. } = fire;
        schedule.remember(Run { number, at, cause, decided_at: at, outcome });
    }
    assert_eq!((schedule.runs.len(), schedule.runs.last().map(|run| run.number)), (RUNS_KEPT, Some(300)));
    assert_eq!((schedule.open.len(), schedule.open.last()), (OPEN_KEPT, Some(&session(299))));
}

#[test]
fn the_fire_time_is_put_into_the_input_and_nothing_else_is() {
    let expected = json!({
        "day": "1970-01-01T00:01:00.000000Z", "n": 5,
        "deep": [{"text": "from 1970-01-01T00:01:00.000000Z on, ${input.x}"}]
    });
    assert_eq!(Value::Object(plan().input_at(at(60))), expected);
}
