//! A tenant is removed, some of its rows at a time.
//!
//! Each time the tenant is held and its count of commits moves, so that no process goes on relying on what it
//! remembers of the rows.

use signalbox_wire::id::TenantId;
use tokio::time::timeout;
use tokio_postgres::{Error, Row};

use super::fault;
use super::pool::Pool;
use super::query::{bound, get};
use crate::StoreError;
use crate::cache::Cache;
use crate::removal::{PARTS, Part, Removed};

const HOLD: &str = "UPDATE tenant_sequences SET commits = commits + 1 WHERE tenant = $1";

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
        transaction.execute(HOLD, &[&tenant.as_str()]).await?;
        let rows = transaction.query(sql, &[&tenant.as_str(), &bound(limit)]).await?;
        transaction.commit().await?;
        Ok::<_, Error>(rows)
    };
    let late = |_| StoreError::Unavailable("PostgreSQL did not answer in time".to_owned());
    timeout(pool.patience(), work).await.map_err(late)?.map_err(|error| fault::of_statement(&error))
}
