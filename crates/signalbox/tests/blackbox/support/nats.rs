//! Several nodes over one database and one NATS, on which each test has subjects of its own.

use std::sync::atomic::{AtomicU32, Ordering};

use super::database::Database;
use super::server::{Server, Setup};

#[path = "../../../../signalbox-bus/tests/support/nats_server.rs"]
mod nats_server;

pub(crate) use nats_server::NatsServer;

const NATS_URL: &str = "SIGNALBOX_TEST_NATS";

/// A deployment: its nodes share a database and what goes over the bus.
pub(crate) struct Deployment {
    pub(crate) database: Database,
    nats: String,
    prefix: String,
}

impl Deployment {
    /// Over the NATS for tests, where there is one and a PostgreSQL; says so where not.
    pub(crate) fn new(scenario: &str) -> Option<Self> {
        let nats = nats_url(scenario)?;
        Some(Self::over(nats, Database::postgres(scenario)?))
    }

    /// Over a NATS of the test alone, which it may kill.
    pub(crate) fn with_own_nats(scenario: &str) -> Option<(NatsServer, Self)> {
        nats_url(scenario)?;
        let database = Database::postgres(scenario)?;
        let nats = NatsServer::start(&[]).expect("nats-server is installed where there is a NATS for tests");
        let url = format!("nats://{}", nats.authority());
        Some((nats, Self::over(url, database)))
    }

    fn over(nats: String, database: Database) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { database, nats, prefix: format!("blackbox-{}-{count}", std::process::id()) }
    }

    /// How a node of it is started.
    pub(crate) fn setup(&self) -> Setup {
        Setup::new(&self.database).arg("--bus").arg(&self.nats).arg("--bus-subject-prefix").arg(&self.prefix)
    }

    /// A node that is on the bus.
    #[track_caller]
    pub(crate) fn node(&self) -> Server {
        let node = self.setup().start();
        on_the_bus(&node);
        node
    }
}

/// Waits until a node says nothing against its bus.
#[track_caller]
pub(crate) fn on_the_bus(node: &Server) {
    super::wait::eventually("the bus to be ready", || match bus_warning(node) {
        None => Ok(()),
        Some(warning) => Err(warning),
    });
}

/// What a node says against its bus.
#[track_caller]
pub(crate) fn bus_warning(node: &Server) -> Option<String> {
    let ready = node.get("/ready").is(200);
    assert_eq!(ready["bus"], "nats", "{ready}");
    let warnings = ready["warnings"].as_array().cloned().unwrap_or_default();
    warnings
        .iter()
        .filter_map(|warning| warning.as_str())
        .find(|warning| warning.contains("bus"))
        .map(str::to_owned)
}

fn nats_url(scenario: &str) -> Option<String> {
    let url = std::env::var(NATS_URL).ok();
    if url.is_none() {
        eprintln!("not run over NATS, as {NATS_URL} is not set: {scenario}");
    }
    url
}
