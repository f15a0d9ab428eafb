//! Scenes of the workflow language whose histories are recorded.

use serde_json::json;
use signalbox_core::definition::{Compensation, Concurrency, Definition, Kind, Notify, OnBusy};
use signalbox_core::engine::Approve;
use signalbox_wire::id::SessionId;

use crate::play::{self, Making, approve, child, seconds, task, tool, wait, workflow};
use crate::stage::Stage;

/// A failure that leads elsewhere, a condition, a tool, a child, an output and a notice.
pub(crate) fn graph(stage: &mut Stage) -> SessionId {
    stage.agent("reader", 5);
    stage.tool = Some(Ok(json!({"v": 7})));
    stage.keep(workflow("inner", Vec::new()));
    let steps = vec![
        task("a").goto("help"),
        task("b").needs(&["a"]),
        task("help").given(&json!({"why": "${tasks.a.error}"})),
        tool("t").needs(&["help"]).with(|step| step.rules.when = Some("input.yes".to_owned())),
        child("c", "inner").needs(&["help"]),
        task("d").needs(&["t", "c"]).with(|step| step.rules.when = Some("!input.yes".to_owned())),
    ];
    let definition = Definition {
        output: Some(json!({"t": "${tasks.t.result.v}", "b": "${tasks.b.status}"})),
        timeout: Some(seconds(600)),
        max_parallel: Some(3),
        notify: Some(Notify { url: "http://hook/".to_owned(), on: Vec::new() }),
        ..workflow("graph", steps)
    };
    let session = stage.start(definition, &json!({"yes": true}));
    stage.fail(&session, "a");
    stage.done(&session, "help", &json!("helped"));
    stage.after(1);
    session
}

/// Items with attempts and progress of their own; one that fails, and a retry of the session.
pub(crate) fn list(stage: &mut Stage) -> SessionId {
    stage.agent("reader", 5);
    let each = task("a").for_each().given(&json!({"name": "${item}", "at": "${index}"})).with(|step| {
        step.retries = Some(1);
        step.rules.heartbeat_timeout = Some(seconds(60));
        step.rules.max_parallel = Some(2);
    });
    let session = stage.start(workflow("list", vec![each]), &json!({"list": ["x", "y", "z"]}));
    stage.say(&session, "a[1]", "active", &json!({"progress": 40}));
    stage.done(&session, "a[1]", &json!(2));
    for _ in 0..2 {
        stage.fail(&session, "a[0]");
        stage.after(10);
    }
    stage.retry(&session);
    stage.done(&session, "a[0]", &json!(1));
    stage.done(&session, "a[2]", &json!(3));
    session
}

/// A sleep, a signal that comes early and one that comes in time.
pub(crate) fn waited(stage: &mut Stage) -> SessionId {
    let nap = play::of("nap", Kind::Sleep("30s".to_owned()));
    let session =
        stage.play(vec![nap, wait("v"), wait("w").with(|step| step.rules.timeout = Some(seconds(60)))]);
    stage.signal(&session, json!({"n": 1})).expect("kept");
    stage.after(30);
    stage.signal(&session, json!({"n": 2})).expect("taken");
    session
}

pub(crate) fn approved_twice(stage: &mut Stage) -> SessionId {
    stage.agent("reader", 1);
    let session = stage.play(vec![approve("ok"), task("pay").given(&json!({"sum": 7}))]);
    for attempt in 1..=2 {
        let digest = stage.task(&session, "ok").subject.clone().map(|subject| subject.digest);
        let (by, comment) = ("Ada".to_owned(), Some("as seen".to_owned()));
        let yes = Approve {
            session: session.clone(),
            task: "ok".to_owned(),
            is_approved: true,
            by,
            comment,
            digest,
        };
        stage.run(&yes).expect("approved");
        if attempt == 1 {
            stage.fail(&session, "pay");
            stage.retry(&session);
        }
    }
    stage.done(&session, "pay", &json!(true));
    session
}

pub(crate) fn queued(stage: &mut Stage) -> SessionId {
    stage.agent("reader", 1);
    let concurrency =
        Some(Concurrency { key: Some("input.key".to_owned()), limit: 1, on_busy: OnBusy::Queue });
    let definition = Definition { concurrency, ..workflow("limited", vec![task("a")]) };
    let first = stage.start(definition.clone(), &json!({"key": "x"}));
    let session = stage.start(definition, &json!({"key": "x"}));
    stage.done(&first, "a", &json!(1));
    stage.after(1);
    stage.done(&session, "a", &json!(2));
    session
}

pub(crate) fn undone(stage: &mut Stage) -> SessionId {
    stage.agent("reader", 5);
    let parameters = json!({"what": "${tasks.a.result}"}).as_object().cloned().unwrap_or_default();
    let undo = Compensation {
        capability: Some("write".to_owned()),
        parameters,
        retries: Some(0),
        ..Compensation::default()
    };
    let first = task("a").with(|step| step.rules.compensate = Some(Box::new(undo)));
    let session = stage.play(vec![first, task("b")]);
    stage.done(&session, "a", &json!("A"));
    stage.cancel(&session);
    stage.fail(&session, "undo:a");
    session
}
