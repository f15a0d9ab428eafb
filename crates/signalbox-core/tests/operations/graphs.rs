//! Graphs: joins, dead paths, conditions, and what a failure leads to.

use serde_json::json;
use signalbox_core::definition::Step;

use crate::play::{Making, task, workflow};
use crate::stage::Stage;

fn when(step: Step, expression: &str) -> Step {
    step.with(|step| step.rules.when = Some(expression.to_owned()))
}

fn next(step: Step, id: &str) -> Step {
    step.with(|step| step.next = Some(id.to_owned()))
}

#[test]
fn a_join_waits_for_all_that_it_needs() {
    let mut stage = Stage::with_agent();
    let join =
        task("c").needs(&["a", "b"]).given(&json!({"a": "${tasks.a.result}", "b": "${tasks.b.result}"}));
    let session = stage.play(vec![task("a"), task("b"), join, task("d").needs(&["a"])]);
    assert_eq!(stage.look(&session), "running a=dispatched b=dispatched c=pending d=pending");
    stage.done(&session, "b", &json!(2));
    assert_eq!(stage.look(&session), "running a=dispatched b=completed c=pending d=pending");
    stage.done(&session, "a", &json!(1));
    assert_eq!(stage.look(&session), "running a=completed b=completed c=dispatched d=dispatched");
    assert_eq!(json!(stage.task(&session, "c").parameters), json!({"a": 1, "b": 2}));
    stage.done(&session, "d", &json!("d"));
    stage.done(&session, "c", &json!("last"));
    assert_eq!(stage.state(&session).session.result, Some(json!("last")));
}

#[test]
fn what_needs_a_task_that_was_not_reached_is_not_reached_either() {
    let mut stage = Stage::with_agent();
    let steps =
        vec![task("a").goto("help"), task("help"), task("b").needs(&["help"]), task("c").needs(&["b"])];
    let session = stage.play(steps);
    stage.done(&session, "a", &json!(1));
    assert_eq!(stage.look(&session), "completed a=completed help=skipped b=skipped c=skipped");
    let state = stage.state(&session);
    assert!(state.tasks.iter().skip(1).all(|task| task.is_unreached), "nothing led to them");
    assert_eq!(state.session.result, Some(json!(1)));
}

#[test]
fn a_task_passed_over_by_its_condition_holds_up_nothing() {
    let mut stage = Stage::with_agent();
    let steps = vec![
        when(task("a"), "input.n > 1"),
        task("b").needs(&["a"]),
        when(task("c").needs(&["b"]), "${tasks.b.result.ok}"),
    ];
    let session = stage.start(workflow("workflow", steps), &json!({"n": 1}));
    assert_eq!(stage.look(&session), "running a=skipped b=dispatched c=pending");
    assert!(!stage.task(&session, "a").is_unreached);
    stage.done(&session, "b", &json!({"ok": true}));
    assert_eq!(stage.look(&session), "running a=skipped b=completed c=dispatched");
}

#[test]
fn a_condition_that_has_no_value_fails_its_task() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![when(task("a"), "input.missing > 1"), task("b")]);
    assert_eq!(stage.look(&session), "failed a=failed b=pending");
    assert!(stage.why(&session).contains("condition"), "{}", stage.why(&session));
}

#[test]
fn one_of_several_arrows_is_enough_but_every_one_is_waited_for() {
    let mut stage = Stage::with_agent();
    let steps = vec![next(task("a"), "c").goto("d"), next(task("b"), "c"), task("c"), task("d")];
    let session = stage.play(steps);
    stage.done(&session, "b", &json!(1));
    assert_eq!(stage.look(&session), "running a=dispatched b=completed c=pending d=pending");
    stage.fail(&session, "a");
    assert_eq!(stage.look(&session), "running a=failed b=completed c=dispatched d=dispatched");
}

#[test]
fn a_failure_goes_where_it_says_and_nowhere_else() {
    let mut stage = Stage::with_agent();
    let steps = vec![
        next(task("a"), "b").goto("help"),
        task("b"),
        task("help").given(&json!({"why": "${tasks.a.error}"})),
    ];
    let session = stage.play(steps);
    stage.fail(&session, "a");
    assert_eq!(stage.look(&session), "running a=failed b=skipped help=dispatched");
    assert_eq!(json!(stage.task(&session, "help").parameters), json!({"why": "broken"}));
    stage.done(&session, "help", &json!("helped"));
    assert_eq!(stage.look(&session), "completed a=failed b=skipped help=completed");
}

#[test]
fn a_failure_that_does_not_matter_is_as_good_as_none() {
    let mut stage = Stage::with_agent();
    let after = task("b").needs(&["a"]).given(&json!({"was": "${tasks.a.status}"}));
    let session = stage.play(vec![task("a").tolerated(), after]);
    stage.fail(&session, "a");
    assert_eq!(json!(stage.task(&session, "b").parameters), json!({"was": "failed"}));
    stage.done(&session, "b", &json!(1));
    assert_eq!(stage.look(&session), "completed a=failed b=completed");
}

#[test]
fn a_failure_takes_away_what_is_under_way_and_tells_its_agent() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![task("a"), task("b"), task("c").needs(&["a", "b"])]);
    stage.deliver();
    stage.fail(&session, "a");
    assert_eq!(stage.look(&session), "failed a=failed b=cancelled c=pending");
    let bodies = stage.bodies(signalbox_core::delivery::MessageKind::Task);
    let stop = bodies.iter().find(|body| body["messageType"] == "workflow_cancel").expect("told to stop");
    assert_eq!(stop["opscore_task_id"], json!(stage.task(&session, "b").id.attempt_name(1)));
    assert_eq!(stage.timers(), [""; 0]);
    stage.retry(&session);
    assert_eq!(stage.look(&session), "running a=dispatched b=dispatched c=pending");
}

#[test]
fn as_many_tasks_are_under_way_as_may_be() {
    let mut stage = Stage::with_agent();
    let steps = ["a", "b", "c"].map(|id| task(id).with(|step| step.retries = Some(1))).into();
    let mut definition = workflow("workflow", steps);
    definition.tasks.push(task("d").needs(&["a"]));
    definition.max_parallel = Some(2);
    let session = stage.start(definition, &json!({}));
    assert_eq!(stage.look(&session), "running a=dispatched b=dispatched c=pending d=pending");
    stage.fail(&session, "a");
    assert_eq!(
        stage.look(&session),
        "running a=pending b=dispatched c=pending d=pending",
        "its wait takes the place"
    );
    stage.done(&session, "b", &json!(1));
    assert_eq!(stage.look(&session), "running a=pending b=completed c=dispatched d=pending");
    stage.after(10);
    assert_eq!(stage.look(&session), "running a=dispatched b=completed c=dispatched d=pending");
}

/// Each task settles as soon as it begins; together they would fill any stack that went deeper with each.
#[test]
fn a_thousand_tasks_that_fail_at_once_are_no_deeper_than_one() {
    let mut stage = Stage::with_agent();
    let broken =
        |index: usize| task(&format!("t{index}")).tolerated().given(&json!({"a": "${input.missing}"}));
    let session = stage.play((0..1_000).map(broken).collect());
    stage.after(1);
    assert!(stage.look(&session).starts_with("completed t0=failed"), "{}", stage.status(&session).name());
}
