//! A tenant is removed, some of its rows at a time.

use rusqlite::{Connection, params};
use signalbox_wire::id::TenantId;

use super::convert::sql_limit;
use super::log::Log;
use super::packed::ROW_ENTRIES;
use crate::removal::{PARTS, Part, Removed};

/// Removes about up to `limit` rows of a tenant, of which a row of the log counts as all entries that it may have.
pub(super) fn remove(connection: &Connection, tenant: &TenantId, limit: usize) -> rusqlite::Result<Removed> {
    let mut removed = Removed::default();
    for part in PARTS {
        let left = limit.saturating_sub(removed.count);
        if left == 0 {
            break;
        }
        match part.removal() {
            Some(sql) => rows(connection, tenant, part, &sql, left, &mut removed)?,
            None => removed.count += log(connection, tenant, left)?,
        }
    }
    Ok(removed)
}

fn rows(
    connection: &Connection,
    tenant: &TenantId,
    part: Part,
    sql: &str,
    limit: usize,
    removed: &mut Removed,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut gone = statement.query(params![tenant.as_str(), sql_limit(limit)])?;
    while let Some(row) = gone.next()? {
        let names = (0..columns).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<String>>>()?;
        removed.count += 1;
        removed.keys.extend(part.held(&names));
    }
    Ok(())
}

fn log(connection: &Connection, tenant: &TenantId, limit: usize) -> rusqlite::Result<usize> {
    let Some(log) = Log::find(connection, tenant.as_str())? else { return Ok(0) };
    let mut entries = connection.prepare(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id BETWEEN ?1 AND ?2 LIMIT ?3)",
    )?;
    // Each counts as the entries that it has at most.
    let rows = sql_limit(limit.div_ceil(ROW_ENTRIES));
    let count = ROW_ENTRIES * entries.execute(params![log.id(0), log.id(i64::MAX), rows])?;
    Ok(count + log.remove_index(connection, limit.saturating_sub(count))?)
}
