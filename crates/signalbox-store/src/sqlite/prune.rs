//! Retention: removing what is no longer kept, a bounded number of rows at a time.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use signalbox_core::decision::Key;
use signalbox_wire::id::{MessageId, SessionId, TenantId};
use signalbox_wire::time::Timestamp;

use super::fault::fault;
use super::log::Log;
use super::sql_limit;
use crate::api::Prune;
use crate::backend::EVENTS_LOOKED_AT;
use crate::cache::Cache;
use crate::error::StoreError;

/// What was removed.
#[derive(Default)]
pub(super) struct Gone {
    /// Rows, in all.
    pub(super) count: u64,
    messages: Vec<(String, String)>,
    sessions: Vec<(String, String)>,
}

impl Gone {
    /// Lets the cache follow.
    pub(super) fn forget(&self, cache: &Cache) {
        for (tenant, id) in &self.messages {
            if let (Ok(tenant), Ok(id)) = (TenantId::parse(tenant), MessageId::parse(id)) {
                cache.forget(&tenant, Key::Message(id));
            }
        }
        for (tenant, id) in &self.sessions {
            if let (Ok(tenant), Ok(id)) = (TenantId::parse(tenant), SessionId::parse(id)) {
                cache.forget(&tenant, Key::Session(id));
            }
        }
    }
}

/// Removes expired answers and signatures, settled messages, and ended sessions with their history.
pub(super) fn rows(connection: &Connection, prune: &Prune) -> rusqlite::Result<Gone> {
    let mut gone = Gone::default();
    let left = |gone: &Gone| sql_limit(prune.limit).saturating_sub_unsigned(gone.count);
    for sql in [
        "DELETE FROM answered WHERE rowid IN
         (SELECT rowid FROM answered WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
        "DELETE FROM signatures WHERE (tenant, signature) IN
         (SELECT tenant, signature FROM signatures WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
    ] {
        let limit = left(&gone);
        gone.count += connection.prepare_cached(sql)?.execute(params![prune.now.as_micros(), limit])? as u64;
    }
    let mut messages = connection.prepare_cached(
        "DELETE FROM messages WHERE rowid IN
         (SELECT rowid FROM messages
          WHERE status IN ('delivered', 'cancelled') AND settled_at < ?1 ORDER BY settled_at LIMIT ?2)
         RETURNING tenant, id",
    )?;
    let removed = messages.query_map(params![prune.messages_before.as_micros(), left(&gone)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    gone.messages = removed.collect::<rusqlite::Result<_>>()?;
    gone.count += gone.messages.len() as u64;
    sessions(connection, prune, &mut gone)?;
    Ok(gone)
}

fn sessions(connection: &Connection, prune: &Prune, gone: &mut Gone) -> rusqlite::Result<()> {
    let mut ended = connection
        .prepare_cached("SELECT tenant, id FROM sessions WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2")?;
    let limit = sql_limit(prune.limit);
    let left = limit.saturating_sub_unsigned(gone.count);
    let found = ended
        .query_map(params![prune.sessions_before.as_micros(), left], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for session in found.collect::<rusqlite::Result<Vec<(String, String)>>>()? {
        let left = limit.saturating_sub_unsigned(gone.count);
        let (count, is_whole) = session_rows(connection, &session, left)?;
        gone.count += count;
        gone.sessions.push(session);
        if !is_whole {
            break;
        }
    }
    Ok(())
}

/// Removes up to `left` rows of one session, the session itself last. Answers how many, and whether all.
fn session_rows(
    connection: &Connection,
    (tenant, id): &(String, String),
    left: i64,
) -> rusqlite::Result<(u64, bool)> {
    let mut count = 0;
    if let Some(log) = Log::find(connection, tenant)? {
        let mut events = connection.prepare_cached(
            "DELETE FROM events WHERE id IN
             (SELECT id FROM events WHERE session = ?1 AND id BETWEEN ?2 AND ?3 ORDER BY id LIMIT ?4)",
        )?;
        let newest = log.last_place(connection)?;
        count = events.execute(params![id, log.id(0), log.id(newest - 1), left])? as u64;
    }
    if left.saturating_sub_unsigned(count) <= 0 {
        return Ok((count, false));
    }
    for sql in [
        "DELETE FROM tasks WHERE tenant = ?1 AND session = ?2",
        "DELETE FROM sessions WHERE tenant = ?1 AND id = ?2",
    ] {
        count += connection.prepare_cached(sql)?.execute([tenant, id])? as u64;
    }
    Ok((count, true))
}

/// A run of places in a tenant's order.
pub(super) struct Run {
    log: Log,
    tenant: String,
    first: i64,
    last: i64,
}

/// Where the search for old entries goes on, in tenants whose open sessions keep many of them.
#[derive(Default)]
pub(super) struct Resume {
    after: HashMap<i64, i64>,
}

impl Resume {
    /// Entries older than `before` that belong to no open session, at most `limit` of them.
    pub(super) fn old_events(
        &mut self,
        connection: &Connection,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Run>, StoreError> {
        let mut runs = Vec::new();
        let (mut left, mut last) = (limit, 0);
        while left > 0
            && let Some((number, tenant, log)) = Log::next(connection, last).map_err(|error| fault(&error))?
        {
            last = number;
            let mut search = Search { before, left: &mut left, runs: &mut runs };
            let after = self.after.remove(&number).unwrap_or(0);
            let stopped = search.of_tenant(connection, &tenant, log, after).map_err(|error| fault(&error))?;
            if let Some(stopped) = stopped {
                self.after.insert(number, stopped);
            }
        }
        Ok(runs)
    }
}

struct Search<'a> {
    before: Timestamp,
    left: &'a mut usize,
    runs: &'a mut Vec<Run>,
}

impl Search<'_> {
    /// Looks at a tenant's entries; answers where it stopped when it did before the end.
    fn of_tenant(
        &mut self,
        connection: &Connection,
        tenant: &str,
        log: Log,
        after: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let newest = log.last_place(connection)?;
        let mut walk = connection.prepare_cached(
            "SELECT e.id, e.at, s.id IS NOT NULL AND s.ended_at IS NULL
             FROM events e LEFT JOIN sessions s ON s.tenant = ?1 AND s.id = e.session
             WHERE e.id BETWEEN ?2 AND ?3 ORDER BY e.id",
        )?;
        let mut rows = walk.query(params![tenant, log.id(after + 1), log.id(newest - 1)])?;
        for count in 0.. {
            let Some(row) = rows.next()? else { break };
            let (place, at, is_kept): (i64, i64, bool) = (log.place(row.get(0)?), row.get(1)?, row.get(2)?);
            if at >= self.before.as_micros() {
                break;
            }
            if *self.left == 0 || count == EVENTS_LOOKED_AT {
                return Ok(Some(place - 1));
            }
            if is_kept {
                continue;
            }
            *self.left -= 1;
            match self.runs.last_mut() {
                Some(run) if run.log == log && run.last == place - 1 => run.last = place,
                _ => self.runs.push(Run { log, tenant: tenant.to_owned(), first: place, last: place }),
            }
        }
        Ok(None)
    }
}

/// Removes runs of entries, but for those whose session has been opened again meanwhile.
pub(super) fn events(connection: &Connection, runs: &[Run]) -> rusqlite::Result<u64> {
    let mut remove = connection.prepare_cached(
        "DELETE FROM events WHERE id BETWEEN ?2 AND ?3 AND NOT EXISTS
         (SELECT 1 FROM sessions s WHERE s.tenant = ?1 AND s.id = events.session AND s.ended_at IS NULL)",
    )?;
    let mut count = 0;
    for run in runs {
        count += remove.execute(params![run.tenant, run.log.id(run.first), run.log.id(run.last)])? as u64;
    }
    for (number, run) in runs.iter().enumerate() {
        if runs.get(number + 1).is_none_or(|next| next.log != run.log) {
            run.log.trim_index(connection)?;
        }
    }
    Ok(count)
}
