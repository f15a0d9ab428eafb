//! How many there are of what an operator watches, each counted up to a bound.

use super::pool::Pool;
use super::query::{bound, get, unsigned};
use crate::StoreError;
use crate::api::Census;

const SESSIONS: &str = "SELECT status, count(*) FROM \
    (SELECT status FROM sessions WHERE ended_at IS NULL LIMIT $1) AS open GROUP BY status";
const WAITING: &str =
    "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE wait_route IS NOT NULL LIMIT $1) AS waiting";
const AGENTS: &str = "SELECT state, count(*), sum(jsonb_array_length(body::jsonb -> 'held'))::bigint FROM \
    (SELECT state, body FROM agent_statuses LIMIT $1) AS listed GROUP BY state";
const DEAD: &str = "SELECT count(*) FROM (SELECT 1 FROM messages WHERE status = 'dead' LIMIT $1) AS dead";

/// Counts `limit` of each at most.
pub(super) async fn census(pool: &Pool, limit: usize) -> Result<Census, StoreError> {
    let limit = bound(limit);
    let mut census = Census::default();
    for row in pool.query(SESSIONS, &[&limit]).await? {
        census.open_sessions.push((get(&row, 0)?, unsigned(get(&row, 1)?)?));
    }
    for row in pool.query(AGENTS, &[&limit]).await? {
        census.agents.push((get(&row, 0)?, unsigned(get(&row, 1)?)?));
        census.tasks_held += unsigned(get::<Option<i64>>(&row, 2)?.unwrap_or(0))?;
    }
    for (sql, count) in [(WAITING, &mut census.tasks_waiting), (DEAD, &mut census.dead_letters)] {
        if let Some(row) = pool.query_one(sql, &[&limit]).await? {
            *count = unsigned(get(&row, 0)?)?;
        }
    }
    Ok(census)
}
