//! Tasks that tools do.

use serde_json::{Value, json};
use signalbox_core::definition::{RetryRule, Step};
use signalbox_core::engine::SettleCall;
use signalbox_wire::id::SessionId;

use crate::play::{Making, seconds, task, tool, workflow};
use crate::stage::Stage;

fn fails(code: &str) -> Result<Value, (String, String)> {
    Err((code.to_owned(), "no quota".to_owned()))
}

fn settle(stage: &mut Stage, session: &SessionId, attempt: u32, outcome: Result<Value, (String, String)>) {
    let task = stage.task(session, "t").id.clone();
    stage.run(&SettleCall { session: session.clone(), task, attempt, outcome }).expect("settled");
}

fn again(words: &[&str]) -> Step {
    let retry_on = words.iter().map(|word| (*word).to_owned()).collect();
    tool("t").with(|step| {
        step.retries = Some(1);
        step.rules.retry = Some(RetryRule { retry_on, ..RetryRule::default() });
    })
}

#[test]
fn a_tool_is_called_with_the_rendered_parameters() {
    let mut stage = Stage::with_agent();
    let steps = vec![
        tool("t").given(&json!({"n": "${input.n}"})),
        task("a").given(&json!({"got": "${tasks.t.result.v}"})),
    ];
    let session = stage.start(workflow("workflow", steps), &json!({"n": 3}));
    assert_eq!(json!(stage.task(&session, "t").parameters), json!({"n": 3}));
    assert_eq!(stage.timers(), ["call"]);
    stage.tool = Some(Ok(json!({"v": 7})));
    stage.after(1);
    assert_eq!(json!(stage.task(&session, "a").parameters), json!({"got": 7}));
    assert_eq!(stage.timers(), ["timeout"], "the agent's");
}

#[test]
fn a_tool_that_fails_is_called_again_as_its_task_says() {
    for (words, expected) in
        [(&[][..], "pending"), (&["QUOTA"], "pending"), (&["error"], "pending"), (&["timeout"], "failed")]
    {
        let mut stage = Stage::new();
        let session = stage.play(vec![again(words)]);
        settle(&mut stage, &session, 1, fails("QUOTA"));
        assert_eq!(stage.task(&session, "t").status.name(), expected, "{words:?}");
    }
}

#[test]
fn an_answer_counts_once_and_for_its_own_attempt() {
    let mut stage = Stage::new();
    let session = stage.play(vec![again(&[]), tool("u")]);
    settle(&mut stage, &session, 1, fails("QUOTA"));
    stage.after(10);
    assert_eq!(stage.task(&session, "t").attempt, 2);
    let before = stage.state(&session);
    settle(&mut stage, &session, 1, Ok(json!("late")));
    settle(&mut stage, &session, 3, Ok(json!("early")));
    assert_eq!(stage.state(&session), before);
    assert!(stage.timers().contains(&"call"), "the second call is still to be made");
    settle(&mut stage, &session, 2, Ok(json!("second")));
    let before = stage.state(&session);
    settle(&mut stage, &session, 2, Ok(json!("repeated")));
    assert_eq!(stage.state(&session), before);
    assert_eq!(stage.look(&session), "running t=completed u=dispatched");
    assert_eq!(stage.timers(), ["call"]);
}

#[test]
fn a_call_that_takes_too_long_is_over() {
    let mut stage = Stage::new();
    let session = stage.play(vec![tool("t").with(|step| step.rules.timeout = Some(seconds(10)))]);
    stage.after(10);
    assert_eq!(stage.look(&session), "failed t=failed");
    assert_eq!(stage.timers(), [""; 0], "nobody calls it any longer");
    settle(&mut stage, &session, 1, Ok(json!("late")));
    assert_eq!(stage.look(&session), "failed t=failed");
}

#[test]
fn a_call_ends_during_a_pause_and_with_a_cancellation() {
    let mut stage = Stage::new();
    let session = stage.play(vec![tool("t"), tool("u")]);
    stage.pause(&session);
    stage.tool = Some(Ok(json!(1)));
    stage.after(1);
    assert_eq!(stage.look(&session), "paused t=completed u=pending");
    stage.tool = None;
    stage.resume(&session);
    stage.cancel(&session);
    assert_eq!(stage.look(&session), "cancelled t=completed u=cancelled");
    assert_eq!(stage.timers(), [""; 0]);
}
