//! Attempts: what is tried again and after how long, the limits of time, and what an agent says meanwhile.

use std::time::Duration;

use serde_json::json;
use signalbox_core::definition::{RetryRule, Step};
use signalbox_core::engine::Deregister;

use crate::play::{Making, seconds, task};
use crate::stage::{Stage, failed};

fn retried(words: &[&str]) -> Step {
    task("a").with(|step| {
        step.retries = Some(1);
        let retry_on = words.iter().map(|word| (*word).to_owned()).collect();
        step.rules.retry = Some(RetryRule { retry_on, ..RetryRule::default() });
    })
}

#[test]
fn only_what_the_rule_names_is_tried_again() {
    for (words, code, expected) in [
        (&[][..], None, "pending"),
        (&["error"], None, "pending"),
        (&["error"], Some("QUOTA"), "pending"),
        (&["QUOTA"], Some("QUOTA"), "pending"),
        (&["QUOTA"], Some("OTHER"), "failed"),
        (&["QUOTA"], None, "failed"),
        (&["timeout", "heartbeat", "undelivered"], None, "failed"),
    ] {
        let mut stage = Stage::with_agent();
        let session = stage.play(vec![retried(words)]);
        stage.say(&session, "a", "error", &json!({"error": "broken", "error_code": code}));
        assert_eq!(stage.task(&session, "a").status.name(), expected, "{words:?}, {code:?}");
    }
}

#[test]
fn silence_a_timeout_and_a_dead_letter_are_told_apart() {
    for (words, tried_again) in [
        ("timeout", [true, false, false]),
        ("heartbeat", [false, true, false]),
        ("undelivered", [false, false, true]),
    ] {
        for (case, expected) in tried_again.into_iter().enumerate() {
            let mut stage = Stage::with_agent();
            stage.policy.delivery_attempts = 1;
            let mut step = retried(&[words]);
            match case {
                0 => step.rules.timeout = Some(seconds(10)),
                1 => step.rules.heartbeat_timeout = Some(seconds(10)),
                _ => {}
            }
            let session = stage.play(vec![step]);
            if case == 2 {
                stage.pass(Duration::ZERO, &failed(true));
            } else {
                stage.after(10);
            }
            let task = stage.task(&session, "a");
            assert_eq!(task.attempt <= 1 && task.status.is_settled(), !expected, "{words}, {case}: {task:?}");
        }
    }
}

#[test]
fn the_waits_between_attempts_are_those_of_the_rule() {
    let mut stage = Stage::with_agent();
    let rule = RetryRule {
        initial: Some(seconds(100)),
        factor: Some(1.0),
        max: Some(seconds(100)),
        retry_on: Vec::new(),
    };
    let step = task("a").with(|step| {
        step.retries = Some(50);
        step.rules.retry = Some(rule);
    });
    let session = stage.play(vec![step]);
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        stage.fail(&session, "a");
        let wait = stage.task(&session, "a").retry_at.expect("another attempt").since(stage.now);
        assert!(wait <= seconds(100), "{wait:?}");
        longest = longest.max(wait);
        stage.after(100);
    }
    assert!(longest > seconds(50), "the operator's own waits are 4 s at most: {longest:?}");
    stage.fail(&session, "a");
    assert_eq!(stage.look(&session), "failed a=failed");
}

#[test]
fn a_task_that_finds_no_agent_in_time_fails() {
    let mut stage = Stage::new();
    let step = task("a").with(|step| step.rules.schedule_timeout = Some(seconds(10)));
    let session = stage.play(vec![step]);
    stage.after(9);
    assert_eq!(stage.look(&session), "started a=pending");
    stage.after(1);
    assert_eq!(stage.look(&session), "failed a=failed");
    assert!(stage.why(&session).contains("capability 'read'"), "{}", stage.why(&session));
    assert_eq!(stage.timers(), [""; 0]);
}

#[test]
fn a_task_that_finds_an_agent_is_not_looked_after_any_longer() {
    let mut stage = Stage::new();
    let step = task("a").with(|step| step.rules.schedule_timeout = Some(seconds(10)));
    let session = stage.play(vec![step]);
    stage.agent("reader", 1);
    stage.place_all();
    assert_eq!(stage.timers(), [""; 0], "what is due is its delivery");
    stage.after(60);
    assert_eq!(stage.look(&session), "running a=dispatched");
}

#[test]
fn a_pause_stops_the_search_for_an_agent_and_a_resumption_begins_it_anew() {
    let mut stage = Stage::new();
    let step = task("a").with(|step| step.rules.schedule_timeout = Some(seconds(10)));
    let session = stage.play(vec![step]);
    stage.after(9);
    stage.pause(&session);
    assert_eq!(stage.timers(), [""; 0]);
    stage.after(60);
    stage.resume(&session);
    stage.after(9);
    assert_eq!(stage.look(&session), "running a=pending");
    stage.after(1);
    assert_eq!(stage.look(&session), "failed a=failed");
}

#[test]
fn an_agent_that_is_heard_keeps_its_task() {
    let mut stage = Stage::with_agent();
    let step = task("a").with(|step| step.rules.heartbeat_timeout = Some(seconds(10)));
    let session = stage.play(vec![step]);
    stage.after(6);
    stage.say(&session, "a", "active", &json!({}));
    stage.after(6);
    stage.say(&session, "a", "active", &json!({}));
    stage.after(9);
    assert_eq!(stage.look(&session), "running a=running");
    stage.after(1);
    assert_eq!(stage.look(&session), "failed a=failed");
    assert!(stage.why(&session).contains("not heard for 10 s"), "{}", stage.why(&session));
}

#[test]
fn progress_is_kept_from_the_first_word() {
    let mut stage = Stage::with_agent();
    let session = stage.play(vec![task("a").with(|step| step.retries = Some(1))]);
    for said in [json!({"progress": 10}), json!({}), json!({"progress": {"page": 3}})] {
        stage.say(&session, "a", "active", &said);
    }
    assert_eq!(stage.task(&session, "a").progress, Some(json!({"page": 3})));
    let kinds = stage.kinds(&session);
    assert_eq!(kinds[2..], ["task.running", "task.progress", "task.progress"]);
    stage.fail(&session, "a");
    stage.after(10);
    assert_eq!(stage.task(&session, "a").progress, None, "another attempt has its own");
}

#[test]
fn an_attempt_that_takes_too_long_is_over_also_during_a_pause() {
    let mut stage = Stage::with_agent();
    let step = task("a").with(|step| {
        step.retries = Some(1);
        step.rules.timeout = Some(seconds(10));
    });
    let session = stage.play(vec![step]);
    stage.pause(&session);
    stage.after(30);
    assert_eq!(stage.look(&session), "paused a=pending");
    stage.resume(&session);
    assert_eq!(
        (stage.look(&session), stage.task(&session, "a").attempt),
        ("running a=dispatched".to_owned(), 2)
    );
}

#[test]
fn an_agent_that_goes_offline_gives_its_tasks_back() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 2);
    let again = |id: &str| task(id).needs(&[]).with(|step| step.retries = Some(1));
    let first = stage.play(vec![again("a"), again("b").needs(&["a"])]);
    let second = stage.play(vec![again("a")]);
    stage.pause(&second);
    stage.report(&agent, "offline", None, json!(null));
    assert_eq!(stage.look(&first), "running a=pending b=pending");
    assert_eq!(stage.look(&second), "paused a=pending");
    assert!(stage.store.status(&agent).expect("a status").held.is_empty());
    stage.agent("other", 2);
    stage.place_all();
    stage.resume(&second);
    assert_eq!((stage.task(&first, "a").attempt, stage.task(&second, "a").attempt), (2, 2));
    assert_ne!(stage.task(&first, "a").agent, Some(agent));
}

#[test]
fn a_task_whose_agent_goes_in_its_last_attempt_fails() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = stage.play(vec![task("a")]);
    stage.run(&Deregister { agent, trace: None }).expect("it goes");
    assert_eq!(stage.look(&session), "failed a=failed");
}

#[test]
fn what_is_more_urgent_goes_first_and_of_equals_what_has_waited_longest() {
    let mut stage = Stage::new();
    let urgent = |id: &str, priority: i32| task(id).with(|step| step.rules.priority = priority);
    let sessions = [0, -5, 7, 0].map(|priority| stage.play(vec![urgent("a", priority)]));
    let agent = stage.agent("reader", 1);
    let mut order = Vec::new();
    for _ in &sessions {
        assert_eq!(stage.run(&signalbox_core::engine::MatchAgent { agent: agent.clone() }), Ok(true));
        let given = sessions.iter().position(|session| stage.task(session, "a").status.is_held());
        let given = given.expect("one has it");
        order.push(given);
        stage.done(&sessions[given], "a", &json!(1));
    }
    assert_eq!(order, [2, 0, 3, 1]);
}
