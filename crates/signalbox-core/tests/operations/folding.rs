//! Operations that are decided as one: what comes of them is what comes of them one after the other.

use proptest::prelude::*;
use serde_json::json;
use signalbox_core::decision::Key;
use signalbox_core::engine::ReportState;
use signalbox_core::{Need, Rejected, Snapshot};
use signalbox_wire::id::{AgentId, SessionId};
use signalbox_wire::raw::RawObject;

use crate::play::{Making, task, workflow};
use crate::stage::Stage;

const AGENTS: usize = 4;

/// A session with more items than agents, each of which holds one.
fn wide() -> (Stage, SessionId, Vec<AgentId>) {
    let mut stage = Stage::new();
    let agents = (0..AGENTS).map(|n| stage.agent(&format!("reader {n}"), 1)).collect();
    let each = task("a").for_each().given(&json!({"name": "${item}"}));
    let last = task("b").needs(&["a"]);
    let list: Vec<usize> = (0..AGENTS + 2).collect();
    let session = stage.start(workflow("workflow", vec![each, last]), &json!({ "list": list }));
    stage.deliver();
    (stage, session, agents)
}

/// What an agent says of the task that it holds; of a task that nobody knows where it holds none.
fn report(stage: &Stage, session: &SessionId, agent: &AgentId, state: &str) -> ReportState {
    let state_now = stage.state(session);
    let held = state_now.tasks.iter().find(|task| task.agent.as_ref() == Some(agent));
    let name = held.map_or("unknown".to_owned(), |task| task.id.attempt_name(task.attempt));
    ReportState {
        agent: agent.clone(),
        state: state.to_owned(),
        timestamp: stage.now,
        details: RawObject::parse(json!({"result": state, "error": "broken"}).to_string()).ok(),
        task: Some(name),
        session: None,
    }
}

/// Everything about the session and the agents that does not depend on the moment.
fn outcome(stage: &Stage, session: &SessionId, agents: &[AgentId]) -> String {
    let state = stage.state(session);
    let tasks = state.tasks.iter().map(|task| {
        let (status, agent) = (task.status.name(), task.agent.as_ref());
        format!("{}={status} {} {agent:?} {:?} {:?}", task.step, task.attempt, task.result, task.error)
    });
    let held = agents.iter().map(|agent| {
        let status = stage.store.status(agent);
        let held = status.map(|status| status.held.iter().map(|held| held.step.clone()).collect::<Vec<_>>());
        format!("{held:?} {:?}", status.and_then(|status| status.report.as_ref().map(|report| &report.state)))
    });
    let due: Vec<&str> = stage.store.due.values().map(|row| row.work.kind()).collect();
    let kinds = stage.kinds(session);
    let available: usize = stage.store.available.values().map(|routes| routes.len()).sum();
    let parts: Vec<String> = tasks.chain(held).collect();
    format!("{}\n{due:?}\n{kinds:?}\n{available}", parts.join("\n"))
}

proptest! {
    #[test]
    fn what_is_decided_as_one_is_as_if_one_came_after_the_other(
        said in prop::collection::vec((0..=AGENTS, prop::sample::select(vec!["completed", "error", "active", "offline"])), 1..8),
    ) {
        let (mut apart, session, mut agents) = wide();
        let (mut folded, ..) = wide();
        // One that nobody knows: it is refused, and does not spoil the others.
        agents.push(AgentId::parse("nobody").expect("valid"));
        let reports: Vec<ReportState> =
            said.iter().map(|(agent, state)| report(&apart, &session, &agents[*agent], state)).collect();
        let one_by_one: Vec<Result<(), Rejected>> = reports.iter().map(|report| apart.run(report)).collect();
        let as_one = folded.fold(&reports);
        prop_assert_eq!(as_one, one_by_one);
        prop_assert_eq!(outcome(&folded, &session, &agents), outcome(&apart, &session, &agents));
    }
}

#[test]
fn many_settlements_are_one_commit() {
    let (mut stage, session, agents) = wide();
    let reports: Vec<ReportState> =
        agents.iter().map(|agent| report(&stage, &session, agent, "completed")).collect();
    let before = stage.store.commits;
    assert_eq!(stage.fold(&reports), vec![Ok(()); AGENTS]);
    assert_eq!(stage.store.commits - before, 1);
    assert!(stage.look(&session).contains("a[3]=completed"), "{}", stage.look(&session));
}

/// Whoever loads candidates loads the rows of the first of them, as they are stored: not over what has been decided since.
#[test]
fn what_has_been_decided_is_not_loaded_over() {
    let (mut stage, ..) = wide();
    let agent = stage.agent("another", 1);
    let mut snapshot = Snapshot::new();
    let key = Key::Status(agent.clone());
    stage.store.load(&Need::Row(key.clone()), &mut snapshot);
    let known = snapshot.status(&agent).expect("shown").expect("a status").version;
    stage.report(&agent, "active", None, json!(1));
    stage.store.load(&Need::Row(key), &mut snapshot);
    assert_eq!(snapshot.status(&agent).expect("shown").expect("a status").version, known, "one state");
}
