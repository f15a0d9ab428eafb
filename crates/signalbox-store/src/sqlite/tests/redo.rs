//! The redo log where the disk does not do what it is asked: tables that cannot be written, appends that fail.

use std::path::Path;

use signalbox_core::agent::AgentStatus;

use super::*;
use crate::sqlite::redo;
use crate::sqlite::redo::fails::{self, Written};

/// How long anything may take that is waited for.
const DEADLINE: Duration = Duration::from_secs(60);
/// The bytes of a store's files.
const ENDS: [&str; 3] = ["", "-wal", "-redo"];

fn page(limit: usize) -> Page {
    Page { limit, after: None }
}

/// A decision for the redo log: a status of this version, an entry of this kind with that many bytes, and due work.
fn report(id: &str, version: i64, bytes: usize) -> Decision {
    let mut status = AgentStatus::fresh(AgentId::parse(id).expect("valid"), 1, Timestamp::default());
    status.last_seen = Timestamp::from_seconds(version);
    let mut decision = Decision::default();
    decision.put(Row::Status(Arc::new(status)), (version > 1).then(|| version - 1), version);
    decision.events.push(NewEvent::new(id, Level::Info, Timestamp::default(), &"x".repeat(bytes)));
    let message = signalbox_wire::id::MessageId::parse(id).expect("valid");
    decision.due.push(Due::new(DueJob::Deliver { message }, Timestamp::default()));
    decision
}

/// A decision that goes to the tables at once, with an entry: the tenant has a log from then on.
fn begun() -> Decision {
    let mut decision = name("begun");
    decision.events.push(NewEvent::new("begun", Level::Info, Timestamp::default(), &0));
    decision
}

async fn status_version(sqlite: &Sqlite, id: &str) -> Option<i64> {
    let key = Key::Status(AgentId::parse(id).expect("valid"));
    sqlite.read(&tenant(), &key).await.expect("read").map(|row| row.loaded.version())
}

/// The log, whole, with the place of each entry.
async fn log(sqlite: &Sqlite) -> Vec<(u64, String)> {
    let listed = sqlite.events(&tenant(), &EventFilter::default(), &page(10_000)).await.expect("read");
    listed.items.into_iter().map(|event| (event.sequence, event.kind)).collect()
}

fn expected(ids: &[&str]) -> Vec<(u64, String)> {
    (1..).zip(ids.iter().map(|id| (*id).to_owned())).collect()
}

fn path(directory: &Path, end: &str) -> PathBuf {
    directory.join(format!("a.db{end}"))
}

fn bytes(directory: &Path, end: &str) -> Vec<u8> {
    std::fs::read(path(directory, end)).expect("read")
}

/// The numbers of the records in the redo log.
fn numbers(directory: &Path) -> Vec<u64> {
    redo::records(&bytes(directory, "-redo")).expect("ours").map(|(number, _)| number).collect()
}

/// What a process that is gone leaves.
fn crash(directory: &Path) -> TempDir {
    let left = tempfile::tempdir().expect("a directory");
    for end in ENDS {
        std::fs::copy(path(directory, end), path(left.path(), end)).expect("copied");
    }
    left
}

fn opened(directory: &Path) -> Sqlite {
    let options = Options::new("", NodeId::parse("nod_2").expect("valid"));
    let cache = Arc::new(Cache::new(options.cache_bytes).expect("made"));
    Sqlite::open(path(directory, ""), &options, cache).expect("opened")
}

/// Keeps everybody else from writing the tables until this is dropped.
fn hold(directory: &Path) -> Connection {
    let held = Connection::open(path(directory, "")).expect("opened");
    held.busy_timeout(DEADLINE).expect("set");
    held.execute_batch("BEGIN IMMEDIATE").expect("held");
    held
}

/// Waits until nothing waits any more in the redo log alone.
async fn idle(sqlite: &Sqlite) {
    let idle = async {
        while !sqlite.access.shared.pending.read().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, idle).await.expect("in time");
}

/// All rows and entries of these decisions are there, and no others.
async fn is_whole(sqlite: &Sqlite, ids: &[&str]) {
    for id in ids.iter().skip(1) {
        assert_eq!(status_version(sqlite, id).await, Some(1), "{id}");
    }
    assert_eq!(log(sqlite).await, expected(ids));
    assert_eq!(sqlite.backlog(100_000).await.expect("counted").pending, ids.len() as u64 - 1);
}

/// The start of an attempt's due work, the first under its id, and its end.
fn begins_and_ends(id: &str) -> [Decision; 2] {
    let mut begins = report(id, 1, 10);
    begins.due.iter_mut().for_each(|due| due.is_new = true);
    let mut ends = report(id, 2, 10);
    ends.due.clear();
    ends.done.extend(begins.due.iter().map(|due| due.work.id()));
    [begins, ends]
}

#[tokio::test]
async fn new_due_work_that_is_over_is_nowhere_wherever_it_has_been() {
    for (is_written_between, is_crashed) in [(false, false), (true, false), (false, true), (true, true)] {
        let (directory, sqlite, cache) = sqlite(|_| {});
        commit(&sqlite, &cache, begun()).await.expect("committed");
        let [begins, ends] = begins_and_ends("a");
        let held = (!is_written_between).then(|| hold(directory.path()));
        commit(&sqlite, &cache, begins).await.expect("committed");
        if is_written_between {
            idle(&sqlite).await;
            assert_eq!(sqlite.backlog(10).await.expect("counted").pending, 1);
        }
        commit(&sqlite, &cache, ends).await.expect("committed");
        let left = is_crashed.then(|| crash(directory.path()));
        drop(held);
        let sqlite = left.as_ref().map_or(sqlite, |left| opened(left.path()));
        idle(&sqlite).await;
        let pending = sqlite.backlog(10).await.expect("counted").pending;
        assert_eq!(pending, 0, "{is_written_between} {is_crashed}");
        assert_eq!(status_version(&sqlite, "a").await, Some(2));
    }
}

/// Where the tables could not be written, it is not known what they have: nothing is taken for new any more.
#[tokio::test]
async fn new_due_work_that_is_over_is_struck_out_where_the_tables_may_have_it() {
    let (directory, sqlite, cache) = sqlite(|_| {});
    commit(&sqlite, &cache, begun()).await.expect("committed");
    fill(&sqlite, directory.path()).await;
    // Together they are more than there is room for.
    let others: Vec<String> = (0..40).map(|number| format!("b{number}")).collect();
    for id in &others {
        commit(&sqlite, &cache, report(id, 1, 3_000)).await.expect("it is in the redo log");
    }
    let [begins, ends] = begins_and_ends("a");
    let message = begins.due[0].work.id();
    commit(&sqlite, &cache, begins).await.expect("committed");
    // Whoever reads a list has the tables written.
    let read = sqlite.events(&tenant(), &EventFilter::default(), &page(1)).await;
    read.map(|_| ()).expect_err("there is no room");
    let held = hold(directory.path());
    let sql = "INSERT INTO due (tenant, id, kind, lane, due_at, visible_at, body) VALUES (?, ?, 'deliver', '', 0, 0, '{}')";
    held.execute(sql, [tenant().as_str(), &message]).expect("written");
    commit(&sqlite, &cache, ends).await.expect("committed");
    held.execute_batch("COMMIT; DROP TABLE filler").expect("written");
    idle(&sqlite).await;
    assert_eq!(sqlite.backlog(100).await.expect("counted").pending, others.len() as u64);
}

/// Takes the room that the database may have: it cannot grow, until what is outside is dropped.
async fn fill(sqlite: &Sqlite, directory: &Path) {
    let filler = Connection::open(path(directory, "")).expect("opened");
    filler.busy_timeout(DEADLINE).expect("set");
    let sql = "CREATE TABLE filler (body BLOB); INSERT INTO filler VALUES (zeroblob(33554432))";
    filler.execute_batch(sql).expect("filled");
    // It is never set below what the file has.
    pages_max(sqlite, 1).await;
}

fn make_room(directory: &Path) {
    let filler = Connection::open(path(directory, "")).expect("opened");
    filler.busy_timeout(DEADLINE).expect("set");
    filler.execute_batch("DROP TABLE filler").expect("dropped");
}

#[tokio::test]
async fn where_the_tables_have_no_room_what_was_acknowledged_stays() {
    let (directory, sqlite, cache) = sqlite(|_| {});
    commit(&sqlite, &cache, begun()).await.expect("committed");
    fill(&sqlite, directory.path()).await;
    let ids: Vec<String> = (0..40).map(|number| format!("a{number}")).collect();
    let mut all = vec!["begun"];
    for id in &ids {
        let done = commit(&sqlite, &cache, report(id, 1, 3_000)).await.expect("it is in the redo log");
        all.push(id);
        assert_eq!(done.sequence, all.len() as u64);
    }
    // Read by key: from memory, and from what waits.
    cache.clear();
    for id in &ids {
        assert_eq!(status_version(&sqlite, id).await, Some(1), "{id}");
    }
    let unavailable = |told: Option<StoreError>, what: &str| {
        assert!(
            matches!(&told, Some(StoreError::Unavailable(told)) if told.contains("full")),
            "{what}: {told:?}"
        );
    };
    unavailable(sqlite.events(&tenant(), &EventFilter::default(), &page(9)).await.err(), "the log");
    unavailable(sqlite.agents(&tenant(), &AgentFilter::default(), &page(9)).await.err(), "agents");
    unavailable(sqlite.next_due(DueKind::Delivery).await.err(), "what is due");
    // Its place is behind all that waits, although nothing of that could be written.
    let done = commit(&sqlite, &cache, report("next", 1, 10)).await.expect("it is in the redo log");
    all.push("next");
    assert_eq!(done.sequence, all.len() as u64);
    unavailable(sqlite.is_writable().await.err(), "it cannot be written");
    let at = Timestamp::from_seconds(1);
    let lease = Lease { node: sqlite.node.clone(), until: at };
    unavailable(sqlite.claim(at, lease, DueKind::Delivery, 9).await.err(), "a claim");
    unavailable(commit(&sqlite, &cache, name("at once")).await.err(), "a commit that goes to the tables");
    assert!(!is_there(&sqlite, "at once").await);
    // From then on it may refuse the others as well; whatever it acknowledges has the next place.
    if let Ok(done) = commit(&sqlite, &cache, report("b", 1, 10)).await {
        all.push("b");
        assert_eq!(done.sequence, all.len() as u64);
    }
    assert_eq!(status_version(&sqlite, "b").await.is_some(), all.contains(&"b"));
    for id in &ids {
        assert_eq!(status_version(&sqlite, id).await, Some(1), "{id}");
    }
    let left = crash(directory.path());
    make_room(directory.path());
    is_whole(&sqlite, &all).await;
    commit(&sqlite, &cache, report("c", 1, 10)).await.expect("committed");
    all.push("c");
    is_whole(&sqlite, &all).await;
    // A process that ends there and then loses nothing either.
    make_room(left.path());
    all.pop();
    is_whole(&opened(left.path()), &all).await;
}

#[tokio::test]
async fn where_the_tables_have_no_room_commits_are_refused_in_the_end() {
    let (directory, sqlite, cache) = sqlite(|_| {});
    commit(&sqlite, &cache, begun()).await.expect("committed");
    fill(&sqlite, directory.path()).await;
    // As many bytes as the redo log has before it begins anew, and half as many again.
    let refused = async {
        for number in 0..48 {
            let done = commit(&sqlite, &cache, report(&format!("a{number}"), 1, 512 << 10)).await;
            if done.is_err() {
                return done.err();
            }
        }
        None
    };
    let refused = refused.await;
    let waiting = bytes(directory.path(), "-redo").len();
    assert!(
        matches!(refused, Some(StoreError::Unavailable(_) | StoreError::Busy(_))),
        "{waiting} bytes wait, and nobody is told: {refused:?}"
    );
}

#[tokio::test]
async fn an_append_that_fails_is_told_and_seen_by_nobody() {
    for written in [Written::All, Written::Half, Written::Nothing] {
        for was_idle in [false, true] {
            let (directory, sqlite, cache) = sqlite(|_| {});
            let home = directory.path();
            commit(&sqlite, &cache, begun()).await.expect("committed");
            let held = (!was_idle).then(|| hold(home));
            for id in ["a", "b"] {
                commit(&sqlite, &cache, report(id, 1, 100)).await.expect("committed");
            }
            if was_idle {
                idle(&sqlite).await;
            }
            fails::next(&path(home, ""), written);
            let refused = commit(&sqlite, &cache, report("lost", 1, 100)).await;
            assert!(
                matches!(&refused, Err(StoreError::Unavailable(told)) if told.contains("redo log")),
                "{refused:?}"
            );
            let left = crash(home);
            assert_eq!(status_version(&sqlite, "lost").await, None);
            assert_eq!(cache.version(&tenant(), &Key::Status(AgentId::parse("lost").expect("valid"))), None);
            drop(held);
            is_whole(&sqlite, &["begun", "a", "b"]).await;

            // A process that ends there and then: whoever was told so cannot know, so all of it or nothing.
            let after = opened(left.path());
            match status_version(&after, "lost").await {
                Some(_) => {
                    assert_eq!(written, Written::All, "half a record is none");
                    is_whole(&after, &["begun", "a", "b", "lost"]).await;
                }
                None => is_whole(&after, &["begun", "a", "b"]).await,
            }

            let done = commit(&sqlite, &cache, report("c", 1, 100)).await.expect("committed");
            assert_eq!(done.sequence, 4, "the place that nobody got");
            let left = crash(home);
            is_whole(&sqlite, &["begun", "a", "b", "c"]).await;
            is_whole(&opened(left.path()), &["begun", "a", "b", "c"]).await;
            // The same decision may be made again.
            commit(&sqlite, &cache, report("lost", 1, 100)).await.expect("committed");
            is_whole(&opened(crash(home).path()), &["begun", "a", "b", "c", "lost"]).await;
        }
    }
}

/// Does these while the writer is busy with something else, so that all of them are one record.
async fn together(
    sqlite: &Sqlite,
    cache: &Cache,
    decisions: [Decision; 2],
) -> [Result<Committed, StoreError>; 2] {
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let hanging = move |_: &Connection| -> rusqlite::Result<()> {
        let _counted = begun.try_send(());
        let _held_until_dropped = may_go_on.recv();
        Ok(())
    };
    let [one, other] = decisions;
    let queued = async {
        has_begun.recv().await.expect("begun");
        let waiting = async {
            while sqlite.access.shared.queue.len() < 2 {
                tokio::task::yield_now().await;
            }
            drop(go_on);
        };
        let (one, other, ()) =
            tokio::join!(commit(sqlite, cache, one), commit(sqlite, cache, other), waiting);
        [one, other]
    };
    let (hung, answers) = tokio::join!(sqlite.access.write(hanging, |()| {}), queued);
    hung.expect("done");
    answers
}

#[tokio::test]
async fn an_append_that_fails_fails_all_that_are_in_it() {
    let (directory, sqlite, cache) = sqlite(|_| {});
    commit(&sqlite, &cache, begun()).await.expect("committed");
    commit(&sqlite, &cache, report("a", 1, 100)).await.expect("committed");
    fails::next(&path(directory.path(), ""), Written::All);
    let answers = together(&sqlite, &cache, [report("b", 1, 100), report("c", 1, 100)]).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))), "{answers:?}");
    let left = crash(directory.path());
    is_whole(&sqlite, &["begun", "a"]).await;
    // The record is whole in the file, so a process that ends there finds both.
    is_whole(&opened(left.path()), &["begun", "a", "b", "c"]).await;
    let answers = together(&sqlite, &cache, [report("c", 1, 100), report("d", 1, 100)]).await;
    assert_eq!(answers.map(|answer| answer.expect("committed").sequence), [3, 4]);
    let left = crash(directory.path());
    is_whole(&opened(left.path()), &["begun", "a", "c", "d"]).await;
    is_whole(&sqlite, &["begun", "a", "c", "d"]).await;
}

#[tokio::test]
async fn a_failed_append_among_ends_and_beginnings_is_never_found_again() {
    let (directory, sqlite, cache) = sqlite(|_| {});
    commit(&sqlite, &cache, begun()).await.expect("committed");
    let mut all = vec!["begun".to_owned()];
    for round in 0..12 {
        let id = |what: &str| format!("{what}{round}");
        // Records of several lengths, so that what is left of one ends where another begins.
        for (what, bytes) in [("a", 10 * round), ("b", 50)].into_iter().take(1 + round % 2) {
            commit(&sqlite, &cache, report(&id(what), 1, bytes)).await.expect("committed");
            all.push(id(what));
        }
        let written = [Written::All, Written::Half, Written::Nothing][round % 3];
        fails::next(&path(directory.path(), ""), written);
        commit(&sqlite, &cache, report(&id("lost"), 1, 10 * round)).await.expect_err("failed");
        if round % 4 == 0 {
            idle(&sqlite).await;
        }
        commit(&sqlite, &cache, report(&id("c"), 1, 30)).await.expect("committed");
        all.push(id("c"));
        let ids: Vec<&str> = all.iter().map(String::as_str).collect();
        let left = crash(directory.path());
        is_whole(&opened(left.path()), &ids).await;
    }
}

#[tokio::test]
async fn the_log_of_an_agent_is_whole_where_an_append_fails_at_the_end_of_a_block() {
    let (directory, sqlite, cache) = sqlite(|_| {});
    let agent = AgentId::parse("x").expect("valid");
    let entries = |count: usize| {
        let entry = NewEvent::new("e", Level::Info, Timestamp::default(), &0).about(&agent);
        Decision { events: vec![entry; count], ..Decision::default() }
    };
    commit(&sqlite, &cache, entries(3_900)).await.expect("it is large, and goes to the tables at once");
    let held = hold(directory.path());
    let done = commit(&sqlite, &cache, entries(196)).await.expect("committed");
    assert_eq!(done.sequence, 4_096, "the last of a block");
    fails::next(&path(directory.path(), ""), Written::Nothing);
    commit(&sqlite, &cache, entries(5)).await.expect_err("failed");
    drop(held);
    commit(&sqlite, &cache, entries(5)).await.expect("committed");
    let about = EventFilter { agent: Some(agent.clone()), ..EventFilter::default() };
    for after in [0, 4_000] {
        let filter = EventFilter { after: Some(after), ..about.clone() };
        let found = sqlite.events(&tenant(), &filter, &page(10_000)).await.expect("read").items;
        assert!(
            found.iter().map(|event| event.sequence).eq(after + 1..=4_101),
            "{} behind {after}",
            found.len()
        );
    }
}

/// The redo log is needed until the tables are on the disk: where it begins anew behind what was written to them without a
/// flush, a commit has been flushed in between. `behind` is what happens then, and ends with a commit.
async fn begins_anew_only_behind_a_flush(behind: impl AsyncFn(&Path, &Sqlite, &Cache)) {
    let caught = async || {
        let (directory, sqlite, cache) = sqlite(|_| {});
        let home = directory.path();
        commit(&sqlite, &cache, begun()).await.expect("committed");
        for id in ["a", "b", "c"] {
            commit(&sqlite, &cache, report(id, 1, 100)).await.expect("committed");
        }
        idle(&sqlite).await;
        assert_eq!(
            numbers(home).first(),
            Some(&3),
            "they are needed still: the first went to the tables at once"
        );
        let unflushed = bytes(home, "-wal");
        behind(home, &sqlite, &cache).await;
        let left = crash(home);
        let (first, is_flushed) =
            (numbers(left.path()).first().copied(), bytes(left.path(), "-wal") != unflushed);
        let tables = Connection::open(path(left.path(), "")).expect("opened");
        let applied: i64 =
            tables.query_row("SELECT applied FROM redo_position", [], |row| row.get(0)).expect("read");
        // Where that last commit is in the tables already, nobody can tell what was written before it.
        let is_missed = first.is_some_and(|first| applied.unsigned_abs() >= first) && first != Some(3);
        (!is_missed).then_some((first, is_flushed))
    };
    let caught = async {
        loop {
            if let Some(caught) = caught().await {
                return caught;
            }
        }
    };
    let (first, is_flushed) = tokio::time::timeout(DEADLINE, caught).await.expect("in time");
    assert!(
        first == Some(3) || is_flushed,
        "it begins with {first:?} now, and a power cut may take from the tables what came before"
    );
}

#[tokio::test]
async fn an_errand_that_changes_nothing_leaves_the_redo_log_or_flushes_the_tables() {
    begins_anew_only_behind_a_flush(async |_, sqlite, cache| {
        let nobody = SessionId::parse("nobody").expect("valid");
        assert_eq!(sqlite.remove_history(&tenant(), &nobody, 9).await.expect("nothing"), 0);
        commit(sqlite, cache, report("d", 1, 100)).await.expect("committed");
    })
    .await;
}

#[tokio::test]
async fn a_failed_append_leaves_the_redo_log_or_flushes_the_tables() {
    begins_anew_only_behind_a_flush(async |home, sqlite, cache| {
        fails::next(&path(home, ""), Written::Nothing);
        commit(sqlite, cache, report("lost", 1, 100)).await.expect_err("failed");
        commit(sqlite, cache, report("d", 1, 100)).await.expect("committed");
    })
    .await;
}

#[tokio::test]
async fn a_reader_after_a_failed_append_is_shown_what_is_flushed() {
    for written in [Written::All, Written::Half, Written::Nothing] {
        let (directory, sqlite, cache) = sqlite(|_| {});
        let home = directory.path();
        commit(&sqlite, &cache, begun()).await.expect("committed");
        let held = hold(home);
        commit(&sqlite, &cache, report("a", 1, 100)).await.expect("committed");
        fails::next(&path(home, ""), written);
        commit(&sqlite, &cache, report("lost", 1, 100)).await.expect_err("failed");
        drop(held);
        // Whoever reads has the tables brought up, by a commit with a number that is in no record.
        assert_eq!(log(&sqlite).await, expected(&["begun", "a"]));
        let known = position(home);
        assert!(known > numbers(home).last().copied().unwrap_or_default(), "{written:?}");
        commit(&sqlite, &cache, report("b", 1, 100)).await.expect("committed");
        assert_eq!(numbers(home), [known + 1], "it begins anew, {written:?}");
        assert_eq!(log(&opened(crash(home).path())).await, expected(&["begun", "a", "b"]), "{written:?}");
    }
}

#[tokio::test]
async fn closing_after_a_failed_append_loses_nothing() {
    for written in [Written::All, Written::Half, Written::Nothing] {
        let (directory, sqlite, cache) = sqlite(|_| {});
        commit(&sqlite, &cache, begun()).await.expect("committed");
        for id in ["a", "b"] {
            commit(&sqlite, &cache, report(id, 1, 100)).await.expect("committed");
        }
        fails::next(&path(directory.path(), ""), written);
        commit(&sqlite, &cache, report("lost", 1, 100)).await.expect_err("failed");
        sqlite.close().await.expect("closed");
        let again = opened(directory.path());
        let mut all = vec!["begun", "a", "b"];
        // Whoever was told so cannot know.
        if status_version(&again, "lost").await.is_some() {
            assert_eq!(written, Written::All, "half a record is none");
            all.push("lost");
        }
        is_whole(&again, &all).await;
    }
}

/// The number up to which the tables have everything.
fn position(directory: &Path) -> u64 {
    let tables = Connection::open(path(directory, "")).expect("opened");
    let applied = "SELECT applied FROM redo_position";
    tables.query_row(applied, [], |row| row.get::<_, i64>(0)).expect("read").unsigned_abs()
}

#[tokio::test]
async fn what_follows_a_commit_of_the_tables_that_failed_is_found_after_a_crash() {
    let (directory, sqlite, cache) = sqlite(|_| {});
    commit(&sqlite, &cache, begun()).await.expect("committed");
    let mut ids = vec!["begun".to_owned()];
    for round in 0..3 {
        let before = format!("before{round}");
        commit(&sqlite, &cache, report(&before, 1, 100)).await.expect("committed");
        let faulty = |connection: &Connection| -> rusqlite::Result<()> {
            connection.execute("INSERT INTO agent_names VALUES (NULL, NULL, NULL, NULL)", []).map(|_| ())
        };
        sqlite.access.write(faulty, |()| {}).await.expect_err("at fault");
        // One that fails among others is tried once more on its own, behind those.
        let along = format!("along{round}");
        let (slow, done, fault) = tokio::join!(
            sqlite.access.write(slowly, |()| {}),
            commit(&sqlite, &cache, report(&along, 1, 100)),
            sqlite.access.write(faulty, |()| {}),
        );
        slow.expect("done");
        done.expect("committed");
        fault.expect_err("at fault");
        let after = format!("after{round}");
        commit(&sqlite, &cache, report(&after, 1, 100)).await.expect("committed");
        ids.extend([before, along, after]);
        let left = crash(directory.path());
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(log(&opened(left.path())).await, expected(&ids), "round {round}");
    }
}

#[tokio::test]
async fn a_start_flushes_what_the_process_before_has_written_to_the_tables() {
    let (directory, sqlite, cache) = sqlite(|_| {});
    commit(&sqlite, &cache, begun()).await.expect("committed");
    commit(&sqlite, &cache, report("a", 1, 100)).await.expect("committed");
    // Brings it into the tables, unflushed.
    log(&sqlite).await;
    let known = position(directory.path());
    assert_eq!(numbers(directory.path()), [known], "it is in the tables, and needed still");
    let left = crash(directory.path());
    let unflushed = bytes(left.path(), "-wal");
    let again = opened(left.path());
    assert!(!unflushed.is_empty());
    assert!(bytes(left.path(), "-wal").is_empty(), "all of it is in the main file, and that is flushed");
    assert_eq!((position(left.path()), status_version(&again, "a").await), (known + 1, Some(1)));
}

#[tokio::test]
async fn a_stop_flushes_the_tables_before_the_redo_log_is_emptied() {
    let (directory, sqlite, cache) = sqlite(|_| {});
    commit(&sqlite, &cache, begun()).await.expect("committed");
    commit(&sqlite, &cache, report("a", 1, 100)).await.expect("committed");
    log(&sqlite).await;
    let known = position(directory.path());
    assert_eq!(numbers(directory.path()), [known], "nothing waits, and it is needed still");
    sqlite.close().await.expect("closed");
    assert!(position(directory.path()) > known, "a commit of the tables, which is flushed");
    assert_eq!(numbers(directory.path()), [0; 0]);
}
