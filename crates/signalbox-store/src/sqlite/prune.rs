//! Retention: removing what is no longer kept, a piece at a time on the writing connection, among the commits.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use signalbox_core::decision::{Key, Retention};
use signalbox_wire::id::{CommandId, MessageId, SessionId, TenantId};
use tokio::time::Instant;

use super::access::Access;
use super::channels;
use super::convert::sql_limit;
use super::entry_removal::EntryRemoval;
use super::fault::fault;
use super::log::{Direction, Log};
use super::statements::CLEAR_SESSION_AGENTS;
use super::unused;
use crate::api::Prune;
use crate::backend::EVENTS_LOOKED_AT;
use crate::cache::Cache;
use crate::error::StoreError;
use crate::retention::{CHANNELS_AT_ONCE, Kind, Piece, Removes, TENANTS_MAX, Tenant};
use crate::schema;

/// Agents and sessions that one round looks at, so as to find what sessions have left.
const HOLDERS_LOOKED_AT: usize = 1_000;

/// What one piece removed.
#[derive(Default)]
struct Gone {
    /// Rows, in all.
    count: u64,
    is_done: bool,
    took: Duration,
    messages: Vec<String>,
    commands: Vec<String>,
    sessions: Vec<String>,
    days: Vec<u32>,
}

impl Gone {
    fn piece(&self) -> Piece {
        let removed = usize::try_from(self.count).unwrap_or(usize::MAX);
        Piece { removed, is_done: self.is_done, took: self.took }
    }

    /// Lets the cache follow.
    fn forget(&self, cache: &Cache, tenant: &str) {
        let Ok(tenant) = TenantId::parse(tenant) else { return };
        for id in self.messages.iter().filter_map(|id| MessageId::parse(id).ok()) {
            cache.forget(&tenant, Key::Message(id));
        }
        for id in self.commands.iter().filter_map(|id| CommandId::parse(id).ok()) {
            cache.forget(&tenant, Key::Command(id));
        }
        for id in self.sessions.iter().filter_map(|id| SessionId::parse(id).ok()) {
            cache.forget(&tenant, Key::Session(id));
        }
        for day in &self.days {
            cache.forget(&tenant, Key::Usage(*day));
        }
    }
}

/// A round of removals.
pub(super) struct Pruning<'a> {
    sqlite: &'a Access,
    resume: Arc<Mutex<Resume>>,
    prune: Prune,
    /// What tenants say of how long they keep things.
    own: Arc<HashMap<String, Retention>>,
}

impl<'a> Pruning<'a> {
    /// A round by these moments.
    pub(super) async fn begin(
        sqlite: &'a Access,
        resume: Arc<Mutex<Resume>>,
        prune: Prune,
    ) -> Result<Self, StoreError> {
        Ok(Self { sqlite, resume, prune, own: Arc::new(sqlite.list(own).await?) })
    }

    /// Does `work` among the commits, and takes the time that it holds them up.
    async fn work(
        &self,
        tenant: &str,
        mut work: impl FnMut(&Connection, &mut Gone) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<Piece, StoreError> {
        let timed = move |connection: &Connection| {
            let (started, mut gone) = (Instant::now(), Gone::default());
            work(connection, &mut gone)?;
            gone.took = started.elapsed();
            Ok(gone)
        };
        let (cache, tenant) = (Arc::clone(&self.sqlite.shared.cache), tenant.to_owned());
        let gone = self.sqlite.write(timed, move |gone| gone.forget(&cache, &tenant)).await?;
        Ok(gone.piece())
    }

    async fn events(&self, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
        let (resume, wanted) = (Arc::clone(&self.resume), tenant.clone());
        let look = move |connection: &Connection| {
            let mut resume = resume.lock();
            let after = resume.after.remove(&wanted.name).unwrap_or(0);
            let found = old_events(connection, &wanted, after, limit).map_err(|error| fault(&error))?;
            if let Some(stopped) = found.stopped {
                resume.after.insert(wanted.name, stopped);
            }
            Ok(found)
        };
        let Found { log, runs, stopped } = self.sqlite.list(look).await?;
        let name = tenant.name.clone();
        let remove = move |connection: &Connection, gone: &mut Gone| {
            gone.count = events(connection, &name, log, &runs)?;
            gone.is_done = stopped.is_none();
            Ok(())
        };
        self.work(&tenant.name, remove).await
    }

    async fn channel_messages(&self, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
        let wanted = tenant.clone();
        let look = move |connection: &Connection| {
            channels::trims(connection, &wanted).map_err(|error| fault(&error))
        };
        let trims = self.sqlite.list(look).await?;
        let name = tenant.name.clone();
        let remove = move |connection: &Connection, gone: &mut Gone| {
            let count = channels::remove(connection, &name, &trims, limit)?;
            gone.count = count as u64;
            gone.is_done = count < limit && trims.len() < CHANNELS_AT_ONCE;
            Ok(())
        };
        self.work(&tenant.name, remove).await
    }
}

#[async_trait::async_trait]
impl Removes for Pruning<'_> {
    async fn expired(&self, limit: usize) -> Result<Piece, StoreError> {
        let (now, resume) = (self.prune.now.as_micros(), Arc::clone(&self.resume));
        let look = move |connection: &Connection| {
            let last = &mut resume.lock().holder;
            left_holders(connection, last).map_err(|error| fault(&error))
        };
        let left = self.sqlite.list(look).await?;
        let remove = move |connection: &Connection, gone: &mut Gone| {
            expired(connection, now, limit, gone)?;
            gone.count += remove_holders(connection, &left)?;
            Ok(())
        };
        self.work("", remove).await
    }

    async fn tenants(&self, kind: Kind, after: &str) -> Result<Vec<Tenant>, StoreError> {
        let (prune, own, after) = (self.prune, Arc::clone(&self.own), after.to_owned());
        let look = move |connection: &Connection| {
            let before = |tenant: &str| kind.cutoff(prune.of(own.get(tenant)));
            tenants(connection, kind, after, before).map_err(|error| fault(&error))
        };
        self.sqlite.list(look).await
    }

    async fn remove(&self, kind: Kind, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
        let Tenant { name, before } = tenant.clone();
        let left = sql_limit(limit);
        match kind {
            Kind::Messages => {
                let remove = move |connection: &Connection, gone: &mut Gone| {
                    messages(connection, &name, before, left, gone)
                };
                self.work(&tenant.name, remove).await
            }
            Kind::Commands => {
                let remove = move |connection: &Connection, gone: &mut Gone| {
                    commands(connection, &name, before, left, gone)
                };
                self.work(&tenant.name, remove).await
            }
            Kind::Sessions => {
                let remove = move |connection: &Connection, gone: &mut Gone| {
                    sessions(connection, &name, before, left, gone)
                };
                self.work(&tenant.name, remove).await
            }
            Kind::Usage => {
                let remove = move |connection: &Connection, gone: &mut Gone| {
                    usage(connection, &name, before, left, gone)
                };
                self.work(&tenant.name, remove).await
            }
            Kind::Events => self.events(tenant, limit).await,
            Kind::ChannelMessages => self.channel_messages(tenant, limit).await,
        }
    }
}

/// Tenants after `last` whose oldest thing of this kind is older than `before` says.
fn tenants(
    connection: &Connection,
    kind: Kind,
    mut last: String,
    before: impl Fn(&str) -> i64,
) -> rusqlite::Result<Vec<Tenant>> {
    let sql = match kind {
        Kind::ChannelMessages => return channels::tenants(connection, last, before("")),
        Kind::Messages => {
            "SELECT tenant, settled_at FROM messages INDEXED BY messages_settled
             WHERE status IN ('delivered', 'cancelled') AND tenant > ?1 ORDER BY tenant, settled_at LIMIT 1"
        }
        Kind::Commands => {
            "SELECT tenant, ended_at FROM commands INDEXED BY commands_ended
             WHERE ended_at IS NOT NULL AND tenant > ?1 ORDER BY tenant, ended_at LIMIT 1"
        }
        Kind::Sessions => {
            "SELECT tenant, ended_at FROM sessions INDEXED BY sessions_by_end
             WHERE ended_at IS NOT NULL AND tenant > ?1 ORDER BY tenant, ended_at LIMIT 1"
        }
        Kind::Usage => "SELECT tenant, day FROM usage_days WHERE tenant > ?1 ORDER BY tenant, day LIMIT 1",
        Kind::Events => "SELECT tenant, number FROM tenant_numbers WHERE tenant > ?1 ORDER BY tenant LIMIT 1",
    };
    let mut oldest = connection.prepare_cached(sql)?;
    let mut tenants = Vec::new();
    while tenants.len() < TENANTS_MAX
        && let Some((name, found)) = oldest
            .query_row([&last], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
            .optional()?
    {
        last.clone_from(&name);
        let at = match kind {
            Kind::Messages | Kind::Commands | Kind::Sessions | Kind::ChannelMessages | Kind::Usage => {
                Some(found)
            }
            Kind::Events => Log::numbered(found).oldest(connection)?,
        };
        let before = before(&name);
        if at.is_some_and(|at| at < before) {
            tenants.push(Tenant { name, before });
        }
    }
    Ok(tenants)
}

fn expired(connection: &Connection, now: i64, limit: usize, gone: &mut Gone) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM answered WHERE rowid IN
         (SELECT rowid FROM answered WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
        "DELETE FROM signatures WHERE (tenant, signature) IN
         (SELECT tenant, signature FROM signatures WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
    ] {
        let left = sql_limit(limit).saturating_sub_unsigned(gone.count);
        gone.count += connection.prepare_cached(sql)?.execute(params![now, left])? as u64;
    }
    gone.is_done = gone.count < limit as u64;
    Ok(())
}

/// An agent that holds or held a task of a session: tenant, agent, when the session was made, session.
type Holder = (String, String, i64, String);

/// Of the next agents and sessions after `last` those whose session is gone: agents that had a task of it before the task
/// was given to others.
fn left_holders(connection: &Connection, last: &mut Holder) -> rusqlite::Result<Vec<Holder>> {
    let mut next = connection.prepare_cached(
        "SELECT held.tenant, held.agent, held.created_at, held.session, sessions.id IS NULL
         FROM session_agents AS held
         LEFT JOIN sessions ON sessions.tenant = held.tenant AND sessions.id = held.session
         WHERE (held.tenant, held.agent, held.created_at, held.session) > (?1, ?2, ?3, ?4)
         ORDER BY held.tenant, held.agent, held.created_at, held.session LIMIT ?5",
    )?;
    let from = params![last.0, last.1, last.2, last.3, sql_limit(HOLDERS_LOOKED_AT)];
    let rows = next.query_map(from, |row| {
        Ok(((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?), row.get::<_, bool>(4)?))
    })?;
    let rows = rows.collect::<rusqlite::Result<Vec<(Holder, bool)>>>()?;
    let is_at_the_end = rows.len() < HOLDERS_LOOKED_AT;
    *last = rows.last().filter(|_| !is_at_the_end).map(|(holder, _)| holder.clone()).unwrap_or_default();
    Ok(rows.into_iter().filter(|(_, is_left)| *is_left).map(|(holder, _)| holder).collect())
}

/// Removes them, but for those whose session has been made anew meanwhile.
fn remove_holders(connection: &Connection, left: &[Holder]) -> rusqlite::Result<u64> {
    let mut remove = connection.prepare_cached(
        "DELETE FROM session_agents WHERE tenant = ?1 AND agent = ?2 AND created_at = ?3 AND session = ?4
         AND NOT EXISTS (SELECT 1 FROM sessions WHERE tenant = ?1 AND id = ?4)",
    )?;
    let mut count = 0;
    for (tenant, agent, created_at, session) in left {
        count += remove.execute(params![tenant, agent, created_at, session])? as u64;
    }
    Ok(count)
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

fn messages(
    connection: &Connection,
    tenant: &str,
    before: i64,
    limit: i64,
    gone: &mut Gone,
) -> rusqlite::Result<()> {
    let mut messages = connection.prepare_cached(
        "DELETE FROM messages WHERE rowid IN
         (SELECT rowid FROM messages WHERE tenant = ?1
          AND status IN ('delivered', 'cancelled') AND settled_at < ?2 ORDER BY settled_at LIMIT ?3)
         RETURNING id",
    )?;
    let removed = messages.query_map(params![tenant, before, limit], |row| row.get(0))?;
    gone.messages = removed.collect::<rusqlite::Result<_>>()?;
    gone.count = gone.messages.len() as u64;
    gone.is_done = sql_limit(gone.messages.len()) < limit;
    Ok(())
}

fn commands(
    connection: &Connection,
    tenant: &str,
    before: i64,
    limit: i64,
    gone: &mut Gone,
) -> rusqlite::Result<()> {
    let mut commands = connection.prepare_cached(
        "DELETE FROM commands WHERE rowid IN
         (SELECT rowid FROM commands WHERE tenant = ?1 AND ended_at < ?2 ORDER BY ended_at LIMIT ?3)
         RETURNING id",
    )?;
    let removed = commands.query_map(params![tenant, before, limit], |row| row.get(0))?;
    gone.commands = removed.collect::<rusqlite::Result<_>>()?;
    gone.count = gone.commands.len() as u64;
    gone.is_done = sql_limit(gone.commands.len()) < limit;
    Ok(())
}

fn usage(
    connection: &Connection,
    tenant: &str,
    before: i64,
    limit: i64,
    gone: &mut Gone,
) -> rusqlite::Result<()> {
    let mut days = connection.prepare_cached(
        "DELETE FROM usage_days WHERE tenant = ?1 AND day IN
         (SELECT day FROM usage_days WHERE tenant = ?1 AND day < ?2 ORDER BY day LIMIT ?3)
         RETURNING day",
    )?;
    let removed = days.query_map(params![tenant, before, limit], |row| row.get(0))?;
    gone.days = removed.collect::<rusqlite::Result<_>>()?;
    gone.count = gone.days.len() as u64;
    gone.is_done = sql_limit(gone.days.len()) < limit;
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
        "SELECT id FROM sessions WHERE tenant = ?1 AND ended_at < ?2 ORDER BY ended_at LIMIT ?3",
    )?;
    let found = ended.query_map(params![tenant, before, limit], |row| row.get(0))?;
    let found = found.collect::<rusqlite::Result<Vec<String>>>()?;
    let log = Log::find(connection, tenant)?;
    let mut entries = log.map(|log| EntryRemoval::begin(connection, log)).transpose()?;
    gone.is_done = sql_limit(found.len()) < limit;
    for session in found {
        let left = limit.saturating_sub_unsigned(gone.count);
        let (count, is_whole) = session_rows(connection, tenant, &session, left, entries.as_mut())?;
        gone.count += count;
        if count > 0 {
            // Memory lets go of it even when it is there by halves.
            gone.sessions.push(session);
        }
        if !is_whole {
            gone.is_done = false;
            break;
        }
    }
    entries.map_or(Ok(()), EntryRemoval::finish)
}

/// Removes up to `left` rows of one session, the session itself last. Answers how many, and whether all.
fn session_rows(
    connection: &Connection,
    tenant: &str,
    id: &str,
    left: i64,
    entries: Option<&mut EntryRemoval<'_>>,
) -> rusqlite::Result<(u64, bool)> {
    let mut count = 0;
    if let Some(entries) = entries {
        count = entries.session(id, usize::try_from(left).unwrap_or(0))? as u64;
    }
    if left.saturating_sub_unsigned(count) <= 0 {
        return Ok((count, false));
    }
    for sql in [
        CLEAR_SESSION_AGENTS,
        "DELETE FROM tasks WHERE tenant = ?1 AND session = ?2",
        "DELETE FROM sessions WHERE tenant = ?1 AND id = ?2",
    ] {
        count += connection.prepare_cached(sql)?.execute([tenant, id])? as u64;
    }
    count += unused::payloads(connection, tenant, id)?;
    Ok((count, true))
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
    let mut find = connection.prepare_cached("SELECT 1 FROM sessions WHERE tenant = ?1 AND id = ?2")?;
    if find.exists([tenant, session])? {
        return Ok(0);
    }
    let mut entries = EntryRemoval::begin(connection, log)?;
    let count = entries.session(session, limit)?;
    entries.finish().map(|()| count)
}

/// A run of places in a tenant's order.
struct Run {
    first: i64,
    last: i64,
}

/// Where the search for old entries goes on, by tenant: open sessions may keep many of them.
#[derive(Default)]
pub(super) struct Resume {
    after: HashMap<String, i64>,
    /// The agent and session that were looked at last, so as to find what sessions have left.
    holder: Holder,
}

/// Old entries that belong to no open session.
struct Found {
    log: Option<Log>,
    runs: Vec<Run>,
    /// The last place that was looked at, where there may be more behind it.
    stopped: Option<i64>,
}

/// Looks for up to `limit` old entries after a place.
fn old_events(connection: &Connection, tenant: &Tenant, after: i64, limit: usize) -> rusqlite::Result<Found> {
    let mut found = Found { log: Log::find(connection, &tenant.name)?, runs: Vec::new(), stopped: None };
    let Some(log) = found.log else { return Ok(found) };
    let newest = log.last_place(connection)?;
    let mut open = OpenSessions::of(connection, &tenant.name)?;
    let (mut left, mut count) = (limit, 0);
    let walked = log.walk(connection, (after + 1, newest - 1), Direction::Forward, |entry| {
        if entry.at >= tenant.before {
            return Ok(ControlFlow::Break(()));
        }
        if left == 0 || count == EVENTS_LOOKED_AT {
            found.stopped = Some(entry.place - 1);
            return Ok(ControlFlow::Break(()));
        }
        count += 1;
        if let Some((session, _)) = entry.session
            && open.has(session)?
        {
            return Ok(ControlFlow::Continue(()));
        }
        left -= 1;
        match found.runs.last_mut() {
            Some(run) if run.last == entry.place - 1 => run.last = entry.place,
            _ => found.runs.push(Run { first: entry.place, last: entry.place }),
        }
        Ok(ControlFlow::Continue(()))
    });
    walked.map(|_| found)
}

/// Removes runs of entries, but for those whose session has been opened again meanwhile.
fn events(connection: &Connection, tenant: &str, log: Option<Log>, runs: &[Run]) -> rusqlite::Result<u64> {
    let (Some(log), Some(first), Some(last)) = (log, runs.first(), runs.last()) else { return Ok(0) };
    let mut open = OpenSessions::of(connection, tenant)?;
    let mut removal = EntryRemoval::begin(connection, log)?;
    let (mut count, mut sessions) = (0, HashSet::new());
    for run in runs {
        count += removal.places((run.first, run.last), |session| open.has(session), &mut sessions)?;
    }
    removal.forget_stretches(&sessions, (first.first, last.last))?;
    removal.finish()?;
    log.trim_index(connection)?;
    Ok(count as u64)
}

/// Sessions of a tenant, and whether they are there and not ended: each is looked for once.
struct OpenSessions<'c> {
    tenant: &'c str,
    find: CachedStatement<'c>,
    known: HashMap<String, bool>,
}

impl<'c> OpenSessions<'c> {
    fn of(connection: &'c Connection, tenant: &'c str) -> rusqlite::Result<Self> {
        let sql = "SELECT 1 FROM sessions WHERE tenant = ?1 AND id = ?2 AND ended_at IS NULL";
        Ok(Self { tenant, find: connection.prepare_cached(sql)?, known: HashMap::new() })
    }

    fn has(&mut self, session: &str) -> rusqlite::Result<bool> {
        if let Some(known) = self.known.get(session) {
            return Ok(*known);
        }
        let is_open = self.find.exists([self.tenant, session])?;
        self.known.insert(session.to_owned(), is_open);
        Ok(is_open)
    }
}
