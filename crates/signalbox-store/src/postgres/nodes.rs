//! The nodes over one database, and when each was last there.

use std::time::Duration;

use signalbox_wire::id::NodeId;

use super::due::NOW;
use super::pool::Pool;
use super::query::{bound, get, id};
use crate::StoreError;

/// Notes that `node` is there now.
pub(super) async fn is_here(pool: &Pool, node: &NodeId) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO nodes (id, seen_at) VALUES ($1, {NOW}) ON CONFLICT (id) DO UPDATE SET seen_at = EXCLUDED.seen_at"
    );
    pool.query(&sql, &[&node.as_str()]).await.map(drop)
}

/// Notes that `node` is not there any more.
pub(super) async fn left(pool: &Pool, node: &NodeId) -> Result<(), StoreError> {
    pool.query("DELETE FROM nodes WHERE id = $1", &[&node.as_str()]).await.map(drop)
}

/// The nodes that were last there longer ago than `silent_for`.
pub(super) async fn lost(pool: &Pool, silent_for: Duration, most: usize) -> Result<Vec<NodeId>, StoreError> {
    let sql = format!("SELECT id FROM nodes WHERE seen_at < {NOW} - $1 ORDER BY seen_at LIMIT $2");
    let rows = pool.query(&sql, &[&micros(silent_for), &bound(most)]).await?;
    rows.iter().map(|row| id(NodeId::parse(get(row, 0)?))).collect()
}

/// Forgets `node`, unless it was there within `silent_for`; whether it was known until then.
pub(super) async fn forget(pool: &Pool, node: &NodeId, silent_for: Duration) -> Result<bool, StoreError> {
    let sql = format!("DELETE FROM nodes WHERE id = $1 AND seen_at < {NOW} - $2 RETURNING id");
    Ok(!pool.query(&sql, &[&node.as_str(), &micros(silent_for)]).await?.is_empty())
}

/// The nodes that are known.
pub(super) async fn all(pool: &Pool) -> Result<Vec<NodeId>, StoreError> {
    let rows = pool.query("SELECT id FROM nodes", &[]).await?;
    rows.iter().map(|row| id(NodeId::parse(get(row, 0)?))).collect()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
