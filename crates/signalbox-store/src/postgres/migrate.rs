//! Brings the tables up to date: numbered steps, each taken once, while other nodes go on working.
//!
//! One node at a time takes steps; it holds an advisory lock of its session, which the others try for from time to
//! time: a node that waited inside a statement would keep a snapshot open, and an index that is built concurrently
//! waits for those. A step asks for its locks only for a moment, since everybody else queues behind whoever waits for
//! one, and tries again later. CONTRIBUTING.md says how a step is written.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::fault;
use crate::{StoreError, checksum};

/// One step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The version that it brings the tables to.
    pub(super) version: i64,
    /// What it does.
    pub(super) sql: &'static str,
    /// Whether it runs outside a transaction, statement by statement, as `CREATE INDEX CONCURRENTLY` has to. Each of
    /// its statements must do no harm when it is run again.
    pub(super) is_outside: bool,
    /// Whether programs that do not know it can use the tables after it.
    pub(super) is_compatible: bool,
}

/// The steps in order; the first makes the tables.
pub(super) const STEPS: [Step; 1] = [Step {
    version: 1,
    sql: include_str!("migrations/0001_initial.sql"),
    is_outside: false,
    is_compatible: true,
}];

/// How long steps are tried for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// The longest that a step waits for a lock, and with it whoever needs the same table.
    pub(super) lock: Duration,
    /// The wait between two attempts.
    pub(super) pause: Duration,
    /// After this long the node gives up.
    pub(super) all: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        let (lock, pause) = (Duration::from_millis(500), Duration::from_millis(500));
        Self { lock, pause, all: Duration::from_secs(120) }
    }
}

/// The oldest PostgreSQL that has everything used here.
const SERVER_VERSION_MIN: i64 = 130_000;

/// Any number that no other program is likely to lock: one process migrates at a time.
const LOCK: i64 = 0x5167_6e61_6c62_6f78;

/// Why the tables are not up to date.
enum Stopped {
    Fault(Error),
    Refused(String),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

/// Migrates; refuses a database that this program cannot use.
pub(super) async fn run(client: &mut Client) -> Result<(), StoreError> {
    check_server(client).await?;
    take(client, &STEPS, Waits::default()).await
}

/// Takes the steps that have not been taken. The connection is of no further use afterwards.
pub(super) async fn take(client: &mut Client, steps: &[Step], waits: Waits) -> Result<(), StoreError> {
    let until = Instant::now() + waits.all;
    match take_missing(client, steps, waits, until).await {
        Ok(()) => Ok(()),
        Err(Stopped::Refused(reason)) => Err(StoreError::Open(reason)),
        Err(Stopped::Fault(error)) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Err(StoreError::Open(format!(
                "the tables cannot be made: {}; make the user of the database URL the owner of the database",
                fault::text(&error)
            )))
        }
        Err(Stopped::Fault(error)) => Err(fault::of_statement(&error)),
    }
}

async fn take_missing(
    client: &mut Client,
    steps: &[Step],
    waits: Waits,
    until: Instant,
) -> Result<(), Stopped> {
    if missing(client, steps).await?.is_empty() {
        return Ok(());
    }
    // A large table may take longer than anybody would wait for a commit.
    let lock_ms = waits.lock.as_millis();
    let settings = format!("SET statement_timeout = 0; SET lock_timeout = {lock_ms}");
    client.batch_execute(&settings).await?;
    while !client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await?.try_get::<_, bool>(0)? {
        pause(waits, until, "another node brings the tables up to date").await?;
    }
    let table = "CREATE TABLE IF NOT EXISTS signalbox_migrations (version BIGINT PRIMARY KEY, \
        is_compatible BOOLEAN NOT NULL, checksum TEXT NOT NULL, taken_at TIMESTAMPTZ NOT NULL DEFAULT now())";
    client.batch_execute(table).await?;
    for step in missing(client, steps).await? {
        while let Err(error) = attempt(client, step).await {
            let is_lock = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED];
            if !error.code().is_some_and(|code| is_lock.contains(code)) {
                return Err(error.into());
            }
            tracing::warn!(step = step.version, "the tables are in use; the step is tried again");
            pause(waits, until, "a long transaction keeps a table locked; pg_stat_activity shows it").await?;
        }
    }
    client.query("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(())
}

async fn pause(waits: Waits, until: Instant, reason: &str) -> Result<(), Stopped> {
    if Instant::now() >= until {
        let seconds = waits.all.as_secs();
        return Err(Stopped::Refused(format!(
            "the tables could not be brought up to date within {seconds} s: {reason}; start again when it is over"
        )));
    }
    sleep(waits.pause).await;
    Ok(())
}

/// The steps that have not been taken; refuses what a later program has left unfit for this one.
async fn missing<'a>(client: &Client, steps: &'a [Step]) -> Result<Vec<&'a Step>, Stopped> {
    let there = client.query_one("SELECT to_regclass('signalbox_migrations') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        return Ok(steps.iter().collect());
    }
    let rows = client.query("SELECT version, is_compatible, checksum FROM signalbox_migrations", &[]).await;
    let rows = match rows {
        // Builds before there were checksums have none.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => {
            return Err(Stopped::Refused(checksum::refusal(STEPS[0].version)));
        }
        rows => rows?,
    };
    let taken = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
    let taken = taken.collect::<Result<Vec<(i64, bool, String)>, Error>>()?;
    let newest = steps.last().map_or(0, |step| step.version);
    if let Some((version, ..)) = taken.iter().find(|(version, is_fit, _)| *version > newest && !is_fit) {
        return Err(Stopped::Refused(format!(
            "the database is at version {version}, which programs that know versions up to {newest} cannot use: \
             it was used by a newer signalbox; start that one, or restore a backup"
        )));
    }
    let mut missing = Vec::new();
    for step in steps {
        match taken.iter().find(|(version, ..)| *version == step.version) {
            Some((_, _, taken)) if *taken == checksum::of(step.sql) => {}
            Some(_) => return Err(Stopped::Refused(checksum::refusal(step.version))),
            None => missing.push(step),
        }
    }
    Ok(missing)
}

async fn attempt(client: &mut Client, step: &Step) -> Result<(), Error> {
    let note = "INSERT INTO signalbox_migrations (version, is_compatible, checksum) VALUES ($1, $2, $3)";
    let checksum = checksum::of(step.sql);
    if step.is_outside {
        for statement in step.sql.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            client.batch_execute(statement).await?;
        }
        client.query(note, &[&step.version, &step.is_compatible, &checksum]).await?;
        return Ok(());
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute(step.sql).await?;
    transaction.query(note, &[&step.version, &step.is_compatible, &checksum]).await?;
    transaction.commit().await
}

async fn check_server(client: &Client) -> Result<(), StoreError> {
    let sql = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), \
        current_setting('server_encoding')";
    let row = client.query_one(sql, &[]).await.map_err(|error| fault::of_statement(&error))?;
    let read = |error| fault::of_statement(&error);
    let (number, name): (i64, String) = (row.try_get(0).map_err(read)?, row.try_get(1).map_err(read)?);
    let encoding: String = row.try_get(2).map_err(read)?;
    if number < SERVER_VERSION_MIN {
        return Err(StoreError::Open(format!("PostgreSQL {name} is too old; use version 13 or newer")));
    }
    if encoding != "UTF8" {
        let cure = "create the database with ENCODING 'UTF8' TEMPLATE template0";
        return Err(StoreError::Open(format!("the database's encoding is {encoding}; {cure}")));
    }
    Ok(())
}
