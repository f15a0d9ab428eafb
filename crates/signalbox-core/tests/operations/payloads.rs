//! Long values are kept apart, handed on as references, and looked into where an expression asks for them.

use serde_json::{Value, json};
use signalbox_core::decision::{Key, Write};
use signalbox_core::definition::{Concurrency, OnBusy};
use signalbox_core::engine::{MatchTask, Rerun};
use signalbox_core::payload::{self, Payload, Reference};
use signalbox_core::task_message;
use signalbox_wire::id::SessionId;

use crate::play::{Making, child, task, workflow};
use crate::stage::Stage;

/// A stage on which whatever is longer than four hundred bytes is kept apart.
fn stage() -> Stage {
    let mut stage = Stage::with_agent();
    stage.policy.payload_inline_max = 400;
    stage
}

fn long() -> String {
    "x".repeat(1_000)
}

/// The names of the payloads that a store of this stage would keep.
fn kept(stage: &Stage, value: &Value) -> bool {
    payload::references(value)
        .iter()
        .all(|name| stage.store.loaded(&Key::Payload((*name).to_owned())).is_some())
}

fn given(stage: &Stage, session: &SessionId, step: &str) -> Value {
    json!(stage.task(session, step).parameters)
}

#[test]
fn a_long_result_is_handed_on_by_reference_and_looked_into() {
    let mut stage = stage();
    let parameters = json!({
        "all": "${tasks.a.result}", "part": "${tasks.a.result.text}", "name": "${tasks.a.result.name}",
        "size": "${size(tasks.a.result.text)}", "text": "it is ${tasks.a.result.name}",
        "starts": "${tasks.a.result.text.startsWith('xx')}",
    });
    let session = stage.play(vec![task("a"), task("b").needs(&["a"]).given(&parameters)]);
    stage.done(&session, "a", &json!({"name": "report", "text": long()}));
    let reference = Payload::of(json!(long())).reference();
    let result = stage.task(&session, "a").result.clone().expect("a result");
    assert_eq!(result, json!({"name": "report", "text": reference}), "what is short stays where it is");
    let b = given(&stage, &session, "b");
    assert!(kept(&stage, &b));
    let opened = |value: &Value| stage.store.opened(value).clone();
    assert_eq!(opened(&b["all"]), result);
    assert_eq!(opened(&b["part"]), json!(long()));
    assert_eq!(
        (&b["name"], &b["size"], &b["text"], &b["starts"]),
        (&json!("report"), &json!(1_000), &json!("it is report"), &json!(true))
    );
    let state = stage.state(&session);
    let sent = task_message::of_task(&state, &state.tasks[1], &stage.policy);
    let body: Value = serde_json::from_str(&sent.body).expect("JSON");
    assert_eq!(body["payload"], b, "and the message refers to it too");
    let history = &stage.store.histories[&session];
    let written =
        serde_json::to_string(&history.iter().map(|(_, event)| event).collect::<Vec<_>>()).expect("JSON");
    assert!(!written.contains(&long()), "nowhere in the history");
}

#[test]
fn a_report_that_is_long_is_kept_once_and_known_when_it_comes_again() {
    let mut stage = stage();
    let session = stage.play(vec![task("a"), task("b")]);
    stage.done(&session, "a", &json!(long()));
    let agent = stage.task(&session, "a").agent.clone().expect("an agent");
    let told = stage.store.status(&agent).expect("a status").report.clone().expect("a report");
    assert!(told.details.as_ref().expect("details").as_str().len() < 300, "{told:?}");
    let before = stage.store.histories[&session].len();
    let name = stage.task(&session, "a").id.attempt_name(1);
    let again = signalbox_core::engine::ReportState {
        agent: agent.clone(),
        state: told.state.clone(),
        timestamp: told.timestamp,
        details: signalbox_wire::raw::RawObject::parse(json!({"result": long()}).to_string()).ok(),
        task: Some(name),
        session: None,
    };
    stage.run(&again).expect("heard");
    assert_eq!(stage.store.histories[&session].len(), before);
}

#[test]
fn a_long_input_decides_what_runs_and_under_which_key() {
    let mut stage = stage();
    let steps = vec![
        task("a").with(|step| step.rules.when = Some("size(input.text) > 2000".to_owned())),
        task("b").with(|step| {
            step.rules.when = Some("input.parts.all(part, part.text.size() == 1000)".to_owned())
        }),
    ];
    let mut definition = workflow("workflow", steps);
    definition.concurrency = Some(Concurrency {
        key: Some("string(size(input.text))".to_owned()),
        limit: 1,
        on_busy: OnBusy::Queue,
    });
    let input = json!({"text": long(), "parts": [{"text": long()}, {"text": "y".repeat(1_000)}]});
    let session = stage.start(definition, &input);
    assert_eq!(stage.look(&session), "running a=skipped b=dispatched");
    let state = stage.state(&session);
    assert!(kept(&stage, &json!(state.session.input)));
    assert!(state.session.plan.group.as_ref().expect("a group").group.ends_with("/1000"));
    // The first task would be given the input; the second gets what its parameters say.
    stage.done(&session, "b", &json!(1));
    let again = stage.run(&Rerun { session: session.clone(), trace: None }).expect("started").session;
    assert_eq!(stage.state(&again).session.input, stage.state(&session).session.input, "a rerun hands it on");
}

#[test]
fn the_items_of_a_long_list_are_given_one_by_one() {
    let mut stage = stage();
    let each = task("a").for_each().given(&json!({"text": "${item.text}", "at": "${index}"}));
    let last = task("b").needs(&["a"]).given(&json!({
        "count": "${tasks.a.result.size()}", "found": "${tasks.a.result.filter(r, r.n > 5).map(r, r.n)}",
    }));
    let list: Vec<Value> = (0..40).map(|n| json!({"text": format!("{n}{}", long())})).collect();
    let session = stage.start(workflow("workflow", vec![each, last]), &json!({ "list": list }));
    for n in 0..40 {
        let step = format!("a[{n}]");
        let text = given(&stage, &session, &step)["text"].clone();
        assert_eq!(stage.store.opened(&text), &json!(format!("{n}{}", long())), "{step}");
        stage.done(&session, &step, &json!({"n": n, "text": [format!("{n}{}", long())]}));
    }
    assert!(stage.runs < 10, "what a macro goes over is asked for together, not {} times", stage.runs);
    let result = stage.task(&session, "a").result.clone().expect("a result");
    assert!(Reference::of(&result).is_some(), "the list of results is long itself");
    let b = given(&stage, &session, "b");
    assert_eq!(b["count"], json!(40));
    assert_eq!(stage.store.opened(&b["found"]).as_array().map(Vec::len), Some(34));
}

#[test]
fn what_a_child_is_given_and_gives_goes_by_reference() {
    let mut stage = stage();
    stage.keep(workflow("below", vec![task("c").given(&json!({"long": "${input.long}"}))]));
    let above = child("a", "below").given(&json!({"long": "${input.text}"}));
    let session = stage.start(workflow("workflow", vec![above]), &json!({"text": long()}));
    let below = stage.task(&session, "a").child.clone().expect("a child");
    let reference = Payload::of(json!(long())).reference();
    assert_eq!(stage.state(&below).session.input["long"], reference);
    stage.done(&below, "c", &json!(long()));
    stage.after(0);
    assert_eq!(stage.look(&session), "completed a=completed");
    assert_eq!(stage.state(&session).session.result, Some(reference));
}

#[test]
fn a_task_that_waits_keeps_nothing_until_it_is_given() {
    let mut stage = Stage::new();
    stage.policy.payload_inline_max = 400;
    let parameters = json!({"text": format!("${{input.name}}{}", long())});
    let session =
        stage.start(workflow("workflow", vec![task("a").given(&parameters)]), &json!({"name": "n"}));
    let step = stage.task(&session, "a");
    let (decision, _) =
        stage.decide(&MatchTask { session: session.clone(), task: step.id.clone() }).expect("decided");
    assert!(decision.is_empty(), "{decision:?}");
    stage.agent("reader", 1);
    stage.place_all();
    assert!(kept(&stage, &given(&stage, &session, "a")));
}

#[test]
fn what_is_too_large_with_all_that_it_refers_to_fails_its_task() {
    let mut stage = stage();
    stage.policy.payload_max = 1_500;
    let twice = task("a").given(&json!({"one": "${input.text}", "two": "${input.text}"}));
    let session = stage.start(workflow("workflow", vec![twice]), &json!({"text": long()}));
    assert_eq!(stage.look(&session), "failed a=failed");
    assert!(stage.why(&session).contains("1500 are the most"), "{}", stage.why(&session));
}

#[test]
fn what_is_not_kept_is_an_answer_to_whoever_looks_into_it() {
    let mut stage = stage();
    let gone = Payload::of(json!(long())).reference();
    let look = task("a").given(&json!({"size": "${size(input.text)}"}));
    let session = stage.start(workflow("workflow", vec![look]), &json!({"text": gone}));
    assert!(stage.why(&session).contains("is not kept"), "{}", stage.why(&session));
}

#[test]
fn a_late_report_keeps_nothing() {
    let mut stage = stage();
    let session = stage.play(vec![task("a")]);
    let step = stage.task(&session, "a");
    let agent = step.agent.clone().expect("an agent");
    stage.done(&session, "a", &json!(1));
    let late = signalbox_core::engine::ReportState {
        agent,
        state: "completed".to_owned(),
        timestamp: stage.now,
        details: signalbox_wire::raw::RawObject::parse(json!({"result": long()}).to_string()).ok(),
        task: Some(step.id.attempt_name(1)),
        session: None,
    };
    let (decision, ()) = stage.decide(&late).expect("decided");
    let payloads = decision
        .writes
        .iter()
        .filter(|write| matches!(write, Write::Put { row, .. } if matches!(row.key(), Key::Payload(_))));
    assert_eq!(payloads.count(), 0);
}
