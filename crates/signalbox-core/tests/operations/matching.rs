//! Tasks and agents meet: the longest waiting first, the least recently used first, and nobody jumps the queue.

use serde_json::json;
use signalbox_core::decision::MatchHint;
use signalbox_core::definition::OnFailure;
use signalbox_core::engine::{Deregister, MatchAgent, MatchTask};
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::AgentId;

use crate::stage::{Stage, registration, step, trigger};

#[test]
fn an_offered_agent_takes_the_task_that_waits_longest() {
    let mut stage = Stage::new();
    let sessions: Vec<_> = (0..3).map(|_| stage.session(vec![step("read", None)])).collect();
    let agent = stage.agent("reader", 2);
    for taken in 1..=2 {
        assert_eq!(stage.run(&MatchAgent { agent: agent.clone() }), Ok(true));
        let held: Vec<_> = stage
            .store
            .status(&agent)
            .expect("status")
            .held
            .iter()
            .map(|held| held.session.clone())
            .collect();
        assert_eq!(held, sessions[..taken]);
    }
    assert_eq!(stage.run(&MatchAgent { agent }), Ok(false), "it holds as many as it can");
}

#[test]
fn a_task_that_is_tried_lets_those_go_first_that_wait_longer() {
    let mut stage = Stage::new();
    let sessions: Vec<_> = (0..4).map(|_| stage.session(vec![step("read", None)])).collect();
    let agent = stage.agent("reader", 1);
    let last = stage.state(&sessions[3]).tasks[0].id.clone();
    let try_last = MatchTask { session: sessions[3].clone(), task: last };
    for (served, session) in sessions.iter().enumerate() {
        assert_eq!(stage.run(&try_last), Ok(served < 3), "whether another was served in its place");
        assert_eq!(stage.state(session).tasks[0].status, TaskStatus::Dispatched, "{served}");
        assert_eq!(stage.run(&try_last), Ok(false), "the agent has its hands full");
        // It is done, and nobody offers it to those that wait.
        stage.report(&agent, "completed", None, json!(1));
    }
}

#[test]
fn the_least_recently_used_agent_goes_first() {
    let mut stage = Stage::new();
    let agents: Vec<AgentId> = ["a", "b", "c"].iter().map(|name| stage.agent(name, 2)).collect();
    let mut used = Vec::new();
    for _ in 0..6 {
        let session = stage.session(vec![step("read", None)]);
        used.extend(stage.state(&session).tasks[0].agent.clone());
    }
    assert_eq!(used[..3], used[3..], "each in its turn");
    let mut first: Vec<AgentId> = used[..3].to_vec();
    first.sort();
    assert_eq!(first, agents);
}

#[test]
fn an_agent_that_is_done_goes_to_those_that_wait_before_its_own_next_task() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let first = stage.session(vec![step("read", None), step("write", None)]);
    let second = stage.session(vec![step("read", None)]);
    stage.report(&agent, "completed", None, json!(1));
    assert!(stage.state(&first).tasks[1].queued_at.is_some(), "it joins the queue");
    stage.run(&MatchAgent { agent: agent.clone() }).expect("offered");
    assert_eq!(stage.state(&second).tasks[0].status, TaskStatus::Dispatched);
}

#[test]
fn an_agent_that_is_done_goes_on_with_the_session_where_it_has_nothing_else_in_hand() {
    let mut stage = Stage::new();
    for name in ["a", "b"] {
        stage.agent(name, 2);
    }
    let session = stage.session(vec![step("read", None), step("write", None), step("count", None)]);
    let first = stage.state(&session).tasks[0].agent.clone().expect("an agent");
    stage.report(&first, "completed", None, json!(1));
    assert_eq!(stage.state(&session).tasks[1].agent.as_ref(), Some(&first), "nobody else is asked for");

    for _ in 0..2 {
        stage.session(vec![step("read", None)]);
    }
    let name = stage.state(&session).tasks[1].id.attempt_name(1);
    stage.report(&first, "completed", Some(&name), json!(2));
    let third = stage.state(&session).tasks[2].agent.clone().expect("an agent");
    assert_ne!(third, first, "it has another task in hand, and the other was used before it");
}

#[test]
fn an_agent_that_failed_does_not_go_on_with_the_session() {
    let mut stage = Stage::new();
    for name in ["a", "b"] {
        stage.agent(name, 1);
    }
    let mut optional = step("read", Some(0));
    optional.rules.on_failure = OnFailure::Continue;
    let session = stage.session(vec![optional, step("write", None)]);
    let first = stage.state(&session).tasks[0].agent.clone().expect("an agent");
    stage.report(&first, "failed", None, json!(1));
    let second = stage.state(&session).tasks[1].agent.clone().expect("an agent");
    assert_ne!(second, first, "the least recently used goes on");
}

#[test]
fn whoever_becomes_available_and_whoever_begins_to_wait_is_hinted_at() {
    let mut stage = Stage::new();
    let (begun, triggered) = stage.decide(&trigger(vec![step("read", None)])).expect("decided");
    stage.store.commit(&begun, None).expect("nobody comes in between");
    let session = triggered.session;
    let task = stage.state(&session).tasks[0].id.clone();
    assert_eq!(begun.hints, [MatchHint::Task(session.clone(), task.clone())]);
    let (again, is_another) = stage.decide(&MatchTask { session, task }).expect("decided");
    assert!(!is_another && again.is_empty(), "it waits on, and nothing changes");
    let (came, registered) = stage.decide(&registration("reader", 1, false)).expect("decided");
    assert_eq!(came.hints, [MatchHint::Agent(registered.agent)]);
}

#[test]
fn a_task_that_waits_for_an_agent_that_goes_fails_and_says_so() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 0);
    let mut wants = step("read", None);
    wants.agent = Some(agent.clone());
    let session = stage.session(vec![wants]);
    assert!(stage.state(&session).tasks[0].queued_at.is_some());
    stage.run(&Deregister { agent: agent.clone(), trace: None }).expect("it goes");
    let error = stage.state(&session).session.error.clone().expect("a reason");
    assert!(error.contains(agent.as_str()), "{error}");
}

/// It begins to wait between the look at those who wait and the commit of the departure.
#[test]
fn a_task_that_begins_to_wait_for_an_agent_that_is_going_fails_too() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 0);
    let (going, _) =
        stage.decide(&Deregister { agent: agent.clone(), trace: None }).expect("nobody waits yet");
    let mut wants = step("read", None);
    wants.agent = Some(agent.clone());
    let session = stage.session(vec![wants]);
    stage.store.commit(&going, None).expect("it goes");
    assert!(stage.state(&session).session.error.is_none());
    assert!(going.hints.contains(&MatchHint::Agent(agent.clone())));
    assert_eq!(stage.run(&MatchAgent { agent: agent.clone() }), Ok(true));
    let error = stage.state(&session).session.error.clone().expect("a reason");
    assert!(error.contains(agent.as_str()), "{error}");
    assert_eq!(stage.run(&MatchAgent { agent }), Ok(false));
}
