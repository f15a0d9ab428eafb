//! Retention: removing what is no longer kept, a piece at a time.
//!
//! Only what is removed together with a session needs its tenant held, for a moment: a session that ended long
//! ago may be opened again right now. Everything else is final once it may go.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_core::decision::{Key, Retention};
use signalbox_wire::id::{CommandId, MessageId, SessionId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::time::{Instant, timeout};
use tokio_postgres::Error;

use super::pool::Pool;
use super::query::{bound, get, id, unsigned};
use super::{channels, events, fault, sql};
use crate::api::{Cutoffs, Prune};
use crate::cache::Cache;
use crate::retention::{Kind, Piece, Removes, TENANTS_MAX, Tenant};
use crate::{StoreError, schema};

/// Sessions that go in one piece, at most: their tenant is held meanwhile.
const SESSIONS: usize = 50;

/// Parameters: the moment, how much.
const EXPIRED: [&str; 2] = [
    "DELETE FROM answered USING (SELECT tenant, key FROM answered WHERE expires_at < $1 \
     ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS old \
     WHERE answered.tenant = old.tenant AND answered.key = old.key RETURNING 1",
    "DELETE FROM signatures USING (SELECT tenant, signature FROM signatures WHERE expires_at < $1 \
     ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS old \
     WHERE signatures.tenant = old.tenant AND signatures.signature = old.signature RETURNING 1",
];

/// Walks the tenants with something that may get old, and tells those whose oldest may go now, with their moment.
/// Parameters: the tenant after which it begins, the moment of those that say nothing, how many; arrays of the others
/// and their moments.
macro_rules! walk {
    ($table:literal, $at:literal, $order:literal, $condition:literal) => {
        concat!(
            "WITH RECURSIVE walk (tenant, at) AS ((SELECT tenant, ", $at, " FROM ", $table, " WHERE ", $condition,
            " AND tenant > $1 ORDER BY tenant, ", $order, " LIMIT 1) \
             UNION ALL SELECT following.tenant, following.at FROM walk CROSS JOIN LATERAL \
             (SELECT tenant, ", $at, " AS at FROM ", $table, " WHERE ", $condition,
            " AND tenant > walk.tenant ORDER BY tenant, ", $order, " LIMIT 1) AS following) \
             SELECT walk.tenant, COALESCE(own.before, $2) FROM walk \
             LEFT JOIN unnest($4::text[], $5::bigint[]) AS own (tenant, before) ON own.tenant = walk.tenant \
             WHERE walk.at < COALESCE(own.before, $2) LIMIT $3"
        )
    };
}

const WITH_MESSAGES: &str =
    walk!("messages", "settled_at", "settled_at", "status IN ('delivered', 'cancelled')");
const WITH_COMMANDS: &str = walk!("commands", "ended_at", "ended_at", "ended_at IS NOT NULL");
const WITH_SESSIONS: &str = walk!("sessions", "ended_at", "ended_at", "ended_at IS NOT NULL");
const WITH_USAGE: &str = walk!("usage_days", "day", "day", "true");
const WITH_EVENTS: &str = walk!("events", "at", "sequence", "true");

/// Parameters: tenant, moment, how much.
const MESSAGES: &str = "DELETE FROM messages USING (SELECT tenant, id FROM messages WHERE tenant = $1 \
    AND status IN ('delivered', 'cancelled') AND settled_at < $2 ORDER BY settled_at LIMIT $3 \
    FOR UPDATE SKIP LOCKED) AS old WHERE messages.tenant = old.tenant AND messages.id = old.id RETURNING messages.id";

/// Parameters: tenant, moment, how much.
const COMMANDS: &str = "DELETE FROM commands USING (SELECT tenant, id FROM commands WHERE tenant = $1 \
    AND ended_at < $2 ORDER BY ended_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS old \
    WHERE commands.tenant = old.tenant AND commands.id = old.id RETURNING commands.id";

/// Parameters: tenant, day, how much.
const USAGE: &str = "DELETE FROM usage_days USING (SELECT tenant, day FROM usage_days WHERE tenant = $1 \
    AND day < $2 ORDER BY day LIMIT $3 FOR UPDATE SKIP LOCKED) AS old \
    WHERE usage_days.tenant = old.tenant AND usage_days.day = old.day RETURNING usage_days.day";

/// Parameters: tenant, moment, how much.
const ENDED: &str = "SELECT id FROM sessions WHERE tenant = $1 AND ended_at < $2 ORDER BY ended_at LIMIT $3";

/// Removes history; parameters: arrays of tenant, session and moment, how much. The newest entry of the log stays.
const HISTORY: &str = "DELETE FROM events USING (SELECT entry.tenant, entry.sequence \
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS given (tenant, id, before) \
    JOIN sessions ON sessions.tenant = given.tenant AND sessions.id = given.id \
     AND sessions.ended_at < given.before \
    CROSS JOIN LATERAL (SELECT sequence FROM events WHERE tenant = given.tenant \
     ORDER BY sequence DESC LIMIT 1) AS newest \
    JOIN events AS entry ON entry.tenant = given.tenant AND entry.session = given.id \
     AND entry.sequence < newest.sequence LIMIT $4) AS old \
    WHERE events.tenant = old.tenant AND events.sequence = old.sequence";

/// Removes sessions with their tasks; parameters: arrays of tenant, session and moment.
const SESSION_ROWS: &str = "WITH gone AS (DELETE FROM sessions \
    USING unnest($1::text[], $2::text[], $3::bigint[]) AS given (tenant, id, before) \
    WHERE sessions.tenant = given.tenant AND sessions.id = given.id AND sessions.ended_at < given.before \
    RETURNING sessions.tenant, sessions.id), \
    tasks_gone AS (DELETE FROM tasks USING gone WHERE tasks.tenant = gone.tenant AND tasks.session = gone.id \
    RETURNING 1), \
    agents_gone AS (DELETE FROM session_agents USING gone \
    WHERE session_agents.tenant = gone.tenant AND session_agents.session = gone.id RETURNING 1) SELECT tenant, id, (SELECT count(*) FROM tasks_gone) FROM gone";

/// What tenants say of how long they keep things.
const OWN: &str = "SELECT tenant, body FROM settings WHERE name = $1";

/// Looks at a range of places of a tenant's log and removes the old entries in it that belong to no open session; answers
/// the first place that it found, nothing where there is none, and how many it removed. Parameters: tenant, the places
/// between which it looks (exclusive), the moment, how many places.
const OLD_EVENTS: &str = "WITH first AS (SELECT sequence FROM events \
    WHERE tenant = $1 AND sequence > $2 AND sequence < $3 ORDER BY sequence LIMIT 1), \
    gone AS (DELETE FROM events USING first WHERE events.tenant = $1 AND events.sequence >= first.sequence \
    AND events.sequence < first.sequence + $5 AND events.sequence < $3 AND events.at < $4 AND NOT EXISTS \
     (SELECT 1 FROM sessions WHERE sessions.tenant = $1 AND sessions.id = events.session \
      AND sessions.ended_at IS NULL) RETURNING 1) \
    SELECT (SELECT sequence FROM first), (SELECT count(*) FROM gone)";

/// The newest place of a tenant's log: its entry stays.
const NEWEST: &str = "SELECT sequence FROM events WHERE tenant = $1 ORDER BY sequence DESC LIMIT 1";

/// Removes history of a session that is gone. Parameters: tenant, session, how much.
const LEFT_OVER: &str = "DELETE FROM events USING (SELECT entry.tenant, entry.sequence FROM events AS entry \
    WHERE entry.tenant = $1 AND entry.session = $2 AND entry.sequence < \
     (SELECT sequence FROM events WHERE tenant = $1 ORDER BY sequence DESC LIMIT 1) \
    AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.tenant = $1 AND sessions.id = $2) LIMIT $3) AS old \
    WHERE events.tenant = old.tenant AND events.sequence = old.sequence RETURNING 1";

/// Removes up to `limit` entries of the history of a session that is gone.
pub(super) async fn history(
    pool: &Pool,
    tenant: &TenantId,
    session: &SessionId,
    limit: usize,
) -> Result<usize, StoreError> {
    let (tenant, session) = (tenant.as_str(), session.as_str());
    Ok(pool.query(LEFT_OVER, &[&tenant, &session, &bound(limit)]).await?.len())
}

/// Where the search for old entries goes on, by tenant: open sessions may keep many of them.
#[derive(Debug, Default)]
pub(super) struct Resume {
    after: HashMap<String, i64>,
}

/// A round of removals.
pub(super) struct Pruning<'a> {
    pool: &'a Pool,
    cache: &'a Cache,
    prune: Prune,
    resume: &'a Mutex<Resume>,
    /// The moments of tenants that say how long they keep things.
    own: Vec<(String, Cutoffs)>,
}

impl<'a> Pruning<'a> {
    /// A round by these moments.
    pub(super) async fn begin(
        pool: &'a Pool,
        cache: &'a Cache,
        resume: &'a Mutex<Resume>,
        prune: Prune,
    ) -> Result<Self, StoreError> {
        let mut own = Vec::new();
        for row in pool.query(OWN, &[&schema::RETENTION]).await? {
            let says: Retention = schema::decode(get(&row, 1)?)?;
            own.push((get(&row, 0)?, prune.of(Some(&says))));
        }
        Ok(Self { pool, cache, prune, resume, own })
    }

    async fn messages(&self, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
        let name = id(TenantId::parse(&tenant.name))?;
        let rows = self.pool.query(MESSAGES, &[&tenant.name, &tenant.before, &bound(limit)]).await?;
        for row in &rows {
            self.cache.forget(&name, Key::Message(id(MessageId::parse(get(row, 0)?))?));
        }
        Ok(piece(rows.len(), rows.len() < limit))
    }

    async fn commands(&self, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
        let name = id(TenantId::parse(&tenant.name))?;
        let rows = self.pool.query(COMMANDS, &[&tenant.name, &tenant.before, &bound(limit)]).await?;
        for row in &rows {
            self.cache.forget(&name, Key::Command(id(CommandId::parse(get(row, 0)?))?));
        }
        Ok(piece(rows.len(), rows.len() < limit))
    }

    async fn usage(&self, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
        let name = id(TenantId::parse(&tenant.name))?;
        let rows = self.pool.query(USAGE, &[&tenant.name, &tenant.before, &bound(limit)]).await?;
        for row in &rows {
            let day: i64 = get(row, 0)?;
            if let Ok(day) = u32::try_from(day) {
                self.cache.forget(&name, Key::Usage(day));
            }
        }
        Ok(piece(rows.len(), rows.len() < limit))
    }

    async fn sessions(&self, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
        let asked = limit.min(SESSIONS);
        let found = self.pool.query(ENDED, &[&tenant.name, &tenant.before, &bound(asked)]).await?;
        if found.is_empty() {
            return Ok(piece(0, true));
        }
        let ids = found.iter().map(|row| get(row, 0)).collect::<Result<Vec<String>, _>>()?;
        let (entries, gone, tasks) = self.remove_sessions(tenant, &ids, limit).await?;
        let name = id(TenantId::parse(&tenant.name))?;
        for session in &gone {
            self.cache.forget(&name, Key::Session(id(SessionId::parse(session))?));
        }
        Ok(piece(entries + gone.len() + tasks, gone.len() == found.len() && found.len() < asked))
    }

    /// Removes up to `limit` entries of the sessions' history, and the sessions themselves where that was all of it.
    /// Answers how many entries, which sessions, and how many tasks.
    async fn remove_sessions(
        &self,
        tenant: &Tenant,
        ids: &[String],
        limit: usize,
    ) -> Result<(usize, Vec<String>, usize), StoreError> {
        let tenants = vec![tenant.name.as_str(); ids.len()];
        let before = vec![tenant.before; ids.len()];
        let limit = bound(limit);
        let mut connection = self.pool.connection().await?;
        let work = async {
            let transaction = connection.transaction().await?;
            transaction.query(&transaction.prepare_cached(sql::LOCK_TENANTS).await?, &[&tenants]).await?;
            let history = transaction.prepare_cached(HISTORY).await?;
            let entries = transaction.execute(&history, &[&tenants, &ids, &before, &limit]).await?;
            let (mut gone, mut tasks) = (Vec::new(), 0);
            if entries < limit.unsigned_abs() {
                let sessions = transaction.prepare_cached(SESSION_ROWS).await?;
                let rows = transaction.query(&sessions, &[&tenants, &ids, &before]).await?;
                gone = rows.iter().map(|row| row.try_get(1)).collect::<Result<Vec<String>, _>>()?;
                tasks = rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(2))?;
                let payloads = transaction.prepare_cached(sql::CLEAR_PAYLOADS).await?;
                transaction.execute(&payloads, &[&vec![tenant.name.as_str(); gone.len()], &gone]).await?;
            }
            transaction.commit().await?;
            Ok::<_, Error>((entries, gone, tasks))
        };
        let late = |_| StoreError::Unavailable("PostgreSQL did not answer in time".to_owned());
        let done = timeout(self.pool.patience(), work).await.map_err(late)?;
        let (entries, gone, tasks) = done.map_err(|error| fault::of_statement(&error))?;
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok((count(entries), gone, count(tasks.unsigned_abs())))
    }

    async fn events(&self, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
        let Some(newest) = self.pool.query_one(NEWEST, &[&tenant.name]).await? else {
            return Ok(piece(0, true));
        };
        let before = Timestamp::from_micros(tenant.before);
        let end = events::place_of_moment(self.pool, &tenant.name, before).await?.min(get(&newest, 0)?);
        let after = self.resume.lock().after.remove(&tenant.name).unwrap_or(-1);
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&tenant.name, &after, &end, &tenant.before, &bound(limit)];
        let row = self.pool.query_one(OLD_EVENTS, &values).await?;
        let Some((first, gone)) =
            row.map(|row| Ok::<_, StoreError>((get(&row, 0)?, get(&row, 1)?))).transpose()?
        else {
            return Ok(piece(0, true));
        };
        let (first, gone): (Option<i64>, i64) = (first, gone);
        let next = first.map(|first| first + bound(limit)).filter(|next| *next < end);
        if let Some(next) = next {
            self.resume.lock().after.insert(tenant.name.clone(), next - 1);
        }
        let removed = usize::try_from(unsigned(gone)?).unwrap_or(usize::MAX);
        Ok(piece(removed, next.is_none()))
    }
}

/// A piece; how long it took is measured around it.
fn piece(removed: usize, is_done: bool) -> Piece {
    Piece { removed, is_done, took: Duration::ZERO }
}

#[async_trait::async_trait]
impl Removes for Pruning<'_> {
    async fn expired(&self, limit: usize) -> Result<Piece, StoreError> {
        let (started, mut removed) = (Instant::now(), 0);
        for sql in EXPIRED {
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
                [&self.prune.now.as_micros(), &bound(limit - removed)];
            removed += self.pool.query(sql, &values).await?.len();
        }
        Ok(Piece { took: started.elapsed(), ..piece(removed, removed < limit) })
    }

    async fn tenants(&self, kind: Kind, after: &str) -> Result<Vec<Tenant>, StoreError> {
        let sql = match kind {
            Kind::Messages => WITH_MESSAGES,
            Kind::Commands => WITH_COMMANDS,
            Kind::Sessions => WITH_SESSIONS,
            Kind::Usage => WITH_USAGE,
            Kind::Events => WITH_EVENTS,
            Kind::ChannelMessages => {
                return channels::tenants(self.pool, after, self.prune.now.as_micros()).await;
            }
        };
        let (names, moments): (Vec<&str>, Vec<i64>) =
            self.own.iter().map(|(tenant, own)| (tenant.as_str(), kind.cutoff(*own))).unzip();
        let operators = kind.cutoff(self.prune.of(None));
        let rows = self.pool.query(sql, &[&after, &operators, &bound(TENANTS_MAX), &names, &moments]).await?;
        rows.iter().map(|row| Ok(Tenant { name: get(row, 0)?, before: get(row, 1)? })).collect()
    }

    async fn remove(&self, kind: Kind, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
        let started = Instant::now();
        let piece = match kind {
            Kind::Messages => self.messages(tenant, limit).await?,
            Kind::Commands => self.commands(tenant, limit).await?,
            Kind::Sessions => self.sessions(tenant, limit).await?,
            Kind::Usage => self.usage(tenant, limit).await?,
            Kind::Events => self.events(tenant, limit).await?,
            Kind::ChannelMessages => {
                let (removed, is_done) = channels::remove(self.pool, tenant, limit).await?;
                piece(removed, is_done)
            }
        };
        Ok(Piece { took: started.elapsed(), ..piece })
    }
}
