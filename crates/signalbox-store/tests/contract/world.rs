//! A store of its own for each test, in a directory or a database that goes away with it.

use std::sync::atomic::{AtomicU32, Ordering};

use signalbox_core::snapshot::Versioned;
use signalbox_core::{Decision, Need, Snapshot};
use signalbox_store::{Committed, Options, Store, StoreError};
use signalbox_wire::id::{NodeId, TenantId};
use signalbox_wire::time::Timestamp;
use tempfile::TempDir;

/// Runs each named test once for every database.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let world = $crate::world::World::sqlite().await;
                super::$name(&world).await;
                world.end().await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(world) = $crate::world::World::postgres().await else { return };
                super::$name(&world).await;
                world.end().await;
            })*
        }
    };
}
pub(crate) use contract;

/// A store and where it is kept.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) options: Options,
    home: Home,
}

enum Home {
    Directory(TempDir),
    Database { server: String, name: String },
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options = options(format!("sqlite://{}", directory.path().join("store.db").display()), 1);
        let store = Store::open(options.clone()).await.expect("opened");
        Self { store, options, home: Home::Directory(directory) }
    }

    pub(crate) async fn postgres() -> Option<Self> {
        let Ok(server) = std::env::var("SIGNALBOX_TEST_POSTGRES") else {
            println!("not run: set SIGNALBOX_TEST_POSTGRES=postgres://user@host/postgres");
            return None;
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("signalbox_contract_{}_{count}", std::process::id());
        administer(&server, &format!("CREATE DATABASE {name}")).await;
        let (base, query) = server.split_once('?').unwrap_or((&server, ""));
        let (host, _) = base.rsplit_once('/').expect("a URL that names a database");
        let options = options(format!("{host}/{name}?{query}"), 1);
        let store = Store::open(options.clone()).await.expect("opened");
        Some(Self { store, options, home: Home::Database { server, name } })
    }

    /// The directory of a store that is kept in one.
    pub(crate) fn directory(&self) -> Option<&std::path::Path> {
        match &self.home {
            Home::Directory(directory) => Some(directory.path()),
            Home::Database { .. } => None,
        }
    }

    /// Changes what is stored by other hands than the store's.
    pub(crate) async fn execute(&self, sql: &str) {
        match &self.home {
            Home::Directory(directory) => {
                // What waits in the redo log goes to the tables before a list is read.
                self.store.backlog().await.expect("read");
                let file = rusqlite::Connection::open(directory.path().join("store.db")).expect("opened");
                file.busy_timeout(std::time::Duration::from_secs(10)).expect("set");
                file.execute_batch(sql).expect(sql);
            }
            Home::Database { .. } => administer(&self.options.database, sql).await,
        }
    }

    /// The same store, opened once more by a process that starts anew.
    pub(crate) async fn reopened(&self) -> Store {
        self.store.close().await.expect("closed");
        Store::open(Options { node: node(2), ..self.options.clone() }).await.expect("opened again")
    }

    /// Another node over the same database, where it can be shared.
    pub(crate) async fn another_node(&self) -> Option<Store> {
        match &self.home {
            Home::Directory(_) => None,
            Home::Database { .. } => {
                let options = Options { node: node(2), ..self.options.clone() };
                Some(Store::open(options).await.expect("opened beside the other"))
            }
        }
    }

    pub(crate) async fn end(self) {
        let _was_closed_already = self.store.close().await;
        drop(self.store);
        if let Home::Database { server, name } = &self.home {
            administer(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

async fn administer(server: &str, sql: &str) {
    let (client, connection) =
        tokio_postgres::connect(server, tokio_postgres::NoTls).await.expect("a server");
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.expect(sql);
    drop(client);
    connection.await.expect("ended").expect("in order");
}

fn options(database: String, number: u32) -> Options {
    Options::new(database, node(number))
}

pub(crate) fn node(number: u32) -> NodeId {
    NodeId::parse(&format!("nod_{number}")).expect("valid")
}

pub(crate) fn tenant() -> TenantId {
    TenantId::default_tenant()
}

/// A moment of the tests' own time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_000_000 + seconds)
}

pub(crate) async fn commit(store: &Store, decision: Decision) -> Result<Committed, StoreError> {
    store.commit(&tenant(), decision, at(0), None).await
}

/// What a decision sees of one need, from memory and anew: the two must agree.
pub(crate) async fn view_of(store: &Store, tenant: &TenantId, need: &Need) -> Snapshot {
    let mut snapshot = Snapshot::new();
    store.load(tenant, need, &mut snapshot, true).await.expect("loaded");
    let mut from_memory = Snapshot::new();
    store.load(tenant, need, &mut from_memory, false).await.expect("loaded");
    assert_eq!(format!("{snapshot:?}"), format!("{from_memory:?}"), "memory and database differ");
    snapshot
}

/// Version and value, to compare.
pub(crate) fn parts<T: Clone>(row: Option<Versioned<T>>) -> Option<(i64, T)> {
    row.map(|row| (row.version, T::clone(&row.value)))
}
