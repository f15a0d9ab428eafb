//! The session as a whole: its time, its output, and who hears of its end.

use serde_json::json;
use signalbox_core::definition::{Compensation, Definition, Notify};
use signalbox_core::delivery::MessageKind;
use signalbox_core::session::SessionStatus;
use signalbox_wire::id::SessionId;

use crate::play::{Making, seconds, task, wait, workflow};
use crate::stage::Stage;

fn notified(on: &[&str]) -> Definition {
    let on = on.iter().map(|word| (*word).to_owned()).collect();
    let notify = Some(Notify { url: "http://hook/".to_owned(), on });
    Definition { notify, ..workflow("told", vec![task("a")]) }
}

fn end(stage: &mut Stage, session: &SessionId, how: usize) {
    match how {
        0 => stage.done(session, "a", &json!({"v": 7})),
        1 => stage.fail(session, "a"),
        _ => stage.cancel(session),
    }
}

#[test]
fn whoever_is_named_hears_of_the_ends_that_are_named() {
    for (on, told) in [
        (&[][..], [true; 3]),
        (&["failed"], [false, true, false]),
        (&["completed", "cancelled"], [true, false, true]),
    ] {
        for (how, expected) in told.into_iter().enumerate() {
            let mut stage = Stage::with_agent();
            let session = stage.start(notified(on), &json!({}));
            end(&mut stage, &session, how);
            assert_eq!(
                stage.bodies(MessageKind::SessionWebhook).len(),
                usize::from(expected),
                "{on:?}, {how}"
            );
        }
    }
}

#[test]
fn a_notice_says_what_came_of_the_session() {
    let mut stage = Stage::with_agent();
    let session = stage.start(notified(&[]), &json!({}));
    end(&mut stage, &session, 0);
    let notice = stage.bodies(MessageKind::SessionWebhook).remove(0);
    assert_eq!(notice["type"], json!("session.completed"));
    assert_eq!(notice["data"]["sessionId"], json!(session));
    assert_eq!(notice["data"]["result"], json!({"v": 7}));
    let message = stage.store.messages.values().find(|message| message.kind == MessageKind::SessionWebhook);
    assert_eq!(message.and_then(|message| message.url.as_deref()), Some("http://hook/"));
}

#[test]
fn every_end_of_a_retried_session_is_told() {
    let mut stage = Stage::with_agent();
    let session = stage.start(notified(&[]), &json!({}));
    end(&mut stage, &session, 1);
    stage.retry(&session);
    end(&mut stage, &session, 0);
    let types: Vec<_> =
        stage.bodies(MessageKind::SessionWebhook).iter().map(|body| body["type"].clone()).collect();
    assert_eq!(types, ["session.failed", "session.completed"]);
}

#[test]
fn a_session_that_takes_too_long_fails_and_a_retry_gives_it_new_time() {
    let mut stage = Stage::with_agent();
    let timed = Definition { timeout: Some(seconds(10)), ..workflow("timed", vec![wait("w"), task("a")]) };
    let session = stage.start(timed, &json!({}));
    stage.after(9);
    assert_eq!(stage.look(&session), "running w=waiting a=pending");
    stage.after(1);
    assert_eq!(stage.look(&session), "failed w=cancelled a=pending");
    assert_eq!(stage.why(&session), "the session took longer than it may");
    stage.after(60);
    stage.retry(&session);
    stage.after(9);
    stage.signal(&session, json!(1)).expect("in time");
    stage.done(&session, "a", &json!(2));
    assert_eq!(stage.look(&session), "completed w=completed a=completed");
    assert_eq!(stage.timers(), [""; 0]);
}

#[test]
fn time_runs_during_a_pause_and_what_was_done_is_undone_after_it() {
    let mut stage = Stage::with_agent();
    let undo = Compensation { capability: Some("write".to_owned()), ..Compensation::default() };
    let done = task("a").with(|step| step.rules.compensate = Some(Box::new(undo)));
    let timed = Definition { timeout: Some(seconds(10)), ..workflow("timed", vec![done, task("b")]) };
    let session = stage.start(timed, &json!({}));
    stage.done(&session, "a", &json!(1));
    stage.pause(&session);
    stage.after(10);
    assert_eq!(stage.look(&session), "paused a=completed b=cancelled undo:a=pending");
    stage.resume(&session);
    stage.done(&session, "undo:a", &json!(1));
    assert_eq!(stage.status(&session), SessionStatus::Failed);
}

#[test]
fn the_output_is_what_the_workflow_says() {
    let mut stage = Stage::with_agent();
    let steps =
        vec![task("a"), task("b").needs(&["a"]).with(|step| step.rules.when = Some("input.yes".into()))];
    let output =
        json!({"a": "${tasks.a.result.v}", "b": "${tasks.b.status}", "all": ["${input.n}", "n=${input.n}"]});
    let definition = Definition { output: Some(output), ..workflow("out", steps) };
    let session = stage.start(definition, &json!({"n": 3, "yes": false}));
    stage.done(&session, "a", &json!({"v": 7}));
    let expected = json!({"a": 7, "b": "skipped", "all": [3, "n=3"]});
    assert_eq!(stage.state(&session).session.result, Some(expected));
}

#[test]
fn an_output_without_a_value_fails_the_session() {
    let mut stage = Stage::with_agent();
    let definition =
        Definition { output: Some(json!("${tasks.a.result.v}")), ..workflow("out", vec![task("a")]) };
    let session = stage.start(definition, &json!({}));
    stage.done(&session, "a", &json!({}));
    assert_eq!(stage.look(&session), "failed a=completed");
    assert!(stage.why(&session).contains("output"), "{}", stage.why(&session));
}

#[test]
fn the_result_of_a_graph_is_that_of_the_task_that_ended_last() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![task("a"), task("b"), task("c").needs(&["a"])]);
    stage.done(&session, "a", &json!("a"));
    stage.done(&session, "c", &json!("c"));
    stage.done(&session, "b", &json!("b"));
    assert_eq!(stage.state(&session).session.result, Some(json!("b")));
}
