//! Concurrency groups: which sessions of a workflow may run at once, and what becomes of the others.

use serde_json::{Value, json};
use signalbox_core::Rejected;
use signalbox_core::definition::{Compensation, Concurrency, Definition, OnBusy};
use signalbox_core::due::DueJob;
use signalbox_core::engine::TimerFired;
use signalbox_core::session::SessionStatus;
use signalbox_wire::id::SessionId;

use crate::play::{seconds, task, workflow};
use crate::stage::Stage;

fn limited(limit: u32, on_busy: OnBusy) -> Definition {
    let concurrency = Concurrency { key: Some("input.key".to_owned()), limit, on_busy };
    Definition { concurrency: Some(concurrency), ..workflow("limited", vec![task("a")]) }
}

fn start(stage: &mut Stage, definition: &Definition, key: &str) -> SessionId {
    stage.start(definition.clone(), &json!({ "key": key }))
}

fn waits(stage: &Stage, session: &SessionId) -> bool {
    stage.state(session).session.waits_for_group
}

fn group<'s>(stage: &'s Stage, key: &str) -> Option<&'s signalbox_core::decision::ConcurrencyGroup> {
    stage.store.group(&format!("limited/{key}"))
}

#[test]
fn sessions_with_one_key_wait_in_order_and_others_do_not() {
    let mut stage = Stage::with_agent();
    let definition = limited(1, OnBusy::Queue);
    let [first, second, third] = [0; 3].map(|_| start(&mut stage, &definition, "x"));
    let other = start(&mut stage, &definition, "y");
    let looks = [&first, &second, &third, &other].map(|session| waits(&stage, session));
    assert_eq!(looks, [false, true, true, false]);
    stage.done(&first, "a", &json!(1));
    stage.after(1);
    assert_eq!(stage.look(&second), "running a=dispatched");
    assert!(waits(&stage, &third));
    assert_eq!(
        stage.kinds(&second),
        ["session.started", "session.queued", "session.admitted", "task.dispatched"]
    );
    stage.done(&second, "a", &json!(1));
    stage.after(1);
    stage.done(&third, "a", &json!(1));
    assert!(group(&stage, "x").is_none(), "nobody is there any longer");
}

#[test]
fn a_timer_from_before_a_session_came_to_wait_is_not_its_turn() {
    let mut stage = Stage::with_agent();
    let definition = limited(1, OnBusy::Queue);
    let [_, second] = [0; 2].map(|_| start(&mut stage, &definition, "x"));
    assert!(waits(&stage, &second));
    stage.run(&TimerFired { work: DueJob::Begin { session: second.clone() } }).expect("fired");
    assert!(waits(&stage, &second), "the first has its place");
}

#[test]
fn as_many_run_as_may_and_a_raised_limit_lets_more_in() {
    let mut stage = Stage::with_agent();
    let definition = limited(2, OnBusy::Queue);
    let sessions = [0; 4].map(|_| start(&mut stage, &definition, "x"));
    assert_eq!(sessions.each_ref().map(|session| waits(&stage, session)), [false, false, true, true]);
    let last = start(&mut stage, &limited(4, OnBusy::Queue), "x");
    stage.after(1);
    assert_eq!(sessions.each_ref().map(|session| waits(&stage, session)), [false; 4]);
    assert!(waits(&stage, &last));
}

#[test]
fn one_that_comes_too_many_is_refused() {
    let mut stage = Stage::with_agent();
    let definition = limited(1, OnBusy::Reject);
    start(&mut stage, &definition, "x");
    let refused = stage.try_start(definition.clone(), &json!({"key": "x"}));
    let workflow = definition.id.clone();
    assert_eq!(refused, Err(Rejected::ConcurrencyFull { workflow, key: "x".to_owned() }));
    assert_eq!(stage.store.sessions.len(), 1);
}

#[test]
fn a_key_without_a_value_starts_nothing() {
    let mut stage = Stage::with_agent();
    for input in [json!({}), json!({"key": "x".repeat(600)})] {
        let refused = stage.try_start(limited(1, OnBusy::Queue), &input);
        assert!(matches!(refused, Err(Rejected::ConcurrencyKey { .. })), "{refused:?}");
    }
}

#[test]
fn the_newest_takes_the_place_of_all_before_it() {
    let mut stage = Stage::with_agent();
    let definition = limited(1, OnBusy::Replace);
    let [first, second, third] = [0; 3].map(|_| start(&mut stage, &definition, "x"));
    stage.after(1);
    assert_eq!(stage.status(&first), SessionStatus::Cancelled);
    assert_eq!(stage.status(&second), SessionStatus::Cancelled);
    assert_eq!(stage.why(&second), format!("session {third} took its place"));
    assert_eq!(stage.look(&third), "running a=dispatched");
    assert_eq!(stage.timers(), ["timeout"]);
}

#[test]
fn one_that_still_undoes_keeps_its_place() {
    let mut stage = Stage::with_agent();
    let mut definition = limited(1, OnBusy::Replace);
    let undo =
        Compensation { capability: Some("write".to_owned()), retries: Some(0), ..Compensation::default() };
    definition.tasks[0].rules.compensate = Some(Box::new(undo));
    definition.tasks.push(task("b"));
    let first = start(&mut stage, &definition, "x");
    stage.done(&first, "a", &json!(1));
    let second = start(&mut stage, &definition, "x");
    stage.after(1);
    assert_eq!(stage.look(&first), "running a=completed b=cancelled undo:a=dispatched");
    assert!(waits(&stage, &second));
    stage.done(&first, "undo:a", &json!(1));
    stage.after(1);
    assert_eq!(stage.status(&first), SessionStatus::Cancelled);
    assert_eq!(stage.look(&second), "running a=dispatched b=pending");
}

#[test]
fn a_cancelled_one_leaves_the_queue_and_one_that_holds_makes_room() {
    let mut stage = Stage::with_agent();
    let definition = limited(1, OnBusy::Queue);
    let [first, second, third] = [0; 3].map(|_| start(&mut stage, &definition, "x"));
    stage.cancel(&second);
    assert_eq!(group(&stage, "x").map(|group| group.queue.clone()), Some(vec![third.clone()]));
    stage.cancel(&first);
    stage.cancel(&third);
    assert!(group(&stage, "x").is_none());
    assert_eq!(stage.timers(), [""; 0], "its turn comes no longer");
}

#[test]
fn a_pause_at_the_gate_keeps_the_place() {
    let mut stage = Stage::with_agent();
    let definition = limited(1, OnBusy::Queue);
    let [first, second] = [0; 2].map(|_| start(&mut stage, &definition, "x"));
    stage.pause(&second);
    stage.done(&first, "a", &json!(1));
    stage.after(1);
    assert_eq!(stage.look(&second), "paused a=pending");
    assert!(!waits(&stage, &second), "its turn has come");
    stage.resume(&second);
    assert_eq!(stage.look(&second), "running a=dispatched");
    let third = start(&mut stage, &definition, "x");
    stage.pause(&third);
    stage.resume(&third);
    assert_eq!(stage.look(&third), "running a=pending", "it waits for its turn all the same");
}

#[test]
fn a_retried_session_lines_up_again() {
    for on_busy in [OnBusy::Queue, OnBusy::Reject, OnBusy::Replace] {
        let mut stage = Stage::with_agent();
        let definition = limited(1, on_busy);
        let first = start(&mut stage, &definition, "x");
        stage.fail(&first, "a");
        let second = start(&mut stage, &definition, "x");
        stage.retry(&first);
        assert_eq!((waits(&stage, &first), waits(&stage, &second)), (true, false), "{on_busy:?}");
        stage.done(&second, "a", &json!(1));
        stage.after(1);
        assert_eq!(stage.look(&first), "running a=dispatched", "{on_busy:?}");
        stage.done(&first, "a", &json!(1));
        assert!(group(&stage, "x").is_none());
    }
}

#[test]
fn the_time_of_a_session_runs_while_it_waits_for_its_turn() {
    let mut stage = Stage::with_agent();
    let definition = Definition { timeout: Some(seconds(10)), ..limited(1, OnBusy::Queue) };
    let first = start(&mut stage, &limited(1, OnBusy::Queue), "x");
    let second = start(&mut stage, &definition, "x");
    stage.after(10);
    assert_eq!(stage.look(&second), "failed a=pending");
    assert_eq!(group(&stage, "x").map(|group| group.holders.clone()), Some(vec![first]));
}

#[test]
fn keys_of_any_kind_are_told_apart() {
    let mut stage = Stage::with_agent();
    let definition = limited(1, OnBusy::Reject);
    for key in [json!("a/b"), json!(1), json!(true), json!(["x"]), Value::Null] {
        stage.try_start(definition.clone(), &json!({ "key": key })).expect("a key of its own");
        assert!(stage.try_start(definition.clone(), &json!({ "key": key })).is_err(), "{key}");
    }
}
