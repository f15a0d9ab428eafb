//! Brings the tables up to date: numbered steps, each taken once, all in one transaction.

use tokio_postgres::Client;

use super::fault;
use crate::StoreError;

/// The steps by their version, in order; the first brings an empty database to version 1.
const STEPS: [(i64, &str); 6] = [
    (1, include_str!("migrations/0001_initial.sql")),
    (2, include_str!("migrations/0002_starting.sql")),
    (3, include_str!("migrations/0003_sessions.sql")),
    (4, include_str!("migrations/0004_gates.sql")),
    (5, include_str!("migrations/0005_payloads.sql")),
    (6, include_str!("migrations/0006_listing.sql")),
];

/// The oldest PostgreSQL that has everything used here.
const SERVER_VERSION_MIN: i64 = 130_000;

/// Any number that no other program is likely to lock: one process migrates at a time.
const LOCK: i64 = 0x5167_6e61_6c62_6f78;

/// Migrates; refuses a database that a newer program has migrated.
pub(super) async fn run(client: &mut Client) -> Result<(), StoreError> {
    check_server(client).await?;
    migrate(client).await.map_err(|error| match error.code().map(|code| code.code().to_owned()) {
        Some(code) if code == "42501" => StoreError::Open(format!(
            "the tables cannot be made: {}; make the user of the database URL the owner of the database",
            fault::text(&error)
        )),
        _ => fault::of_statement(&error),
    })?
}

async fn migrate(client: &mut Client) -> Result<Result<(), StoreError>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    // A large table may take longer than anybody would wait for a commit.
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    transaction.query("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let table = "CREATE TABLE IF NOT EXISTS signalbox_migrations \
        (version BIGINT PRIMARY KEY, taken_at TIMESTAMPTZ NOT NULL DEFAULT now())";
    transaction.batch_execute(table).await?;
    let rows = transaction.query("SELECT version FROM signalbox_migrations", &[]).await?;
    let taken = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    let current = taken.iter().copied().max().unwrap_or(0);
    let newest = STEPS.last().map_or(0, |(version, _)| *version);
    if current > newest {
        return Ok(Err(StoreError::Open(format!(
            "the database is at version {current} and this program knows versions up to {newest}: it was used \
             by a newer signalbox; start that one, or restore a backup"
        ))));
    }
    for (version, step) in STEPS.into_iter().filter(|(version, _)| !taken.contains(version)) {
        transaction.batch_execute(step).await?;
        transaction.query("INSERT INTO signalbox_migrations (version) VALUES ($1)", &[&version]).await?;
    }
    transaction.commit().await?;
    Ok(Ok(()))
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
