//! Decisions that take long say so before they do: each of these is begun once where others wait for the thread, and
//! made where nobody does.

use serde_json::{Value, json};
use signalbox_core::definition::Step;
use signalbox_core::engine::ReportState;
use signalbox_core::limits::ITEMS_MAX;
use signalbox_wire::raw::RawObject;

use crate::play::{Making, task, wait, workflow};
use crate::stage::Stage;

/// How many decisions took long while a session of these steps began.
fn longs(steps: Vec<Step>, input: &Value) -> (u32, String) {
    let mut stage = Stage::with_agent();
    let session = stage.start(workflow("workflow", steps), input);
    (stage.longs, stage.look(&session))
}

#[test]
fn what_is_small_takes_no_long() {
    let mut stage = Stage::with_agent();
    let each = task("a").for_each().given(&json!({"name": "${item}", "many": "${size(input.list) > 2}"}));
    let last = task("b").needs(&["a"]).given(&json!({"all": "${tasks.a.result}"}));
    let session = stage.start(workflow("workflow", vec![each, last]), &json!({"list": [1, 2, 3]}));
    for step in ["a[0]", "a[1]", "a[2]", "b"] {
        stage.done(&session, step, &json!({"text": "x".repeat(1_000)}));
    }
    assert_eq!(
        stage.look(&session),
        "completed a=completed b=completed a[0]=completed a[1]=completed a[2]=completed"
    );
    assert_eq!(stage.longs, 0);
}

#[test]
fn an_expression_over_many_items_takes_long_wherever_it_stands() {
    let list = json!({"list": vec![1; 20_000]});
    let costly = "input.list.all(x, x > 0)";
    let when = task("a").with(|step| step.rules.when = Some(costly.to_owned()));
    let given = task("a").given(&json!({"all": format!("${{{costly}}}")}));
    for step in [when, given] {
        assert_eq!(longs(vec![step], &list), (1, "running a=dispatched".to_owned()));
    }
    // What goes beyond its bounds where it may take long fails as ever.
    let endless = "input.list.all(x, input.list.all(y, x + y > 0))";
    let endless = task("a").with(|step| step.rules.when = Some(endless.to_owned()));
    assert_eq!(longs(vec![endless], &list), (1, "failed a=failed".to_owned()));
}

#[test]
fn the_steps_of_all_expressions_of_a_decision_count_together() {
    let list = json!({"list": vec![1; 1_000]});
    let costly = |id: &str| task(id).needs(&[]).given(&json!({"all": "${input.list.all(x, x > 0)}"}));
    let steps = |count: usize| {
        (0..count)
            .map(|number| costly(&format!("t{number}")).with(|step| step.next = None))
            .collect::<Vec<_>>()
    };
    let beside = |mut steps: Vec<Step>| {
        // Something that depends on something makes the others begin beside one another.
        steps.push(task("last").needs(&["t0"]));
        steps
    };
    assert_eq!(longs(beside(steps(1)), &list).0, 0);
    assert_eq!(longs(beside(steps(10)), &list).0, 1);
}

#[test]
fn a_large_list_is_expanded_where_nobody_waits() {
    let mut stage = Stage::with_agent();
    let each = wait("a").for_each();
    let list = json!({ "list": vec![0; ITEMS_MAX] });
    let session = stage.start(workflow("workflow", vec![each]), &list);
    assert_eq!(stage.longs, 1);
    assert_eq!(stage.state(&session).tasks.len(), ITEMS_MAX + 1);
    // So are the decisions that begin what is left of it, as many at once as may.
    let begun = stage.longs;
    stage.after(1);
    assert!(stage.longs > begun);
    assert!(!stage.look(&session).contains("pending"));
}

#[test]
fn a_large_result_is_hashed_where_nobody_waits() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![task("a")]);
    stage.done(&session, "a", &json!("x".repeat(2 << 20)));
    assert_eq!((stage.longs, stage.look(&session).as_str()), (1, "completed a=completed"));
}

#[test]
fn an_input_is_held_against_a_costly_schema_where_nobody_waits() {
    let mut stage = Stage::with_agent();
    let mut definition = workflow("workflow", vec![task("a")]);
    definition.input = Some(json!(["text"]));
    stage.start(definition.clone(), &json!({"text": "a"}));
    assert_eq!(stage.longs, 0);
    let session = stage.start(definition.clone(), &json!({"text": "a", "isLong": true}));
    assert_eq!((stage.longs, stage.look(&session).as_str()), (1, "running a=dispatched"));
    let refused = stage.try_start(definition, &json!({"isLong": true}));
    assert!(refused.is_err() && stage.longs == 2, "{refused:?}");
}

#[test]
fn many_that_are_decided_as_one_count_together() {
    let mut stage = Stage::with_agent();
    let each = task("a").for_each();
    let session = stage.start(workflow("workflow", vec![each]), &json!({ "list": vec![0; 50] }));
    let agent = stage.task(&session, "a[0]").agent.clone().expect("an agent");
    let details = |step: usize| json!({"result": [step, "x".repeat(40_000)]}).to_string();
    let report = |stage: &Stage, step: usize| ReportState {
        agent: agent.clone(),
        state: "completed".to_owned(),
        timestamp: stage.now,
        details: RawObject::parse(details(step)).ok(),
        task: Some(stage.task(&session, &format!("a[{step}]")).id.attempt_name(1)),
        session: None,
    };
    let alone = report(&stage, 0);
    stage.run(&alone).expect("reported");
    assert_eq!(stage.longs, 0);
    let many: Vec<ReportState> = (1..=20).map(|step| report(&stage, step)).collect();
    assert!(stage.fold(&many).iter().all(Result::is_ok));
    assert_eq!(stage.longs, 1);
}
