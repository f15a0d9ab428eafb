//! Agents without a contact endpoint: reached while they are connected, and what becomes of what they were given when
//! they are not.

use std::time::Duration;

use serde_json::{Value, json};
use signalbox_core::Rejected;
use signalbox_core::agent::AgentStatus;
use signalbox_core::connection::{DisconnectCause, Disconnected};
use signalbox_core::decision::{Key, MatchHint};
use signalbox_core::delivery::{MessageStatus, Outcome, TaskAttempt};
use signalbox_core::due::{DueJob, Lane};
use signalbox_core::engine::{
    Accept, Connect, Deregister, Disconnect, DisconnectMany, MatchAgent, PatchAgent, Register, ReportState,
    SettleDispatch, TimerFired,
};
use signalbox_core::limits::{Policy, RECONNECT_GRACE};
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::{AgentId, ConnectionId, NodeId};

use crate::stage::{Stage, registration, step};

const NODE: &str = "nod_1";

fn node() -> NodeId {
    NodeId::parse(NODE).expect("valid")
}

fn con(id: &str) -> ConnectionId {
    ConnectionId::parse(id).expect("valid")
}

/// Registers an agent that has no contact endpoint.
fn connecting(stage: &mut Stage, name: &str) -> AgentId {
    let register = Register { endpoint: None, ..registration(name, 1, true) };
    stage.run(&register).expect("registered").agent
}

fn connect(stage: &mut Stage, agent: &AgentId, id: &str) {
    let connect =
        Connect { agent: agent.clone(), connection: con(id), node: node(), key: None, is_resumed: false };
    stage.run(&connect).expect("connected");
}

fn end(agent: &AgentId, id: &str) -> Disconnect {
    Disconnect { agent: agent.clone(), connection: con(id), reason: "the socket was closed".to_owned() }
}

fn status<'s>(stage: &'s Stage, agent: &AgentId) -> &'s AgentStatus {
    stage.store.status(agent).expect("a status")
}

fn fire(stage: &mut Stage, work: &DueJob) {
    stage.run(&TimerFired { work: work.clone() }).expect("fired");
}

fn message(agent: &AgentId) -> Accept {
    Accept { agent: agent.clone(), id: None, body: "{}".to_owned(), trace: None }
}

#[test]
fn an_agent_is_offered_and_messaged_while_it_is_connected() {
    let mut stage = Stage::new();
    let agent = connecting(&mut stage, "reader");
    let session = stage.session(vec![step("read", None)]);
    assert!(stage.state(&session).tasks[0].queued_at.is_some(), "nobody can be reached");
    let refused = stage.run(&message(&agent)).expect_err("refused");
    assert_eq!(refused, Rejected::Unreachable(agent.clone()));
    assert!(refused.to_string().contains("has not connected yet"), "{refused}");

    let first = Connect {
        agent: agent.clone(),
        connection: con("con_1"),
        node: node(),
        key: None,
        is_resumed: false,
    };
    let (decision, ()) = stage.decide(&first).expect("connected");
    assert!(decision.hints.contains(&MatchHint::Connected(agent.clone())));
    assert!(decision.hints.contains(&MatchHint::Agent(agent.clone())), "waiting tasks are offered");
    stage.run(&first).expect("connected");
    assert_eq!(stage.decide(&first).expect("a repeat").0.writes.len(), 0);
    stage.run(&MatchAgent { agent: agent.clone() }).expect("offered");
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Dispatched);
    stage.run(&message(&agent)).expect("accepted");

    stage.now = stage.now + Duration::from_secs(60);
    let seen = status(&stage, &agent).last_seen;
    assert_eq!(stage.run(&end(&agent, "con_1")), Ok(true));
    assert_eq!(stage.run(&end(&agent, "con_1")), Ok(false), "it is told twice");
    assert_eq!(status(&stage, &agent).last_seen, seen, "only a sign of life moves it");
    assert!(stage.store.available[&agent].is_empty());
    let waiting = stage.run(&message(&agent)).expect("it may be back");
    assert_eq!(stage.store.messages[&waiting].status, MessageStatus::Scheduled);
}

#[test]
fn a_later_connection_takes_over_and_the_end_of_the_earlier_one_changes_nothing() {
    let mut stage = Stage::new();
    let agent = connecting(&mut stage, "reader");
    connect(&mut stage, &agent, "con_1");
    let second = Connect {
        agent: agent.clone(),
        connection: con("con_2"),
        node: node(),
        key: None,
        is_resumed: false,
    };
    let (decision, ()) = stage.decide(&second).expect("connected");
    let told: Vec<_> = decision.disconnected.iter().map(cause).collect();
    assert_eq!(told, [(con("con_1"), DisconnectCause::TakenOver)], "it is to be closed");
    stage.run(&second).expect("connected");
    assert_eq!(stage.run(&end(&agent, "con_1")), Ok(false));
    assert!(!stage.store.available[&agent].is_empty(), "it is connected all the same");
}

fn cause(disconnected: &Disconnected) -> (ConnectionId, DisconnectCause) {
    (disconnected.connection.id.clone(), disconnected.cause)
}

#[test]
fn whoever_registers_anew_connects_anew() {
    let mut stage = Stage::new();
    let agent = connecting(&mut stage, "reader");
    connect(&mut stage, &agent, "con_1");
    let again = Register { endpoint: None, replace: true, ..registration("reader", 1, true) };
    let (decision, _) = stage.decide(&again).expect("registered");
    let told: Vec<_> = decision.disconnected.iter().map(cause).collect();
    assert_eq!(told, [(con("con_1"), DisconnectCause::Replaced)]);
    stage.run(&again).expect("registered");
    assert!(status(&stage, &agent).connection.is_none() && status(&stage, &agent).is_away_since().is_some());
    assert_eq!(stage.run(&end(&agent, "con_1")), Ok(false), "of the registration before");
    connect(&mut stage, &agent, "con_2");

    let gone = Deregister { agent: agent.clone(), trace: None };
    let told: Vec<_> = stage.decide(&gone).expect("decided").0.disconnected.iter().map(cause).collect();
    assert_eq!(told, [(con("con_2"), DisconnectCause::Removed)]);
    stage.run(&gone).expect("deregistered");
    assert_eq!(stage.run(&end(&agent, "con_2")), Ok(false));
    let late = Connect {
        agent: agent.clone(),
        connection: con("con_3"),
        node: node(),
        key: None,
        is_resumed: false,
    };
    assert_eq!(stage.run(&late), Err(Rejected::UnknownAgent(agent.to_string())), "it must register again");
}

#[test]
fn an_agent_that_said_that_it_goes_is_back_when_it_connects() {
    let mut stage = Stage::new();
    let agent = connecting(&mut stage, "reader");
    connect(&mut stage, &agent, "con_1");
    stage.report(&agent, "Offline", None, Value::Null);
    assert!(stage.store.available[&agent].is_empty());
    stage.run(&end(&agent, "con_1")).expect("ended");
    connect(&mut stage, &agent, "con_2");
    assert!(!stage.store.available[&agent].is_empty());
    stage.report(&agent, "busy", None, Value::Null);
    stage.run(&end(&agent, "con_2")).expect("ended");
    connect(&mut stage, &agent, "con_3");
    assert!(stage.store.available[&agent].is_empty(), "it has not said that it is done");
}

#[test]
fn what_was_never_had_goes_to_others_and_what_was_had_stays() {
    let mut stage = Stage::new();
    let agent = connecting(&mut stage, "reader");
    for taken in [false, true] {
        connect(&mut stage, &agent, "con_1");
        let session = stage.session(vec![step("read", None)]);
        let attempt = status(&stage, &agent).held[0].attempt_of();
        if taken {
            let had = Outcome::Delivered { status: 200 };
            let settled = SettleDispatch::at(stage.now, agent.clone(), attempt.clone(), 1, had);
            stage.run(&settled).expect("settled");
        }
        stage.run(&end(&agent, "con_1")).expect("ended");
        assert_eq!(status(&stage, &agent).held.len(), 1, "it may be back in a moment");
        let absence = DueJob::Absence { agent: agent.clone() };
        assert_eq!(stage.store.due.contains_key(&absence.id()), !taken);
        fire(&mut stage, &absence);
        assert_eq!(status(&stage, &agent).held.len(), 1, "it has more time than that");
        stage.now = stage.now + RECONNECT_GRACE;
        fire(&mut stage, &absence);
        let task = stage.state(&session).tasks[0].clone();
        assert_eq!(task.queued_at.is_some(), !taken, "{taken}");
        assert!(!stage.store.due.contains_key(&absence.id()));
        connect(&mut stage, &agent, "con_2");
        if taken {
            let again = &stage.store.due[&dispatch(&attempt).id()];
            assert_eq!(again.work, dispatch(&attempt), "it is sent to whatever process is there now");
            stage.report(&agent, "completed", Some(&attempt.task.attempt_name(1)), json!(1));
            assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Completed);
        } else {
            stage.run(&MatchAgent { agent: agent.clone() }).expect("offered");
            let again = status(&stage, &agent).held[0].attempt_of();
            stage.report(&agent, "completed", Some(&again.task.attempt_name(2)), json!(1));
        }
        stage.run(&end(&agent, "con_2")).expect("ended");
    }
}

#[test]
fn a_task_without_another_attempt_waits_for_its_agent() {
    let mut stage = Stage::new();
    let agent = connecting(&mut stage, "reader");
    connect(&mut stage, &agent, "con_1");
    let session = stage.session(vec![step("read", Some(0))]);
    stage.run(&end(&agent, "con_1")).expect("ended");
    stage.now = stage.now + RECONNECT_GRACE;
    fire(&mut stage, &DueJob::Absence { agent: agent.clone() });
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Dispatched);
    assert_eq!(status(&stage, &agent).held.len(), 1);
}

#[test]
fn the_end_of_a_node_ends_the_connections_that_it_held() {
    let mut stage = Stage::new();
    let agents: Vec<AgentId> = ["a", "b", "c"].iter().map(|name| connecting(&mut stage, name)).collect();
    for agent in &agents {
        connect(&mut stage, agent, "con_1");
    }
    // It was quick, and is connected elsewhere.
    connect(&mut stage, &agents[1], "con_2");
    let gone = AgentId::parse("gone").expect("valid");
    let connections = agents.iter().chain([&gone]).map(|agent| (agent.clone(), con("con_1"))).collect();
    let swept = stage.run(&DisconnectMany { connections, reason: "the node is gone".to_owned() });
    assert_eq!(swept, Ok(2));
    let connected: Vec<bool> =
        agents.iter().map(|agent| status(&stage, agent).connection.is_some()).collect();
    assert_eq!(connected, [false, true, false]);
}

#[test]
fn what_is_sent_to_an_agent_without_an_endpoint_has_a_lane_of_its_own() {
    let mut stage = Stage::new();
    let agent = connecting(&mut stage, "reader");
    connect(&mut stage, &agent, "con_1");
    let id = stage.run(&message(&agent)).expect("accepted");
    let kept = &stage.store.messages[&id];
    assert_eq!((kept.lane.of_agent(), kept.status), (Some(agent.clone()), MessageStatus::Scheduled));
    let (decision, _) = stage.decide(&crate::stage::trigger(vec![step("read", None)])).expect("decided");
    let lanes: Vec<&Lane> = decision.due.iter().map(|due| &due.lane).collect();
    assert!(lanes.contains(&&Lane::agent(&agent)), "{lanes:?}");
}

fn dispatch(attempt: &TaskAttempt) -> DueJob {
    let TaskAttempt { session, task, attempt } = attempt.clone();
    DueJob::Dispatch { session, task, attempt }
}

/// What a try that began now came to.
fn had(stage: &mut Stage, agent: &AgentId, attempt: &TaskAttempt) {
    let had = Outcome::Delivered { status: 200 };
    stage.run(&SettleDispatch::at(stage.now, agent.clone(), attempt.clone(), 1, had)).expect("settled");
}

#[test]
fn what_an_agent_holds_comes_again_under_its_id_when_it_connects_anew() {
    for is_running in [false, true] {
        let mut stage = Stage::new();
        let agent = connecting(&mut stage, "reader");
        connect(&mut stage, &agent, "con_1");
        let session = stage.session(vec![step("read", None)]);
        let attempt = status(&stage, &agent).held[0].attempt_of();
        had(&mut stage, &agent, &attempt);
        let name = attempt.task.attempt_name(1);
        if is_running {
            stage.report(&agent, "busy", Some(&name), Value::Null);
        }
        assert!(!matches!(stage.store.due[&dispatch(&attempt).id()].work, DueJob::Dispatch { .. }));
        stage.now = stage.now + Duration::from_secs(1);
        stage.run(&end(&agent, "con_1")).expect("ended");

        let resumed = Connect {
            agent: agent.clone(),
            connection: con("con_2"),
            node: node(),
            key: None,
            is_resumed: true,
        };
        assert!(stage.decide(&resumed).expect("connected").0.due.is_empty(), "the same process is there");

        let began_at = stage.now;
        stage.now = stage.now + Duration::from_secs(1);
        connect(&mut stage, &agent, "con_2");
        let row = stage.store.due[&dispatch(&attempt).id()].clone();
        assert_eq!(row.work, dispatch(&attempt));
        assert!(row.ends.is_some() && row.visible_at <= stage.now, "at once, and until its own timeout");
        let held = &status(&stage, &agent).held[0];
        assert!(held.comes_again && held.taken_at.is_none() && !held.is_active, "{held:?}");

        // What the earlier connection came to says nothing of this one.
        let late = Outcome::Delivered { status: 200 };
        stage.run(&SettleDispatch::at(began_at, agent.clone(), attempt.clone(), 1, late)).expect("settled");
        assert_eq!(stage.store.due[&dispatch(&attempt).id()].work, dispatch(&attempt));
        // It says that it is there, which is said of no task.
        let idle = ReportState {
            agent: agent.clone(),
            state: "idle".to_owned(),
            timestamp: stage.now,
            details: None,
            task: None,
            session: None,
        };
        stage.run(&idle).expect("reported");
        assert!(stage.state(&session).tasks[0].status.is_held());

        // Where it goes again before it has it, the task stays its own.
        stage.run(&end(&agent, "con_2")).expect("ended");
        stage.now = stage.now + RECONNECT_GRACE;
        fire(&mut stage, &DueJob::Absence { agent: agent.clone() });
        assert_eq!(status(&stage, &agent).held.len(), 1);

        connect(&mut stage, &agent, "con_3");
        stage.now = stage.now + Duration::from_secs(1);
        had(&mut stage, &agent, &attempt);
        assert!(!matches!(stage.store.due[&dispatch(&attempt).id()].work, DueJob::Dispatch { .. }));
        stage.report(&agent, "completed", Some(&name), json!(1));
        assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Completed);
        assert_eq!(stage.state(&session).tasks[0].attempt, 1, "it was one attempt");
    }
}

#[test]
fn an_ephemeral_agent_is_there_only_while_it_is_connected() {
    let mut stage = Stage::new();
    let metadata = serde_json::Map::from_iter([("ephemeral".to_owned(), json!(true))]);
    let register = Register { endpoint: None, metadata, ..registration("visitor", 1, true) };
    let grace = Policy::default().ephemeral_grace;
    let absence = |agent: &AgentId| DueJob::Absence { agent: agent.clone() };
    let is_there = |stage: &Stage, agent: &AgentId| stage.store.status(agent).is_some();

    // One that never comes.
    let agent = stage.run(&register).expect("registered").agent;
    assert!(stage.store.due.contains_key(&absence(&agent).id()), "it is looked at again");
    fire(&mut stage, &absence(&agent));
    assert!(is_there(&stage, &agent), "it has time to come");
    stage.now = stage.now + grace;
    fire(&mut stage, &absence(&agent));
    assert!(!is_there(&stage, &agent));

    // One that comes, is away for a moment, and goes.
    let agent = stage.run(&register).expect("registered").agent;
    connect(&mut stage, &agent, "con_1");
    stage.now = stage.now + grace;
    fire(&mut stage, &absence(&agent));
    assert!(is_there(&stage, &agent), "it is connected");
    stage.run(&end(&agent, "con_1")).expect("ended");
    assert!(stage.store.due.contains_key(&absence(&agent).id()));
    connect(&mut stage, &agent, "con_2");
    stage.now = stage.now + grace;
    fire(&mut stage, &absence(&agent));
    assert!(is_there(&stage, &agent), "it came back in time");
    stage.run(&end(&agent, "con_2")).expect("ended");
    stage.now = stage.now + RECONNECT_GRACE;
    fire(&mut stage, &absence(&agent));
    assert!(is_there(&stage, &agent), "its client may be waiting between two tries");
    stage.now = stage.now + grace;
    fire(&mut stage, &absence(&agent));
    assert!(!is_there(&stage, &agent));
}

#[test]
fn an_ephemeral_agent_is_not_removed_while_it_holds_a_task() {
    let mut stage = Stage::new();
    let metadata = serde_json::Map::from_iter([("ephemeral".to_owned(), json!(true))]);
    let register = Register { endpoint: None, metadata, ..registration("visitor", 1, true) };
    let agent = stage.run(&register).expect("registered").agent;
    connect(&mut stage, &agent, "con_1");
    let session = stage.session(vec![step("read", None)]);
    let attempt = status(&stage, &agent).held[0].attempt_of();
    had(&mut stage, &agent, &attempt);
    stage.run(&end(&agent, "con_1")).expect("ended");
    let absence = DueJob::Absence { agent: agent.clone() };
    stage.now = stage.now + Policy::default().ephemeral_grace;
    fire(&mut stage, &absence);
    assert_eq!(status(&stage, &agent).held.len(), 1, "what it works on is its own until its timeout");
    assert!(stage.store.due.contains_key(&absence.id()), "it is looked at again");

    connect(&mut stage, &agent, "con_2");
    let name = stage.state(&session).tasks[0].id.to_string();
    stage.report(&agent, "completed", Some(&name), json!(1));
    stage.run(&end(&agent, "con_2")).expect("ended");
    stage.now = stage.now + Policy::default().ephemeral_grace;
    fire(&mut stage, &absence);
    assert!(stage.store.status(&agent).is_none());
}

#[test]
fn a_timer_that_finds_an_agent_there_does_not_end_that_of_its_next_absence() {
    let mut stage = Stage::new();
    let metadata = serde_json::Map::from_iter([("ephemeral".to_owned(), json!(true))]);
    let register = Register { endpoint: None, metadata, ..registration("visitor", 1, true) };
    let agent = stage.run(&register).expect("registered").agent;
    connect(&mut stage, &agent, "con_1");
    let fired = TimerFired { work: DueJob::Absence { agent: agent.clone() } };
    let (decision, ()) = stage.decide(&fired).expect("decided");
    assert!(decision.due.is_empty());
    let rests_on = |key: Key| decision.expects.iter().any(|(expected, _)| *expected == key);
    assert!(rests_on(Key::Status(agent.clone())), "its connection may end meanwhile: {:?}", decision.expects);
}

#[test]
fn an_agent_that_becomes_ephemeral_while_it_is_away_is_looked_at_again() {
    let mut stage = Stage::new();
    let agent = connecting(&mut stage, "reader");
    let metadata = serde_json::Map::from_iter([("ephemeral".to_owned(), json!(true))]);
    let patch = PatchAgent {
        agent: agent.clone(),
        version: None,
        endpoint: None,
        capabilities: None,
        metadata: Some(metadata),
    };
    stage.run(&patch).expect("changed");
    assert!(stage.store.due.contains_key(&DueJob::Absence { agent }.id()));
}
