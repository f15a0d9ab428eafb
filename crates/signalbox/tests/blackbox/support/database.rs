//! The database of a scenario: SQLite in the data directory, or a fresh PostgreSQL database.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::clock::unix_seconds;

const ADMIN_URL: &str = "SIGNALBOX_TEST_POSTGRES";

/// Where the server of a scenario keeps its data; a database of its own is dropped with it.
pub(crate) struct Database {
    url: Option<String>,
    created: Option<(String, String)>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Self { url: None, created: None }
    }

    /// A new database, where the environment names a server that gives one; says so where it does not.
    pub(crate) fn postgres(scenario: &str) -> Option<Self> {
        let Ok(admin) = std::env::var(ADMIN_URL) else {
            eprintln!("not run on PostgreSQL, as {ADMIN_URL} is not set: {scenario}");
            return None;
        };
        let name = unique_name();
        execute(&admin, &format!("CREATE DATABASE {name}"));
        let (server, _) = admin.rsplit_once('/').expect("a URL that ends in /postgres");
        Some(Self { url: Some(format!("{server}/{name}")), created: Some((admin, name)) })
    }

    /// What `--database` gets; `None` for the default.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// The same database by way of another address.
    pub(crate) fn url_through(&self, address: &str) -> Option<String> {
        let url = self.url()?;
        let (head, rest) = url.split_once("://")?;
        let (authority, name) = rest.split_once('/')?;
        let user = authority.rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
        Some(format!("{head}://{user}{address}/{name}"))
    }

    /// Lets the clock of a database on PostgreSQL, as it shows it to whoever connects from now on, be ahead.
    pub(crate) fn set_clock_ahead(&self, interval: &str) {
        let (url, (_, name)) = (self.url().expect("PostgreSQL"), self.created.as_ref().expect("one's own"));
        execute(
            url,
            &format!(
                "CREATE SCHEMA ahead; CREATE FUNCTION ahead.statement_timestamp() RETURNS timestamptz STABLE \
                 LANGUAGE sql AS $$SELECT pg_catalog.statement_timestamp() + interval '{interval}'$$; \
                 ALTER DATABASE {name} SET search_path = ahead, pg_catalog, public"
            ),
        );
    }

    /// Changes what the database holds, of one on PostgreSQL.
    pub(crate) fn execute(&self, statement: &str) {
        execute(self.url().expect("PostgreSQL"), statement);
    }

    /// The first column of the first row that a query answers as text, of a database on PostgreSQL.
    pub(crate) fn query(&self, query: &str) -> Option<String> {
        block_on(async {
            let url = self.url().expect("PostgreSQL");
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
            let driver = tokio::spawn(connection);
            let answer = client.simple_query(query).await.expect("an answer");
            drop(client);
            let _ = driver.await;
            answer.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
        })
    }

    /// Host and port of the database server.
    pub(crate) fn address(&self) -> Option<String> {
        let (_, rest) = self.url()?.split_once("://")?;
        let (authority, _) = rest.split_once('/')?;
        Some(authority.rsplit('@').next().unwrap_or(authority).to_owned())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((admin, name)) = &self.created {
            execute(admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

/// Not taken by another test, another process, or a run that was killed.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("blackbox_{}_{}_{count}", unix_seconds(), std::process::id())
}

fn execute(url: &str, statement: &str) {
    block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
        let driver = tokio::spawn(connection);
        let outcome = client.batch_execute(statement).await;
        drop(client);
        let _ = driver.await;
        if let Err(error) = outcome {
            assert!(std::thread::panicking(), "{statement}: {error}");
        }
    });
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Makes two tests of each scenario, one on each database.
macro_rules! on_each_database {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[test]
                fn $scenario() {
                    super::$scenario(&$crate::support::Database::sqlite());
                }
            )+
        }
        mod postgres {
            $(
                #[test]
                fn $scenario() {
                    if let Some(database) = $crate::support::Database::postgres(stringify!($scenario)) {
                        super::$scenario(&database);
                    }
                }
            )+
        }
    };
}

pub(crate) use on_each_database;
