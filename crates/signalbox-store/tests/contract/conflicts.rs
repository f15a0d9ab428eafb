//! A decision is applied whole or not at all, and only on the versions that it was made on.

use std::sync::Arc;

use signalbox_core::agent::AgentStatus;
use signalbox_core::decision::{Key, Row};
use signalbox_core::{Decision, Need};
use signalbox_store::{EventFilter, Page, StoreError};
use signalbox_wire::time::Timestamp;

use crate::samples::{agent, agent_id, deliver, event, name, status};
use crate::world::{World, at, commit, contract, tenant, view_of};

contract! {
    a_guard_that_does_not_hold_changes_nothing,
    an_expectation_that_does_not_hold_changes_nothing,
    guarded_rows_follow_their_guard,
    concurrent_writers_lose_no_update,
}

async fn is_untouched(world: &World) {
    let store = &world.store;
    let names = view_of(store, &tenant(), &Need::Row(Key::AgentName("free".into()))).await;
    assert!(names.agent_named("free").expect("loaded").is_none(), "a row of a conflicting decision is there");
    let events = store.events(&tenant(), &EventFilter::default(), &Page { limit: 10, after: None }).await;
    assert_eq!(events.expect("read").items.len(), 1, "an event of a conflicting decision is there");
    let backlog = store.backlog().await.expect("read");
    assert_eq!(backlog.pending, 1, "due work of a conflicting decision is there, or done work is gone");
}

/// An agent at version 10, with one event and one piece of due work.
async fn prepare(world: &World) {
    let mut decision = Decision::default();
    decision.create(Row::Agent(Arc::new(agent("a", &[]))), 10);
    decision.events.push(event("agent.registered"));
    decision.due.push(deliver("m", 100));
    commit(&world.store, decision).await.expect("prepared");
}

/// A decision with something of everything.
fn full() -> Decision {
    let mut decision = Decision::default();
    decision.create(Row::AgentName(name("free", "a")), 20);
    decision.events.push(event("agent.changed"));
    decision.due.push(deliver("other", 100));
    decision.done.push(deliver("m", 100).work.id());
    decision
}

async fn a_guard_that_does_not_hold_changes_nothing(world: &World) {
    prepare(world).await;
    let row = || Row::Agent(Arc::new(agent("a", &["new"])));
    let missing = || Row::Agent(Arc::new(agent("missing", &[])));
    type Write = Box<dyn Fn(&mut Decision)>;
    let wrong: Vec<Write> = vec![
        Box::new(move |decision| decision.create(row(), 20)),
        Box::new(move |decision| decision.put(row(), Some(9), 20)),
        Box::new(move |decision| decision.put(row(), Some(11), 20)),
        Box::new(move |decision| decision.put(missing(), Some(10), 20)),
        Box::new(|decision| decision.remove(Key::Agent(agent_id("a")), 9)),
        Box::new(|decision| decision.remove(Key::Agent(agent_id("missing")), 10)),
    ];
    for write in wrong {
        let mut decision = full();
        write(&mut decision);
        let answer = commit(&world.store, decision).await;
        assert!(matches!(answer, Err(StoreError::Conflict)), "{answer:?}");
        is_untouched(world).await;
    }
}

async fn an_expectation_that_does_not_hold_changes_nothing(world: &World) {
    prepare(world).await;
    let (there, missing) = (Key::Agent(agent_id("a")), Key::Agent(agent_id("missing")));
    for wrong in [(there.clone(), Some(9)), (there.clone(), None), (missing.clone(), Some(10))] {
        let mut decision = full();
        decision.expects.push(wrong);
        let answer = commit(&world.store, decision).await;
        assert!(matches!(answer, Err(StoreError::Conflict)), "{answer:?}");
        is_untouched(world).await;
    }
    let mut decision = full();
    decision.expects = vec![(there, Some(10)), (missing, None)];
    commit(&world.store, decision).await.expect("both hold");
}

async fn guarded_rows_follow_their_guard(world: &World) {
    prepare(world).await;
    let mut decision = Decision::default();
    decision.put_guarded(Row::AgentName(name("n", "a")), 20);
    decision.put_guarded(Row::AgentName(name("n2", "a")), 20);
    decision.put(Row::Agent(Arc::new(agent("a", &[]))), Some(10), 20);
    commit(&world.store, decision).await.expect("guarded");
    let mut decision = Decision::default();
    decision.put_guarded(Row::AgentName(name("n", "b")), 30);
    decision.remove_guarded(Key::AgentName("n2".into()));
    decision.remove_guarded(Key::AgentName("never there".into()));
    commit(&world.store, decision).await.expect("whatever was there");
    let snapshot = view_of(&world.store, &tenant(), &Need::Row(Key::AgentName("n".into()))).await;
    assert_eq!(snapshot.agent_named("n").expect("loaded").expect("there").value.agent, agent_id("b"));
    let snapshot = view_of(&world.store, &tenant(), &Need::Row(Key::AgentName("n2".into()))).await;
    assert!(snapshot.agent_named("n2").expect("loaded").is_none());
}

async fn concurrent_writers_lose_no_update(world: &World) {
    const WRITERS: i64 = 16;
    const UPDATES: i64 = 25;
    let mut decision = Decision::default();
    decision.create(Row::Status(Arc::new(counter(0))), 1);
    commit(&world.store, decision).await.expect("created");
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move {
                for _ in 0..UPDATES {
                    count_up(&store).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("finished");
    }
    let end = world.store.status(&tenant(), &agent_id("a")).await.expect("read").expect("there");
    assert_eq!(end.value.last_seen.as_micros(), WRITERS * UPDATES);
    let filter = EventFilter { newest_first: true, ..EventFilter::default() };
    let events = world.store.events(&tenant(), &filter, &Page { limit: 1, after: None }).await.expect("read");
    assert_eq!(events.items[0].sequence.cast_signed(), WRITERS * UPDATES, "one event for each update");
}

fn counter(count: i64) -> AgentStatus {
    AgentStatus { last_seen: Timestamp::from_micros(count), ..status("a", "idle") }
}

/// Adds one, as a decision does: on what was read, and again on fresh rows when that had changed.
async fn count_up(store: &signalbox_store::Store) {
    let mut fresh = false;
    loop {
        let mut snapshot = signalbox_core::Snapshot::new();
        let need = Need::Row(Key::Status(agent_id("a")));
        store.load(&tenant(), &need, &mut snapshot, fresh).await.expect("loaded");
        let read = snapshot.status(&agent_id("a")).expect("loaded").expect("there");
        let mut decision = Decision::default();
        let next = counter(read.value.last_seen.as_micros() + 1);
        decision.put(Row::Status(Arc::new(next)), Some(read.version), read.version + 1);
        decision.events.push(event("agent.reported"));
        match store.commit(&tenant(), decision, at(0), None).await {
            Ok(_) => return,
            Err(StoreError::Conflict) => fresh = true,
            Err(error) => panic!("{error}"),
        }
    }
}
