//! Commits that are in SQLite's redo log alone: what a crash leaves of them, and what is read meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use signalbox_core::decision::{Key, Row};
use signalbox_core::event::NewEvent;
use signalbox_core::routing::Route;
use signalbox_core::task::Task;
use signalbox_core::{Decision, Need};
use signalbox_store::{DueKind, EventFilter, Options, Page, SessionFilter, Store, StoreError};
use signalbox_wire::id::AgentId;
use tempfile::TempDir;

use crate::crash::nothing_is_half;
use crate::differential::in_order;
use crate::samples::{
    agent, agent_id, channel, channel_message, deliver, event, message, message_id, session, session_id,
    status, task, tool, waiting_task,
};
use crate::world::{World, at, commit, node, tenant, view_of};

/// What the redo log begins with.
const HEADER: &[u8] = b"signalbox redo 1";
/// Bytes in front of each record, the first four of which are the length of what follows them.
const FRAME_BYTES: usize = 16;
/// How long anything may take that is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// The last place that the tables have of the first tenant's log.
const LAST_PLACE: &str = "SELECT max(id) % (1 << 40) FROM events";

/// The files of a store: the database, its log file, and the redo log.
const ENDS: [&str; 3] = ["", "-wal", "-redo"];

fn file(directory: &Path, end: &str) -> PathBuf {
    directory.join(format!("store.db{end}"))
}

fn copy_file(from: &Path, to: &Path, end: &str) {
    std::fs::copy(file(from, end), file(to, end)).expect("copied");
}

/// What a process that is gone leaves: the files as they are now. Nothing may be on its way to them but the tables.
pub(crate) fn crash(directory: &Path) -> TempDir {
    let left = tempfile::tempdir().expect("a directory");
    ENDS.iter().for_each(|end| copy_file(directory, left.path(), end));
    left
}

pub(crate) async fn open_in(directory: &Path) -> Result<Store, StoreError> {
    let database = format!("sqlite://{}", file(directory, "").display());
    Store::open(Options::new(database, node(2))).await
}

/// The directory of a world of SQLite.
fn home(world: &World) -> &Path {
    world.directory().expect("a directory")
}

/// Keeps what waits in the redo log from the tables until this is dropped: nobody else can write them.
fn hold(directory: &Path) -> Connection {
    let held = Connection::open(file(directory, "")).expect("opened");
    held.busy_timeout(DEADLINE).expect("set");
    held.execute_batch("BEGIN IMMEDIATE").expect("held");
    held
}

/// What a plain program finds in the tables.
fn in_tables(directory: &Path, sql: &str) -> i64 {
    let tables = Connection::open(file(directory, "")).expect("opened");
    tables.query_row(sql, [], |row| row.get(0)).expect(sql)
}

/// The numbers of the records in the redo log, and where each begins and ends.
fn records(log: &[u8]) -> Vec<(u64, std::ops::Range<usize>)> {
    let (mut found, mut start): (Vec<(u64, std::ops::Range<usize>)>, usize) = (Vec::new(), HEADER.len());
    while let Some(frame) = log.get(start..start + FRAME_BYTES) {
        let length = u32::from_le_bytes(frame[..4].try_into().expect("four bytes"));
        let number = u64::from_le_bytes(frame[8..].try_into().expect("eight bytes"));
        let end = start + FRAME_BYTES + usize::try_from(length).expect("small");
        if number == 0 || end > log.len() || found.last().is_some_and(|(last, _)| *last + 1 != number) {
            break;
        }
        found.push((number, start..end));
        start = end;
    }
    found
}

async fn commit_all(store: &Store, decisions: Vec<Decision>) -> Vec<u64> {
    let answers = decisions.into_iter().map(|decision| commit(store, decision));
    let answers = in_order(answers.collect()).await;
    answers.into_iter().map(|answer| answer.expect("committed").sequence).collect()
}

/// A decision that writes a message, an entry that names it, due work for it, and a status.
fn whole(id: &str) -> Decision {
    let mut decision = Decision::default();
    decision.create(Row::Message(Arc::new(message(id))), 1);
    decision.create(Row::Status(Arc::new(status(id, "idle"))), 1);
    decision.events.push(event(id));
    decision.due.push(deliver(id, 0));
    decision
}

fn in_history(kind: &str, session: &str, place: u64) -> NewEvent {
    NewEvent { session: Some((session_id(session), place)), ..event(kind) }
}

fn held_by(id: &str, position: usize, agent: &str) -> Row {
    let task = Task { agent: Some(agent_id(agent)), ..task(id, position) };
    Row::Task(session_id("s"), Arc::new(task))
}

/// What is in the tables from the start: an agent, so that it is none for the redo log, a session, and a log.
fn in_tables_at_once() -> Decision {
    let mut decision = Decision::default();
    decision.create(Row::Agent(Arc::new(agent("a", &["read"]))), 1);
    decision.create(Row::Session(Arc::new(session("s", "w", 0))), 1);
    decision.put_guarded(Row::Task(session_id("s"), Arc::new(task("t0", 0))), 1);
    decision.create(Row::Message(Arc::new(message("gone"))), 1);
    decision.due.extend([deliver("first", 0), deliver("gone", 0)]);
    decision.events.push(in_history("1", "s", 1));
    decision
}

/// What changes after that, and is for the redo log.
fn in_the_redo_log() -> Vec<Decision> {
    let mut given = Decision::default();
    given.put(Row::Session(Arc::new(session("s", "w", 0))), Some(1), 2);
    given.put_guarded(held_by("t0", 0, "a"), 2);
    given.put_guarded(held_by("t1", 1, "b"), 2);
    given.events.extend([in_history("2", "s", 2), event("3")]);
    given.due.push(deliver("second", 0));
    let mut moved = Decision::default();
    moved.remove(Key::Message(message_id("gone")), 1);
    moved.create(Row::Message(Arc::new(message("new"))), 1);
    moved.due.push(deliver("first", 50));
    moved.done.push(deliver("gone", 0).work.id());
    let mut waiting = Decision::default();
    waiting.create(Row::Session(Arc::new(session("s2", "w", 1))), 1);
    let task = Arc::new(waiting_task("t2", Route::Any, 7));
    waiting.put_guarded(Row::Task(session_id("s2"), task), 1);
    waiting.events.extend([in_history("4", "s2", 1), in_history("5", "s", 3)]);
    let mut again = Decision::default();
    again.put(Row::Session(Arc::new(session("s", "w", 0))), Some(2), 3);
    again.put_guarded(held_by("t1", 1, "c"), 3);
    again.create(Row::Status(Arc::new(status("a", "busy"))), 1);
    again.events.push(in_history("6", "s", 4));
    vec![given, moved, waiting, again]
}

async fn kinds(store: &Store, filter: EventFilter) -> Vec<(u64, String)> {
    let page = Page { limit: 1_000, after: None };
    let events = store.events(&tenant(), &filter, &page).await.expect("read").items;
    events.into_iter().map(|event| (event.sequence, event.kind)).collect()
}

/// All of [`in_tables_at_once`] and [`in_the_redo_log`] is there. Rows are read before any list.
async fn all_is_there(store: &Store) {
    let state = store.session(&tenant(), &session_id("s")).await.expect("read").expect("there");
    assert_eq!(state.version, 3);
    let holders = state.value.tasks.iter().map(|task| task.agent.as_ref().map(AgentId::as_str));
    assert_eq!(holders.collect::<Vec<_>>(), [Some("a"), Some("c")]);
    let second = store.session(&tenant(), &session_id("s2")).await.expect("read").expect("there");
    assert_eq!(second.value.tasks.len(), 1);
    assert!(store.message(&tenant(), &message_id("new")).await.expect("read").is_some());
    assert!(store.message(&tenant(), &message_id("gone")).await.expect("read").is_none());
    let status = store.status(&tenant(), &agent_id("a")).await.expect("read").expect("there");
    assert_eq!(status.value.report.as_ref().map(|report| report.state.as_str()), Some("busy"));

    let routes = vec![Route::Any.key()];
    let snapshot = view_of(store, &tenant(), &Need::Waiting(routes.clone())).await;
    let line = snapshot.waiting(&routes).expect("loaded").iter().map(|waiting| waiting.task.as_str());
    assert_eq!(line.collect::<Vec<_>>(), ["t2"]);
    let page = Page { limit: 9, after: None };
    let all = store.sessions(&tenant(), &SessionFilter::default(), &page).await.expect("read").items;
    assert_eq!(all.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(), ["s2", "s"]);
    for (agent, expected) in [("a", 1), ("b", 1), ("c", 1), ("d", 0)] {
        let filter = SessionFilter { agent: Some(agent_id(agent)), ..SessionFilter::default() };
        let found = store.sessions(&tenant(), &filter, &page).await.expect("read").items;
        assert_eq!(found.len(), expected, "sessions in which {agent} holds or held a task");
    }
    let agents =
        store.agents(&tenant(), &signalbox_store::AgentFilter::default(), &page).await.expect("read");
    assert!(agents.items.iter().all(|(_, status)| status.is_some()) && agents.items.len() == 1);
    let log: Vec<(u64, String)> = (1..=6).map(|place| (place, place.to_string())).collect();
    assert_eq!(kinds(store, EventFilter::default()).await, log);
    let history = EventFilter { session: Some(session_id("s")), ..EventFilter::default() };
    let of_s = [1, 2, 5, 6].map(|place| (place, place.to_string()));
    assert_eq!(kinds(store, history).await, of_s);
    assert_eq!(store.backlog().await.expect("read").pending, 2);
    assert_eq!(store.next_due(DueKind::Delivery).await.expect("read"), Some(at(0)));
}

/// What can be claimed is what waits, once each, and the log goes on where it was.
async fn goes_on(store: &Store) {
    let claimed = store.claim(at(10), Duration::from_secs(1), DueKind::Delivery, 9).await.expect("claimed");
    assert_eq!(claimed.iter().map(|claimed| claimed.work.id()).collect::<Vec<_>>(), ["deliver:second"]);
    let later = store.claim(at(60), Duration::from_secs(1), DueKind::Delivery, 9).await.expect("claimed");
    assert_eq!(later.iter().map(|claimed| claimed.due_at).collect::<Vec<_>>(), [at(0), at(50)]);
    let next = Decision { events: vec![in_history("7", "s", 5)], ..Decision::default() };
    assert_eq!(commit(store, next).await.expect("appended").sequence, 7);
    let found = kinds(store, EventFilter { after: Some(5), ..EventFilter::default() }).await;
    assert_eq!(found, [(6, "6".to_owned()), (7, "7".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_no_table_yet_survives_a_crash() {
    let world = World::sqlite().await;
    commit(&world.store, in_tables_at_once()).await.expect("committed");
    let held = hold(home(&world));
    let places = commit_all(&world.store, in_the_redo_log()).await;
    assert_eq!(places, [3, 0, 5, 6]);
    let left = crash(home(&world));
    drop(held);
    for (sql, expected) in [
        (LAST_PLACE, 1),
        ("SELECT max(version) FROM sessions", 1),
        ("SELECT count(*) FROM messages WHERE id = 'gone'", 1),
        ("SELECT count(*) FROM tasks", 1),
        ("SELECT count(*) FROM agent_statuses", 0),
        ("SELECT count(*) FROM session_agents", 0),
        ("SELECT count(*) FROM due WHERE visible_at = due_at", 2),
        ("SELECT applied FROM redo_position", 2),
    ] {
        assert_eq!(in_tables(left.path(), sql), expected, "{sql}: it is in the tables already");
    }
    let store = open_in(left.path()).await.expect("opened");
    all_is_there(&store).await;
    goes_on(&store).await;
    // And once more: what was brought into the tables is not brought there again.
    let again = crash(left.path());
    store.close().await.expect("closed");
    let store = open_in(again.path()).await.expect("opened");
    assert_eq!(kinds(&store, EventFilter::default()).await.len(), 7);
    store.close().await.expect("closed");
    // Whoever asks the one that lives on is told the same.
    all_is_there(&world.store).await;
    goes_on(&world.store).await;
    world.end().await;
}

/// Commits that went to the tables without a flush may be gone from there after a power cut, all or the last of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_flushed_to_the_tables_survives_a_power_cut() {
    let world = World::sqlite().await;
    commit(&world.store, in_tables_at_once()).await.expect("committed");
    let tables =
        |left: &TempDir| ["", "-wal"].iter().for_each(|end| copy_file(home(&world), left.path(), end));
    let mut lefts = Vec::new();
    for decision in in_the_redo_log() {
        let left = tempfile::tempdir().expect("a directory");
        tables(&left);
        lefts.push(left);
        commit(&world.store, decision).await.expect("committed");
        // Brings it into the tables, unflushed.
        kinds(&world.store, EventFilter::default()).await;
    }
    for (number, left) in lefts.iter().enumerate() {
        copy_file(home(&world), left.path(), "-redo");
        let applied = in_tables(left.path(), "SELECT applied FROM redo_position");
        assert_eq!(
            applied,
            2 + i64::try_from(number).expect("small"),
            "the tables are as of an earlier moment"
        );
        let store = open_in(left.path()).await.expect("opened");
        all_is_there(&store).await;
        goes_on(&store).await;
        store.close().await.expect("closed");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_record_takes_no_other_along() {
    let world = World::sqlite().await;
    commit(&world.store, whole("first")).await.expect("committed");
    let held = hold(home(&world));
    for id in ["second", "third", "last"] {
        commit(&world.store, whole(id)).await.expect("committed");
    }
    let left = crash(home(&world));
    drop(held);
    let mut log = std::fs::read(file(left.path(), "-redo")).expect("read");
    let found = records(&log);
    assert_eq!(found.len(), 3);
    let last = found.last().expect("the last").1.clone();
    assert!(log[last.end..].iter().all(|byte| *byte == 0), "room for more");
    log.truncate(last.end);
    // All of the frame, and every so often of the rest.
    let places =
        || last.clone().filter(|at| *at < last.start + FRAME_BYTES || (at - last.start).is_multiple_of(61));
    let cut = places().map(|at| log[..at].to_vec());
    let corrupted = places().map(|at| {
        let mut log = log.clone();
        log[at] ^= 0x41;
        log
    });
    let mut followed = log.clone();
    followed.extend_from_slice(&[7; 50]);
    let damaged = cut.chain(corrupted).map(|log| (log, false)).chain([(log.clone(), true), (followed, true)]);
    for (number, (log, is_whole)) in damaged.enumerate() {
        let torn = tempfile::tempdir().expect("a directory");
        ["", "-wal"].iter().for_each(|end| copy_file(left.path(), torn.path(), end));
        std::fs::write(file(torn.path(), "-redo"), &log).expect("written");
        let store = open_in(torn.path()).await.expect("opened");
        for (id, is_there) in [("second", true), ("third", true), ("last", is_whole)] {
            let found = store.message(&tenant(), &message_id(id)).await.expect("read").is_some();
            assert_eq!(found, is_there, "{id} in log {number}");
        }
        nothing_is_half(&store, 3).await;
        // What is left of it is not taken for what follows a record that is written from now on.
        let expected = 4 + u64::from(is_whole);
        let next = commit(&store, whole("next")).await.expect("committed");
        assert_eq!(next.sequence, expected);
        let again = crash(torn.path());
        store.close().await.expect("closed");
        let store = open_in(again.path()).await.expect("opened");
        assert_eq!(store.message(&tenant(), &message_id("last")).await.expect("read").is_some(), is_whole);
        assert!(store.message(&tenant(), &message_id("next")).await.expect("read").is_some());
        assert_eq!(kinds(&store, EventFilter::default()).await.len() as u64, expected);
        store.close().await.expect("closed");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_an_agent_is_whole_where_a_block_ends_in_the_redo_log() {
    const AT_ONCE: u64 = 300;
    let world = World::sqlite().await;
    commit(&world.store, Decision { events: vec![event("e")], ..Decision::default() })
        .await
        .expect("appended");
    let agents: Vec<AgentId> = (0..7).map(|number| agent_id(&format!("a{number}"))).collect();
    let (mut place, mut store) = (1_u64, world.store.clone());
    let mut lives: Vec<TempDir> = Vec::new();
    // Blocks end at 4,096 and 8,192: in a process that was there from the start, and in one that came after a crash.
    for round in 0..8 {
        let directory = lives.last().map_or(home(&world), TempDir::path).to_owned();
        let held = hold(&directory);
        let group = (0..4).map(|_| {
            let events = (0..AT_ONCE).map(|_| {
                place += 1;
                let event = event("e");
                if place.is_multiple_of(10) { event } else { event.about(&agents[(place % 7) as usize]) }
            });
            Decision { events: events.collect(), ..Decision::default() }
        });
        let group = group.collect();
        assert_eq!(commit_all(&store, group).await.last(), Some(&place));
        let left = crash(&directory);
        drop(held);
        let written = in_tables(left.path(), LAST_PLACE);
        assert!(written.unsigned_abs() <= place - AT_ONCE * 4, "they are in the tables already");
        let expected: Vec<u64> =
            (2..=place).filter(|place| place % 7 == 3 && !place.is_multiple_of(10)).collect();
        let reopened = open_in(left.path()).await.expect("opened");
        // Both that which lives on and that which comes after it.
        for store in [&store, &reopened] {
            let about = EventFilter { agent: Some(agents[3].clone()), ..EventFilter::default() };
            let page = Page { limit: 20_000, after: None };
            let found = store.events(&tenant(), &about, &page).await.expect("read").items;
            let found: Vec<u64> = found.iter().map(|event| event.sequence).collect();
            assert_eq!(found, expected, "round {round}");
        }
        if round % 3 == 2 {
            store.close().await.expect("closed");
            store = reopened;
            lives.push(left);
        } else {
            reopened.close().await.expect("closed");
        }
    }
    assert!(place > 9_000);
    store.close().await.expect("closed");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_what_is_in_no_table_yet() {
    let world = World::sqlite().await;
    commit(&world.store, in_tables_at_once()).await.expect("committed");
    let held = hold(home(&world));
    commit_all(&world.store, in_the_redo_log()).await;
    let copies = tempfile::tempdir().expect("a directory");
    let (inside, outside) = (copies.path().join("inside.db"), copies.path().join("outside.db"));
    world.store.backup(&inside).await.expect("copied");
    signalbox_store::backup_file(&file(home(&world), ""), &outside).expect("copied");
    assert_eq!(in_tables(crash(home(&world)).path(), LAST_PLACE), 1, "they wait still");
    drop(held);
    for path in [inside, outside] {
        signalbox_store::check_file(&path).expect("whole");
        let options = Options::new(format!("sqlite://{}", path.display()), node(3));
        let store = Store::open(options).await.expect("opened");
        all_is_there(&store).await;
        goes_on(&store).await;
        store.close().await.expect("closed");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_all_that_was_acknowledged_before_it_began() {
    let world = World::sqlite().await;
    commit(&world.store, whole("first")).await.expect("committed");
    let (acknowledged, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let writers = (0..6).map(|writer| {
        let (store, acknowledged, is_over) =
            (world.store.clone(), Arc::clone(&acknowledged), Arc::clone(&is_over));
        tokio::spawn(async move {
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let id = format!("m-{writer}-{number}");
                commit(&store, whole(&id)).await.expect("committed");
                acknowledged.lock().push(id);
                // It goes to the tables at once, and the redo log begins anew.
                if number % 5 == 4 {
                    store.is_writable().await.expect("writable");
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut copies = Vec::new();
    for number in 0..6 {
        let since = acknowledged.lock().len();
        let come = async {
            while acknowledged.lock().len() < since + 40 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, come).await.expect("in time");
        let (before, path) = (acknowledged.lock().clone(), home(&world).join(format!("copy{number}.db")));
        if number % 2 == 0 {
            world.store.backup(&path).await.expect("copied");
        } else {
            let (from, to) = (file(home(&world), ""), path.clone());
            let copied = tokio::task::spawn_blocking(move || signalbox_store::backup_file(&from, &to)).await;
            copied.expect("finished").expect("copied");
        }
        copies.push((path, before));
    }
    is_over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("finished");
    }
    for (path, before) in copies {
        let options = Options::new(format!("sqlite://{}", path.display()), node(3));
        let store = Store::open(options).await.expect("opened");
        for id in &before {
            let found = store.message(&tenant(), &message_id(id)).await.expect("read");
            assert!(found.is_some(), "{id} was acknowledged before the backup began");
        }
        nothing_is_half(&store, before.len() + 1).await;
        store.close().await.expect("closed");
    }
    world.end().await;
}

/// The store is refused, told why, and left as it was.
async fn is_refused(directory: &Path, said: &[&str]) {
    let log = std::fs::read(file(directory, "-redo")).expect("read");
    let refused = open_in(directory).await.err().expect("refused");
    assert!(matches!(refused, StoreError::Open(_)), "{refused:?}");
    for said in said {
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert!(refused.to_string().contains("store.db-redo"), "it names the file: {refused}");
    assert_eq!(std::fs::read(file(directory, "-redo")).expect("read"), log, "the redo log is as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redo_log_beside_an_older_database_is_refused() {
    let world = World::sqlite().await;
    commit(&world.store, whole("first")).await.expect("committed");
    let older = tempfile::tempdir().expect("a directory");
    ["", "-wal"].iter().for_each(|end| copy_file(home(&world), older.path(), end));
    commit(&world.store, whole("second")).await.expect("committed");
    // It goes to the tables at once, and the redo log begins anew.
    let mut at_once = whole("third");
    at_once.create(Row::Tool(Arc::new(tool("adder"))), 1);
    commit(&world.store, at_once).await.expect("committed");
    commit(&world.store, whole("fourth")).await.expect("committed");
    copy_file(home(&world), older.path(), "-redo");
    world.end().await;
    is_refused(older.path(), &["do not belong together", "backup", "remove the redo log"]).await;
    std::fs::remove_file(file(older.path(), "-redo")).expect("removed");
    let store = open_in(older.path()).await.expect("opened");
    nothing_is_half(&store, 1).await;
    assert_eq!(commit(&store, whole("other")).await.expect("committed").sequence, 2);
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redo_log_beside_a_new_database_is_refused() {
    let world = World::sqlite().await;
    commit(&world.store, whole("first")).await.expect("committed");
    commit(&world.store, whole("second")).await.expect("committed");
    let left = tempfile::tempdir().expect("a directory");
    copy_file(home(&world), left.path(), "-redo");
    world.end().await;
    is_refused(left.path(), &["do not belong together"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redo_log_of_an_unknown_form_is_refused_and_an_empty_one_is_fine() {
    let world = World::sqlite().await;
    commit(&world.store, in_tables_at_once()).await.expect("committed");
    commit_all(&world.store, in_the_redo_log()).await;
    world.store.close().await.expect("closed");
    let log = file(home(&world), "-redo");
    for other in
        [&b"signalbox redo 2 and what comes then"[..], b"signalbox redo 9", b"a letter, and a long one"]
    {
        std::fs::write(&log, other).expect("written");
        is_refused(home(&world), &["version"]).await;
    }
    for fine in [&b""[..], &HEADER[..5], HEADER] {
        std::fs::write(&log, fine).expect("written");
        let store = open_in(home(&world)).await.expect("opened");
        all_is_there(&store).await;
        store.close().await.expect("closed");
        assert_eq!(std::fs::read(&log).expect("read"), HEADER);
    }
    std::fs::remove_file(&log).expect("removed");
    let store = open_in(home(&world)).await.expect("opened");
    all_is_there(&store).await;
    goes_on(&store).await;
    store.close().await.expect("closed");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_leaves_an_empty_redo_log() {
    let world = World::sqlite().await;
    commit(&world.store, in_tables_at_once()).await.expect("committed");
    let held = hold(home(&world));
    commit_all(&world.store, in_the_redo_log()).await;
    let log = file(home(&world), "-redo");
    assert!(!records(&std::fs::read(&log).expect("read")).is_empty(), "they wait");
    drop(held);
    world.store.close().await.expect("closed");
    assert_eq!(std::fs::read(&log).expect("read"), HEADER);
    // The tables have it all by themselves.
    std::fs::remove_file(&log).expect("removed");
    let store = open_in(home(&world)).await.expect("opened");
    all_is_there(&store).await;
    goes_on(&store).await;
    store.close().await.expect("closed");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_the_newest_whatever_memory_has_room_for() {
    const SESSIONS: usize = 12;
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::new(format!("sqlite://{}", file(directory.path(), "").display()), node(1));
    // Room for a few rows, and for no session of many tasks.
    let store = Store::open(Options { cache_bytes: 24 << 10, ..options }).await.expect("opened");
    let acknowledged: Arc<Vec<Mutex<i64>>> = Arc::new((0..SESSIONS).map(|_| Mutex::new(0)).collect());
    let is_over = Arc::new(AtomicBool::new(false));
    let check = async |store: &Store, number: usize, at_least: i64| {
        let id = format!("s{number}");
        let found = store.session(&tenant(), &session_id(&id)).await.expect("read").expect("there");
        assert!(found.version >= at_least, "{id} is of version {}, not {at_least}", found.version);
        // Its tasks are as they were written along with it.
        let tasks: BTreeSet<usize> = found.value.tasks.iter().map(|task| task.position).collect();
        let expected = usize::try_from(found.version).expect("small").min(5);
        assert_eq!(tasks, (0..expected).collect(), "{id}");
        let position = usize::try_from(found.version - 1).expect("small") % 5;
        let written = found.value.tasks.get(position).expect("there").retries;
        assert_eq!(i64::from(written), found.version, "the task of {id} that was written last");
        let message = store.message(&tenant(), &message_id(&id)).await.expect("read").expect("there");
        assert!(message.version >= at_least, "message {id}");
        let status = store.status(&tenant(), &agent_id(&id)).await.expect("read").expect("there");
        assert!(status.version >= at_least, "status {id}");
    };
    let reader = tokio::spawn({
        let (store, acknowledged, is_over) = (store.clone(), Arc::clone(&acknowledged), Arc::clone(&is_over));
        async move {
            for number in (0..SESSIONS).cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let at_least = *acknowledged[number].lock();
                if at_least > 0 {
                    check(&store, number, at_least).await;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    for version in 1..=12_i64 {
        for number in 0..SESSIONS {
            let id = format!("s{number}");
            let before = (version > 1).then(|| version - 1);
            let mut decision = Decision::default();
            decision.put(Row::Session(Arc::new(session(&id, "w", 0))), before, version);
            let position = usize::try_from(version - 1).expect("small") % 5;
            let task = Task {
                retries: u32::try_from(version).expect("small"),
                ..task(&format!("{id}t{position}"), position)
            };
            decision.put_guarded(Row::Task(session_id(&id), Arc::new(task)), version);
            decision.put(Row::Message(Arc::new(message(&id))), before, version);
            decision.put(Row::Status(Arc::new(status(&id, "idle"))), before, version);
            commit(&store, decision).await.expect("committed");
            *acknowledged[number].lock() = version;
            let other = (number * 7 + 3) % SESSIONS;
            let at_least = *acknowledged[other].lock();
            if at_least > 0 {
                check(&store, other, at_least).await;
            }
        }
    }
    is_over.store(true, Ordering::Relaxed);
    reader.await.expect("finished");
    for number in 0..SESSIONS {
        check(&store, number, 12).await;
    }
    store.close().await.expect("closed");
}

/// A sender may give the same id again once its message has left the channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_left_its_channel_and_came_again_has_its_new_place() {
    let world = World::sqlite().await;
    let publish = |sequence: u64, id: &str, moment: i64| {
        Row::ChannelMessage(Arc::new(channel_message("c", sequence, id, moment)))
    };
    let mut first = Decision::default();
    first.create(Row::Channel(Arc::new(channel("c", "orders"))), 1);
    first.create(Row::Tool(Arc::new(tool("adder"))), 1);
    first.create(publish(1, "m", 1), 1);
    commit(&world.store, first).await.expect("committed");
    let held = hold(home(&world));
    let mut gone = Decision::default();
    gone.create(publish(2, "n", 2), 1);
    gone.remove_guarded(publish(1, "m", 1).key());
    let mut again = Decision::default();
    again.create(publish(3, "m", 3), 1);
    commit_all(&world.store, vec![gone, again]).await;
    let left = crash(home(&world));
    drop(held);
    let reopened = open_in(left.path()).await.expect("opened");
    for (store, which) in [(&reopened, "after a crash"), (&world.store, "in the one that lives on")] {
        let history = async |after: u64| {
            let most = (9, 1 << 20);
            store
                .channel_messages(&tenant(), &channel("c", "orders"), after, most, at(5))
                .await
                .expect("read")
        };
        let found = history(0).await;
        let found: Vec<(u64, &str)> =
            found.iter().map(|message| (message.sequence, message.id.as_str())).collect();
        assert_eq!(found, [(2, "n"), (3, "m")], "{which}");
        assert_eq!(history(2).await.len(), 1, "behind the second, {which}");
    }
    reopened.close().await.expect("closed");
    world.end().await;
}
