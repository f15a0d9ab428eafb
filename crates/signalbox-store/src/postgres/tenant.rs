//! A tenant is removed, some of its rows at a time.
//!
//! Each time the tenant is held. The first time says in its row that it is removed: whoever commits for it later, on
//! whatever node, finds that under the same lock and writes nothing, so nothing comes after a part that has gone.

use signalbox_wire::id::TenantId;
use tokio::time::timeout;
use tokio_postgres::{Error, Row};

use super::fault;
use super::pool::Pool;
use super::query::{bound, get};
use crate::StoreError;
use crate::cache::Cache;
use crate::removal::{PARTS, Part, Removed};

/// Parameter: the tenant. It has a row to hold also when nothing was ever written for it.
const ADD: &str = "INSERT INTO tenant_locks (tenant, last, writer, is_removed) VALUES ($1, 0, NULL, true) \
    ON CONFLICT DO NOTHING";

const HOLD: &str = "SELECT 1 FROM tenant_locks WHERE tenant = $1 FOR UPDATE";

/// Nobody relies on what it remembers, and the log's order does not start again.
const REMOVE: &str = "UPDATE tenant_locks SET writer = NULL, is_removed = true, last = GREATEST(last, \
    (SELECT sequence FROM events WHERE tenant = $1 ORDER BY sequence DESC LIMIT 1)) WHERE tenant = $1";

const LOG: &str = "DELETE FROM events WHERE tenant = $1 AND sequence IN \
    (SELECT sequence FROM events WHERE tenant = $1 ORDER BY sequence LIMIT $2) RETURNING 1";

/// Removes up to `limit` rows of a tenant; answers how many.
pub(super) async fn remove(
    pool: &Pool,
    cache: &Cache,
    tenant: &TenantId,
    limit: usize,
) -> Result<usize, StoreError> {
    let mut removed = Removed::default();
    for part in PARTS {
        let left = limit.saturating_sub(removed.count);
        if left == 0 {
            break;
        }
        let sql = part.removal().unwrap_or_else(|| LOG.to_owned());
        let rows = rows(pool, tenant, &sql, left).await?;
        removed.count += rows.len();
        if part != Part::Log {
            for row in &rows {
                let names =
                    (0..row.len()).map(|column| get(row, column)).collect::<Result<Vec<String>, _>>()?;
                removed.keys.extend(part.held(&names));
            }
        }
    }
    removed.forget(cache, tenant);
    Ok(removed.count)
}

async fn rows(pool: &Pool, tenant: &TenantId, sql: &str, limit: usize) -> Result<Vec<Row>, StoreError> {
    let mut connection = pool.connection().await?;
    let work = async {
        let transaction = connection.transaction().await?;
        transaction.execute(ADD, &[&tenant.as_str()]).await?;
        transaction.query(HOLD, &[&tenant.as_str()]).await?;
        transaction.execute(REMOVE, &[&tenant.as_str()]).await?;
        let rows = transaction.query(sql, &[&tenant.as_str(), &bound(limit)]).await?;
        transaction.commit().await?;
        Ok::<_, Error>(rows)
    };
    let late = |_| StoreError::Unavailable("PostgreSQL did not answer in time".to_owned());
    timeout(pool.patience(), work).await.map_err(late)?.map_err(|error| fault::of_statement(&error))
}
