//! A payload is kept once, and goes with the last session that refers to it, also by way of another payload.

use std::sync::Arc;

use serde_json::{Value, json};
use signalbox_core::Decision;
use signalbox_core::decision::{Key, Row};
use signalbox_core::payload::Payload;
use signalbox_core::session::{Session, SessionStatus};
use signalbox_store::{Prune, Store};

use crate::samples::{ended, event, session, session_id, task};
use crate::world::{World, at, commit, contract, tenant};

contract! {
    a_payload_goes_with_the_last_session_that_refers_to_it,
    what_a_payload_refers_to_is_kept_with_it,
    what_only_a_history_or_a_task_refers_to_is_kept,
    a_payload_that_is_kept_again_is_the_same,
    a_session_that_is_removed_by_hand_lets_its_payloads_go,
}

fn payload(mark: &str) -> Arc<Payload> {
    Arc::new(Payload::of(json!(format!("large {mark}"))))
}

fn over(id: &str, ended_at: i64, result: Value) -> Session {
    Session { result: Some(result), ..ended(session(id, "w", 0), SessionStatus::Completed, ended_at) }
}

async fn keep(store: &Store, session: Session, payloads: &[&Arc<Payload>]) {
    let mut decision = Decision::default();
    decision.create(Row::Session(Arc::new(session)), 1);
    for payload in payloads {
        decision.put_guarded(Row::Payload(Arc::clone(payload)), 1);
    }
    commit(store, decision).await.expect("kept");
}

/// Removes sessions that ended before `before`.
async fn prune(store: &Store, before: i64) {
    let before = at(before);
    let prune = Prune {
        events_before: at(0),
        sessions_before: before,
        messages_before: at(0),
        now: at(0),
        limit: 1_000,
        piece: std::time::Duration::from_millis(5),
    };
    store.prune(prune).await.expect("pruned");
}

/// Whether each of these is kept, asked of the database itself.
async fn kept<const N: usize>(world: &World, payloads: [&Arc<Payload>; N]) -> [bool; N] {
    let again = Store::open(world.options.clone()).await.expect("opened beside the other");
    let mut kept = [false; N];
    for (kept, payload) in kept.iter_mut().zip(payloads) {
        let read = again.payload(&tenant(), &payload.sha256).await.expect("read");
        assert!(read.as_deref().is_none_or(|read| read == payload.as_ref()));
        *kept = read.is_some();
    }
    again.close().await.expect("closed");
    kept
}

async fn a_payload_goes_with_the_last_session_that_refers_to_it(world: &World) {
    let store = &world.store;
    let (both, one) = (payload("both"), payload("one"));
    let result = json!([both.reference(), {"x": one.reference()}]);
    keep(store, over("old", 5, result), &[&both, &one]).await;
    keep(store, over("young", 50, json!({"again": both.reference()})), &[]).await;
    assert_eq!(kept(world, [&both, &one]).await, [true, true]);
    prune(store, 10).await;
    assert_eq!(kept(world, [&both, &one]).await, [true, false]);
    prune(store, 100).await;
    assert_eq!(kept(world, [&both, &one]).await, [false, false]);
}

async fn what_a_payload_refers_to_is_kept_with_it(world: &World) {
    let store = &world.store;
    let inner = payload("inner");
    let middle = Arc::new(Payload::of(json!({"in": [inner.reference(), inner.reference()]})));
    let outer = Arc::new(Payload::of(json!([middle.reference()])));
    keep(store, over("old", 5, outer.reference()), &[&inner, &middle, &outer]).await;
    // This one was handed the reference alone.
    keep(store, over("young", 50, outer.reference()), &[]).await;
    prune(store, 10).await;
    assert_eq!(kept(world, [&inner, &middle, &outer]).await, [true; 3]);
    prune(store, 100).await;
    assert_eq!(kept(world, [&inner, &middle, &outer]).await, [false; 3]);
}

async fn what_only_a_history_or_a_task_refers_to_is_kept(world: &World) {
    let store = &world.store;
    let (told, given, logged) = (payload("told"), payload("given"), payload("logged"));
    let mut decision = Decision::default();
    decision.create(Row::Session(Arc::new(over("s", 5, Value::Null))), 1);
    let mut row = task("t", 0);
    row.result = Some(given.reference());
    decision.put_guarded(Row::Task(session_id("s"), Arc::new(row)), 1);
    let mut entry = event("task.completed");
    entry.data = json!({"result": told.reference()}).to_string();
    entry.session = Some((session_id("s"), 1));
    decision.events.push(entry.clone());
    // What is only told about a session, and is no part of its history, keeps nothing.
    entry.data = json!({"result": logged.reference()}).to_string();
    entry.session = Some((session_id("s"), 0));
    decision.events.push(entry);
    for payload in [&told, &given] {
        decision.put_guarded(Row::Payload(Arc::clone(payload)), 1);
    }
    commit(store, decision).await.expect("kept");
    keep(store, over("other", 50, Value::Null), &[&logged]).await;
    prune(store, 10).await;
    assert_eq!(kept(world, [&told, &given, &logged]).await, [false, false, true]);
}

async fn a_payload_that_is_kept_again_is_the_same(world: &World) {
    let store = &world.store;
    let same = payload("same");
    for id in ["a", "b", "c"] {
        keep(store, over(id, 5, same.reference()), &[&same]).await;
    }
    assert_eq!(kept(world, [&same]).await, [true]);
    prune(store, 10).await;
    assert_eq!(kept(world, [&same]).await, [false]);
    keep(store, over("d", 5, same.reference()), &[&same]).await;
    assert_eq!(kept(world, [&same]).await, [true], "it can come back");
}

async fn a_session_that_is_removed_by_hand_lets_its_payloads_go(world: &World) {
    let store = &world.store;
    let (one, both) = (payload("one"), payload("both"));
    keep(store, over("s", 5, json!([one.reference(), both.reference()])), &[&one, &both]).await;
    let mut decision = Decision::default();
    decision.remove(Key::Session(session_id("s")), 1);
    decision.create(Row::Session(Arc::new(over("t", 5, both.reference()))), 1);
    commit(store, decision).await.expect("removed");
    assert_eq!(kept(world, [&one, &both]).await, [false, true]);
}
