//! Sessions that do a task of another session.

use serde_json::{Value, json};
use signalbox_core::definition::{Concurrency, Definition, OnBusy, Step};
use signalbox_core::engine::RetrySession;
use signalbox_core::limits::SESSION_DEPTH_MAX;
use signalbox_wire::id::SessionId;

use crate::play::{Making, child, seconds, task, workflow};
use crate::stage::Stage;

fn below(stage: &Stage, session: &SessionId, step: &str) -> SessionId {
    stage.task(session, step).child.clone().expect("a child")
}

/// A session whose first task is done by a session of a workflow of one task.
fn parent(stage: &mut Stage, step: Step) -> SessionId {
    let mut inner = workflow("inner", vec![task("a").given(&json!({"n": "${input.n}"}))]);
    inner.output = Some(json!({"doubled": "${tasks.a.result}"}));
    stage.keep(inner);
    let last = task("b").given(&json!({"got": "${tasks.c.result.doubled}"}));
    stage.start(workflow("outer", vec![step.given(&json!({"n": "${input.n}"})), last]), &json!({"n": 4}))
}

#[test]
fn a_child_gets_the_parameters_and_gives_its_result() {
    let mut stage = Stage::with_agent();
    let session = parent(&mut stage, child("c", "inner"));
    let inner = below(&stage, &session, "c");
    assert_eq!(json!(stage.state(&inner).session.input), json!({"n": 4}));
    assert_eq!(stage.look(&session), "running c=dispatched b=pending");
    stage.done(&inner, "a", &json!(8));
    assert_eq!(stage.look(&inner), "completed a=completed");
    assert_eq!(stage.look(&session), "running c=completed b=dispatched");
    assert_eq!(json!(stage.task(&session, "b").parameters), json!({"got": 8}));
    assert_eq!(stage.timers(), [""; 0], "nothing is left of the child");
}

#[test]
fn a_child_that_fails_is_followed_by_another() {
    let mut stage = Stage::with_agent();
    let session = parent(&mut stage, child("c", "inner").with(|step| step.retries = Some(1)));
    let first = below(&stage, &session, "c");
    stage.fail(&first, "a");
    assert_eq!(stage.look(&session), "running c=pending b=pending");
    stage.after(10);
    let second = below(&stage, &session, "c");
    assert_ne!(first, second);
    stage.fail(&second, "a");
    assert_eq!(stage.look(&session), "failed c=failed b=pending");
    assert_eq!(stage.why(&session), format!("Task c failed: session {second} failed: Task a failed: broken"));
}

/// Whoever tries a failed child again does so for itself: the task above has gone on.
#[test]
fn a_child_that_is_tried_again_settles_nothing_twice() {
    let mut stage = Stage::with_agent();
    let session = parent(&mut stage, child("c", "inner").with(|step| step.retries = Some(1)));
    let first = below(&stage, &session, "c");
    stage.fail(&first, "a");
    stage.run(&RetrySession { session: first.clone() }).expect("tried again");
    stage.done(&first, "a", &json!(1));
    assert_eq!(stage.look(&session), "running c=pending b=pending");
}

#[test]
fn a_child_that_is_cancelled_fails_its_task_for_good() {
    let mut stage = Stage::with_agent();
    let session = parent(&mut stage, child("c", "inner").with(|step| step.retries = Some(3)));
    let inner = below(&stage, &session, "c");
    stage.cancel(&inner);
    assert_eq!(stage.look(&session), "failed c=failed b=pending");
    assert!(stage.why(&session).contains("was cancelled: no need"), "{}", stage.why(&session));
}

#[test]
fn children_end_with_their_parent_and_with_their_attempt() {
    let mut stage = Stage::with_agent();
    let session = parent(&mut stage, child("c", "inner"));
    let inner = below(&stage, &session, "c");
    stage.cancel(&session);
    stage.after(1);
    assert_eq!(stage.look(&inner), "cancelled a=cancelled");
    let timed = child("c", "inner").with(|step| {
        step.retries = Some(1);
        step.rules.timeout = Some(seconds(10));
    });
    let session = parent(&mut stage, timed);
    let first = below(&stage, &session, "c");
    stage.after(20);
    assert_eq!(stage.look(&first), "cancelled a=cancelled");
    assert_ne!(below(&stage, &session, "c"), first);
}

#[test]
fn a_child_ends_while_its_parent_is_paused() {
    let mut stage = Stage::with_agent();
    let session = parent(&mut stage, child("c", "inner"));
    let inner = below(&stage, &session, "c");
    stage.pause(&session);
    stage.done(&inner, "a", &json!(8));
    assert_eq!(stage.look(&session), "paused c=completed b=pending");
    stage.resume(&session);
    assert_eq!(stage.look(&session), "running c=completed b=dispatched");
}

#[test]
fn a_workflow_that_is_not_there_fails_its_task() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![child("c", "nowhere").with(|step| step.retries = Some(3))]);
    assert_eq!(stage.look(&session), "failed c=failed");
    assert!(stage.why(&session).contains("nowhere"), "{}", stage.why(&session));
}

/// The revision that comes with the request is the current one, also for those below.
#[test]
fn a_workflow_that_runs_itself_runs_the_revision_that_it_came_with_down_to_the_bound() {
    let mut stage = Stage::with_agent();
    stage.keep(workflow("loop", vec![task("old")]));
    let top = stage.start(workflow("loop", vec![child("c", "loop").tolerated()]), &json!({}));
    stage.after(1);
    let depths: Vec<u32> = stage
        .store
        .sessions
        .values()
        .map(|read| read.value.session.parent.as_ref().map_or(0, |parent| parent.depth))
        .collect();
    assert_eq!(depths.iter().max(), Some(&SESSION_DEPTH_MAX));
    assert_eq!(depths.len(), SESSION_DEPTH_MAX as usize + 1);
    assert!(stage.store.sessions.values().all(|read| read.value.session.revision == 2));
    assert_eq!(stage.look(&top), "completed c=completed");
}

/// Without a bound on what one decision begins, this one would begin ten million sessions.
#[test]
fn a_workflow_that_multiplies_does_so_decision_by_decision() {
    let mut stage = Stage::with_agent();
    let many = child("c", "many").for_each().tolerated().given(&json!({"list": "${input.list}"}));
    stage.start(workflow("many", vec![many]), &json!({"list": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}));
    let count = stage.store.sessions.len();
    assert!(count < 300, "{count} sessions began at once");
    assert!(stage.timers().contains(&"begin"), "the others will");
}

#[test]
fn children_that_are_done_at_once_are_no_deeper_than_one() {
    let mut stage = Stage::with_agent();
    stage.keep(workflow("nothing", Vec::new()));
    let list: Vec<Value> = (0..1_000).map(|n| json!(n)).collect();
    let session =
        stage.start(workflow("outer", vec![child("c", "nothing").for_each()]), &json!({ "list": list }));
    stage.after(1);
    assert!(stage.look(&session).starts_with("completed c=completed c[0]=completed"));
    assert_eq!(stage.store.sessions.len(), 1_001);
    assert_eq!(stage.timers(), [""; 0]);
}

fn limited(id: &str, steps: Vec<Step>, on_busy: OnBusy) -> Definition {
    Definition { concurrency: Some(Concurrency { key: None, limit: 1, on_busy }), ..workflow(id, steps) }
}

#[test]
fn a_child_that_its_gate_refuses_has_failed_in_this_attempt() {
    let mut stage = Stage::with_agent();
    let holder = stage.start(limited("limited", vec![task("a")], OnBusy::Reject), &json!({}));
    let session = stage.play(vec![child("c", "limited").with(|step| step.retries = Some(1))]);
    assert_eq!(stage.look(&session), "running c=pending");
    assert!(stage.task(&session, "c").error.as_ref().is_some_and(|error| error.contains("as many sessions")));
    stage.done(&holder, "a", &json!(1));
    stage.after(10);
    let inner = below(&stage, &session, "c");
    stage.done(&inner, "a", &json!(2));
    assert_eq!(stage.look(&session), "completed c=completed");
}

#[test]
fn a_child_waits_for_its_turn() {
    let mut stage = Stage::with_agent();
    let holder = stage.start(limited("limited", vec![task("a")], OnBusy::Queue), &json!({}));
    let session = stage.play(vec![child("c", "limited")]);
    let inner = below(&stage, &session, "c");
    assert!(stage.state(&inner).session.waits_for_group);
    stage.done(&holder, "a", &json!(1));
    stage.after(1);
    stage.done(&inner, "a", &json!(2));
    assert_eq!(stage.look(&session), "completed c=completed");
}

/// It would wait for the session that waits for it.
#[test]
fn a_child_does_not_wait_for_a_place_that_its_parent_has() {
    for on_busy in [OnBusy::Queue, OnBusy::Replace] {
        let mut stage = Stage::with_agent();
        let top = stage.start(limited("loop", vec![child("c", "middle")], on_busy), &json!({}));
        assert_eq!(stage.look(&top), "failed c=failed", "there is no such workflow yet");
        stage.keep(workflow("middle", vec![child("d", "loop")]));
        let top = stage.start(limited("loop", vec![child("c", "middle")], on_busy), &json!({}));
        stage.after(1);
        assert_eq!(stage.look(&top), "failed c=failed", "{on_busy:?}");
        assert!(stage.why(&top).contains("as many sessions"), "{}", stage.why(&top));
    }
}

#[test]
fn an_input_that_does_not_fit_fails_the_task_and_one_that_is_long_fits() {
    let mut stage = Stage::with_agent();
    stage.policy.payload_inline_max = 400;
    let mut below = workflow("below", vec![task("c")]);
    below.input = Some(json!(["text"]));
    stage.keep(below);
    let above = || child("a", "below").given(&json!({"text": "${input.text}"}));
    let wrong = workflow("workflow", vec![child("a", "below").given(&json!({"test": 1}))]);
    let session = stage.start(wrong, &json!({}));
    assert_eq!(stage.look(&session), "failed a=failed");
    assert!(
        stage.why(&session).contains("does not fit the workflow: /text is required"),
        "{}",
        stage.why(&session)
    );
    // A reference would be an object; what is held against the schema is the value.
    let session = stage.start(workflow("workflow", vec![above()]), &json!({"text": "x".repeat(1_000)}));
    assert_eq!(stage.look(&session), "running a=dispatched");
}
