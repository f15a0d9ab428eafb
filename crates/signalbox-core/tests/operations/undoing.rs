//! Undoing: what was done is undone in reverse when its session fails or is cancelled.

use serde_json::json;
use signalbox_core::Rejected;
use signalbox_core::definition::{Compensation, Step};
use signalbox_core::engine::{Cancel, RetrySession};
use signalbox_core::session::SessionStatus;
use signalbox_wire::id::SessionId;

use crate::play::{Making, child, seconds, task, tool, workflow};
use crate::stage::Stage;

fn undone(step: Step) -> Step {
    let result = format!("${{tasks.{}.result}}", step.id);
    let parameters = json!({"what": result, "to": "${input.to}"});
    let parameters = parameters.as_object().cloned().unwrap_or_default();
    let undo = Compensation {
        capability: Some("write".to_owned()),
        parameters,
        retries: Some(0),
        ..Compensation::default()
    };
    step.with(|step| step.rules.compensate = Some(Box::new(undo)))
}

/// A session of which `a` and `b` are done and `c` is under way.
fn half_way(stage: &mut Stage) -> SessionId {
    let steps = vec![undone(task("a")), undone(task("b")), undone(task("c")), task("d")];
    let session = stage.start(workflow("workflow", steps), &json!({"to": "Bo"}));
    stage.done(&session, "a", &json!("A"));
    stage.done(&session, "b", &json!("B"));
    session
}

#[test]
fn a_failure_undoes_what_was_done_the_last_first() {
    let mut stage = Stage::with_agent();
    let session = half_way(&mut stage);
    stage.fail(&session, "c");
    let tasks = "a=completed b=completed c=failed d=pending";
    assert_eq!(stage.look(&session), format!("running {tasks} undo:b=dispatched undo:a=pending"));
    assert_eq!(json!(stage.task(&session, "undo:b").parameters), json!({"what": "B", "to": "Bo"}));
    assert_eq!(stage.why(&session), "Task c failed: broken");
    stage.done(&session, "undo:b", &json!(1));
    assert_eq!(stage.look(&session), format!("running {tasks} undo:b=completed undo:a=dispatched"));
    stage.done(&session, "undo:a", &json!(1));
    assert_eq!(stage.look(&session), format!("failed {tasks} undo:b=completed undo:a=completed"));
    assert_eq!(stage.state(&session).session.result, None);
}

#[test]
fn a_cancellation_undoes_too_and_what_is_under_way_is_taken_away_first() {
    let mut stage = Stage::with_agent();
    let session = half_way(&mut stage);
    stage.cancel(&session);
    let tasks = "a=completed b=completed c=cancelled d=cancelled";
    assert_eq!(stage.look(&session), format!("running {tasks} undo:b=dispatched undo:a=pending"));
    stage.done(&session, "undo:b", &json!(1));
    stage.done(&session, "undo:a", &json!(1));
    assert_eq!(stage.status(&session), SessionStatus::Cancelled);
    assert_eq!(stage.why(&session), "no need");
    assert_eq!(stage.timers(), [""; 0]);
}

#[test]
fn what_cannot_be_undone_is_said_and_holds_up_nothing() {
    let mut stage = Stage::with_agent();
    let session = half_way(&mut stage);
    stage.fail(&session, "c");
    stage.fail(&session, "undo:b");
    stage.done(&session, "undo:a", &json!(1));
    assert_eq!(stage.status(&session), SessionStatus::Failed);
    assert_eq!(stage.why(&session), "Task c failed: broken; undo:b failed: broken");
}

#[test]
fn undoing_is_neither_cancelled_nor_tried_again() {
    let mut stage = Stage::with_agent();
    let session = half_way(&mut stage);
    stage.fail(&session, "c");
    let refused = stage.run(&Cancel { session: session.clone(), reason: None });
    assert_eq!(refused.map(drop), Err(Rejected::Undone(session.clone())));
    stage.done(&session, "undo:b", &json!(1));
    stage.done(&session, "undo:a", &json!(1));
    let refused = stage.run(&RetrySession { session: session.clone() });
    assert_eq!(refused.map(drop), Err(Rejected::Undone(session.clone())));
}

#[test]
fn a_pause_holds_up_undoing() {
    let mut stage = Stage::with_agent();
    let session = half_way(&mut stage);
    stage.cancel(&session);
    stage.pause(&session);
    stage.done(&session, "undo:b", &json!(1));
    assert_eq!(stage.task(&session, "undo:a").status.name(), "pending");
    stage.resume(&session);
    stage.done(&session, "undo:a", &json!(1));
    assert_eq!(stage.status(&session), SessionStatus::Cancelled);
}

#[test]
fn a_paused_session_that_is_cancelled_undoes() {
    let mut stage = Stage::with_agent();
    let session = half_way(&mut stage);
    stage.pause(&session);
    stage.cancel(&session);
    assert_eq!(stage.task(&session, "undo:b").status.name(), "dispatched");
}

#[test]
fn a_paused_session_that_fails_undoes_once_it_is_resumed() {
    let mut stage = Stage::with_agent();
    let session = half_way(&mut stage);
    stage.pause(&session);
    stage.fail(&session, "c");
    let tasks = "a=completed b=completed c=failed d=pending";
    assert_eq!(stage.look(&session), format!("paused {tasks} undo:b=pending undo:a=pending"));
    stage.resume(&session);
    stage.done(&session, "undo:b", &json!(1));
    stage.done(&session, "undo:a", &json!(1));
    assert_eq!(stage.status(&session), SessionStatus::Failed);
}

#[test]
fn nothing_is_undone_where_nothing_was_done() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![undone(task("a")), task("b")]);
    stage.fail(&session, "a");
    assert_eq!(stage.look(&session), "failed a=failed b=pending");
    stage.retry(&session);
    assert_eq!(stage.look(&session), "running a=dispatched b=pending");
}

#[test]
fn each_item_that_was_done_is_undone() {
    let mut stage = Stage::with_agent();
    let step = undone(task("a").for_each());
    let session =
        stage.start(workflow("workflow", vec![step, task("b")]), &json!({"list": [1, 2, 3], "to": "Bo"}));
    stage.done(&session, "a[2]", &json!("third"));
    stage.done(&session, "a[0]", &json!("first"));
    stage.fail(&session, "a[1]");
    assert_eq!(json!(stage.task(&session, "undo:a[0]").parameters), json!({"what": "first", "to": "Bo"}));
    stage.done(&session, "undo:a[0]", &json!(1));
    assert_eq!(json!(stage.task(&session, "undo:a[2]").parameters), json!({"what": "third", "to": "Bo"}));
    stage.done(&session, "undo:a[2]", &json!(1));
    assert_eq!(stage.status(&session), SessionStatus::Failed);
}

#[test]
fn a_tool_undoes_with_attempts_and_time_of_its_own() {
    let mut stage = Stage::with_agent();
    let undo = Compensation { retries: Some(1), timeout: Some(seconds(5)), ..Compensation::default() };
    let step = tool("a").with(|step| step.rules.compensate = Some(Box::new(undo)));
    let session = stage.play(vec![step, task("b")]);
    stage.tool = Some(Ok(json!(1)));
    stage.after(0);
    stage.tool = None;
    stage.fail(&session, "b");
    assert_eq!(stage.look(&session), "running a=completed b=failed undo:a=dispatched");
    assert_eq!(stage.task(&session, "undo:a").kind, stage.task(&session, "a").kind, "whoever did it");
    stage.after(10);
    assert_eq!(stage.task(&session, "undo:a").attempt, 2);
    stage.after(10);
    assert_eq!(stage.status(&session), SessionStatus::Failed);
    assert!(stage.why(&session).contains("undo:a failed"), "{}", stage.why(&session));
    assert_eq!(stage.timers(), [""; 0]);
}

#[test]
fn parameters_of_an_undoing_that_have_no_value_hold_up_nothing() {
    let mut stage = Stage::with_agent();
    let steps = vec![undone(task("a")), task("b")];
    let session = stage.play(steps);
    stage.done(&session, "a", &json!(1));
    stage.fail(&session, "b");
    assert_eq!(stage.look(&session), "failed a=completed b=failed undo:a=failed");
}

#[test]
fn a_child_undoes_when_its_parent_is_cancelled() {
    let mut stage = Stage::with_agent();
    stage.keep(workflow("inner", vec![undone(task("a")), task("b")]));
    let session = stage.play(vec![child("c", "inner").given(&json!({"to": "Bo"}))]);
    let inner = stage.task(&session, "c").child.clone().expect("a child");
    stage.done(&inner, "a", &json!(1));
    stage.cancel(&session);
    assert_eq!(stage.status(&session), SessionStatus::Cancelled);
    stage.after(1);
    assert_eq!(stage.look(&inner), "running a=completed b=cancelled undo:a=dispatched");
    stage.done(&inner, "undo:a", &json!(1));
    assert_eq!(stage.status(&inner), SessionStatus::Cancelled);
}
