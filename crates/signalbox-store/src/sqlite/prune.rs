//! Retention: removing what is no longer kept, a bounded number of rows at a time.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use signalbox_core::decision::{Key, Retention};
use signalbox_wire::id::{MessageId, SessionId, TenantId};

use super::fault::fault;
use super::log::Log;
use super::sql_limit;
use crate::api::{Cutoffs, Prune};
use crate::backend::EVENTS_LOOKED_AT;
use crate::cache::Cache;
use crate::error::StoreError;
use crate::schema;

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

/// Tenants whose things are removed in one go, at most.
const TENANTS_MAX: usize = 256;

/// What is old, and in whose eyes.
pub(super) struct Old {
    /// What tenants say of how long they keep things.
    own: HashMap<String, Retention>,
    /// Tenants with messages or sessions that may go, and before which moments.
    tenants: Vec<(String, Cutoffs)>,
}

impl Old {
    /// Looks for tenants with something old: at the oldest of each.
    pub(super) fn find(connection: &Connection, prune: &Prune) -> Result<Self, StoreError> {
        let mut old = Self { own: own(connection)?, tenants: Vec::new() };
        let messages = "SELECT tenant, settled_at FROM messages INDEXED BY messages_settled
            WHERE status IN ('delivered', 'cancelled') AND tenant > ?1 ORDER BY tenant, settled_at LIMIT 1";
        let sessions = "SELECT tenant, ended_at FROM sessions INDEXED BY sessions_by_end
            WHERE ended_at IS NOT NULL AND tenant > ?1 ORDER BY tenant, ended_at LIMIT 1";
        old.walk(connection, prune, messages, |cutoffs| cutoffs.messages).map_err(|error| fault(&error))?;
        old.walk(connection, prune, sessions, |cutoffs| cutoffs.sessions).map_err(|error| fault(&error))?;
        Ok(old)
    }

    fn walk(
        &mut self,
        connection: &Connection,
        prune: &Prune,
        sql: &str,
        cutoff: fn(Cutoffs) -> i64,
    ) -> rusqlite::Result<()> {
        let mut oldest = connection.prepare_cached(sql)?;
        let mut last = String::new();
        while self.tenants.len() < TENANTS_MAX
            && let Some((tenant, at)) = oldest
                .query_row([&last], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
                .optional()?
        {
            last.clone_from(&tenant);
            let cutoffs = prune.of(self.own.get(&tenant));
            if at < cutoff(cutoffs) && !self.tenants.iter().any(|(known, _)| *known == tenant) {
                self.tenants.push((tenant, cutoffs));
            }
        }
        Ok(())
    }
}

fn own(connection: &Connection) -> Result<HashMap<String, Retention>, StoreError> {
    let read = || -> rusqlite::Result<Vec<(String, String)>> {
        let mut settings = connection.prepare_cached("SELECT tenant, body FROM settings WHERE name = ?1")?;
        let rows = settings.query_map([schema::RETENTION], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    let rows = read().map_err(|error| fault(&error))?;
    rows.into_iter().map(|(tenant, body)| Ok((tenant, schema::decode(&body)?))).collect()
}

/// Removes expired answers and signatures, settled messages, and ended sessions with their history.
pub(super) fn rows(connection: &Connection, prune: &Prune, old: &Old) -> rusqlite::Result<Gone> {
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
    for (tenant, cutoffs) in &old.tenants {
        if left(&gone) <= 0 {
            break;
        }
        messages(connection, tenant, cutoffs.messages, left(&gone), &mut gone)?;
        sessions(connection, tenant, cutoffs.sessions, sql_limit(prune.limit), &mut gone)?;
    }
    Ok(gone)
}

fn messages(
    connection: &Connection,
    tenant: &str,
    before: i64,
    left: i64,
    gone: &mut Gone,
) -> rusqlite::Result<()> {
    let mut messages = connection.prepare_cached(
        "DELETE FROM messages WHERE rowid IN
         (SELECT rowid FROM messages WHERE tenant = ?1
          AND status IN ('delivered', 'cancelled') AND settled_at < ?2 ORDER BY settled_at LIMIT ?3)
         RETURNING tenant, id",
    )?;
    let removed = messages.query_map(params![tenant, before, left], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let before = gone.messages.len();
    for message in removed {
        gone.messages.push(message?);
    }
    gone.count += (gone.messages.len() - before) as u64;
    Ok(())
}

fn sessions(
    connection: &Connection,
    tenant: &str,
    before: i64,
    limit: i64,
    gone: &mut Gone,
) -> rusqlite::Result<()> {
    let mut ended = connection.prepare_cached(
        "SELECT tenant, id FROM sessions WHERE tenant = ?1 AND ended_at < ?2 ORDER BY ended_at LIMIT ?3",
    )?;
    let left = limit.saturating_sub_unsigned(gone.count);
    let found = ended.query_map(params![tenant, before, left], |row| Ok((row.get(0)?, row.get(1)?)))?;
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
        "DELETE FROM session_agents WHERE tenant = ?1 AND session = ?2",
        "DELETE FROM sessions WHERE tenant = ?1 AND id = ?2",
    ] {
        count += connection.prepare_cached(sql)?.execute([tenant, id])? as u64;
    }
    count += payloads(connection, tenant, id)?;
    Ok((count, true))
}

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

/// Removes up to `limit` entries of the history of a session that is gone.
pub(super) fn history(
    connection: &Connection,
    tenant: &TenantId,
    session: &SessionId,
    limit: usize,
) -> rusqlite::Result<usize> {
    let (tenant, session) = (tenant.as_str(), session.as_str());
    let Some(log) = Log::find(connection, tenant)? else { return Ok(0) };
    let newest = log.last_place(connection)?;
    let mut remove = connection.prepare_cached(
        "DELETE FROM events WHERE id IN
         (SELECT id FROM events WHERE session = ?1 AND id BETWEEN ?2 AND ?3 ORDER BY id LIMIT ?4)
         AND NOT EXISTS (SELECT 1 FROM sessions WHERE tenant = ?5 AND id = ?1)",
    )?;
    remove.execute(params![session, log.id(0), log.id(newest - 1), sql_limit(limit), tenant])
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
    /// Entries older than their tenant keeps them that belong to no open session, at most `limit` of them.
    pub(super) fn old_events(
        &mut self,
        connection: &Connection,
        prune: &Prune,
        old: &Old,
        limit: usize,
    ) -> Result<Vec<Run>, StoreError> {
        let mut runs = Vec::new();
        let (mut left, mut last) = (limit, 0);
        while left > 0
            && let Some((number, tenant, log)) = Log::next(connection, last).map_err(|error| fault(&error))?
        {
            last = number;
            let before = prune.of(old.own.get(&tenant)).events;
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
    before: i64,
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
            if at >= self.before {
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
