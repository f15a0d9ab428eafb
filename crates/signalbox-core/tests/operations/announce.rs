//! Announcements of another service: new, changed, repeated, and with a name that is somebody else's here.

use proptest::prelude::*;
use serde_json::{Map, json};
use signalbox_core::engine::{Announce, Announced, Deregister};
use signalbox_core::limits::Policy;
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::time::Timestamp;

use crate::stage::{Stage, step};

fn announce(id: &str, name: &str, version: &str, generation: Option<u64>) -> Announce {
    Announce {
        id: AgentId::parse(id).expect("valid"),
        name: name.to_owned(),
        version: version.to_owned(),
        endpoint: Some(format!("http://{id}")),
        capabilities: vec![json!("read")],
        metadata: Map::new(),
        registered_at: None,
        generation,
    }
}

#[test]
fn an_announcement_creates_updates_or_tells_nothing_new() {
    let mut stage = Stage::new();
    let id = AgentId::parse("a").expect("valid");
    for (version, generation, expected, kept) in [
        ("1", Some(4), Announced::Created, 4),
        ("1", Some(4), Announced::Unchanged, 4),
        ("1", None, Announced::Unchanged, 4),
        ("1", Some(5), Announced::Updated, 5),
        ("1", Some(5), Announced::Unchanged, 5),
        ("2", None, Announced::Updated, 5),
        ("1", Some(4), Announced::Unchanged, 5),
        ("3", Some(5), Announced::Updated, 5),
        ("3", Some(6), Announced::Updated, 6),
    ] {
        let told = stage.run(&announce("a", "A", version, generation));
        assert_eq!(told, Ok(expected), "version {version}, generation {generation:?}");
        assert_eq!(stage.store.agents[&id].generation, kept);
    }
}

#[test]
fn a_repeated_announcement_leaves_the_agent_at_its_work() {
    let mut stage = Stage::new();
    stage.run(&announce("a", "A", "1", Some(4))).expect("announced");
    let session = stage.session(vec![step("read", None)]);
    stage.run(&announce("a", "A", "1", Some(4))).expect("announced again");
    let task = &stage.state(&session).tasks[0];
    assert_eq!((task.status, task.attempt), (TaskStatus::Dispatched, 1));
    stage.run(&announce("a", "A", "1", Some(5))).expect("it started anew");
    let task = &stage.state(&session).tasks[0];
    assert_eq!((task.status, task.attempt), (TaskStatus::Dispatched, 2));
}

#[test]
fn a_change_that_is_not_a_registration_leaves_the_agent_at_its_work() {
    let mut stage = Stage::new();
    let at = |seconds| Some(Timestamp::from_seconds(seconds));
    let told = |version: &str, registered_at, generation| Announce {
        registered_at,
        ..announce("a", "A", version, generation)
    };
    stage.run(&told("1", at(7), Some(1))).expect("announced");
    let session = stage.session(vec![step("read", None)]);
    let attempt = |stage: &Stage| stage.state(&session).tasks[0].attempt;
    let generation = |stage: &Stage| stage.store.agents.values().next().map(|agent| agent.generation);
    assert_eq!(
        stage.run(&told("2", at(7), None)),
        Ok(Announced::Updated),
        "as the periodic comparison tells"
    );
    assert_eq!((attempt(&stage), generation(&stage)), (1, Some(1)));
    assert_eq!(stage.run(&told("2", at(7), Some(2))), Ok(Announced::Updated), "it really started anew");
    assert_eq!((attempt(&stage), generation(&stage)), (2, Some(2)));
    assert_eq!(stage.run(&told("2", at(8), None)), Ok(Announced::Updated), "of another registration");
    assert_eq!((attempt(&stage), generation(&stage)), (3, Some(1)), "which is counted from one");
    assert_eq!(
        stage.run(&told("2", at(8), Some(1))),
        Ok(Announced::Unchanged),
        "its webhook comes after all"
    );
}

#[test]
fn registrations_of_other_tenants_are_not_announced() {
    let policy = Policy { announce: true, ..Policy::default() };
    let other = TenantId::parse("other").expect("valid");
    for (tenant, webhooks) in [(TenantId::default_tenant(), 2), (other, 0)] {
        let mut stage = Stage::new();
        stage.policy = policy.of(&tenant).into_owned();
        let agent = stage.agent("reader", 1);
        stage.run(&Deregister { agent, trace: None }).expect("gone");
        assert_eq!(stage.store.messages.len(), webhooks, "{tenant}");
    }
}

/// The one that takes the name sorts before and after the one that has it: neither order may matter.
#[test]
fn a_name_passes_to_the_agent_that_is_announced_with_it() {
    for id in ["a", "z"] {
        let mut stage = Stage::new();
        stage.run(&announce("m", "name", "1", None)).expect("announced");
        assert_eq!(stage.run(&announce(id, "name", "1", None)), Ok(Announced::Created));
        let id = AgentId::parse(id).expect("valid");
        assert_eq!(stage.store.holder("name"), Some(&id));
        assert_eq!(stage.store.agents.keys().collect::<Vec<_>>(), [&id]);
    }
}

proptest! {
    /// Any announcements in any order: the last one about an agent holds, and no name has two agents.
    #[test]
    fn the_last_announcement_holds(calls in prop::collection::vec((0..3_usize, 0..3_usize, 0..3_u64), 1..30)) {
        let mut stage = Stage::new();
        for (id, name, version) in calls {
            let (id, name) = (format!("id {id}"), format!("name {name}"));
            let call = announce(&id, &name, &version.to_string(), None);
            stage.run(&call).expect("announced");
            prop_assert_eq!(stage.run(&call), Ok(Announced::Unchanged));
            let agent = &stage.store.agents[&call.id];
            prop_assert_eq!((&agent.name, &agent.version), (&name, &version.to_string()));
            for agent in stage.store.agents.values() {
                prop_assert_eq!(stage.store.holder(&agent.name), Some(&agent.id));
            }
        }
    }
}
