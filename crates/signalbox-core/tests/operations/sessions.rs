//! Pausing, resuming, cancelling and retrying, also in the middle of a wait.

use std::time::Duration;

use serde_json::json;
use signalbox_core::Rejected;
use signalbox_core::delivery::Outcome;
use signalbox_core::due::DueJob;
use signalbox_core::engine::{Cancel, Pause, Rerun, Resume, RetrySession, Signal, TimerFired};
use signalbox_core::session::SessionStatus;
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::SessionId;

use crate::stage::{Stage, step};

const DELIVERED: Outcome = Outcome::Delivered { status: 202 };

/// A session whose only task waits for its second attempt.
fn waiting_for_retry(stage: &mut Stage) -> SessionId {
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None)]);
    stage.deliver();
    stage.report(&agent, "error", None, json!(null));
    assert!(stage.state(&session).tasks[0].retry_at.is_some());
    session
}

fn retry(stage: &Stage, session: &SessionId) -> DueJob {
    let task = stage.state(session).tasks[0].clone();
    DueJob::Retry { session: session.clone(), task: task.id.clone(), attempt: task.attempt }
}

#[test]
fn a_wait_that_ends_during_a_pause_is_taken_up_again() {
    let mut stage = Stage::new();
    let session = waiting_for_retry(&mut stage);
    stage.run(&Pause { session: session.clone() }).expect("paused");
    stage.pass(Duration::from_secs(60), &DELIVERED);
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Pending);
    stage.run(&Resume { session: session.clone() }).expect("resumed");
    assert_eq!(stage.state(&session).tasks[0].attempt, 2);
}

/// Another process, whose clock is ahead, has let the timer go during the pause.
#[test]
fn a_wait_that_goes_on_after_a_pause_has_its_timer() {
    let mut stage = Stage::new();
    let session = waiting_for_retry(&mut stage);
    let work = retry(&stage, &session);
    let before = stage.now;
    stage.run(&Pause { session: session.clone() }).expect("paused");
    stage.now = before + Duration::from_secs(60);
    stage.run(&TimerFired { work: work.clone() }).expect("fired");
    assert!(!stage.store.due.contains_key(&work.id()));
    stage.now = before;
    stage.run(&Resume { session: session.clone() }).expect("resumed");
    assert!(stage.store.due.contains_key(&work.id()), "something will wake it up");
    stage.pass(Duration::from_secs(60), &DELIVERED);
    assert_eq!(stage.state(&session).tasks[0].attempt, 2);
}

#[test]
fn a_timer_decided_on_during_a_pause_conflicts_with_the_resumption() {
    let mut stage = Stage::new();
    let session = waiting_for_retry(&mut stage);
    let work = retry(&stage, &session);
    let before = stage.now;
    stage.run(&Pause { session: session.clone() }).expect("paused");
    stage.now = before + Duration::from_secs(60);
    let (fired, ()) = stage.decide(&TimerFired { work }).expect("decided");
    stage.now = before;
    stage.run(&Resume { session }).expect("resumed");
    assert!(stage.store.commit(&fired, None).is_err());
}

#[test]
fn an_early_timer_changes_nothing_and_stays() {
    let mut stage = Stage::new();
    let session = waiting_for_retry(&mut stage);
    let work = retry(&stage, &session);
    let before = stage.state(&session);
    stage.run(&TimerFired { work: work.clone() }).expect("fired");
    assert_eq!(stage.state(&session), before);
    assert!(stage.store.due.contains_key(&work.id()));
}

#[test]
fn every_operation_on_every_status() {
    use SessionStatus::{Cancelled, Completed, Failed, Paused, Running, Started};
    // pause, resume, cancel, retry
    for (status, allowed) in [
        (Started, [true, false, true, false]),
        (Running, [true, false, true, false]),
        (Paused, [false, true, true, false]),
        (Completed, [false; 4]),
        (Failed, [false, false, false, true]),
        (Cancelled, [false; 4]),
    ] {
        for (number, expected) in allowed.into_iter().enumerate() {
            let mut stage = Stage::new();
            let session = session_that_is(&mut stage, status);
            assert_eq!(stage.state(&session).session.status, status);
            let done = match number {
                0 => stage.run(&Pause { session: session.clone() }),
                1 => stage.run(&Resume { session: session.clone() }),
                2 => stage.run(&Cancel { session: session.clone(), reason: None }),
                _ => stage.run(&RetrySession { session: session.clone() }),
            };
            assert_eq!(done.is_ok(), expected, "{status:?}, operation {number}: {done:?}");
            match done {
                Ok(told) => assert_eq!(told, stage.state(&session), "what is told is what is kept"),
                Err(refused) => assert!(matches!(refused, Rejected::WrongStatus { .. }), "{refused}"),
            }
            let signal = stage.run(&Signal { session: session.clone(), name: "go".into(), payload: None });
            assert_eq!(signal.err(), Some(Rejected::NothingWaits { session, signal: "go".into() }));
        }
    }
}

fn session_that_is(stage: &mut Stage, status: SessionStatus) -> SessionId {
    let agent = (status != SessionStatus::Started).then(|| stage.agent("reader", 1));
    let session = stage.session(vec![step("read", Some(0))]);
    let Some(agent) = agent else { return session };
    match status {
        SessionStatus::Paused => drop(stage.run(&Pause { session: session.clone() })),
        SessionStatus::Cancelled => drop(stage.run(&Cancel { session: session.clone(), reason: None })),
        SessionStatus::Completed => stage.report(&agent, "completed", None, json!(1)),
        SessionStatus::Failed => stage.report(&agent, "failed", None, json!(1)),
        SessionStatus::Started | SessionStatus::Running => {}
    }
    session
}

#[test]
fn a_retried_session_keeps_what_succeeded_and_gives_the_failed_task_new_attempts() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", Some(0)), step("write", Some(0))]);
    stage.report(&agent, "completed", None, json!(1));
    stage.report(&agent, "failed", None, json!(null));
    let error = stage.state(&session).session.error.clone().expect("a reason");
    assert!(error.contains("write"), "{error}");
    stage.run(&RetrySession { session: session.clone() }).expect("retried");
    let state = stage.state(&session);
    assert_eq!((state.tasks[0].attempt, state.tasks[1].attempt), (1, 2));
    assert_eq!(state.tasks[1].retries, 1 + stage.policy.task_retries);
    assert_eq!((state.session.error.clone(), state.session.ended_at), (None, None));
    assert_eq!(stage.kinds(&session)[6..], ["session.retried", "task.reopened", "task.dispatched"]);
}

#[test]
fn a_session_that_changes_or_is_removed_meanwhile_is_looked_at_again_before_it_is_run_again() {
    let mut stage = Stage::new();
    let session = stage.session(vec![step("first", None)]);
    let rerun = Rerun { session: session.clone(), trace: None };
    let (decision, _) = stage.decide(&rerun).expect("decided");
    stage.run(&Cancel { session: session.clone(), reason: None }).expect("cancelled");
    assert!(stage.store.commit(&decision, None).is_err(), "it was decided on what the session was before");
    let again = stage.run(&rerun).expect("run again");
    assert_ne!(again.session, session);
}
