//! Pruning removes what is over and old, and nothing else; a backup is a store of its own.

use std::sync::Arc;
use std::time::Duration;

use signalbox_core::Decision;
use signalbox_core::decision::{Retention, Row};
use signalbox_core::delivery::MessageStatus;
use signalbox_core::event::Level;
use signalbox_core::quota::{USAGE_DAYS_KEPT, UsageDay};
use signalbox_core::session::SessionStatus;
use signalbox_store::{EventFilter, Options, Page, Prune, Pruned, Removal, Store, StoreError};
use signalbox_wire::id::{CommandId, TenantId};
use signalbox_wire::time::Timestamp;

use crate::samples::{
    answered, command, ended, event_at, message, message_id, session, session_id, settled, signature, task,
    tenant_id,
};
use crate::world::{World, at, commit, contract, node, tenant};

contract! {
    only_what_is_over_and_old_goes,
    a_sessions_history_goes_with_it,
    a_tenants_own_retention_goes_before_the_operators,
    the_history_of_a_session_that_is_gone_is_removed,
    what_is_left_of_a_history_is_found,
    pruning_is_bounded_and_ends,
    a_backlog_of_one_tenant_keeps_nothing_of_another,
    figures_of_use_go_with_their_day,
    a_backup_is_a_store_of_its_own,
}

const PIECE: Duration = Duration::from_millis(5);

fn prune(before: i64, limit: usize) -> Prune {
    let before = at(before);
    Prune {
        events_before: before,
        sessions_before: before,
        messages_before: before,
        now: before,
        limit,
        piece: PIECE,
    }
}

async fn put(store: &Store, row: Row) {
    let mut decision = Decision::default();
    decision.put_guarded(row, 1);
    commit(store, decision).await.expect("put");
}

async fn log(store: &Store, tenant: &TenantId, moment: i64, place: Option<(&str, u64)>) {
    let mut event = event_at("a", Level::Info, at(moment));
    event.session = place.map(|(session, place)| (session_id(session), place));
    let decision = Decision { events: vec![event], ..Decision::default() };
    store.commit(tenant, decision, at(0), None).await.expect("appended");
}

async fn sequences(store: &Store, tenant: &TenantId) -> Vec<u64> {
    let page = Page { limit: 1_000, after: None };
    let events = store.events(tenant, &EventFilter::default(), &page).await.expect("read");
    events.items.iter().map(|event| event.sequence).collect()
}

async fn only_what_is_over_and_old_goes(world: &World) {
    let store = &world.store;
    for (id, status, moment) in [
        ("delivered", MessageStatus::Delivered, 1),
        ("cancelled", MessageStatus::Cancelled, 1),
        ("dead", MessageStatus::Dead, 1),
        ("young", MessageStatus::Delivered, 50),
    ] {
        put(store, Row::Message(Arc::new(settled(id, status, moment)))).await;
    }
    put(store, Row::Message(Arc::new(message("scheduled")))).await;
    for (id, ended_at) in [("cmd_old", Some(1)), ("cmd_young", Some(50)), ("cmd_open", None)] {
        put(store, Row::Command(Arc::new(command(id, "a", ended_at)))).await;
    }
    for (key, expires) in [("old", 1), ("young", 50)] {
        put(store, Row::IdempotencyRecord(answered(key, expires))).await;
        put(store, Row::Signature(signature(key, expires))).await;
    }
    put(store, Row::Session(Arc::new(session("open", "w", 0)))).await;
    put(store, Row::Session(Arc::new(ended(session("young", "w", 0), SessionStatus::Completed, 50)))).await;
    for (moment, place) in [(1, None), (1, Some(("open", 1))), (1, Some(("young", 1))), (50, None), (1, None)]
    {
        log(store, &tenant(), moment, place).await;
    }
    let removed = store.prune(prune(10, 1_000)).await.expect("pruned");
    assert_eq!(
        (removed.removed, removed.has_more),
        (2 + 1 + 2 + 2, false),
        "two messages, a command, an answer and a signature, two entries"
    );
    for (id, is_kept) in [("cmd_old", false), ("cmd_young", true), ("cmd_open", true)] {
        let kept = store.command(&tenant(), &CommandId::parse(id).expect("valid")).await.expect("read");
        assert_eq!(kept.is_some(), is_kept, "{id}");
    }
    for (id, is_kept) in
        [("delivered", false), ("cancelled", false), ("dead", true), ("young", true), ("scheduled", true)]
    {
        let kept = store.message(&tenant(), &message_id(id)).await.expect("read");
        assert_eq!(kept.is_some(), is_kept, "{id}");
    }
    assert_eq!(
        sequences(store, &tenant()).await,
        [2, 4, 5],
        "an open session's, a young one, and the newest"
    );
    assert_eq!(store.first_sequence(&tenant()).await.expect("read"), Some(2));
    assert!(store.session(&tenant(), &session_id("open")).await.expect("read").is_some());
    assert!(store.session(&tenant(), &session_id("young")).await.expect("read").is_some());
    assert_eq!(store.prune(prune(10, 1_000)).await.expect("pruned"), Pruned::default());
}

async fn a_sessions_history_goes_with_it(world: &World) {
    let store = &world.store;
    for id in ["old", "open"] {
        let mut decision = Decision::default();
        for position in 0..3 {
            let task = Arc::new(task(&format!("{id}{position}"), position));
            decision.put_guarded(Row::Task(session_id(id), task), 1);
        }
        let row = session(id, "w", 0);
        let row = if id == "old" { ended(row, SessionStatus::Failed, 5) } else { row };
        decision.create(Row::Session(Arc::new(row)), 1);
        commit(store, decision).await.expect("put");
    }
    for place in 1..=4 {
        log(store, &tenant(), 100, Some(("old", place))).await;
        log(store, &tenant(), 100, Some(("open", place))).await;
    }
    assert!(store.session(&tenant(), &session_id("old")).await.expect("read").is_some(), "and in memory now");
    assert_eq!(store.prune(prune(10, 1_000)).await.expect("pruned").removed, 1 + 3 + 4);
    assert!(store.session(&tenant(), &session_id("old")).await.expect("read").is_none());
    let filter = EventFilter { session: Some(session_id("old")), ..EventFilter::default() };
    let page = Page { limit: 10, after: None };
    assert!(store.events(&tenant(), &filter, &page).await.expect("read").items.is_empty());
    assert_eq!(sequences(store, &tenant()).await, [2, 4, 6, 8]);
    let open = store.session(&tenant(), &session_id("open")).await.expect("read").expect("there");
    assert_eq!(open.value.tasks.len(), 3);
}

async fn what_is_left_of_a_history_is_found(world: &World) {
    let store = &world.store;
    for (id, status) in [("over", SessionStatus::Completed), ("purged", SessionStatus::Completed)] {
        put(store, Row::Session(Arc::new(ended(session(id, "w", 0), status, 90)))).await;
    }
    put(store, Row::Session(Arc::new(session("open", "w", 0)))).await;
    let mut events = Vec::new();
    for (id, first) in [("over", 1), ("open", 1), ("purged", 1), ("over", 6)] {
        for place in first..first + 5 {
            // Half of them are young.
            let mut event = event_at("a", Level::Info, at(if place < 8 { 1 } else { 50 }));
            event.session = Some((session_id(id), place));
            events.push(event);
        }
    }
    let decision = Decision { events, ..Decision::default() };
    store.commit(&tenant(), decision, at(0), None).await.expect("appended");
    let history = async |id: &str| -> Vec<u64> {
        let filter = EventFilter { session: Some(session_id(id)), ..EventFilter::default() };
        let listed = store.events(&tenant(), &filter, &Page { limit: 100, after: None }).await.expect("read");
        listed.items.iter().filter_map(|event| Some(event.session.as_ref()?.1)).collect()
    };
    // A few at a time: what is left may begin in the midst of what was written together.
    let few = Prune { limit: 3, ..prune(10, 3) };
    let mut gone = 0;
    for _ in 0..100 {
        gone += store.prune(few).await.expect("pruned").removed;
        let left = history("over").await;
        assert!(left.ends_with(&[8, 9, 10]) && left.is_sorted(), "{left:?}");
        let all = sequences(store, &tenant()).await.len();
        let known = left.len() + history("open").await.len() + history("purged").await.len();
        assert_eq!((all, known as u64 + gone), (known, 20), "nothing is hidden");
        if left.len() == 3 {
            break;
        }
    }
    assert_eq!((history("over").await, history("open").await.len()), (vec![8, 9, 10], 5));
    let mut decision = Decision::default();
    decision.remove(signalbox_core::decision::Key::Session(session_id("over")), 1);
    commit(store, decision).await.expect("removed");
    assert_eq!(store.remove_history(&tenant(), &session_id("over")).await.expect("removed"), Removal::Done);
    assert_eq!(history("over").await, [10], "the newest of the log stays");
    log(store, &tenant(), 60, None).await;
    assert_eq!(store.remove_history(&tenant(), &session_id("over")).await.expect("removed"), Removal::Done);
    assert_eq!(history("over").await, [0; 0]);
    assert_eq!(history("open").await, [1, 2, 3, 4, 5]);
}

async fn figures_of_use_go_with_their_day(world: &World) {
    let store = &world.store;
    let (today, tenants) = (900, [tenant(), tenant_id("other")]);
    let oldest = today + 1 - USAGE_DAYS_KEPT;
    let days = [0, 7, oldest - 1, oldest, today];
    for tenant in &tenants {
        let mut decision = Decision::default();
        days.iter()
            .for_each(|day| decision.create(Row::Usage(UsageDay { messages: 1, ..UsageDay::of(*day) }), 1));
        store.commit(tenant, decision, at(0), None).await.expect("put");
    }
    // However long nobody took anything: all that is older goes, and nothing else.
    let prune = Prune { now: Timestamp::from_seconds(i64::from(today) * 86_400 + 5), ..prune(0, 1_000) };
    assert_eq!(store.prune(prune).await.expect("pruned").removed, 6);
    for tenant in &tenants {
        for day in days {
            let kept = store.usage_day(tenant, day).await.expect("read");
            assert_eq!(kept.is_some(), day >= oldest, "{tenant} {day}");
        }
    }
    assert_eq!(store.prune(prune).await.expect("pruned"), Pruned::default(), "nothing more");
}

async fn a_tenants_own_retention_goes_before_the_operators(world: &World) {
    let store = &world.store;
    let (longer, shorter) = (tenant_id("longer"), tenant_id("shorter"));
    let own = |kept: u64| {
        let kept = Some(Duration::from_secs(kept));
        Retention { sessions: kept, events: kept, messages: kept }
    };
    for (tenant, own) in [(&tenant(), None), (&longer, Some(own(95))), (&shorter, Some(own(20)))] {
        let mut decision = Decision::default();
        own.into_iter().for_each(|own| decision.put_guarded(Row::Retention(own), 1));
        for moment in [0, 10, 50, 90] {
            let ended = ended(session(&format!("ses{moment}"), "w", 0), SessionStatus::Completed, moment);
            decision.put_guarded(Row::Session(Arc::new(ended)), 1);
            let settled = settled(&format!("m{moment}"), MessageStatus::Delivered, moment);
            decision.put_guarded(Row::Message(Arc::new(settled)), 1);
        }
        store.commit(tenant, decision, at(0), None).await.expect("put");
        for moment in [0, 10, 50, 90] {
            log(store, tenant, moment, None).await;
        }
    }
    // Now is 100: the operator keeps what is not older than 70, one tenant 95, the other 20.
    let prune = Prune { now: at(100), ..prune(30, 1_000) };
    store.prune(prune).await.expect("pruned");
    for (tenant, oldest) in [(&tenant(), 50), (&longer, 10), (&shorter, 90)] {
        let mut kept = Vec::new();
        for moment in [0, 10, 50, 90] {
            let session = store.session(tenant, &session_id(&format!("ses{moment}"))).await.expect("read");
            let message = store.message(tenant, &message_id(&format!("m{moment}"))).await.expect("read");
            assert_eq!(session.is_some(), message.is_some(), "{tenant} {moment}");
            kept.extend(session.map(|_| moment));
        }
        let expected: Vec<i64> = [0, 10, 50, 90].into_iter().filter(|moment| *moment >= oldest).collect();
        assert_eq!(kept, expected, "{tenant}");
        assert_eq!(sequences(store, tenant).await.len(), expected.len(), "{tenant}");
    }
    assert_eq!(store.prune(prune).await.expect("pruned"), Pruned::default(), "nothing more");
}

async fn the_history_of_a_session_that_is_gone_is_removed(world: &World) {
    let store = &world.store;
    put(store, Row::Session(Arc::new(session("there", "w", 0)))).await;
    for place in 1..=3 {
        log(store, &tenant(), 1, Some(("gone", place))).await;
        log(store, &tenant(), 1, Some(("there", place))).await;
        log(store, &tenant_id("other"), 1, Some(("gone", place))).await;
    }
    log(store, &tenant(), 1, Some(("gone", 0))).await;
    for id in ["gone", "there", "never"] {
        assert_eq!(store.remove_history(&tenant(), &session_id(id)).await.expect("removed"), Removal::Done);
    }
    assert_eq!(sequences(store, &tenant()).await, [2, 4, 6, 7], "that of another, and the newest");
    assert_eq!(sequences(store, &tenant_id("other")).await, [1, 2, 3]);
}

async fn pruning_is_bounded_and_ends(world: &World) {
    let store = &world.store;
    let other = tenant_id("other");
    put(store, Row::Session(Arc::new(session("open", "w", 0)))).await;
    for place in 1..=10 {
        log(store, &tenant(), 1, Some(("open", place))).await;
        log(store, &tenant(), 1, None).await;
        log(store, &other, 1, None).await;
    }
    let mut rounds = Vec::new();
    loop {
        let removed = store.prune(prune(10, 4)).await.expect("pruned");
        assert!(removed.removed <= 4, "{removed:?} at once");
        rounds.push(removed.removed);
        if !removed.has_more {
            break;
        }
        assert!(rounds.len() < 100, "it never ends: {rounds:?}");
    }
    assert_eq!(rounds.iter().sum::<u64>(), 9 + 9, "{rounds:?}");
    assert_eq!(sequences(store, &other).await, [10], "the newest entry stays");
    let decision = Decision { events: vec![event_at("b", Level::Info, at(2))], ..Decision::default() };
    let next = store.commit(&other, decision, at(0), None).await.expect("appended");
    assert_eq!(next.sequence, 11);
}

async fn a_backlog_of_one_tenant_keeps_nothing_of_another(world: &World) {
    let store = &world.store;
    let (big, small) = (tenant_id("big"), tenant_id("small"));
    for (tenant, count) in [(&big, 2_000), (&small, 4)] {
        let events = vec![event_at("a", Level::Info, at(1)); count];
        let mut decision = Decision { events, ..Decision::default() };
        for number in 0..count {
            let message = settled(&format!("m{number}"), MessageStatus::Delivered, 1);
            decision.create(Row::Message(Arc::new(message)), 1);
        }
        store.commit(tenant, decision, at(0), None).await.expect("put");
    }
    let pruned = store.prune(prune(10, 100)).await.expect("pruned");
    assert!(pruned.has_more && (50..=100).contains(&pruned.removed), "{pruned:?}");
    assert_eq!(sequences(store, &small).await, [4], "its old entries go in the first round");
    assert!(store.message(&small, &message_id("m3")).await.expect("read").is_none(), "and its messages");
    // Commits go on between the rounds and their pieces.
    let mut rounds = 0;
    loop {
        log(store, &big, 100, None).await;
        rounds += 1;
        if !store.prune(prune(10, 500)).await.expect("pruned").has_more {
            break;
        }
        assert!(rounds < 50, "it never ends");
    }
    assert!(rounds > 5, "{rounds} rounds of 500 for 4,000 rows");
    assert_eq!(sequences(store, &big).await.len(), rounds);
}

async fn a_backup_is_a_store_of_its_own(world: &World) {
    let store = &world.store;
    put(store, Row::Message(Arc::new(message("before")))).await;
    let Some(directory) = world.directory() else {
        let refused = store.backup(std::path::Path::new("/tmp/never-made.db")).await;
        assert!(matches!(&refused, Err(StoreError::Open(told)) if told.contains("pg_dump")), "{refused:?}");
        return;
    };
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..200 {
                put(&store, Row::Message(Arc::new(message(&format!("m{number}"))))).await;
            }
        }
    });
    let path = directory.join("copy.db");
    store.backup(&path).await.expect("copied while others write");
    writing.await.expect("finished");
    let again = store.backup(&path).await.expect_err("there already");
    assert!(again.to_string().contains("exists already"), "{again}");
    put(store, Row::Message(Arc::new(message("after")))).await;
    let copy =
        Store::open(Options::new(format!("sqlite://{}", path.display()), node(3))).await.expect("opened");
    assert!(copy.message(&tenant(), &message_id("before")).await.expect("read").is_some());
    assert!(copy.message(&tenant(), &message_id("after")).await.expect("read").is_none());
    put(&copy, Row::Message(Arc::new(message("copy")))).await;
    copy.close().await.expect("closed");
    assert!(store.message(&tenant(), &message_id("copy")).await.expect("read").is_none());
}
