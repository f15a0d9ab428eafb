//! A task for each item of a list: order, bounds, and what one item's failure means.

use serde_json::{Value, json};
use signalbox_core::definition::Step;
use signalbox_core::limits::ITEMS_MAX;
use signalbox_wire::id::SessionId;

use crate::play::{Making, task, tool, workflow};
use crate::stage::Stage;

fn each(id: &str) -> Step {
    task(id).for_each().given(&json!({"name": "${item}", "at": "${index}"}))
}

fn start(stage: &mut Stage, steps: Vec<Step>, list: &Value) -> SessionId {
    stage.start(workflow("workflow", steps), &json!({ "list": list }))
}

#[test]
fn results_stand_in_the_order_of_the_list() {
    let mut stage = Stage::with_agent();
    let last = task("b").needs(&["a"]).given(&json!({"all": "${tasks.a.result}"}));
    let session = start(&mut stage, vec![each("a"), last], &json!(["x", "y", "z"]));
    assert_eq!(
        stage.look(&session),
        "running a=running b=pending a[0]=dispatched a[1]=dispatched a[2]=dispatched"
    );
    assert_eq!(stage.task(&session, "a[1]").parameters.as_ref().expect("given")["name"], json!("y"));
    for (step, result) in [("a[2]", 3), ("a[0]", 1), ("a[1]", 2)] {
        stage.done(&session, step, &json!(result));
    }
    assert_eq!(json!(stage.task(&session, "b").parameters), json!({"all": [1, 2, 3]}));
}

#[test]
fn only_so_many_items_are_done_at_once_in_order() {
    let mut stage = Stage::with_agent();
    let step = each("a").with(|step| step.rules.max_parallel = Some(1));
    let session = start(&mut stage, vec![step], &json!(["x", "y"]));
    assert_eq!(stage.look(&session), "running a=running a[0]=dispatched a[1]=pending");
    stage.done(&session, "a[0]", &json!(1));
    assert_eq!(stage.look(&session), "running a=running a[0]=completed a[1]=dispatched");
}

#[test]
fn an_empty_list_is_done_at_once() {
    let mut stage = Stage::with_agent();
    let session = start(&mut stage, vec![each("a")], &json!([]));
    assert_eq!(stage.look(&session), "completed a=completed");
    assert_eq!(stage.state(&session).session.result, Some(json!([])));
}

#[test]
fn what_is_no_list_or_too_long_fails_its_task() {
    for (list, word) in
        [(json!("text"), "list"), (Value::Null, "list"), (json!(vec![0; ITEMS_MAX + 1]), "10001 items")]
    {
        let mut stage = Stage::with_agent();
        let session = start(&mut stage, vec![each("a")], &list);
        assert_eq!(stage.look(&session), "failed a=failed");
        assert!(stage.why(&session).contains(word), "{}", stage.why(&session));
    }
}

/// Each instance carries what its definition says of the task.
#[test]
fn a_list_may_not_multiply_what_is_large() {
    let mut stage = Stage::with_agent();
    let step = each("a").given(&json!({"text": "x".repeat(100_000)}));
    let session = start(&mut stage, vec![step], &json!(vec![0; 500]));
    assert_eq!(stage.look(&session), "failed a=failed");
    assert!(stage.why(&session).contains("shorter parameters"), "{}", stage.why(&session));
}

#[test]
fn an_item_that_fails_takes_the_others_with_it() {
    let mut stage = Stage::with_agent();
    let session = start(&mut stage, vec![each("a")], &json!(["x", "y", "z"]));
    stage.done(&session, "a[0]", &json!(1));
    stage.fail(&session, "a[1]");
    assert_eq!(stage.look(&session), "failed a=failed a[0]=completed a[1]=failed a[2]=cancelled");
    assert_eq!(stage.why(&session), "Task a failed: item 1: broken");
    stage.retry(&session);
    assert_eq!(stage.look(&session), "running a=running a[0]=completed a[1]=dispatched a[2]=dispatched");
    stage.done(&session, "a[1]", &json!(2));
    stage.done(&session, "a[2]", &json!(3));
    assert_eq!(stage.state(&session).session.result, Some(json!([1, 2, 3])));
}

#[test]
fn an_item_whose_failure_does_not_matter_leaves_a_gap() {
    let mut stage = Stage::with_agent();
    let session = start(&mut stage, vec![each("a").tolerated()], &json!(["x", "y"]));
    stage.fail(&session, "a[0]");
    stage.done(&session, "a[1]", &json!(2));
    assert_eq!(stage.look(&session), "completed a=completed a[0]=failed a[1]=completed");
    assert_eq!(stage.state(&session).session.result, Some(json!([null, 2])));
}

#[test]
fn an_item_that_fails_goes_where_its_task_says() {
    let mut stage = Stage::with_agent();
    let session = start(&mut stage, vec![each("a").goto("help"), task("help")], &json!(["x", "y"]));
    stage.fail(&session, "a[0]");
    assert_eq!(stage.look(&session), "running a=failed help=dispatched a[0]=failed a[1]=cancelled");
    stage.done(&session, "help", &json!("helped"));
    assert_eq!(stage.look(&session), "completed a=failed help=completed a[0]=failed a[1]=cancelled");
}

#[test]
fn each_item_has_attempts_of_its_own() {
    let mut stage = Stage::with_agent();
    let step = each("a").with(|step| step.retries = Some(1));
    let session = start(&mut stage, vec![step], &json!(["x", "y"]));
    stage.fail(&session, "a[0]");
    stage.fail(&session, "a[1]");
    stage.after(10);
    assert_eq!(stage.look(&session), "running a=running a[0]=dispatched a[1]=dispatched");
    stage.done(&session, "a[0]", &json!(1));
    stage.fail(&session, "a[1]");
    assert_eq!(stage.look(&session), "failed a=failed a[0]=completed a[1]=failed");
}

#[test]
fn a_condition_is_asked_for_each_item() {
    let mut stage = Stage::with_agent();
    let step = each("a").with(|step| step.rules.when = Some("item > 1".to_owned()));
    let session = start(&mut stage, vec![step], &json!([1, 2]));
    assert_eq!(stage.look(&session), "running a=running a[0]=skipped a[1]=dispatched");
    stage.done(&session, "a[1]", &json!("two"));
    assert_eq!(stage.state(&session).session.result, Some(json!([null, "two"])));
}

#[test]
fn a_pause_ends_between_the_items() {
    let mut stage = Stage::with_agent();
    let step = each("a").with(|step| step.rules.max_parallel = Some(1));
    let session = start(&mut stage, vec![step], &json!(["x", "y"]));
    stage.pause(&session);
    stage.done(&session, "a[0]", &json!(1));
    assert_eq!(stage.look(&session), "paused a=running a[0]=completed a[1]=pending");
    stage.resume(&session);
    stage.pause(&session);
    stage.done(&session, "a[1]", &json!(2));
    assert_eq!(stage.look(&session), "paused a=running a[0]=completed a[1]=completed");
    stage.resume(&session);
    assert_eq!(stage.look(&session), "completed a=completed a[0]=completed a[1]=completed");
}

/// What begins in one decision is bounded; the rest begins in the next.
#[test]
fn a_long_list_begins_in_several_decisions() {
    let mut stage = Stage::new();
    let step = tool("a").for_each().given(&json!({"text": "x".repeat(100)}));
    let session = start(&mut stage, vec![step], &json!(vec![0; 1_000]));
    let begun = |stage: &Stage| stage.look(&session).matches("dispatched").count();
    let first = begun(&stage);
    assert!(first > 0 && first < 300, "{first} began at once");
    stage.after(1);
    assert_eq!(begun(&stage), 1_000);
    stage.tool = Some(Ok(json!(1)));
    stage.after(1);
    assert_eq!(stage.state(&session).session.result, Some(json!(vec![1; 1_000])));
}
