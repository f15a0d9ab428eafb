//! What comes of attempts to deliver: an outcome counts once, for its own attempt, and loses no work.

use std::time::Duration;

use serde_json::json;
use signalbox_core::Rejected;
use signalbox_core::delivery::{MessageStatus, Outcome, TaskAttempt};
use signalbox_core::due::DueJob;
use signalbox_core::engine::{
    Accept, Cancel, Discard, ExpireDispatch, Redrive, SettleDelivery, SettleDispatch, TimerFired,
};
use signalbox_core::task::TaskStatus;
use signalbox_core::task_message::Course;
use signalbox_wire::id::{AgentId, MessageId, SessionId};

use crate::stage::{Stage, failed, step};
use crate::store::DueRow;

const DELIVERED: Outcome = Outcome::Delivered { status: 202 };

fn accepted(stage: &mut Stage) -> MessageId {
    stage.policy.delivery_attempts = 2;
    let agent = stage.agent("reader", 1);
    stage.run(&Accept { agent, id: None, body: "{}".into(), trace: None }).expect("accepted")
}

fn settle(stage: &mut Stage, message: &MessageId, attempt: u32, outcome: Outcome) {
    stage.run(&SettleDelivery { message: message.clone(), attempt, outcome, heals: true }).expect("settled");
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
    let late = SettleDelivery { message: message.clone(), attempt: 2, outcome: failed(true), heals: true };
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

fn dispatched(attempts: u32) -> (Stage, SessionId, TaskAttempt) {
    let mut stage = Stage::new();
    stage.policy.delivery_attempts = attempts;
    stage.agent("reader", 1);
    let session = stage.session(vec![step("read", Some(1))]);
    let attempt = stage.attempt(&session, 0);
    (stage, session, attempt)
}

fn due_of<'a>(stage: &'a Stage, attempt: &TaskAttempt) -> &'a DueRow {
    let TaskAttempt { session, task, attempt } = attempt.clone();
    &stage.store.due[&DueJob::Timeout { session, task, attempt }.id()]
}

#[test]
fn an_attempt_is_one_row_of_due_work_and_no_message() {
    let (mut stage, session, attempt) = dispatched(2);
    let row = due_of(&stage, &attempt);
    let ends = stage.state(&session).tasks[0].times_out_at(stage.policy.task_timeout);
    assert!(matches!(row.work, DueJob::Dispatch { .. }) && row.ends == ends, "{row:?}");
    stage.settle_dispatch(&attempt, failed(true));
    let (row, task) = (due_of(&stage, &attempt).clone(), stage.state(&session).tasks[0].clone());
    let undelivered = task.undelivered.clone().expect("it was sent in vain");
    assert_eq!((undelivered.tries, Some(undelivered.retry_at)), (1, Some(row.visible_at)));
    assert!(matches!(row.work, DueJob::Dispatch { .. }) && row.ends == ends, "{row:?}");
    stage.settle_dispatch(&attempt, DELIVERED);
    let row = due_of(&stage, &attempt);
    assert!(matches!(row.work, DueJob::Timeout { .. }) && Some(row.visible_at) == ends, "{row:?}");
    assert_eq!((stage.store.due.len(), stage.store.messages.len()), (1, 0));
}

#[test]
fn a_late_outcome_of_an_earlier_try_changes_nothing() {
    let (mut stage, session, attempt) = dispatched(8);
    let first = stage.dispatched(&attempt, failed(true));
    stage.run(&first).expect("settled");
    for may_retry in [true, false] {
        let late = SettleDispatch { outcome: failed(may_retry), ..first.clone() };
        assert_eq!(stage.run(&late).expect("settled"), None);
    }
    assert_eq!(stage.state(&session).tasks[0].tries(), 1);
    assert!(stage.store.messages.is_empty());
}

#[test]
fn what_cannot_be_handed_over_is_a_dead_letter_and_its_attempt_has_failed() {
    let (mut stage, session, attempt) = dispatched(2);
    stage.settle_dispatch(&attempt, failed(true));
    let last = stage.dispatched(&attempt, failed(true));
    let dead = stage.run(&last).expect("settled").expect("a dead letter");
    let id = attempt.task.message(1);
    assert_eq!(stage.store.messages[&id], dead);
    assert_eq!((dead.status, dead.attempts, dead.task.as_ref()), (MessageStatus::Dead, 2, Some(&attempt)));
    let body: serde_json::Value = serde_json::from_str(&dead.body).expect("JSON");
    assert_eq!(body["opscore_task_id"], attempt.task.attempt_name(1));
    let task = &stage.state(&session).tasks[0];
    assert_eq!((task.status, task.attempt), (TaskStatus::Pending, 1));
    stage.run(&last).expect("settled, once");
    assert_eq!(stage.store.messages.len(), 1);
    let redriven = stage.run(&Redrive { message: id.clone() });
    assert_eq!(redriven, Err(Rejected::DeadLetterOfTask(id)), "its session has gone on");
}

#[test]
fn what_has_waited_too_long_for_its_destination_is_a_dead_letter_too() {
    let (mut stage, session, attempt) = dispatched(8);
    stage.settle_dispatch(&attempt, failed(true));
    let expired = ExpireDispatch { attempt: attempt.clone(), reason: "left alone".to_owned() };
    let dead = stage.run(&expired).expect("expired").expect("a dead letter");
    assert_eq!(
        (dead.attempts, dead.last_error.as_deref()),
        (1, Some("left alone; the last attempt: refused"))
    );
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Pending);
    assert_eq!(stage.run(&expired).expect("expired"), None, "once");
}

#[test]
fn what_was_never_sent_need_not_be_stopped() {
    let (mut stage, session, attempt) = dispatched(8);
    stage.run(&Cancel { session: session.clone(), reason: None }).expect("cancelled");
    let agent = stage.state(&session).tasks[0].agent.clone().expect("an agent");
    let stopping = |stage: &Stage| stage.store.status(&agent).expect("a status").stopping.len();
    assert_eq!(stopping(&stage), 1, "nobody knows whether it was sent");
    stage.settle_dispatch(&attempt, DELIVERED);
    assert_eq!(stopping(&stage), 0, "whoever came to send it did not");
    assert!(!stage.store.due.contains_key(&format!("attempt:{}-1", attempt.task)));
}

#[test]
fn the_history_tells_where_the_message_of_an_attempt_is() {
    let (mut stage, session, attempt) = dispatched(8);
    let look = |stage: &Stage, number: u32| {
        let state = stage.state(&session);
        let mut course = Course::new(&state, &state.tasks[0], number, &stage.policy);
        stage.store.histories[&session].iter().for_each(|(at, event)| course.follow(*at, event));
        course.message().map(|message| (message.status, message.attempts))
    };
    assert_eq!(look(&stage, 1), Some((MessageStatus::Scheduled, 0)));
    assert_eq!(look(&stage, 2), None, "there is no such attempt");
    stage.settle_dispatch(&attempt, failed(true));
    assert_eq!(look(&stage, 1), Some((MessageStatus::Scheduled, 1)));
    let agent = stage.state(&session).tasks[0].agent.clone().expect("an agent");
    stage.report(&agent, "error", Some(&attempt.task.attempt_name(1)), json!(null));
    assert_eq!(look(&stage, 1), Some((MessageStatus::Cancelled, 1)), "it was sent in vain so far");
    stage.pass(Duration::from_secs(60), &DELIVERED);
    stage.report(&agent, "active", Some(&attempt.task.attempt_name(2)), json!(null));
    assert_eq!(look(&stage, 2), Some((MessageStatus::Delivered, 1)));
}

#[test]
fn an_attempt_that_is_given_more_time_stays_due_as_what_it_is() {
    let mut stage = Stage::new();
    stage.policy.task_timeout = Duration::from_secs(60);
    stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None)]);
    let attempt = stage.attempt(&session, 0);
    let before = due_of(&stage, &attempt).clone();
    // The operator gives tasks more time.
    stage.policy.task_timeout = Duration::from_secs(3_600);
    stage.now = before.ends.expect("an end");
    let (decision, ()) = stage.decide(&TimerFired { work: before.work.clone() }).expect("decided");
    assert!(decision.is_empty(), "whoever sends it has it still: {decision:?}");
    assert_eq!(due_of(&stage, &attempt).work, before.work);
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Dispatched);
}

/// The error of the last delivery to the agent that failed, as its status has it.
fn failure(stage: &Stage, agent: &AgentId) -> Option<(String, u32)> {
    let status = stage.store.status(agent).expect("a status");
    status.delivery_failure.as_ref().map(|failure| (failure.error.clone(), failure.tries))
}

#[test]
fn an_agent_s_status_says_that_the_last_delivery_to_it_failed() {
    let mut stage = Stage::new();
    let message = accepted(&mut stage);
    let agent = stage.store.messages[&message].agent.clone().expect("whom it is for");
    assert_eq!(failure(&stage, &agent), None);
    settle(&mut stage, &message, 1, failed(true));
    let Outcome::Failed { error, .. } = failed(true) else { panic!("it failed") };
    assert_eq!(failure(&stage, &agent), Some((error.clone(), 1)));
    settle(&mut stage, &message, 2, DELIVERED);
    assert_eq!(failure(&stage, &agent), None, "what goes well ends it");

    let session = stage.session(vec![step("read", None)]);
    let task = stage.state(&session).tasks[0].clone();
    let attempt = TaskAttempt { session: session.clone(), task: task.id.clone(), attempt: task.attempt };
    let sent = |stage: &Stage, tries, outcome| {
        SettleDispatch::at(stage.now, agent.clone(), attempt.clone(), tries, outcome)
    };
    let first = sent(&stage, 1, failed(true));
    stage.run(&first).expect("settled");
    assert_eq!(failure(&stage, &agent), Some((error, 1)));
    let second = sent(&stage, 2, DELIVERED);
    stage.run(&second).expect("settled");
    assert_eq!(failure(&stage, &agent), None);
}
