//! What nothing refers to any longer.

use rusqlite::Connection;

/// Removes the payloads that only this session referred to; answers how many rows went.
pub(super) fn payloads(connection: &Connection, tenant: &str, session: &str) -> rusqlite::Result<u64> {
    let mut uses = connection
        .prepare_cached("DELETE FROM payload_uses WHERE tenant = ?1 AND session = ?2 RETURNING payload")?;
    let named = uses.query_map([tenant, session], |row| row.get(0))?;
    let named = named.collect::<rusqlite::Result<Vec<String>>>()?;
    let mut remove = connection.prepare_cached(
        "DELETE FROM payloads WHERE tenant = ?1 AND sha256 = ?2
         AND NOT EXISTS (SELECT 1 FROM payload_uses WHERE tenant = ?1 AND payload = ?2)",
    )?;
    let mut count = named.len() as u64;
    for payload in named {
        count += remove.execute([tenant, &payload])? as u64;
    }
    Ok(count)
}
