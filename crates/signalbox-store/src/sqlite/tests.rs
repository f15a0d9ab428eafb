//! What only this database does: a full disk, a decision at fault among others, a queue that is full.

mod leases;
mod log_model;
pub(super) mod plans;
mod redo;

use std::sync::Arc;

use signalbox_core::Decision;
use signalbox_core::decision::{AgentName, Guard, Key, Row, Write};
use signalbox_core::due::{Due, DueJob};
use signalbox_core::event::{Level, NewEvent};
use signalbox_wire::id::{AgentId, NodeId};
use tempfile::TempDir;

use super::*;
use crate::backend::EVENTS_LOOKED_AT;

fn sqlite(change: impl Fn(&mut Options)) -> (TempDir, Sqlite, Arc<Cache>) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = Options::new("", NodeId::parse("nod_1").expect("valid"));
    change(&mut options);
    let cache = Arc::new(Cache::new(options.cache_bytes).expect("made"));
    let sqlite = Sqlite::open(directory.path().join("a.db"), &options, Arc::clone(&cache)).expect("opened");
    (directory, sqlite, cache)
}

fn tenant() -> TenantId {
    TenantId::default_tenant()
}

fn name(text: &str) -> Decision {
    let agent = AgentId::parse("a").expect("valid");
    let mut decision = Decision::default();
    decision.create(Row::AgentName(AgentName { name: text.to_owned(), agent }), 1);
    decision
}

async fn commit(sqlite: &Sqlite, cache: &Cache, decision: Decision) -> Result<Committed, StoreError> {
    let prepared = Commit::prepare(&tenant(), decision, Timestamp::default(), None, cache)?;
    sqlite.commit(prepared).await
}

async fn is_there(sqlite: &Sqlite, text: &str) -> bool {
    sqlite.read(&tenant(), &Key::AgentName(text.to_owned())).await.expect("read").is_some()
}

async fn pages_max(sqlite: &Sqlite, pages: u32) {
    let set = move |connection: &Connection| -> rusqlite::Result<()> {
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
    };
    sqlite.access.write(set, |()| {}).await.expect("set");
}

#[tokio::test]
async fn a_full_disk_is_told_changes_nothing_and_passes() {
    let (_directory, sqlite, cache) = sqlite(|_| {});
    pages_max(&sqlite, 120).await;
    let mut committed = 0;
    let refused = loop {
        let mut decision = name(&format!("name {committed}"));
        decision.events.push(NewEvent::new("large", Level::Info, Timestamp::default(), &"x".repeat(20_000)));
        match commit(&sqlite, &cache, decision).await {
            Ok(done) => {
                committed += 1;
                assert_eq!(done.sequence, committed);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, StoreError::Unavailable(told) if told.contains("full")), "{refused}");
    assert!(committed > 0 && is_there(&sqlite, "name 0").await, "reading goes on");
    assert!(!is_there(&sqlite, &format!("name {committed}")).await, "half of a refused decision is there");
    assert_eq!(cache.version(&tenant(), &Key::AgentName(format!("name {committed}"))), None);
    pages_max(&sqlite, 1_000_000).await;
    let mut decision = name("later");
    decision.events.push(NewEvent::new("small", Level::Info, Timestamp::default(), &0));
    let after = commit(&sqlite, &cache, decision).await.expect("there is room again");
    assert_eq!(after.sequence, committed + 1, "a refused decision takes no place");
    assert!(sqlite.is_writable().await.is_ok());
}

#[tokio::test]
async fn one_decision_at_fault_does_not_fail_the_others() {
    let (_directory, sqlite, cache) = sqlite(|_| {});
    let faulty = |connection: &Connection| -> rusqlite::Result<()> {
        connection.execute("INSERT INTO agent_names VALUES (NULL, NULL, NULL, NULL)", []).map(|_| ())
    };
    let good = name("good");
    let mut conflicting = name("other");
    conflicting.writes.push(Write::Remove { key: Key::AgentName("nobody".into()), guard: Guard::At(1) });
    let (slow, first, fault, conflict, last) = tokio::join!(
        sqlite.access.write(slowly, |()| {}),
        commit(&sqlite, &cache, good.clone()),
        sqlite.access.write(faulty, |()| {}),
        commit(&sqlite, &cache, conflicting),
        commit(&sqlite, &cache, name("also good")),
    );
    slow.expect("done");
    first.expect("committed");
    last.expect("committed");
    assert!(matches!(fault, Err(StoreError::Unavailable(_))), "{fault:?}");
    assert!(matches!(conflict, Err(StoreError::Conflict)), "{conflict:?}");
    assert!(is_there(&sqlite, "good").await && is_there(&sqlite, "also good").await);
    assert!(!is_there(&sqlite, "other").await);
    assert!(matches!(commit(&sqlite, &cache, good).await, Err(StoreError::Conflict)), "it is there already");
}

#[tokio::test]
async fn a_full_queue_refuses_the_newest() {
    let (_directory, sqlite, cache) = sqlite(|options| options.queue_max = 0);
    let refused = commit(&sqlite, &cache, name("n")).await;
    assert!(matches!(refused, Err(StoreError::Busy(0))), "{refused:?}");
}

/// Holds the writer for a while.
fn slowly(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) FROM n";
    connection.query_row(sql, [], |_| Ok(()))
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_done() {
    let (_directory, sqlite, cache) = sqlite(|options| options.batch_max = 1);
    let given_up = async {
        tokio::select! {
            biased;
            answer = commit(&sqlite, &cache, name("n")) => panic!("answered: {answer:?}"),
            () = std::future::ready(()) => {}
        }
    };
    let (slow, ()) = tokio::join!(sqlite.access.write(slowly, |()| {}), given_up);
    slow.expect("done");
    commit(&sqlite, &cache, name("after")).await.expect("committed");
    assert!(!is_there(&sqlite, "n").await && is_there(&sqlite, "after").await);
}

#[tokio::test]
async fn a_disk_that_hangs_keeps_nobody_waiting() {
    let (_directory, sqlite, cache) = sqlite(|_| {});
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let hanging = move |_: &Connection| -> rusqlite::Result<()> {
        let _counted = begun.try_send(());
        let _held_until_dropped = may_go_on.recv();
        Ok(())
    };
    let (answer, in_hand) = oneshot::channel();
    let is_hanging = std::cell::Cell::new(false);
    let commit_of = |text: &str| Commit::prepare(&tenant(), name(text), Timestamp::default(), None, &cache);
    // The two are one batch: the commit is in the writer's hands while the errand hangs.
    let (slow, hangs, queued, ()) = tokio::join!(
        sqlite.access.write(slowly, |()| {}),
        async {
            let commit = Box::new(commit_of("in hand").expect("prepared"));
            sqlite.access.shared.queue.push(Job::Commit(commit, answer)).expect("taken");
            sqlite.access.write(hanging, |()| {}).await
        },
        async {
            has_begun.recv().await.expect("begun");
            is_hanging.set(true);
            commit(&sqlite, &cache, name("queued")).await
        },
        async {
            while !is_hanging.get() || sqlite.access.shared.queue.len() == 0 {
                tokio::task::yield_now().await;
            }
            sqlite.access.shared.give_up_after(Duration::from_secs(3600));
            assert!(sqlite.access.shared.queue.len() > 0, "not late yet");
            sqlite.access.shared.give_up_after(Duration::ZERO);
            drop(go_on);
        },
    );
    slow.expect("done");
    hangs.expect("done in the end");
    assert!(matches!(queued, Err(StoreError::Unavailable(_))), "{queued:?}");
    assert!(matches!(in_hand.await, Ok(Err(StoreError::Unavailable(_)))));
    assert!(!is_there(&sqlite, "queued").await, "what was only queued is not done");
    commit(&sqlite, &cache, name("after")).await.expect("the writer lives on");
}

#[tokio::test]
async fn the_log_of_an_agent_is_whole_across_blocks() {
    const EVENTS: u64 = 9_000;
    let (_directory, sqlite, cache) = sqlite(|_| {});
    let agents: Vec<AgentId> = (0..7).map(|n| AgentId::parse(&format!("a{n}")).expect("valid")).collect();
    let mut sequence = 0_u64;
    while sequence < EVENTS {
        let mut decision = Decision::default();
        for _ in 0..300 {
            sequence += 1;
            let event = NewEvent::new("e", Level::Info, Timestamp::from_seconds(sequence.cast_signed()), &0);
            let is_about_an_agent = !sequence.is_multiple_of(10);
            decision.events.push(if is_about_an_agent {
                event.about(&agents[(sequence % 7) as usize])
            } else {
                event
            });
        }
        commit(&sqlite, &cache, decision).await.expect("appended");
    }
    let expected: Vec<u64> = (1..=EVENTS).filter(|n| n % 7 == 3 && n % 10 != 0).collect();
    let list = |filter: EventFilter, limit: usize| {
        let sqlite = &sqlite;
        async move {
            let (mut page, mut found) = (Page { limit, after: None }, Vec::new());
            loop {
                let listed = sqlite.events(&tenant(), &filter, &page).await.expect("read");
                found.extend(listed.items.iter().map(|event| event.sequence));
                match listed.next {
                    Some(next) => page.after = Some(next),
                    None => return found,
                }
            }
        }
    };
    let about = EventFilter { agent: Some(agents[3].clone()), ..EventFilter::default() };
    assert_eq!(list(about.clone(), 100).await, expected);
    assert_eq!(list(about.clone(), 10_000).await, expected);
    let newest = EventFilter { newest_first: true, after: Some(4_000), ..about.clone() };
    let mut late: Vec<u64> = expected.iter().copied().filter(|n| *n > 4_000).collect();
    late.reverse();
    assert_eq!(list(newest, 77).await, late);
    let middle = EventFilter {
        since: Some(Timestamp::from_seconds(3_000)),
        until: Some(Timestamp::from_seconds(5_000)),
        ..about.clone()
    };
    let within: Vec<u64> = expected.iter().copied().filter(|n| (3_000..5_000).contains(n)).collect();
    assert_eq!(list(middle, 50).await, within);

    let before = Timestamp::from_seconds(8_500);
    let prune = Prune {
        events_before: before,
        sessions_before: before,
        messages_before: before,
        now: before,
        limit: 5_000,
        piece: Duration::from_millis(5),
    };
    let pruned = |removed, has_more| Pruned { removed, has_more };
    assert_eq!(sqlite.prune(prune).await.expect("pruned"), pruned(5_000, true));
    assert_eq!(sqlite.prune(prune).await.expect("pruned"), pruned(3_499, false));
    assert_eq!(list(about, 100).await, expected.into_iter().filter(|n| *n >= 8_500).collect::<Vec<_>>());
    let blocks = sqlite.access.list(|connection| {
        let count =
            connection.query_row("SELECT count(DISTINCT block) FROM event_agents", [], |row| row.get(0));
        Ok(count.unwrap_or(-1_i64))
    });
    assert_eq!(
        blocks.await.expect("read"),
        0,
        "the index of pruned blocks is gone: only an unfinished one is left"
    );
    const { assert!(EVENTS_LOOKED_AT > 9_000) };
}

#[tokio::test]
async fn a_history_goes_some_entries_at_a_time_and_hides_nothing() {
    let (_directory, sqlite, cache) = sqlite(|_| {});
    let session = SessionId::parse("s").expect("valid");
    let mut decision = Decision::default();
    for place in 1..=100 {
        let mut event = NewEvent::new("e", Level::Info, Timestamp::default(), &0);
        event.session = Some((session.clone(), place));
        decision.events.push(event);
        if place == 30 {
            decision.events.push(NewEvent::new("other", Level::Info, Timestamp::default(), &0));
        }
    }
    commit(&sqlite, &cache, decision).await.expect("appended");
    let filter = EventFilter { session: Some(session.clone()), ..EventFilter::default() };
    let page = Page { limit: 1_000, after: None };
    let mut known = 100;
    loop {
        let left = sqlite.events(&tenant(), &filter, &page).await.expect("read").items.len();
        assert_eq!(left, known);
        let removed = sqlite.remove_history(&tenant(), &session, 7).await.expect("removed");
        assert_eq!(removed, 7.min(known - 1));
        known -= removed;
        if removed == 0 {
            break;
        }
    }
    assert_eq!(
        sqlite.events(&tenant(), &filter, &page).await.expect("read").items.len(),
        1,
        "the newest stays"
    );
}

#[tokio::test]
async fn nothing_is_left_of_the_agents_of_a_session_that_is_gone() {
    let (_directory, sqlite, cache) = sqlite(|_| {});
    let (id, workflow) = (SessionId::parse("s").expect("valid"), WorkflowId::parse("w").expect("valid"));
    let task_id = TaskId::parse("t").expect("valid");
    let session = Session::new(id.clone(), workflow, 1, Timestamp::default());
    for (version, agent) in [(1, "x"), (2, "y"), (3, "x"), (4, "z")] {
        let mut task = Task::new(task_id.clone(), "step".to_owned(), 0, signalbox_core::routing::Route::Any);
        task.agent = AgentId::parse(agent).ok();
        let mut decision = Decision::default();
        decision.put_guarded(Row::Task(id.clone(), Arc::new(task)), version);
        decision.put(Row::Session(Arc::new(session.clone())), (version > 1).then(|| version - 1), version);
        commit(&sqlite, &cache, decision).await.expect("given");
    }
    let count = async || -> i64 {
        let count = |connection: &Connection| {
            connection.query_row("SELECT count(*) FROM session_agents", [], |row| row.get(0))
        };
        sqlite.access.list(move |connection| Ok(count(connection).expect("counted"))).await.expect("read")
    };
    assert_eq!(count().await, 3);
    let at = Timestamp::from_seconds(1);
    let prune = Prune {
        events_before: at,
        sessions_before: at,
        messages_before: at,
        now: at,
        limit: 1_000,
        piece: Duration::from_millis(5),
    };
    assert_eq!(sqlite.prune(prune).await.expect("pruned").removed, 0, "it is there still");
    let mut decision = Decision::default();
    decision.remove(Key::Session(id.clone()), 4);
    decision.remove_guarded(Key::Task(task_id));
    commit(&sqlite, &cache, decision).await.expect("removed");
    assert_eq!(count().await, 2, "those that no task names any more");
    let filter = SessionFilter { agent: AgentId::parse("x").ok(), ..SessionFilter::default() };
    let listed = sqlite.sessions(&tenant(), &filter, &Page { limit: 9, after: None }).await.expect("read");
    assert!(listed.items.is_empty(), "they are passed over");
    sqlite.prune(prune).await.expect("pruned");
    assert_eq!(count().await, 0);
}

#[test]
fn a_history_is_found_stretch_by_stretch() {
    let (_directory, sqlite, _cache) = sqlite(|_| {});
    let plan = sqlite.access.readers.list(|connection| {
        let explain = format!("EXPLAIN QUERY PLAN {}", log::STRETCHES);
        let mut explain = connection.prepare(&explain).expect("explained");
        let lines = explain.query_map(rusqlite::params![1, "s", 1, 9], |row| row.get(3)).expect("explained");
        Ok(lines.collect::<rusqlite::Result<Vec<String>>>().expect("explained"))
    });
    let plan = plan.expect("read");
    let expected = [
        "SEARCH event_sessions USING PRIMARY KEY (tenant=? AND session=? AND first>? AND first<?)",
        "SCALAR SUBQUERY 1",
        "SEARCH event_sessions USING PRIMARY KEY (tenant=? AND session=? AND first<?)",
    ];
    assert_eq!(plan, expected);
}

#[tokio::test]
async fn what_is_held_without_knowing_is_free_at_the_next_claim() {
    let (_directory, sqlite, cache) = sqlite(|_| {});
    let at = Timestamp::from_seconds;
    let mine = |until| Lease { node: sqlite.node.clone(), until: at(until) };
    let foreign = Lease { node: NodeId::parse("nod_9").expect("valid"), until: at(60) };
    for (id, lease) in [("a", mine(60)), ("b", mine(61)), ("c", foreign)] {
        let message = signalbox_wire::id::MessageId::parse(id).expect("valid");
        let due = Due::new(DueJob::Deliver { message }, at(0));
        let decision = Decision { due: vec![due], ..Decision::default() };
        let prepared = Commit::prepare(&tenant(), decision, at(0), Some(&lease), &cache).expect("prepared");
        sqlite.commit(prepared).await.expect("committed");
    }
    sqlite.access.shared.lost.add([at(60)]);
    let claimed = sqlite.claim(at(1), mine(99), DueKind::Delivery, 9).await.expect("claimed");
    assert_eq!(claimed.iter().map(|claimed| claimed.work.id()).collect::<Vec<_>>(), ["deliver:a"]);
    assert_eq!(sqlite.access.shared.leases.all().len(), 3, "all are held, this one anew");
    assert_eq!(sqlite.next_due(DueKind::Delivery).await.expect("read"), Some(at(60)), "that of another");
}

#[tokio::test]
async fn due_work_is_counted_up_to_a_bound() {
    let (_directory, sqlite, _cache) = sqlite(|_| {});
    let fill = |connection: &Connection| {
        connection.execute_batch(
            "INSERT INTO due (tenant, id, kind, lane, due_at, visible_at, body)
             VALUES ('t', 'a', 'timer', '', 1, 1, ''), ('t', 'b', 'deliver', '', 2, 2, ''),
                    ('t', 'c', 'timer', '', 3, 3, '')",
        )
    };
    sqlite.access.write(fill, |()| {}).await.expect("filled");
    for (limit, pending) in [(0, 0), (2, 2), (3, 3), (100, 3)] {
        let backlog = sqlite.backlog(limit).await.expect("counted");
        assert_eq!((backlog.pending, backlog.next), (pending, Some(Timestamp::from_micros(1))));
    }
}
