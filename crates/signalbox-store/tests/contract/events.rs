//! The log: strict and gapless per tenant, never seen out of order, filtered and walked both ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signalbox_core::Decision;
use signalbox_core::decision::Row;
use signalbox_core::event::{Level, NewEvent};
use signalbox_store::{EventFilter, Page, Store, StoredEvent};
use signalbox_wire::id::TenantId;

use crate::samples::{agent_id, event, event_at, name, session_id, task_id, tenant_id};
use crate::world::{World, at, commit, contract, tenant};

contract! {
    an_event_is_read_as_it_was_appended,
    sequences_are_strict_per_tenant_and_go_on_after_a_restart,
    a_reader_never_misses_an_event,
    a_sessions_history_has_its_own_order,
    a_sessions_history_is_whole_however_it_was_written,
    filters_choose_and_pages_continue,
    moments_choose_exactly,
}

async fn list(store: &Store, tenant: &TenantId, filter: &EventFilter, limit: usize) -> Vec<StoredEvent> {
    let mut page = Page { limit, after: None };
    let mut all = Vec::new();
    loop {
        let listed = store.events(tenant, filter, &page).await.expect("read");
        assert!(listed.items.len() <= limit);
        all.extend(listed.items);
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return all,
        }
    }
}

fn sequences(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

async fn append(store: &Store, tenant: &TenantId, events: Vec<NewEvent>) -> u64 {
    let decision = Decision { events, ..Decision::default() };
    store.commit(tenant, decision, at(0), None).await.expect("appended").sequence
}

async fn an_event_is_read_as_it_was_appended(world: &World) {
    let new = NewEvent {
        kind: "task.failed".into(),
        level: Level::Error,
        at: at(5),
        session: Some((session_id("s"), 3)),
        agent: Some(agent_id("a")),
        task: Some(task_id("t")),
        data: r#"{"error":"é\"x"}"#.into(),
    };
    assert_eq!(append(&world.store, &tenant(), vec![new.clone()]).await, 1);
    let expected = StoredEvent {
        sequence: 1,
        kind: new.kind,
        level: new.level,
        at: new.at,
        session: new.session,
        agent: new.agent,
        task: new.task,
        data: new.data,
    };
    assert_eq!(list(&world.store, &tenant(), &EventFilter::default(), 10).await, [expected]);
}

async fn sequences_are_strict_per_tenant_and_go_on_after_a_restart(world: &World) {
    let other = tenant_id("other");
    for round in 0..3 {
        let last = append(&world.store, &tenant(), vec![event("a"), event("b")]).await;
        assert_eq!(last, round * 2 + 2);
        assert_eq!(append(&world.store, &other, vec![event("a")]).await, round + 1);
    }
    let mut decision = Decision::default();
    decision.create(Row::AgentName(name("n", "a")), 1);
    assert_eq!(commit(&world.store, decision.clone()).await.expect("committed").sequence, 0, "no event");
    decision.events.push(event("lost"));
    commit(&world.store, decision).await.expect_err("a conflict");
    assert_eq!(append(&world.store, &tenant(), vec![event("a")]).await, 7, "a conflict takes no place");
    let store = world.reopened().await;
    assert_eq!(append(&store, &tenant(), vec![event("a")]).await, 8);
    assert_eq!(append(&store, &other, vec![event("a")]).await, 4);
    let listed = list(&store, &tenant(), &EventFilter::default(), 3).await;
    assert_eq!(sequences(&listed), (1..=8).collect::<Vec<_>>());
    assert_eq!(store.first_sequence(&tenant()).await.expect("read"), Some(1));
    assert_eq!(store.first_sequence(&tenant_id("nobody")).await.expect("read"), None);
    store.close().await.expect("closed");
}

async fn a_reader_never_misses_an_event(world: &World) {
    const WRITERS: u64 = 8;
    const COMMITS: u64 = 40;
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, is_over) = (world.store.clone(), Arc::clone(&is_over));
        async move {
            let mut seen = 0;
            loop {
                let was_over = is_over.load(Ordering::SeqCst);
                let filter = EventFilter { after: Some(seen), ..EventFilter::default() };
                let new = list(&store, &tenant(), &filter, 50).await;
                for event in &new {
                    assert_eq!(event.sequence, seen + 1, "a gap, or an order turned round");
                    seen = event.sequence;
                }
                if was_over && new.is_empty() {
                    return seen;
                }
            }
        }
    });
    let writers = (0..WRITERS).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move {
            for _ in 0..COMMITS {
                append(&store, &tenant(), vec![event("a"), event("b")]).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("finished");
    }
    is_over.store(true, Ordering::SeqCst);
    assert_eq!(reader.await.expect("finished"), WRITERS * COMMITS * 2);
}

async fn a_sessions_history_has_its_own_order(world: &World) {
    let of = |session: &str, place: u64| {
        let mut event = event("task.waiting");
        event.session = Some((session_id(session), place));
        event
    };
    for place in 1..=5 {
        append(&world.store, &tenant(), vec![of("s", place), event("noise"), of("other", place)]).await;
    }
    let places = |events: &[StoredEvent]| -> Vec<u64> {
        events.iter().filter_map(|event| Some(event.session.as_ref()?.1)).collect()
    };
    let mut filter = EventFilter { session: Some(session_id("s")), ..EventFilter::default() };
    assert_eq!(places(&list(&world.store, &tenant(), &filter, 2).await), [1, 2, 3, 4, 5]);
    append(&world.store, &tenant(), vec![of("s", 0), of("s", 0), of("s", 0)]).await;
    let all = list(&world.store, &tenant(), &filter, 2).await;
    assert_eq!(places(&all), [1, 2, 3, 4, 5, 0, 0, 0], "those that mention it, by the tenant's order");
    let after = EventFilter { after: Some(all[4].sequence), ..filter.clone() };
    assert_eq!(places(&list(&world.store, &tenant(), &after, 2).await), [0, 0, 0]);
    filter.after_in_session = Some(0);
    assert_eq!(places(&list(&world.store, &tenant(), &filter, 2).await), [1, 2, 3, 4, 5]);
    filter.after_in_session = Some(2);
    assert_eq!(places(&list(&world.store, &tenant(), &filter, 2).await), [3, 4, 5]);
    filter.newest_first = true;
    assert_eq!(places(&list(&world.store, &tenant(), &filter, 2).await), [5, 4, 3]);
}

async fn a_sessions_history_is_whole_however_it_was_written(world: &World) {
    let sessions = ["s", "t", "u"];
    let (store, mine, other) = (&world.store, tenant(), tenant_id("other"));
    let mut expected: Vec<(u64, u64)> = Vec::new();
    let (mut sequence, mut place) = (0, 0);
    // How many entries of `s` in a row, in each decision, with others before or between them.
    for (number, runs) in
        [vec![1], vec![3, 2], vec![200, 1], vec![0], vec![64], vec![65, 63]].iter().enumerate()
    {
        let mut events = Vec::new();
        for run in runs {
            if number % 2 == 1 {
                events.push(event("noise"));
            }
            let mut between = event("task.waiting");
            between.session = Some((session_id(sessions[1 + number % 2]), number as u64 + 1));
            events.push(between);
            sequence += 1 + u64::from(number % 2 == 1);
            for _ in 0..*run {
                let mut event = event("task.waiting");
                event.session = Some((session_id("s"), place + 1));
                events.push(event);
                (sequence, place) = (sequence + 1, place + 1);
                expected.push((sequence, place));
            }
        }
        // Another tenant's session of the same name is a stranger.
        let (last, theirs) = tokio::join!(
            append(store, &mine, events.clone()),
            append(store, &other, events.into_iter().take(2).collect())
        );
        assert!(last == sequence && theirs > 0);
    }
    let places = |events: &[StoredEvent]| -> Vec<(u64, u64)> {
        events.iter().filter_map(|event| Some((event.sequence, event.session.as_ref()?.1))).collect()
    };
    let all = EventFilter { session: Some(session_id("s")), ..EventFilter::default() };
    for limit in [1, 7, 50, 1_000] {
        assert_eq!(places(&list(store, &tenant(), &all, limit).await), expected);
        let newest = EventFilter { newest_first: true, ..all.clone() };
        let reversed: Vec<_> = expected.iter().rev().copied().collect();
        assert_eq!(places(&list(store, &tenant(), &newest, limit).await), reversed);
    }
    for after in (0..=sequence).step_by(13) {
        let since = EventFilter { after: Some(after), ..all.clone() };
        let late: Vec<_> = expected.iter().copied().filter(|(sequence, _)| *sequence > after).collect();
        assert_eq!(places(&list(store, &tenant(), &since, 40).await), late);
    }
    let late = EventFilter { after_in_session: Some(150), ..all };
    assert_eq!(places(&list(store, &tenant(), &late, 40).await), expected[150..]);
}

async fn filters_choose_and_pages_continue(world: &World) {
    let store = &world.store;
    let levels = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];
    for number in 0..20_i64 {
        let kind = if number % 2 == 0 { "Even" } else { "odd" };
        let level = levels[usize::try_from(number).expect("small") % 5];
        let mut event = event_at(kind, level, at(number));
        event.agent = (number % 4 == 0).then(|| agent_id("a"));
        append(store, &tenant(), vec![event]).await;
    }
    let all = EventFilter::default();
    let chosen = |filter: EventFilter| async move { sequences(&list(store, &tenant(), &filter, 3).await) };
    let every = |step: usize| (1..=20_u64).step_by(step).collect::<Vec<_>>();
    assert_eq!(chosen(all.clone()).await, every(1));
    assert_eq!(chosen(EventFilter { kind: Some("Even".into()), ..all.clone() }).await, every(2));
    assert_eq!(chosen(EventFilter { text: Some("eVEn".into()), ..all.clone() }).await, every(2));
    assert_eq!(chosen(EventFilter { text: Some("nothing".into()), ..all.clone() }).await, [0_u64; 0]);
    assert_eq!(chosen(EventFilter { agent: Some(agent_id("a")), ..all.clone() }).await, every(4));
    let severe = EventFilter { level: Some(Level::Error), ..all.clone() };
    assert_eq!(chosen(severe).await, [4, 5, 9, 10, 14, 15, 19, 20]);
    assert_eq!(chosen(EventFilter { after: Some(17), ..all.clone() }).await, [18, 19, 20]);
    let newest = EventFilter { after: Some(17), newest_first: true, ..all.clone() };
    assert_eq!(chosen(newest).await, [20, 19, 18]);
    let page = Page { limit: 5, after: Some("never given".into()) };
    assert!(store.events(&tenant(), &all, &page).await.expect("read").items.is_empty());
}

async fn moments_choose_exactly(world: &World) {
    let store = &world.store;
    let moments = [0, 1, 1, 3, 2, 5, 4_000, 4_000, 4_001, 9_000];
    for moment in moments {
        append(store, &tenant(), vec![event_at("a", Level::Info, at(moment))]).await;
    }
    let expected = |from: i64, to: i64| -> Vec<u64> {
        (1..).zip(moments).filter(|(_, moment)| (from..to).contains(moment)).map(|(place, _)| place).collect()
    };
    for (from, to) in
        [(0, 10_000), (1, 2), (2, 4), (3, 4_000), (4_000, 4_001), (4_000, 9_000), (9_001, 9_002)]
    {
        for agent in [None, Some(agent_id("nobody"))] {
            let is_for_nobody = agent.is_some();
            let filter =
                EventFilter { since: Some(at(from)), until: Some(at(to)), agent, ..EventFilter::default() };
            let found = sequences(&list(store, &tenant(), &filter, 2).await);
            let expected = if is_for_nobody { Vec::new() } else { expected(from, to) };
            assert_eq!(found, expected, "from {from} to {to}");
        }
    }
}
