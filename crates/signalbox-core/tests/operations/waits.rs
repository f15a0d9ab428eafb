//! Tasks that wait for a signal, and tasks that sleep.

use serde_json::{Value, json};
use signalbox_core::Rejected;
use signalbox_core::definition::{Kind, Step};
use signalbox_core::limits::SIGNALS_KEPT_MAX;

use crate::play::{Making, of, seconds, task, wait, workflow};
use crate::stage::Stage;

fn sleep(text: &str) -> Step {
    of("nap", Kind::Sleep(text.to_owned()))
}

#[test]
fn a_signal_ends_the_wait_and_is_its_result() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![wait("w"), task("a").given(&json!({"said": "${tasks.w.result.v}"}))]);
    assert_eq!(stage.look(&session), "running w=waiting a=pending");
    stage.signal(&session, json!({"v": 7})).expect("taken");
    assert_eq!(json!(stage.task(&session, "a").parameters), json!({"said": 7}));
    assert!(
        matches!(stage.signal(&session, json!(1)), Err(Rejected::NothingWaits { .. })),
        "nothing waits any longer"
    );
}

#[test]
fn signals_that_come_early_are_kept_in_order() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![task("a"), wait("v"), wait("w")]);
    for said in 1..=3 {
        stage.signal(&session, json!(said)).expect("kept");
    }
    stage.done(&session, "a", &json!(null));
    assert_eq!(stage.look(&session), "completed a=completed v=completed w=completed");
    assert_eq!(stage.task(&session, "v").result, Some(json!(1)));
    assert_eq!(stage.task(&session, "w").result, Some(json!(2)));
}

#[test]
fn one_signal_ends_one_wait() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![wait("v").needs(&[]), task("a"), wait("w").needs(&["a"])]);
    assert_eq!(stage.look(&session), "running v=waiting a=dispatched w=pending");
    stage.signal(&session, json!(1)).expect("for v");
    stage.signal(&session, json!(2)).expect("kept for w");
    stage.done(&session, "a", &json!(null));
    assert_eq!(
        (stage.task(&session, "v").result.clone(), stage.task(&session, "w").result.clone()),
        (Some(json!(1)), Some(json!(2)))
    );
}

#[test]
fn no_more_signals_are_kept_than_may_be() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![task("a"), wait("w")]);
    for said in 0..SIGNALS_KEPT_MAX {
        stage.signal(&session, json!(said)).expect("kept");
    }
    assert_eq!(stage.signal(&session, json!(1)), Err(Rejected::SignalsFull(session.clone())));
}

#[test]
fn a_signal_that_does_not_come_in_time_fails_the_wait() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![wait("w").with(|step| step.rules.timeout = Some(seconds(10)))]);
    assert_eq!(stage.timers(), ["wake"]);
    stage.after(10);
    assert_eq!(stage.why(&session), "Task w failed: the signal 'go' did not come in time");
    stage.retry(&session);
    stage.signal(&session, json!(1)).expect("it waits again");
    assert_eq!(stage.look(&session), "completed w=completed");
    assert_eq!(stage.timers(), [""; 0]);
}

#[test]
fn a_signal_in_time_takes_the_timer_away_also_when_it_was_kept() {
    let mut stage = Stage::with_agent();
    let timed = wait("w").with(|step| step.rules.timeout = Some(seconds(10)));
    let session = stage.play(vec![task("a"), timed]);
    stage.signal(&session, json!(1)).expect("kept");
    stage.done(&session, "a", &json!(null));
    assert_eq!(stage.look(&session), "completed a=completed w=completed");
    assert_eq!(stage.timers(), [""; 0]);
}

#[test]
fn a_signal_counts_during_a_pause() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![wait("w"), task("a"), wait("v")]);
    stage.pause(&session);
    stage.signal(&session, json!(1)).expect("taken");
    stage.signal(&session, json!(2)).expect("kept");
    assert_eq!(stage.look(&session), "paused w=completed a=pending v=pending");
    stage.resume(&session);
    stage.done(&session, "a", &json!(null));
    assert_eq!(stage.task(&session, "v").result, Some(json!(2)));
}

#[test]
fn a_cancelled_wait_has_no_timer_and_takes_nothing() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![wait("w").with(|step| step.rules.timeout = Some(seconds(10)))]);
    stage.cancel(&session);
    assert_eq!(stage.look(&session), "cancelled w=cancelled");
    assert_eq!(stage.timers(), [""; 0]);
    assert!(stage.signal(&session, json!(1)).is_err());
}

#[test]
fn a_sleep_lasts_as_long_as_it_says() {
    let moment = (Stage::new().now + seconds(90)).to_string();
    for (text, input, length) in [
        ("90s", json!({}), 90),
        ("PT1M30S", json!({}), 90),
        ("${input.n * 2}", json!({"n": 45}), 90),
        ("${input.n}s", json!({"n": 90}), 90),
        ("${input.until}", json!({ "until": moment }), 90),
        ("${input.n}", json!({"n": 0}), 0),
        ("2020-01-01T00:00:00Z", json!({}), 0),
    ] {
        let mut stage = Stage::with_agent();
        let session = stage.start(workflow("workflow", vec![sleep(text), task("a")]), &input);
        if length > 0 {
            stage.after(length - 1);
            assert_eq!(stage.look(&session), "running nap=waiting a=pending", "{text}");
        }
        stage.after(1);
        assert_eq!(stage.look(&session), "running nap=completed a=dispatched", "{text}");
    }
}

#[test]
fn what_is_no_time_fails_the_sleep() {
    for (text, input) in [
        ("${input.n}", json!({"n": "soon"})),
        ("${input.n}", json!({"n": -1})),
        ("${input.n}", json!({"n": [1]})),
        ("${input.missing}", json!({})),
    ] {
        let mut stage = Stage::with_agent();
        let session = stage.start(workflow("workflow", vec![sleep(text)]), &input);
        assert_eq!(stage.look(&session), "failed nap=failed", "{input}");
        assert!(stage.why(&session).contains("The task's sleep"), "{}", stage.why(&session));
    }
}

#[test]
fn a_sleep_that_ends_during_a_pause_has_ended() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![sleep("5s"), task("a")]);
    stage.pause(&session);
    stage.after(5);
    assert_eq!(stage.look(&session), "paused nap=completed a=pending");
    stage.resume(&session);
    assert_eq!(stage.look(&session), "running nap=completed a=dispatched");
    assert_eq!(stage.task(&session, "nap").result, None::<Value>);
}
