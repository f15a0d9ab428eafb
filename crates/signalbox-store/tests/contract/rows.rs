//! Rows of every kind are put, read back, replaced and removed; a session comes with its tasks.

use std::sync::Arc;

use signalbox_core::decision::{ApiKey, Key, PreviousSecret, Row};
use signalbox_core::quota::UsageDay;
use signalbox_core::session::SessionStatus;
use signalbox_core::{Decision, Need, Snapshot};
use signalbox_store::Counted;
use signalbox_wire::raw::RawObject;

use crate::samples::{
    agent, agent_id, api_key, definition, every_kind, message, message_id, session, session_id, status, task,
    task_id, tenant_id, tool_name, workflow, workflow_id,
};
use crate::world::{World, commit, contract, parts, tenant, view_of};

contract! {
    every_kind_is_put_and_removed,
    what_is_read_is_what_was_put,
    many_rows_are_read_at_once,
    a_session_comes_with_its_tasks_in_order,
    keys_are_found_by_hash_and_only_once,
    a_key_is_found_by_the_secret_before_too,
    what_a_tenant_has_and_took_is_counted,
    the_current_definition_is_found,
    rows_survive_a_restart,
    large_rows_are_kept_whole,
}

async fn every_kind_is_put_and_removed(world: &World) {
    let store = &world.store;
    let put_all = |read: Option<i64>, version: i64| {
        let mut decision = Decision::default();
        every_kind().into_iter().for_each(|row| decision.put(row, read, version));
        decision
    };
    let remove_all = |read: i64| {
        let mut decision = Decision::default();
        every_kind().iter().for_each(|row| decision.remove(row.key(), read));
        decision
    };
    commit(store, put_all(None, 10)).await.expect("created");
    commit(store, put_all(None, 11)).await.expect_err("there already");
    commit(store, put_all(Some(10), 20)).await.expect("replaced");
    commit(store, remove_all(10)).await.expect_err("another version now");
    commit(store, remove_all(20)).await.expect("removed");
    commit(store, remove_all(20)).await.expect_err("gone");
    commit(store, put_all(None, 30)).await.expect("created again");
}

async fn what_is_read_is_what_was_put(world: &World) {
    let store = &world.store;
    let mut decision = Decision::default();
    every_kind().into_iter().for_each(|row| decision.create(row, 7));
    commit(store, decision).await.expect("created");
    let snapshot = |key: Key| async { view_of(store, &tenant(), &Need::Row(key)).await };
    for row in every_kind() {
        let snapshot = snapshot(row.key()).await;
        match row {
            Row::Agent(row) => {
                assert_eq!(parts(snapshot.agent(&row.id).expect("loaded")), Some((7, row.as_ref().clone())));
                assert_eq!(
                    parts(store.agent(&tenant(), &row.id).await.expect("read")),
                    Some((7, row.as_ref().clone()))
                );
            }
            Row::AgentName(row) => {
                assert_eq!(parts(snapshot.agent_named(&row.name).expect("loaded")), Some((7, row)));
            }
            Row::Status(row) => {
                let read = snapshot.status(&row.agent).expect("loaded").expect("there");
                assert_eq!((read.version, format!("{:?}", read.value)), (7, format!("{row:?}")));
            }
            Row::Definition(row) => {
                let read = snapshot.definition(&row.id, row.revision).expect("loaded");
                assert_eq!(parts(read), Some((7, row.as_ref().clone())));
            }
            Row::Workflow(row) => {
                assert_eq!(parts(snapshot.workflow(&row.id).expect("loaded")), Some((7, row)))
            }
            Row::Message(row) => {
                assert_eq!(
                    parts(snapshot.message(&row.id).expect("loaded")),
                    Some((7, row.as_ref().clone()))
                );
            }
            Row::Tool(row) => {
                assert_eq!(parts(snapshot.tool(&row.name).expect("loaded")), Some((7, row.as_ref().clone())));
            }
            Row::IdempotencyRecord(row) => {
                assert_eq!(parts(snapshot.idempotency_record(&row.key).expect("loaded")), Some((7, row)))
            }
            Row::Signature(row) => {
                assert_eq!(parts(snapshot.signature(&row.signature).expect("loaded")), Some((7, row)));
            }
            Row::Retention(row) => assert_eq!(parts(snapshot.retention().expect("loaded")), Some((7, row))),
            Row::WebhookTrigger(row) => {
                let expected = Some((7, row.as_ref().clone()));
                assert_eq!(parts(snapshot.hook(&row.id).expect("loaded")), expected);
                assert_eq!(parts(store.hook(&tenant(), &row.id).await.expect("read")), expected);
            }
            Row::Schedule(row) => {
                let expected = Some((7, row.as_ref().clone()));
                assert_eq!(parts(snapshot.schedule(&row.id).expect("loaded")), expected);
                assert_eq!(parts(store.schedule(&tenant(), &row.id).await.expect("read")), expected);
            }
            Row::Session(row) => {
                let read = snapshot.session(&row.id).expect("loaded").expect("there");
                assert_eq!((read.version, &read.value.session), (7, &row));
                assert_eq!(read.value.tasks, [Arc::new(task("t", 0))]);
            }
            Row::ApiKey(row) => {
                let (owner, read) = store.key_by_hash(&row.hash).await.expect("read").expect("there");
                assert_eq!((owner, read), (tenant(), Arc::clone(&row)));
                assert_eq!(
                    parts(snapshot.api_key(&row.id).expect("loaded")),
                    Some((7, row.as_ref().clone()))
                );
            }
            Row::ConcurrencyGroup(row) => {
                assert_eq!(parts(snapshot.group(&row.key).expect("loaded")), Some((7, row.as_ref().clone())));
            }
            Row::Channel(row) => {
                let expected = Some((7, row.as_ref().clone()));
                assert_eq!(parts(snapshot.channel(&row.id).expect("loaded")), expected);
                assert_eq!(parts(store.channel(&tenant(), &row.id).await.expect("read")), expected);
            }
            Row::ChannelName(row) => {
                let read = snapshot.channel_named(&row.name).expect("loaded");
                assert_eq!(parts(read), Some((7, row)));
            }
            Row::ChannelMessage(row) => {
                let read = snapshot.channel_message(&row.channel, row.from.as_ref(), &row.id);
                assert_eq!(parts(read.expect("loaded")), Some((7, row.as_ref().clone())));
            }
            Row::Payload(row) => {
                assert_eq!(snapshot.payload(&row.sha256).expect("loaded"), Some(row.as_ref()));
                let read = store.payload(&tenant(), &row.sha256).await.expect("read");
                assert_eq!(read.as_deref(), Some(row.as_ref()));
            }
            Row::Command(row) => {
                assert_eq!(
                    parts(snapshot.command(&row.id).expect("loaded")),
                    Some((7, row.as_ref().clone()))
                );
                let read = parts(store.command(&tenant(), &row.id).await.expect("read"));
                assert_eq!(read, Some((7, row.as_ref().clone())));
            }
            Row::Figures(row) => {
                let read = parts(snapshot.figures(&row.agent).expect("loaded"));
                assert_eq!(read, Some((7, row.as_ref().clone())));
                let read = parts(store.agent_figures(&tenant(), &row.agent).await.expect("read"));
                assert_eq!(read, Some((7, row.as_ref().clone())));
            }
            Row::Tenant(row) => {
                assert_eq!(parts(snapshot.tenant(&row.id).expect("loaded")), Some((7, row.clone())));
                assert_eq!(store.tenant(&row.id).await.expect("read"), Some(row));
            }
            Row::Usage(row) => {
                assert_eq!(parts(snapshot.usage(row.day).expect("loaded")), Some((7, row)));
                assert_eq!(parts(store.usage_day(&tenant(), row.day).await.expect("read")), Some((7, row)));
            }
            Row::SshKey(row) => {
                let expected = Some((7, row.as_ref().clone()));
                assert_eq!(parts(snapshot.ssh_key(&row.id).expect("loaded")), expected);
                assert_eq!(parts(store.ssh_key(&tenant(), &row.id).await.expect("read")), expected);
            }
            Row::SshFingerprint(row) => {
                assert_eq!(
                    parts(snapshot.ssh_fingerprint(&row.fingerprint).expect("loaded")),
                    Some((7, row))
                );
            }
            Row::TokenKeys(row) => {
                let expected = Some((7, row.as_ref().clone()));
                assert_eq!(parts(snapshot.token_keys().expect("loaded")), expected);
                assert_eq!(parts(store.token_keys(&tenant()).await.expect("read")), expected);
            }
            Row::Task(..) | Row::Available(_) => {}
        }
    }
    assert!(store.agent(&tenant(), &agent_id("other")).await.expect("read").is_none());
    assert!(store.tool(&tenant(), &tool_name("other")).await.expect("read").is_none());
    assert!(store.tenant(&tenant_id("other")).await.expect("read").is_none());
}

async fn many_rows_are_read_at_once(world: &World) {
    let mut decision = Decision::default();
    every_kind().into_iter().for_each(|row| decision.create(row, 7));
    commit(&world.store, decision).await.expect("created");
    // One that has nothing in memory yet, where there can be one.
    let other = world.another_node().await;
    let store = other.as_ref().unwrap_or(&world.store);
    let absent = agent_id("absent");
    let mut keys: Vec<Key> = every_kind().iter().map(Row::key).collect();
    let twice = keys[0].clone();
    keys.extend([Key::Agent(absent.clone()), twice]);
    for fresh in [false, false, true] {
        let mut snapshot = Snapshot::new();
        store.load(&tenant(), &Need::Rows(keys.clone()), &mut snapshot, fresh).await.expect("loaded");
        assert!(snapshot.require(keys.clone()).is_ok(), "all of them");
        assert!(snapshot.agent(&absent).expect("looked up").is_none());
        for row in every_kind() {
            match row {
                Row::Agent(row) => {
                    let read = snapshot.agent(&row.id).expect("loaded");
                    assert_eq!(parts(read), Some((7, row.as_ref().clone())));
                }
                Row::Status(row) => {
                    let read = snapshot.status(&row.agent).expect("loaded").expect("there");
                    assert_eq!((read.version, format!("{:?}", read.value)), (7, format!("{row:?}")));
                }
                Row::Session(row) => {
                    let read = snapshot.session(&row.id).expect("loaded").expect("there");
                    assert_eq!((read.version, &read.value.session.id), (7, &row.id));
                }
                _ => {}
            }
        }
    }
    if let Some(other) = other {
        other.close().await.expect("closed");
    }
}

async fn a_session_comes_with_its_tasks_in_order(world: &World) {
    let store = &world.store;
    let id = session_id("s");
    let mut decision = Decision::default();
    for (task_id, position) in [("t2", 2), ("t0", 0), ("t1", 1)] {
        decision.put_guarded(Row::Task(id.clone(), Arc::new(task(task_id, position))), 5);
    }
    decision.create(Row::Session(Arc::new(session("s", "w", 0))), 5);
    commit(store, decision).await.expect("created");
    let read = store.session(&tenant(), &id).await.expect("read").expect("there");
    let order: Vec<&str> = read.value.tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!((read.version, order), (5, vec!["t0", "t1", "t2"]));

    let mut next = session("s", "w", 0);
    next.status = SessionStatus::Running;
    let mut changed = task("t1", 1);
    changed.attempt = 1;
    let mut decision = Decision::default();
    decision.put_guarded(Row::Task(id.clone(), Arc::new(changed)), 6);
    decision.put(Row::Session(Arc::new(next)), Some(5), 6);
    commit(store, decision).await.expect("changed");
    let snapshot = view_of(store, &tenant(), &Need::Row(Key::Session(id.clone()))).await;
    let read = snapshot.session(&id).expect("loaded").expect("there");
    let attempts: Vec<u32> = read.value.tasks.iter().map(|task| task.attempt).collect();
    assert_eq!((read.version, read.value.session.status), (6, SessionStatus::Running));
    assert_eq!(attempts, [0, 1, 0]);

    let mut decision = Decision::default();
    decision.remove_guarded(Key::Task(task_id("t1")));
    decision.put(Row::Session(Arc::new(session("s", "w", 0))), Some(6), 7);
    commit(store, decision).await.expect("changed");
    let snapshot = view_of(store, &tenant(), &Need::Row(Key::Session(id.clone()))).await;
    assert_eq!(snapshot.session(&id).expect("loaded").expect("there").value.tasks.len(), 2);
}

async fn keys_are_found_by_hash_and_only_once(world: &World) {
    let store = &world.store;
    let put = |key, read| {
        let mut decision = Decision::default();
        decision.put(Row::ApiKey(Arc::new(key)), read, 1 + read.unwrap_or(0));
        decision
    };
    commit(store, put(api_key("k", "hash"), None)).await.expect("made");
    commit(store, put(api_key("other", "hash"), None)).await.expect_err("the hash is taken");
    let other = tenant_id("other");
    store
        .commit(&other, put(api_key("k", "hash"), None), crate::world::at(0), None)
        .await
        .expect_err("taken");
    commit(store, put(api_key("k", "hash"), Some(1))).await.expect("its own hash");
    let (owner, key) = store.key_by_hash("hash").await.expect("read").expect("there");
    assert_eq!((owner, key.id.as_str()), (tenant(), "k"));
    let mut decision = Decision::default();
    decision.remove_guarded(Key::ApiKey(key.id.clone()));
    commit(store, decision).await.expect("revoked");
    assert!(
        store.key_by_hash("hash").await.expect("read").is_none(),
        "a revoked key is known at once no more"
    );
}

async fn a_key_is_found_by_the_secret_before_too(world: &World) {
    let store = &world.store;
    let previous = PreviousSecret { hash: "first".into(), until: crate::world::at(60) };
    let rotated = ApiKey { previous: Some(previous), ..api_key("k", "second") };
    let mut decision = Decision::default();
    decision.create(Row::ApiKey(Arc::new(rotated.clone())), 1);
    decision.create(Row::ApiKey(Arc::new(api_key("other", "third"))), 1);
    commit(store, decision).await.expect("made");
    for hash in ["first", "second"] {
        let (owner, found) = store.key_by_hash(hash).await.expect("read").expect("there");
        assert_eq!((owner, found.as_ref()), (tenant(), &rotated), "{hash}");
    }
    let mut decision = Decision::default();
    decision.put(Row::ApiKey(Arc::new(api_key("k", "second"))), Some(1), 2);
    commit(store, decision).await.expect("changed");
    assert!(store.key_by_hash("first").await.expect("read").is_none());
    assert!(store.key_by_hash("second").await.expect("read").is_some());
}

async fn what_a_tenant_has_and_took_is_counted(world: &World) {
    let store = &world.store;
    let other = tenant_id("other");
    let mut decision = Decision::default();
    for id in ["a", "b", "c"] {
        decision.create(Row::Agent(Arc::new(agent(id, &[]))), 1);
    }
    decision.create(Row::ApiKey(Arc::new(api_key("k", "hash"))), 1);
    for day in [20_000, 20_001, 20_003] {
        let usage = UsageDay { messages: u64::from(day), ..UsageDay::of(day) };
        decision.create(Row::Usage(usage), 1);
    }
    commit(store, decision).await.expect("made");
    for (what, most, expected) in
        [(Counted::Agents, 9, 3), (Counted::Agents, 2, 2), (Counted::ApiKeys, u64::MAX, 1)]
    {
        assert_eq!(
            store.count(&tenant(), what, most).await.expect("counted"),
            expected,
            "{what:?} of {most}"
        );
        assert_eq!(store.count(&other, what, most).await.expect("counted"), 0);
    }
    let days =
        |usage: Vec<UsageDay>| usage.iter().map(|usage| (usage.day, usage.messages)).collect::<Vec<_>>();
    let read = store.usage(&tenant(), 20_001, 20_003).await.expect("read");
    assert_eq!(days(read), [(20_001, 20_001), (20_003, 20_003)]);
    assert!(store.usage(&other, 0, u32::MAX).await.expect("read").is_empty());
}

async fn the_current_definition_is_found(world: &World) {
    let store = &world.store;
    let id = workflow_id("w");
    assert!(store.definition(&tenant(), &id, None).await.expect("read").is_none());
    for revision in 1..=3 {
        let read = (revision > 1).then(|| i64::from(revision) - 1);
        let mut decision = Decision::default();
        decision.put(Row::Workflow(workflow("w", revision)), read, i64::from(revision));
        decision.put_guarded(Row::Definition(Arc::new(definition("w", revision))), i64::from(revision));
        commit(store, decision).await.expect("kept");
        let current = store.definition(&tenant(), &id, None).await.expect("read").expect("there");
        assert_eq!(current.value.revision, revision);
    }
    let first = store.definition(&tenant(), &id, Some(1)).await.expect("read").expect("there");
    assert_eq!(first.value.name, "w 1");
    assert!(store.definition(&tenant(), &id, Some(4)).await.expect("read").is_none());
}

async fn rows_survive_a_restart(world: &World) {
    let mut decision = Decision::default();
    every_kind().into_iter().for_each(|row| decision.create(row, 7));
    commit(&world.store, decision).await.expect("created");
    let store = world.reopened().await;
    let agent = store.agent(&tenant(), &agent_id("a")).await.expect("read").expect("there");
    assert_eq!(agent.version, 7);
    let session = store.session(&tenant(), &session_id("s")).await.expect("read").expect("there");
    assert_eq!(session.value.tasks.len(), 1);
    store.close().await.expect("closed");
    commit(&store, Decision { done: vec!["x".into()], ..Decision::default() }).await.expect_err("closed");
}

async fn large_rows_are_kept_whole(world: &World) {
    let store = &world.store;
    let mut large = message("m");
    large.body = "é\"\\ ".repeat(300_000);
    let mut huge = status("a", "idle");
    let details = format!("{{\"a\":[{}0]}}", "0,".repeat(500_000));
    if let Some(report) = &mut huge.report {
        report.details = RawObject::parse(details).ok();
    }
    let mut decision = Decision::default();
    decision.create(Row::Message(Arc::new(large.clone())), 1);
    decision.create(Row::Status(Arc::new(huge)), 1);
    commit(store, decision).await.expect("created");
    let snapshot = view_of(store, &tenant(), &Need::Row(Key::Message(message_id("m")))).await;
    assert_eq!(parts(snapshot.message(&message_id("m")).expect("loaded")), Some((1, large)));
    view_of(store, &tenant(), &Need::Row(Key::Status(agent_id("a")))).await;
}
