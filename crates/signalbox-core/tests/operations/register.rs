//! Registering: names and ids are given out once, and a name that is taken over keeps its agent.

use proptest::prelude::*;
use serde_json::json;
use signalbox_core::Rejected;
use signalbox_core::delivery::MessageKind;
use signalbox_core::engine::{Deregister, Register};
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::AgentId;

use crate::play::{Making, workflow};
use crate::stage::{Stage, registration, step};

fn with_id(name: &str, id: &str, replace: bool) -> Register {
    Register { id: AgentId::parse(id).ok(), ..registration(name, 1, replace) }
}

#[test]
fn a_name_is_given_out_once_unless_it_is_taken_over() {
    let mut stage = Stage::new();
    let agent = stage.agent("a", 1);
    let again = stage.run(&registration("a", 1, false));
    assert_eq!(again, Err(Rejected::NameTaken("a".into())));
    let taken_over = stage.run(&registration("a", 2, true)).expect("taken over");
    assert_eq!((&taken_over.agent, taken_over.is_replaced), (&agent, true));
    let kept = &stage.store.agents[&agent];
    assert_eq!((kept.generation, kept.concurrency), (2, 2));
}

#[test]
fn a_taken_name_with_the_same_endpoint_is_that_agent_restarted_where_the_operator_says_so() {
    let at = |endpoint: Option<&str>| Register {
        endpoint: endpoint.map(str::to_owned),
        ..registration("a", 1, false)
    };
    let taken = Err(Rejected::NameTaken("a".into()));
    let (here, there) = (at(Some("http://here/run")), at(Some("http://there/run")));
    let mut stage = Stage::new();
    let first = stage.run(&here).expect("registered").agent;
    let session = stage.session(vec![step("read", None)]);
    assert_eq!(stage.run(&here), taken, "not unless it is switched on");
    stage.policy.restart_by_endpoint = true;
    assert_eq!(stage.run(&there), taken, "another agent that wants the name");
    assert_eq!(stage.run(&Register { id: AgentId::parse("other").ok(), ..here.clone() }), taken);
    let again = stage.run(&here).expect("restarted");
    assert_eq!((&again.agent, again.is_replaced), (&first, true));
    assert_eq!(stage.store.agents[&first].generation, 2);
    let task = &stage.state(&session).tasks[0];
    assert_eq!((task.status, task.attempt), (TaskStatus::Dispatched, 2), "what it held is given to it again");

    let mut stage = Stage::new();
    stage.policy.restart_by_endpoint = true;
    stage.run(&at(None)).expect("registered");
    assert_eq!(stage.run(&at(None)), taken, "agents without an endpoint are not known by it");
}

#[test]
fn an_id_is_given_out_once_whatever_the_name() {
    let mut stage = Stage::new();
    stage.run(&with_id("a", "one", false)).expect("registered");
    for replace in [false, true] {
        assert_eq!(stage.run(&with_id("b", "one", replace)), Err(Rejected::IdTaken("one".into())));
        assert_eq!(stage.run(&with_id("a", "two", replace)), Err(Rejected::NameTaken("a".into())));
    }
    assert!(stage.run(&with_id("a", "one", true)).is_ok_and(|registered| registered.is_replaced));
}

#[test]
fn a_name_is_free_again_when_its_agent_is_gone() {
    let mut stage = Stage::new();
    let agent = stage.agent("a", 1);
    stage.run(&Deregister { agent: agent.clone(), trace: None }).expect("gone");
    assert_eq!(stage.store.holder("a"), None);
    let registered = stage.run(&registration("a", 1, false)).expect("registered");
    assert_ne!(registered.agent, agent, "another agent of the same name");
}

/// One run for each task would make the work grow with the square of what the agent holds.
#[test]
fn an_agent_that_holds_many_tasks_gives_them_back_in_few_runs() {
    let runs = |count: u32, is_removed: bool| {
        let mut stage = Stage::new();
        let agent = stage.agent("a", count);
        for _ in 0..count {
            stage.session(vec![step("read", Some(1))]);
        }
        let held = |stage: &Stage| stage.store.status(&agent).map_or(0, |status| status.held.len());
        assert_eq!(held(&stage), count as usize);
        if is_removed {
            stage.run(&Deregister { agent: agent.clone(), trace: None }).expect("gone");
        } else {
            stage.run(&registration("a", count, true)).expect("registered anew");
            assert_eq!(held(&stage), count as usize, "it is given them again");
        }
        stage.runs
    };
    for is_removed in [false, true] {
        assert_eq!(runs(40, is_removed), runs(4, is_removed));
    }
}

#[test]
fn what_an_agent_held_goes_back_when_it_registers_anew() {
    let mut stage = Stage::new();
    let agent = stage.agent("a", 1);
    let session = stage.session(vec![step("read", Some(1))]);
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Dispatched);
    for (attempt, status) in [(2, TaskStatus::Dispatched), (2, TaskStatus::Failed)] {
        stage.run(&registration("a", 1, true)).expect("registered anew");
        let task = &stage.state(&session).tasks[0];
        assert_eq!((task.attempt, task.status), (attempt, status), "{:?}", task.error);
    }
    assert!(stage.store.status(&agent).is_some_and(|status| status.held.is_empty()));
}

#[test]
fn what_an_agent_no_longer_has_it_is_not_told_to_stop() {
    let mut stage = Stage::new();
    let agent = stage.agent("a", 2);
    let steps = vec![step("one", Some(0)), step("two", Some(0)), step("last", None).needs(&["one", "two"])];
    let session = stage.start(workflow("workflow", steps), &json!({}));
    assert_eq!(stage.store.status(&agent).map(|status| status.held.len()), Some(2));
    stage.deliver();
    let told = stage.bodies(MessageKind::Task).len();
    stage.run(&registration("a", 2, true)).expect("registered anew");
    assert_eq!(stage.look(&session), "failed one=failed two=cancelled last=pending");
    let status = stage.store.status(&agent).expect("a status");
    assert_eq!(
        (status.held.len(), status.stopping.len()),
        (0, 0),
        "the first has failed, and the session with it"
    );
    assert_eq!(stage.bodies(MessageKind::Task).len(), told);
}

proptest! {
    /// Whoever comes and goes in whatever order: every name belongs to at most one agent, and to the right one.
    #[test]
    fn names_and_agents_agree(calls in prop::collection::vec((0..3_usize, 0..4_usize, any::<bool>()), 1..30)) {
        let mut stage = Stage::new();
        for (name, id, replace) in calls {
            let name = format!("name {name}");
            let before: Vec<AgentId> = stage.store.agents.keys().cloned().collect();
            let call = match id {
                0 => registration(&name, 1, replace),
                id => with_id(&name, &format!("id {id}"), replace),
            };
            let holder = stage.store.holder(&name).cloned();
            match (stage.run(&call), holder) {
                (Ok(registered), Some(holder)) => {
                    prop_assert!(registered.is_replaced && replace && registered.agent == holder);
                }
                (Ok(registered), None) => prop_assert!(!before.contains(&registered.agent)),
                (Err(Rejected::NameTaken(taken)), Some(_)) => prop_assert_eq!(taken, name),
                (Err(Rejected::IdTaken(taken)), None) => {
                    prop_assert!(before.iter().any(|id| id.as_str() == taken));
                }
                (other, holder) => prop_assert!(false, "{other:?} while {holder:?} has '{name}'"),
            }
            for agent in stage.store.agents.values() {
                prop_assert_eq!(stage.store.holder(&agent.name), Some(&agent.id));
            }
            if let (Some(agent), true) = (before.first(), before.len() > 2) {
                stage.run(&Deregister { agent: agent.clone(), trace: None }).expect("it was there");
            }
        }
    }
}

#[test]
fn capabilities_and_concurrency_come_from_the_registration() {
    let mut stage = Stage::new();
    let call = Register {
        capabilities: vec![json!("x"), json!({"name": "y"}), json!(3)],
        metadata: serde_json::Map::from_iter([("concurrency".to_owned(), json!("many"))]),
        ..registration("a", 1, false)
    };
    let agent = stage.run(&call).expect("registered").agent;
    let kept = &stage.store.agents[&agent];
    assert_eq!(kept.capability_names().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(kept.concurrency, 1, "what is no number is the default");
}
