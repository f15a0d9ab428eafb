//! What only a shared database can do to a store: lose its connection, keep it waiting, refuse one value among
//! many, and be written by others at the same time. Run against the server that `SIGNALBOX_TEST_POSTGRES`
//! names, in a database for each test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Map, json};
use signalbox_core::agent::{Agent, AgentStatus};
use signalbox_core::decision::{Key, Row};
use signalbox_core::due::{Due, DueJob};
use signalbox_core::event::{Level, NewEvent};
use signalbox_core::lease::Lease;
use signalbox_core::routing::Route;
use signalbox_core::session::Session;
use signalbox_core::task::Task;
use signalbox_core::{Decision, Need, Snapshot};
use signalbox_wire::id::{AgentId, MessageId, NodeId, SessionId, TaskId, TenantId, WorkflowId};
use signalbox_wire::time::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use super::migrate::{self, STEPS, Step, Waits};
use crate::{
    AgentFilter, Counted, DueKind, EventFilter, Options, Page, Prune, Removal, SessionFilter, Store,
    StoreError,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A database of its own, and a way to it beside the store.
struct Server {
    url: String,
    name: String,
    admin: Client,
    beside: Client,
}

impl Server {
    async fn new() -> Option<Self> {
        let Ok(server) = std::env::var("SIGNALBOX_TEST_POSTGRES") else {
            println!("not run: set SIGNALBOX_TEST_POSTGRES=postgres://user@host/postgres");
            return None;
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("signalbox_postgres_{}_{count}", std::process::id());
        let admin = connect(&server).await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("created");
        let (base, query) = server.split_once('?').unwrap_or((&server, ""));
        let (host, _) = base.rsplit_once('/').expect("a URL that names a database");
        let url = format!("{host}/{name}?{query}");
        let beside = connect(&url).await;
        Some(Self { url, name, admin, beside })
    }

    async fn store(&self, node: u32) -> Store {
        self.patient_store(node, Duration::from_secs(10)).await
    }

    async fn patient_store(&self, node: u32, patience: Duration) -> Store {
        let node = NodeId::parse(&format!("nod_{node}")).expect("valid");
        Store::open(Options { patience, ..Options::new(&self.url, node) }).await.expect("opened")
    }

    /// Ends every connection of the stores, as a restart of the server would.
    async fn cut(&self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND application_name LIKE 'signalbox%'";
        self.beside.query(sql, &[]).await.expect("cut");
    }

    async fn end(self) {
        let Self { admin, name, beside, .. } = self;
        drop(beside);
        admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.expect("dropped");
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server");
    tokio::spawn(connection);
    client
}

fn tenant() -> TenantId {
    TenantId::default_tenant()
}

fn agent_id(text: &str) -> AgentId {
    AgentId::parse(text).expect("valid")
}

fn agent(id: &str, name: &str, capability: &str) -> Agent {
    Agent {
        id: agent_id(id),
        name: name.into(),
        version: "1".into(),
        endpoint: None,
        capabilities: vec![json!(capability)],
        metadata: Map::new(),
        registered_at: Timestamp::from_seconds(1),
        generation: 0,
        concurrency: 1,
    }
}

fn created(agent: Agent) -> Decision {
    let mut decision = Decision::default();
    decision.create(Row::Agent(Arc::new(agent)), 1);
    decision
}

fn event() -> NewEvent {
    NewEvent::new("test.counted", Level::Info, Timestamp::from_seconds(1), &json!({}))
}

async fn commit(store: &Store, decision: Decision) -> Result<u64, StoreError> {
    let committed = store.commit(&tenant(), decision, Timestamp::from_seconds(1), None).await?;
    Ok(committed.sequence)
}

/// Counts the generation of the status `id` up by one and logs it, however often that has to be tried; answers
/// the count and its place in the log.
async fn count_up(store: &Store, id: &str) -> Result<(u64, u64), StoreError> {
    count_up_in(store, &tenant(), id).await
}

async fn count_up_in(store: &Store, tenant: &TenantId, id: &str) -> Result<(u64, u64), StoreError> {
    let mut is_fresh = false;
    loop {
        let (key, mut snapshot) = (Key::Status(agent_id(id)), Snapshot::new());
        store.load(tenant, &Need::Row(key), &mut snapshot, is_fresh).await?;
        let read = snapshot.status(&agent_id(id)).expect("loaded");
        let (version, count) =
            read.as_ref().map_or((None, 0), |read| (Some(read.version), read.value.generation));
        let next = AgentStatus::fresh(agent_id(id), count + 1, Timestamp::from_seconds(1));
        let mut decision = Decision::default();
        decision.put(Row::Status(Arc::new(next)), version, version.unwrap_or(0) + 1);
        decision.events.push(event());
        match store.commit(tenant, decision, Timestamp::from_seconds(1), None).await {
            Ok(committed) => return Ok((count + 1, committed.sequence)),
            Err(StoreError::Conflict) => is_fresh = true,
            Err(error) => return Err(error),
        }
    }
}

async fn counted(store: &Store, id: &str) -> u64 {
    store.status(&tenant(), &agent_id(id)).await.expect("read").map_or(0, |read| read.value.generation)
}

async fn sequences(store: &Store) -> Vec<u64> {
    let page = Page { limit: 100_000, after: None };
    let listed = store.events(&tenant(), &EventFilter::default(), &page).await.expect("listed");
    listed.items.iter().map(|event| event.sequence).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_lose_no_update_and_no_reader_sees_a_gap() {
    let Some(server) = Server::new().await else { return };
    let stores = [server.store(1).await, server.store(2).await];
    let is_done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, is_done) = (stores[0].clone(), Arc::clone(&is_done));
        async move {
            let mut longest = 0;
            while !is_done.load(Ordering::Relaxed) {
                let seen = sequences(&store).await;
                assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{seen:?}");
                assert!(seen.len() >= longest, "an entry that was seen is gone");
                longest = seen.len();
            }
        }
    });
    // One counter that both fight for, and one that each has alone for long enough to trust its memory.
    let writers = (0..8).map(|writer| {
        let store = stores[writer % 2].clone();
        let own = format!("own-{writer}");
        tokio::spawn(async move {
            for _ in 0..20 {
                count_up(&store, "shared").await.expect("counted");
                count_up(&store, &own).await.expect("counted");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        timeout(DEADLINE, writer).await.expect("in time").expect("no fault");
    }
    is_done.store(true, Ordering::Relaxed);
    reader.await.expect("no gap");
    for store in &stores {
        assert_eq!(counted(store, "shared").await, 160);
        assert_eq!(counted(store, "own-3").await, 20);
        assert_eq!(sequences(store).await.len(), 320);
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_many_tenants_never_wait_for_each_other_in_a_circle() {
    let Some(server) = Server::new().await else { return };
    let stores = [server.store(1).await, server.store(2).await];
    let writers = (0..12).map(|writer| {
        let store = stores[writer % 2].clone();
        tokio::spawn(async move {
            for round in 0..30 {
                let tenant =
                    TenantId::parse(&format!("tenant-{}", (writer * 7 + round * 5) % 6)).expect("valid");
                count_up_in(&store, &tenant, "a").await.expect("counted");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        timeout(DEADLINE, writer).await.expect("in time").expect("no fault");
    }
    let sql = "SELECT count(*), \
        (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()) FROM events";
    let row = server.beside.query_one(sql, &[]).await.expect("read");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (360, 0));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_changed_conflicts_even_with_one_that_was_long_alone() {
    let Some(server) = Server::new().await else { return };
    let (one, two) = (server.store(1).await, server.store(2).await);
    commit(&one, created(agent("a", "a", "c"))).await.expect("committed");
    for _ in 0..10 {
        count_up(&one, "a").await.expect("counted");
    }
    let mut removal = Decision::default();
    removal.remove(Key::Agent(agent_id("a")), 1);
    commit(&two, removal).await.expect("removed");
    let mut resting = Decision::default();
    resting.expects.push((Key::Agent(agent_id("a")), Some(1)));
    resting.events.push(event());
    assert!(matches!(commit(&one, resting).await, Err(StoreError::Conflict)));
    count_up(&two, "a").await.expect("counted");
    assert_eq!(count_up(&one, "a").await.expect("counted").0, 12);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_removed_by_other_hands_is_not_taken_for_written() {
    let Some(server) = Server::new().await else { return };
    let store = server.store(1).await;
    for count in 1..10 {
        assert_eq!(count_up(&store, "a").await.expect("counted").0, count);
    }
    server.beside.batch_execute("DELETE FROM agent_statuses").await.expect("removed");
    assert_eq!(count_up(&store, "a").await.expect("counted").0, 1);
    assert_eq!(counted(&store, "a").await, 1);
    server.end().await;
}

/// Longer than an entry of an index can be, and not to be compressed.
fn unfit_for_an_index() -> String {
    let mut seed = 1_u64;
    let letters = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((seed >> 33) % 26).expect("small"))
    });
    letters.take(20_000).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_value_that_cannot_be_stored_fails_alone() {
    let Some(server) = Server::new().await else { return };
    let store = server.store(1).await;
    let long = unfit_for_an_index();
    let commits = (0..40).map(|number| {
        let (store, capability) = (store.clone(), if number == 17 { long.clone() } else { "c".to_owned() });
        tokio::spawn(async move {
            let id = format!("agent-{number}");
            commit(&store, created(agent(&id, &id, &capability))).await
        })
    });
    for (number, commit) in commits.collect::<Vec<_>>().into_iter().enumerate() {
        let answer = commit.await.expect("no panic");
        assert_eq!(answer.is_ok(), number != 17, "{number}: {answer:?}");
    }
    let page = Page { limit: 100, after: None };
    let listed = store.agents(&tenant(), &AgentFilter::default(), &page).await.expect("listed");
    assert_eq!(listed.items.len(), 39);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_made_again_and_nothing_acknowledged_is_lost() {
    let Some(server) = Server::new().await else { return };
    let store = server.store(1).await;
    let writers = (0..4).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut acknowledged, mut faults, id) = (0, 0, format!("writer-{writer}"));
            while acknowledged < 100 {
                match count_up(&store, &id).await {
                    Ok((count, _)) => acknowledged = count,
                    Err(StoreError::Unavailable(_)) => faults += 1,
                    Err(error) => panic!("{error}"),
                }
                tokio::task::yield_now().await;
            }
            faults
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..5 {
        let before = sequences_beside(&server).await;
        server.cut().await;
        let moves_on = async {
            while sequences_beside(&server).await < before + 20
                && !writers.iter().all(|writer| writer.is_finished())
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, moves_on).await.expect("it goes on");
    }
    for writer in writers {
        timeout(DEADLINE, writer).await.expect("in time").expect("no fault");
    }
    let seen = sequences(&store).await;
    assert!(seen.iter().copied().eq(1..=seen.len() as u64) && seen.len() >= 400, "{}", seen.len());
    let counts = [0, 1, 2, 3].map(|writer| format!("writer-{writer}"));
    let mut sum = 0;
    for id in &counts {
        sum += counted(&store, id).await;
    }
    assert_eq!(sum, seen.len() as u64, "every count has its entry, none is half");
    server.end().await;
}

async fn sequences_beside(server: &Server) -> i64 {
    let sql = "SELECT COALESCE(max(sequence), 0) FROM events";
    server.beside.query_one(sql, &[]).await.expect("counted").get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_their_patience() {
    let Some(server) = Server::new().await else { return };
    let store = server.patient_store(1, Duration::from_millis(500)).await;
    count_up(&store, "a").await.expect("counted");
    server.beside.batch_execute("BEGIN; SELECT 1 FROM tenant_locks FOR UPDATE").await.expect("held");
    let refused = timeout(Duration::from_secs(5), count_up(&store, "a")).await.expect("in time");
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(counted(&store, "a").await, 1, "readers do not wait");
    server.beside.batch_execute("ROLLBACK; BEGIN; LOCK TABLE agent_statuses").await.expect("held");
    let read =
        timeout(Duration::from_secs(5), store.status(&tenant(), &agent_id("a"))).await.expect("in time");
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    server.beside.batch_execute("ROLLBACK").await.expect("free");
    let goes_on = async { while count_up(&store, "a").await.is_err() {} };
    timeout(DEADLINE, goes_on).await.expect("it goes on");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_a_newer_program_is_refused() {
    let Some(server) = Server::new().await else { return };
    let node = NodeId::parse("nod_1").expect("valid");
    // Several at once on an empty database: one of them makes the tables.
    let opened = (0..3).map(|_| tokio::spawn(Store::open(Options::new(&server.url, node.clone()))));
    for opened in opened.collect::<Vec<_>>() {
        let store = opened.await.expect("no panic").expect("opened");
        store.close().await.expect("closed");
        assert!(matches!(count_up(&store, "a").await, Err(StoreError::Unavailable(_))), "it is closed");
    }
    let compatible =
        "INSERT INTO signalbox_migrations (version, is_compatible, checksum) VALUES (98, true, '')";
    server.beside.batch_execute(compatible).await.expect("newer");
    Store::open(Options::new(&server.url, node.clone())).await.expect("one that it can live with");
    let newer = "INSERT INTO signalbox_migrations (version, is_compatible, checksum) VALUES (99, false, '')";
    server.beside.batch_execute(newer).await.expect("newer");
    let refused = Store::open(Options::new(&server.url, node)).await.err().expect("refused");
    assert!(matches!(&refused, StoreError::Open(text) if text.contains("99")), "{refused:?}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_database_cannot_hold_is_still_found() {
    let Some(server) = Server::new().await else { return };
    let store = server.store(1).await;
    commit(&store, created(agent("a", "zero\0byte", "also\0here"))).await.expect("committed");
    let page = Page { limit: 10, after: None };
    let named = AgentFilter {
        name: Some("zero\0byte".into()),
        capability: Some("also\0here".into()),
        state: None,
        presence: None,
    };
    let listed = store.agents(&tenant(), &named, &page).await.expect("listed");
    assert_eq!(listed.items[0].0.name, "zero\0byte", "the body keeps every character");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_is_told_without_the_password() {
    let Some(server) = Server::new().await else { return };
    let url = server.url.replace(&server.name, "no_such_database");
    let node = NodeId::parse("nod_1").expect("valid");
    let missing =
        Store::open(Options::new(url, node.clone())).await.err().expect("there is none").to_string();
    assert!(missing.contains("no_such_database") && missing.contains("create it"), "{missing}");
    let nobody = Options::new("postgres://u:geheim@127.0.0.1:1/d", node);
    let refused = Store::open(nobody).await.err().expect("nobody listens");
    assert!(matches!(&refused, StoreError::Unavailable(text) if !text.contains("geheim")), "{refused:?}");
    server.end().await;
}

/// A place between a store and the server: where it listens, the URL through it, and where the server is.
async fn between(server: &Server) -> (TcpListener, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (rest, place) = server.url.rsplit_once('@').expect("a user");
    let (target, database) = place.split_once('/').expect("a database");
    let url = format!("{rest}@{}/{database}", listener.local_addr().expect("bound"));
    (listener, url, target.to_owned())
}

/// A way to the server that passes a COMMIT on, then ends before its answer comes back. Answers the URL through it.
async fn way_that_loses_the_answer(server: &Server) -> (String, Arc<AtomicBool>) {
    let (listener, url, target) = between(server).await;
    let is_armed = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&is_armed);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (target, armed) = (target.clone(), Arc::clone(&armed));
            tokio::spawn(async move {
                let mut behind = TcpStream::connect(&target).await.expect("a server");
                let (mut client, mut there, mut back) = (client, vec![0; 65_536], vec![0; 65_536]);
                loop {
                    tokio::select! {
                        count = client.read(&mut there) => {
                            let said = &there[..count.unwrap_or(0)];
                            if said.is_empty() || behind.write_all(said).await.is_err() { return }
                            if said.windows(6).any(|word| word == b"COMMIT")
                                && armed.swap(false, Ordering::Relaxed)
                            {
                                // The answers of the statements before it, then its own.
                                let _taken = timeout(Duration::from_millis(500), async {
                                    while behind.read(&mut back).await.is_ok_and(|count| count > 0) {}
                                }).await;
                                return;
                            }
                        }
                        count = behind.read(&mut back) => {
                            let said = &back[..count.unwrap_or(0)];
                            if said.is_empty() || client.write_all(said).await.is_err() { return }
                        }
                    }
                }
            });
        }
    });
    (url, is_armed)
}

/// A way to the server that stands still when the server has answered that a tenant is held. Answers the URL through it.
async fn way_that_freezes(server: &Server) -> (String, Arc<AtomicBool>) {
    let (listener, url, target) = between(server).await;
    let is_armed = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&is_armed);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (target, armed) = (target.clone(), Arc::clone(&armed));
            tokio::spawn(async move {
                let mut behind = TcpStream::connect(&target).await.expect("a server");
                let (mut there, mut back) = (vec![0; 65_536], vec![0; 65_536]);
                loop {
                    let (count, to, said) = tokio::select! {
                        count = client.read(&mut there) => (count.unwrap_or(0), &mut behind, &there),
                        count = behind.read(&mut back) => {
                            let count = count.unwrap_or(0);
                            let is_held = back[..count].windows(7).any(|word| word == b"default");
                            if is_held && armed.swap(false, Ordering::Relaxed) {
                                std::future::pending::<()>().await;
                            }
                            (count, &mut client, &back)
                        }
                    };
                    if count == 0 || to.write_all(&said[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, is_armed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_a_lost_answer_left_to_nobody_is_free_at_once() {
    let Some(server) = Server::new().await else { return };
    let (url, is_armed) = way_that_loses_the_answer(&server).await;
    let node = NodeId::parse("nod_1").expect("valid");
    let store = Store::open(Options::new(url, node.clone())).await.expect("opened");
    let now = Timestamp::from_seconds(100);
    let born = |id: &str| {
        let work = DueJob::Deliver { message: MessageId::parse(id).expect("valid") };
        Decision { due: vec![Due::new(work, now)], ..Decision::default() }
    };
    let lease = || Some(Lease::new(node.clone(), now, Duration::from_secs(60)));
    store.commit(&tenant(), born("known"), now, lease()).await.expect("committed");
    is_armed.store(true, Ordering::Relaxed);
    let later = Some(Lease { until: now + Duration::from_secs(61), ..lease().expect("made") });
    let lost = store.commit(&tenant(), born("lost"), now, later).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    let claims = async {
        loop {
            let claimed = store.claim(now + Duration::from_secs(1), DEADLINE, DueKind::Delivery, 10).await;
            if let Some(claimed) = claimed.ok().filter(|claimed| !claimed.is_empty()) {
                break claimed;
            }
            tokio::task::yield_now().await;
        }
    };
    let claimed = timeout(DEADLINE, claims).await.expect("free");
    let ids: Vec<String> = claimed.iter().map(|claimed| claimed.work.id()).collect();
    assert_eq!(ids, ["deliver:lost"], "and not what somebody is at");
    server.end().await;
}

/// Row versions of a table, dead ones included, as its pages hold them.
async fn row_versions(server: &Server, table: &str) -> i64 {
    let extension = "CREATE EXTENSION IF NOT EXISTS pageinspect";
    server.beside.batch_execute(extension).await.expect("the server has its contributed modules");
    let sql = format!(
        "SELECT count(*) FROM generate_series(0, pg_relation_size('{table}') / 8192 - 1) AS page, \
         heap_page_items(get_raw_page('{table}', page::int)) WHERE lp_flags = 1"
    );
    server.beside.query_one(&sql, &[]).await.expect("counted").get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_under_a_long_snapshot_leave_nothing_that_every_commit_walks_through() {
    let Some(server) = Server::new().await else { return };
    let stores = [server.store(1).await, server.store(2).await];
    count_up(&stores[0], "a").await.expect("counted");
    // What a backup does: nothing that is written from now on may be cleaned up.
    let backup = connect(&server.url).await;
    backup
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tenant_locks")
        .await
        .expect("begun");
    for number in 0..200 {
        // One agent for each commit: its own row has no history.
        count_up(&stores[0], &format!("alone-{number}")).await.expect("counted");
    }
    for number in 0..100 {
        count_up(&stores[number % 2], &format!("both-{number}")).await.expect("counted");
    }
    let versions = row_versions(&server, "tenant_locks").await;
    assert!(versions <= 10, "{versions} versions of one tenant's row after 300 commits");
    assert_eq!(sequences(&stores[1]).await.len(), 301);
    backup.batch_execute("ROLLBACK").await.expect("ended");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_old_entries_are_gone_goes_on_where_it_was() {
    let Some(server) = Server::new().await else { return };
    let (one, two) = (server.store(1).await, server.store(2).await);
    for count in 1..=5 {
        assert_eq!(count_up(&one, "a").await.expect("counted"), (count, count));
    }
    let now = Timestamp::from_seconds(1_000);
    let piece = Duration::from_millis(5);
    let prune =
        Prune { events_before: now, sessions_before: now, messages_before: now, now, limit: 100, piece };
    assert_eq!(one.prune(prune).await.expect("pruned").removed, 4, "all but the newest");
    assert_eq!(count_up(&two, "a").await.expect("counted"), (6, 6));
    assert_eq!(count_up(&one, "a").await.expect("counted"), (7, 7));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_migration_was_another_is_refused() {
    let Some(server) = Server::new().await else { return };
    server.store(1).await.close().await.expect("closed");
    for change in [
        "UPDATE signalbox_migrations SET checksum = 'another'",
        "ALTER TABLE signalbox_migrations DROP COLUMN checksum",
    ] {
        server.beside.batch_execute(change).await.expect("changed");
        let node = NodeId::parse("nod_1").expect("valid");
        let refused = Store::open(Options::new(&server.url, node)).await.err().expect("refused");
        let is_told = |text: &str| text.contains("migration 1") && text.contains("unreleased");
        assert!(matches!(&refused, StoreError::Open(text) if is_told(text)), "{refused:?}");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_limited_is_counted_by_an_index() {
    let Some(server) = Server::new().await else { return };
    let store = server.store(1).await;
    // Many that are not connected: to look at each of them would cost more than the index of the others.
    let fill = "INSERT INTO agent_statuses (tenant, agent, version, body) \
        SELECT 'default', 'a' || i, 1, '{}' FROM generate_series(1, 2000) AS i; \
        ANALYZE agent_statuses; SET enable_seqscan = off; SET enable_bitmapscan = off";
    server.beside.batch_execute(fill).await.expect("filled");
    for what in Counted::ALL {
        let sql = format!("EXPLAIN {}", what.sql()).replace("$1", "'default'").replace("$2", "100");
        let plan = server.beside.query(&sql, &[]).await.expect("explained");
        let plan = plan.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
        assert!(
            plan.contains("Index") && plan.contains("Index Cond") && !plan.contains("Seq Scan"),
            "{plan}"
        );
        assert_eq!(plan.contains("agent_statuses_connected"), what == Counted::Connections, "{plan}");
    }
    drop(store);
    server.end().await;
}

/// Steps after those that there are: one that needs the table `sessions` for itself, and one that builds an index while
/// others work.
fn later_steps(is_compatible: bool) -> Vec<Step> {
    let alone = "ALTER TABLE sessions ADD COLUMN later BIGINT";
    let index = "DROP INDEX CONCURRENTLY IF EXISTS sessions_later;\n\
        CREATE INDEX CONCURRENTLY sessions_later ON sessions (tenant, later);\n";
    let mut steps = STEPS.to_vec();
    steps.push(Step { version: 98, sql: alone, is_outside: false, is_compatible: true });
    steps.push(Step { version: 99, sql: index, is_outside: true, is_compatible });
    steps
}

const SHORT: Waits =
    Waits { lock: Duration::from_millis(50), pause: Duration::from_millis(50), all: Duration::from_secs(60) };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_the_tables_waits_for_a_long_reader_and_holds_up_nobody() {
    let Some(server) = Server::new().await else { return };
    let store = server.store(1).await;
    let reader = connect(&server.url).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM sessions").await.expect("begun");
    // Two nodes of a later version start at once.
    let nodes: Vec<_> = (0..2)
        .map(|_| {
            let url = server.url.clone();
            tokio::spawn(
                async move { migrate::take(&mut connect(&url).await, &later_steps(true), SHORT).await },
            )
        })
        .collect();
    let is_tried = async {
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        while server.beside.query_one(sql, &[]).await.expect("read").get::<_, i64>(0) == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, is_tried).await.expect("a node has begun");
    // Listing sessions needs the table that the step waits for.
    for count in 1..=20 {
        assert_eq!(count_up(&store, "a").await.expect("counted").0, count);
        let page = Page { limit: 1, after: None };
        store.sessions(&tenant(), &SessionFilter::default(), &page).await.expect("listed");
    }
    assert!(nodes.iter().all(|node| !node.is_finished()), "the reader is still there");
    reader.batch_execute("ROLLBACK").await.expect("ended");
    for node in nodes {
        timeout(DEADLINE, node).await.expect("in time").expect("no panic").expect("up to date");
    }
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'sessions_later'::regclass";
    assert!(server.beside.query_one(valid, &[]).await.expect("there").get::<_, bool>(0));
    // A node of the version before goes on, and another one of it may start.
    count_up(&store, "a").await.expect("counted");
    count_up(&server.store(2).await, "a").await.expect("counted");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_never_let_in_says_what_stands_in_its_way() {
    let Some(server) = Server::new().await else { return };
    drop(server.store(1).await);
    let reader = connect(&server.url).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM sessions").await.expect("begun");
    let waits = Waits { all: Duration::from_millis(200), ..SHORT };
    let refused = migrate::take(&mut connect(&server.url).await, &later_steps(true), waits).await;
    assert!(
        matches!(&refused, Err(StoreError::Open(text)) if text.contains("pg_stat_activity")),
        "{refused:?}"
    );
    reader.batch_execute("ROLLBACK").await.expect("ended");
    migrate::take(&mut connect(&server.url).await, &later_steps(false), SHORT).await.expect("up to date");
    let node = NodeId::parse("nod_2").expect("valid");
    let refused = Store::open(Options::new(&server.url, node)).await.err();
    assert!(
        matches!(&refused, Some(StoreError::Open(text)) if text.contains("cannot use") && text.contains("99")),
        "{refused:?}"
    );
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_serve_the_same_agents_rarely_decide_in_vain() {
    let Some(server) = Server::new().await else { return };
    let stores = [server.store(1).await, server.store(2).await];
    for number in 0..200 {
        count_up(&stores[number / 5 % 2], &format!("agent-{}", number % 5)).await.expect("counted");
    }
    let conflicts: u64 = stores.iter().map(|store| store.figures().conflicts).sum();
    assert!(conflicts <= 10, "{conflicts} conflicts of 200 decisions");
    // One that is alone again relies on what it remembers.
    for number in 0..400 {
        count_up(&stores[0], &format!("agent-{}", number % 5)).await.expect("counted");
    }
    assert_eq!(stores.iter().map(|store| store.figures().conflicts).sum::<u64>(), conflicts);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_several_nodes_take_for_granted_is_looked_at_before_it_is_written() {
    let Some(server) = Server::new().await else { return };
    let stores = [server.store(1).await, server.store(2).await];
    commit(&stores[0], created(agent("a", "a", "c"))).await.expect("committed");
    for number in 0..40 {
        count_up(&stores[number % 2], "a").await.expect("counted");
    }
    let version = async || {
        let read = stores[0].status(&tenant(), &agent_id("a")).await.expect("read");
        read.expect("there").version
    };
    let report = |registration: i64, read: i64| {
        let mut decision = Decision::default();
        let next = AgentStatus::fresh(agent_id("a"), 7, Timestamp::from_seconds(1));
        decision.put(Row::Status(Arc::new(next)), Some(read), read + 1);
        decision.expects.push((Key::Agent(agent_id("a")), Some(registration)));
        decision.events.push(event());
        decision
    };
    let old = version().await;
    count_up(&stores[1], "a").await.expect("counted");
    assert!(matches!(commit(&stores[0], report(1, old)).await, Err(StoreError::Conflict)));

    let mut changed = Decision::default();
    changed.put(Row::Agent(Arc::new(agent("a", "a", "d"))), Some(1), 2);
    commit(&stores[1], changed).await.expect("changed");
    for _ in 0..8 {
        let read = version().await;
        assert!(matches!(commit(&stores[0], report(1, read)).await, Err(StoreError::Conflict)));
        let place = commit(&stores[0], report(2, read)).await.expect("committed");
        let seen = sequences(&stores[1]).await;
        assert!(seen.iter().copied().eq(1..=place), "{place} is the last of {seen:?}");
    }

    let read = version().await;
    while stores[1].remove_tenant(&tenant()).await.expect("removed") == Removal::Goes {}
    assert!(matches!(commit(&stores[0], report(2, read)).await, Err(StoreError::Removed)));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_another_node_changed_is_brought_up_to_what_is_committed() {
    let Some(server) = Server::new().await else { return };
    let stores = [server.store(1).await, server.store(2).await];
    let id = SessionId::parse("ses_a").expect("valid");
    let task_id = |name: &str| TaskId::parse(&format!("tsk_{name}")).expect("valid");
    let read = async |store: &Store| {
        let read = store.session(&tenant(), &id).await.expect("read").expect("there");
        let tasks = read.value.tasks.iter().map(|task| (task.id.to_string(), task.position, task.attempt));
        (read.version, tasks.collect::<Vec<_>>())
    };
    // Tasks that are written, with their position, and tasks that are removed.
    type Step<'a> = (&'a [(&'a str, usize)], &'a [&'a str]);
    let steps: [Step<'_>; 7] = [
        (&[("a", 0), ("b", 1), ("c", 2)], &[]),
        (&[("b", 1)], &[]),
        (&[("d", 41), ("e", 42)], &[]),
        (&[], &[]),
        (&[("f", 43)], &["e"]),
        (&[("g", 4)], &["a"]),
        (&[("a", 0), ("g", 4)], &["f"]),
    ];
    for (version, (written, removed)) in (1..).zip(steps) {
        let workflow = WorkflowId::parse("w").expect("valid");
        let session = Session::new(id.clone(), workflow, 1, Timestamp::from_seconds(1));
        let mut decision = Decision::default();
        decision.put(Row::Session(Arc::new(session)), (version > 1).then(|| version - 1), version);
        // Enough others that it is worth while to ask for less than all.
        let others: Vec<String> = (10..40).map(|position| position.to_string()).collect();
        let others = others
            .iter()
            .filter(|_| version == 1)
            .map(|name| (name.as_str(), name.parse().expect("a number")));
        for (name, position) in others.chain(written.iter().copied()) {
            let mut task = Task::new(task_id(name), name.to_owned(), position, Route::Any);
            task.attempt = u32::try_from(version).expect("small");
            decision.put_guarded(Row::Task(id.clone(), Arc::new(task)), version);
        }
        for name in removed {
            decision.remove_guarded(Key::Task(task_id(name)));
        }
        commit(&stores[0], decision).await.expect("committed");
        // One that has never seen the session reads all of it.
        let whole = read(&server.store(3).await).await;
        assert_eq!(whole.0, version);
        assert_eq!(read(&stores[1]).await, whole, "step {version}");
        assert_eq!(read(&stores[1]).await, whole, "step {version}, as it is held");
    }
    server.end().await;
}

/// Two nodes that know of each other's commits.
async fn company(server: &Server, patience: Duration) -> [Store; 2] {
    let stores = [server.patient_store(1, patience).await, server.patient_store(2, patience).await];
    meet(server, &stores).await;
    stores
}

/// Lets two nodes know of each other's commits: those of six agents, and of `a`.
async fn meet(server: &Server, stores: &[Store; 2]) {
    // New agents, of which no node remembers anything.
    for number in 0..6 {
        count_up(&stores[number % 2], &format!("met-{number}")).await.expect("counted");
    }
    count_up(&stores[0], "a").await.expect("counted");
    let sql = "SELECT count(*) FROM tenant_locks WHERE writer IS NULL";
    assert_eq!(server.beside.query_one(sql, &[]).await.expect("read").get::<_, i64>(0), 1, "they have met");
}

/// Waits until a node waits for a tenant that somebody else holds.
async fn waits_for_a_tenant(server: &Server) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock' AND application_name LIKE 'signalbox%'";
    let is_there = async {
        while server.beside.query_one(sql, &[]).await.expect("read").get::<_, i64>(0) == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, is_there).await.expect("it waits");
}

/// Waits until so many decisions wait for the writer.
async fn queued(store: &Store, count: u64) {
    let is_there = async {
        while store.figures().queued < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, is_there).await.expect("they wait");
}

const HOLD: &str = "BEGIN; SELECT 1 FROM tenant_locks WHERE tenant = 'default' FOR UPDATE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_another_node_holds_the_tenant_goes_into_one_batch() {
    let Some(server) = Server::new().await else { return };
    let [store, _other] = company(&server, Duration::from_secs(10)).await;
    let elsewhere = TenantId::parse("elsewhere").expect("valid");
    count_up_in(&store, &elsewhere, "a").await.expect("counted");
    // What is for another tenant goes into the next one.
    for (round, others, batches) in [(1, 0, 1), (2, 3, 2)] {
        server.beside.batch_execute(HOLD).await.expect("held");
        let before = store.figures();
        let count = |tenant: &TenantId, number: u64| {
            let (store, tenant, id) = (store.clone(), tenant.clone(), format!("agent-{round}-{number}"));
            tokio::spawn(async move { count_up_in(&store, &tenant, &id).await })
        };
        let mut counts = vec![count(&tenant(), 0)];
        waits_for_a_tenant(&server).await;
        counts.extend((1..=10).map(|number| count(&tenant(), number)));
        counts.extend((0..others).map(|number| count(&elsewhere, number)));
        counts.extend((11..20).map(|number| count(&tenant(), number)));
        queued(&store, 19 + others).await;
        server.beside.batch_execute("ROLLBACK").await.expect("free");
        for count in counts {
            let counted = timeout(DEADLINE, count).await.expect("in time").expect("no panic");
            assert_eq!(counted.expect("counted").0, 1);
        }
        let after = store.figures();
        let made = (after.commits - before.commits, after.decisions - before.decisions);
        assert_eq!(made, (batches, 20 + others));
    }
    let seen = sequences(&store).await;
    assert!(seen.iter().copied().eq(1..=47), "{seen:?}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_grew_while_it_waited_is_split_where_one_value_cannot_be_stored() {
    let Some(server) = Server::new().await else { return };
    let [store, _other] = company(&server, Duration::from_secs(10)).await;
    server.beside.batch_execute(HOLD).await.expect("held");
    let first = tokio::spawn({
        let store = store.clone();
        async move { count_up(&store, "a").await }
    });
    waits_for_a_tenant(&server).await;
    let long = unfit_for_an_index();
    let commits = (0..10).map(|number| {
        let (store, capability) = (store.clone(), if number == 7 { long.clone() } else { "c".to_owned() });
        tokio::spawn(async move {
            let id = format!("agent-{number}");
            commit(&store, created(agent(&id, &id, &capability))).await
        })
    });
    let commits: Vec<_> = commits.collect();
    queued(&store, 10).await;
    server.beside.batch_execute("ROLLBACK").await.expect("free");
    assert_eq!(first.await.expect("no panic").expect("counted").0, 2);
    for (number, commit) in commits.into_iter().enumerate() {
        let answer = timeout(DEADLINE, commit).await.expect("in time").expect("no panic");
        assert_eq!(answer.is_ok(), number != 7, "{number}: {answer:?}");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_in_company_wait_no_longer_than_their_patience_and_then_go_on() {
    let Some(server) = Server::new().await else { return };
    let [store, other] = company(&server, Duration::from_millis(500)).await;
    server.beside.batch_execute(HOLD).await.expect("held");
    let refused = timeout(Duration::from_secs(5), count_up(&store, "a")).await.expect("in time");
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    server.beside.batch_execute("ROLLBACK").await.expect("free");
    let goes_on = async {
        for store in [&store, &other] {
            while count_up(store, "a").await.is_err() {}
        }
    };
    timeout(DEADLINE, goes_on).await.expect("it goes on");
    assert_eq!(counted(&store, "a").await, 3, "what was refused was not written");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_let_go_of_when_whoever_asked_has_gone() {
    let Some(server) = Server::new().await else { return };
    let stores = company(&server, Duration::from_secs(10)).await;
    server.beside.batch_execute(HOLD).await.expect("held");
    let before = stores[0].figures().commits;
    let gone = tokio::spawn({
        let store = stores[0].clone();
        async move { count_up(&store, "a").await }
    });
    waits_for_a_tenant(&server).await;
    gone.abort();
    assert!(gone.await.expect_err("aborted").is_cancelled());
    server.beside.batch_execute("ROLLBACK").await.expect("free");
    // The other one does not wait until the first connection is given up as frozen.
    assert_eq!(count_up(&stores[1], "a").await.expect("counted").0, 2);
    assert_eq!(stores[0].figures().commits, before, "nothing was written for nobody");
    assert_eq!(count_up(&stores[0], "a").await.expect("counted").0, 3);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_freezes_while_it_holds_a_tenant_holds_up_others_for_a_moment() {
    let Some(server) = Server::new().await else { return };
    let (url, is_armed) = way_that_freezes(&server).await;
    let node = NodeId::parse("nod_1").expect("valid");
    let frozen = Store::open(Options { patience: Duration::from_secs(4), ..Options::new(url, node) });
    let stores = [frozen.await.expect("opened"), server.store(2).await];
    meet(&server, &stores).await;
    let [frozen, other] = stores;
    is_armed.store(true, Ordering::Relaxed);
    let lost = tokio::spawn({
        let store = frozen.clone();
        async move { count_up(&store, "a").await }
    });
    let is_frozen = async {
        while is_armed.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, is_frozen).await.expect("it holds the tenant");
    // Half of the time that the others are patient.
    let counted_up = timeout(Duration::from_secs(5), count_up(&other, "a")).await.expect("in time");
    assert_eq!(counted_up.expect("counted").0, 2);
    let lost = timeout(DEADLINE, lost).await.expect("in time").expect("no panic");
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    let goes_on = async { while count_up(&frozen, "a").await.is_err() {} };
    timeout(DEADLINE, goes_on).await.expect("it goes on");
    assert_eq!(counted(&other, "a").await, 3);
    server.end().await;
}
