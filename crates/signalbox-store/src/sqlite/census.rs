//! How many there are of what an operator watches, each counted by an index and up to a bound.

use rusqlite::Connection;

use super::convert::sql_limit;
use super::fault::fault;
use crate::api::Census;
use crate::error::StoreError;

const SESSIONS: &str = "SELECT status, count(*) FROM
    (SELECT status FROM sessions INDEXED BY sessions_open WHERE ended_at IS NULL LIMIT ?1) GROUP BY status";
const WAITING: &str = "SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_waiting WHERE wait_route IS NOT NULL LIMIT ?1)";
const AGENTS: &str = "SELECT state, count(*), sum(json_array_length(body, '$.held')) FROM
    (SELECT state, body FROM agent_statuses LIMIT ?1) GROUP BY state";
const DEAD: &str =
    "SELECT count(*) FROM (SELECT 1 FROM messages INDEXED BY messages_dead WHERE status = 'dead' LIMIT ?1)";

/// Counts `limit` of each at most.
pub(super) fn census(connection: &Connection, limit: usize) -> Result<Census, StoreError> {
    counted(connection, sql_limit(limit)).map_err(|error| fault(&error))
}

fn counted(connection: &Connection, limit: i64) -> rusqlite::Result<Census> {
    let mut census = Census::default();
    let mut sessions = connection.prepare_cached(SESSIONS)?;
    let mut rows = sessions.query([limit])?;
    while let Some(row) = rows.next()? {
        census.open_sessions.push((row.get(0)?, number(row.get(1)?)));
    }
    let mut agents = connection.prepare_cached(AGENTS)?;
    let mut rows = agents.query([limit])?;
    while let Some(row) = rows.next()? {
        census.agents.push((row.get(0)?, number(row.get(1)?)));
        census.tasks_held += number(row.get::<_, Option<i64>>(2)?.unwrap_or(0));
    }
    let one = |sql: &str| -> rusqlite::Result<u64> {
        connection.prepare_cached(sql)?.query_row([limit], |row| row.get(0)).map(number)
    };
    census.tasks_waiting = one(WAITING)?;
    census.dead_letters = one(DEAD)?;
    Ok(census)
}

fn number(counted: i64) -> u64 {
    u64::try_from(counted).unwrap_or(0)
}
