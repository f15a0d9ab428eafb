//! What comes of attempts to deliver: an outcome counts once, for its own attempt, and loses no work.

use std::time::Duration;

use serde_json::json;
use signalbox_core::Rejected;
use signalbox_core::delivery::{MessageStatus, Outcome};
use signalbox_core::due::DueJob;
use signalbox_core::engine::{Accept, Discard, Redrive, SettleDelivery, TimerFired};
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::MessageId;

use crate::stage::{Stage, failed, step};

const DELIVERED: Outcome = Outcome::Delivered { status: 202 };

fn accepted(stage: &mut Stage) -> MessageId {
    stage.policy.delivery_attempts = 2;
    let agent = stage.agent("reader", 1);
    stage.run(&Accept { agent, id: None, body: "{}".into(), trace: None }).expect("accepted")
}

fn settle(stage: &mut Stage, message: &MessageId, attempt: u32, outcome: Outcome) {
    stage.run(&SettleDelivery::at(stage.now, message.clone(), attempt, outcome)).expect("settled");
}

fn is_due(stage: &Stage, message: &MessageId) -> bool {
    stage.store.due.contains_key(&DueJob::Deliver { message: message.clone() }.id())
}

#[test]
fn a_late_outcome_of_an_earlier_attempt_changes_nothing() {
    let mut stage = Stage::new();
    let message = accepted(&mut stage);
    settle(&mut stage, &message, 1, failed(true));
    for outcome in [failed(true), failed(false), DELIVERED] {
        settle(&mut stage, &message, 1, outcome);
        let kept = &stage.store.messages[&message];
        assert_eq!((kept.status, kept.attempts), (MessageStatus::Scheduled, 1));
        assert!(is_due(&stage, &message), "the next attempt is still due");
    }
    settle(&mut stage, &message, 2, DELIVERED);
    assert_eq!(stage.store.messages[&message].status, MessageStatus::Delivered);
    assert!(!is_due(&stage, &message));
}

#[test]
fn a_late_outcome_does_not_take_a_redriven_letter_back() {
    let mut stage = Stage::new();
    let message = accepted(&mut stage);
    stage.pass(Duration::from_secs(60), &failed(true));
    assert_eq!(stage.store.messages[&message].status, MessageStatus::Dead);
    let late = SettleDelivery::at(stage.now, message.clone(), 2, failed(true));
    let (too_late, ()) = stage.decide(&late).expect("decided");
    stage.run(&Redrive { message: message.clone() }).expect("redriven");
    assert!(stage.store.commit(&too_late, None).is_err(), "it was decided on the dead letter");
    stage.run(&late).expect("settled");
    assert!(is_due(&stage, &message));
}

#[test]
fn only_a_dead_letter_is_redriven_or_discarded() {
    let mut stage = Stage::new();
    let message = accepted(&mut stage);
    let unknown = || Rejected::UnknownDeadLetter(message.to_string());
    assert_eq!(stage.run(&Redrive { message: message.clone() }), Err(unknown()));
    assert_eq!(stage.run(&Discard { message: message.clone() }), Err(unknown()));
    settle(&mut stage, &message, 1, failed(false));
    stage.run(&Redrive { message: message.clone() }).expect("redriven");
    assert_eq!(stage.store.messages[&message].attempts_max, 1 + 2);
    settle(&mut stage, &message, 2, failed(false));
    stage.run(&Discard { message: message.clone() }).expect("discarded");
    assert_eq!(stage.run(&Discard { message: message.clone() }), Err(unknown()));
}

#[test]
fn the_same_id_is_the_same_message() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let id = MessageId::parse("mine").ok();
    let call = Accept { agent, id: id.clone(), body: r#"{"n":1}"#.into(), trace: None };
    for _ in 0..2 {
        assert_eq!(stage.run(&call).ok(), id);
    }
    assert_eq!(stage.store.messages.len(), 1);
    let id = id.expect("valid");
    let other = Accept { body: r#"{"n":2}"#.into(), ..call.clone() };
    assert_eq!(stage.run(&other), Err(Rejected::MessageIdReused(id.clone())), "it would never be delivered");
    let agent = stage.agent("another", 1);
    assert_eq!(stage.run(&Accept { agent, ..call }), Err(Rejected::MessageIdTaken(id)));
}

#[test]
fn a_task_at_work_has_arrived_whatever_became_of_its_letter() {
    for outcome in [failed(true), failed(false)] {
        let mut stage = Stage::new();
        stage.policy.delivery_attempts = 2;
        let agent = stage.agent("reader", 1);
        let session = stage.session(vec![step("read", Some(1))]);
        stage.report(&agent, "active", None, json!(null));
        stage.pass(Duration::from_secs(60), &outcome);
        let task = &stage.state(&session).tasks[0];
        assert_eq!((task.status, task.attempt), (TaskStatus::Running, 1), "{outcome:?}");
        assert!(!stage.kinds(&session).contains(&"task.delivery_failed"));
        stage.pass(stage.policy.task_timeout, &outcome);
        assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Pending, "its timeout governs");
    }
}

#[test]
fn a_delivery_is_no_timer() {
    let mut stage = Stage::new();
    let message = accepted(&mut stage);
    stage.run(&TimerFired { work: DueJob::Deliver { message: message.clone() } }).expect("nothing happens");
    assert!(is_due(&stage, &message));
}

#[test]
fn a_task_whose_letter_is_dead_is_tried_again_and_then_fails() {
    let mut stage = Stage::new();
    stage.policy.delivery_attempts = 1;
    stage.agent("reader", 1);
    let session = stage.session(vec![step("read", Some(1))]);
    stage.pass(Duration::ZERO, &failed(true));
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Pending);
    stage.pass(Duration::from_secs(10), &failed(true));
    let task = &stage.state(&session).tasks[0];
    assert_eq!((task.status, task.attempt), (TaskStatus::Failed, 2));
    assert!(task.error.as_ref().is_some_and(|error| error.contains("refused")), "{:?}", task.error);
}
