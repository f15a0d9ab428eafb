//! What heartbeats tell is kept, of the connections that are their agents' own.

use std::time::Duration;

use serde_json::{Map, json};
use signalbox_core::decision::Key;
use signalbox_core::engine::{Connect, Deregister, Heartbeat, KeepFigures, Register};
use signalbox_core::figures::{AgentFigures, SAMPLES_MAX, Sample};
use signalbox_core::snapshot::Loaded;
use signalbox_wire::id::{AgentId, ConnectionId, NodeId};

use crate::stage::{Stage, registration};

fn con(id: &str) -> ConnectionId {
    ConnectionId::parse(id).expect("valid")
}

fn connected(stage: &mut Stage, name: &str, connection: &str) -> AgentId {
    let register = Register { endpoint: None, replace: true, ..registration(name, 1, true) };
    let agent = stage.run(&register).expect("registered").agent;
    let node = NodeId::parse("nod_1").expect("valid");
    let connect =
        Connect { agent: agent.clone(), connection: con(connection), node, key: None, is_resumed: false };
    stage.run(&connect).expect("connected");
    agent
}

fn beat(stage: &Stage, agent: &AgentId, connection: &str, cpu: Option<f64>) -> Heartbeat {
    let sample = Sample { at: stage.now, cpu_usage: cpu, memory_usage: None };
    let metrics = cpu.map(|cpu| Map::from_iter([("queue".to_owned(), json!(cpu))]));
    Heartbeat { agent: agent.clone(), connection: con(connection), sample, metrics }
}

fn figures(stage: &Stage, agent: &AgentId) -> Option<AgentFigures> {
    match stage.store.loaded(&Key::Figures(agent.clone()))? {
        Loaded::Figures(row) => Some(AgentFigures::clone(&row.value)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn figures_of_many_agents_are_kept_in_one_decision_without_their_statuses() {
    let mut stage = Stage::new();
    let agents: Vec<AgentId> =
        ["a", "b", "c"].iter().map(|name| connected(&mut stage, name, "con_1")).collect();
    stage.now = stage.now + Duration::from_secs(30);
    let heartbeats = agents.iter().map(|agent| beat(&stage, agent, "con_1", Some(12.5))).collect();
    let keep = KeepFigures { heartbeats };
    let (decision, stale) = stage.decide(&keep).expect("kept");
    assert_eq!((decision.writes.len(), stale.len(), decision.may_wait), (3, 0, true));
    assert_eq!(stage.runs, 2, "all is asked for at once");
    let at = stage.now;
    stage.run(&keep).expect("kept");
    let kept = figures(&stage, &agents[0]).expect("kept");
    assert!(kept.last_seen < at && kept.samples.len() == 1);
    assert_eq!(kept.metrics["queue"], json!(12.5));
}

#[test]
fn a_heartbeat_of_an_earlier_connection_or_registration_keeps_nothing_alive() {
    let mut stage = Stage::new();
    let agent = connected(&mut stage, "a", "con_1");
    let again = connected(&mut stage, "a", "con_2");
    assert_eq!(agent, again, "registered anew");
    let heartbeats = vec![beat(&stage, &agent, "con_1", Some(1.0))];
    let stale = stage.run(&KeepFigures { heartbeats }).expect("looked at");
    assert_eq!(stale, [(agent.clone(), con("con_1"))], "it is to be closed");
    assert_eq!(figures(&stage, &agent), None);
    let heartbeats = vec![beat(&stage, &agent, "con_2", None)];
    assert_eq!(stage.run(&KeepFigures { heartbeats }), Ok(Vec::new()));
    assert!(figures(&stage, &agent).is_some_and(|kept| kept.samples.is_empty()), "it told no figures");
    stage.run(&Deregister { agent: agent.clone(), trace: None }).expect("deregistered");
    assert_eq!(figures(&stage, &agent), None, "they go with the agent");
    let heartbeats = vec![beat(&stage, &agent, "con_2", None)];
    assert_eq!(stage.run(&KeepFigures { heartbeats }).map(|stale| stale.len()), Ok(1));
}

#[test]
fn only_the_last_samples_are_kept() {
    let mut stage = Stage::new();
    let agent = connected(&mut stage, "a", "con_1");
    for number in 0..SAMPLES_MAX + 5 {
        stage.now = stage.now + Duration::from_secs(30);
        let heartbeats = vec![beat(&stage, &agent, "con_1", Some(number as f64))];
        stage.run(&KeepFigures { heartbeats }).expect("kept");
    }
    let kept = figures(&stage, &agent).expect("kept");
    assert_eq!(kept.samples.len(), SAMPLES_MAX);
    assert_eq!(kept.samples.last().and_then(|sample| sample.cpu_usage), Some((SAMPLES_MAX + 4) as f64));
}
