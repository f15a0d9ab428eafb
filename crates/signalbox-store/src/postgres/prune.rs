//! Retention: removing what is no longer kept, a bounded number of rows at a time.
//!
//! Only what is removed together with a session needs its tenant held, for a moment: a session that ended long
//! ago may be opened again right now. Everything else is final once it may go.

use std::collections::HashMap;

use signalbox_core::decision::Key;
use signalbox_wire::id::{MessageId, SessionId, TenantId};
use tokio::time::timeout;
use tokio_postgres::{Error, Row};

use super::pool::Pool;
use super::query::{bound, get, id};
use super::{events, fault, sql};
use crate::StoreError;
use crate::api::Prune;
use crate::cache::Cache;

/// Rows that one statement removes, at most: it must end well within the caller's patience.
const CHUNK: usize = 2_000;
/// Sessions whose tenants are held at once.
const SESSIONS: usize = 50;

const EXPIRED: [&str; 2] = [
    "DELETE FROM answered USING (SELECT tenant, key FROM answered WHERE expires_at < $1 \
     ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS old \
     WHERE answered.tenant = old.tenant AND answered.key = old.key RETURNING 1",
    "DELETE FROM signatures USING (SELECT tenant, signature FROM signatures WHERE expires_at < $1 \
     ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS old \
     WHERE signatures.tenant = old.tenant AND signatures.signature = old.signature RETURNING 1",
];

const MESSAGES: &str = "DELETE FROM messages USING (SELECT tenant, id FROM messages \
    WHERE status IN ('delivered', 'cancelled') AND settled_at < $1 \
    ORDER BY settled_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS old \
    WHERE messages.tenant = old.tenant AND messages.id = old.id RETURNING messages.tenant, messages.id";

const ENDED: &str =
    "SELECT tenant, id FROM sessions WHERE ended_at < $1 ORDER BY ended_at, tenant, id LIMIT $2";

/// Removes history; parameters: arrays of tenant and session, the moment, how much.
const HISTORY: &str = "DELETE FROM events USING (SELECT entry.tenant, entry.sequence \
    FROM unnest($1::text[], $2::text[]) AS given (tenant, id) \
    JOIN sessions ON sessions.tenant = given.tenant AND sessions.id = given.id AND sessions.ended_at < $3 \
    JOIN tenant_sequences ON tenant_sequences.tenant = given.tenant \
    JOIN events AS entry ON entry.tenant = given.tenant AND entry.session = given.id \
     AND entry.sequence < tenant_sequences.last LIMIT $4) AS old \
    WHERE events.tenant = old.tenant AND events.sequence = old.sequence";

/// Removes sessions with their tasks; parameters: arrays of tenant and session, the moment.
const SESSION_ROWS: &str = "WITH gone AS (DELETE FROM sessions \
    USING unnest($1::text[], $2::text[]) AS given (tenant, id) \
    WHERE sessions.tenant = given.tenant AND sessions.id = given.id AND sessions.ended_at < $3 \
    RETURNING sessions.tenant, sessions.id), \
    tasks_gone AS (DELETE FROM tasks USING gone WHERE tasks.tenant = gone.tenant AND tasks.session = gone.id \
    RETURNING 1) SELECT tenant, id, (SELECT count(*) FROM tasks_gone) FROM gone";

/// Tenants whose log begins before a moment, with its last place.
const OLD_LOGS: &str = "SELECT log.tenant, log.last FROM tenant_sequences AS log CROSS JOIN LATERAL \
    (SELECT at FROM events WHERE tenant = log.tenant ORDER BY sequence LIMIT 1) AS oldest \
    WHERE oldest.at < $1 ORDER BY log.tenant";

/// Looks at the entries of a tenant between two places and removes the old ones that belong to no open session;
/// answers the last place looked at, how many it looked at, and how many it removed.
const OLD_EVENTS: &str = "WITH looked_at AS (SELECT sequence, at, session FROM events \
    WHERE tenant = $1 AND sequence > $2 AND sequence < $3 ORDER BY sequence LIMIT $5), \
    gone AS (DELETE FROM events USING looked_at \
    WHERE events.tenant = $1 AND events.sequence = looked_at.sequence AND looked_at.at < $4 AND NOT EXISTS \
     (SELECT 1 FROM sessions WHERE sessions.tenant = $1 AND sessions.id = looked_at.session \
      AND sessions.ended_at IS NULL) RETURNING 1) \
    SELECT (SELECT max(sequence) FROM looked_at), (SELECT count(*) FROM looked_at), \
    (SELECT count(*) FROM gone)";

/// Where the search for old entries goes on, in tenants whose open sessions keep many of them.
#[derive(Debug, Default)]
pub(super) struct Resume {
    after: HashMap<String, i64>,
}

/// A removal under way.
pub(super) struct Pruning<'a> {
    pub(super) pool: &'a Pool,
    pub(super) cache: &'a Cache,
    pub(super) prune: Prune,
    pub(super) gone: u64,
}

impl Pruning<'_> {
    /// Removes what may go; answers how many rows went.
    pub(super) async fn run(mut self, resume: &mut Resume) -> Result<u64, StoreError> {
        self.expired().await?;
        self.messages().await?;
        self.sessions().await?;
        self.events(resume).await?;
        Ok(self.gone)
    }

    /// How many rows the next statement may remove.
    fn chunk(&self) -> usize {
        let gone = usize::try_from(self.gone).unwrap_or(usize::MAX);
        self.prune.limit.saturating_sub(gone).min(CHUNK)
    }

    async fn expired(&mut self) -> Result<(), StoreError> {
        for sql in EXPIRED {
            self.repeat(sql, self.prune.now.as_micros(), |_| Ok(())).await?;
        }
        Ok(())
    }

    async fn messages(&mut self) -> Result<(), StoreError> {
        let cache = self.cache;
        let forget = |row: &Row| {
            let (tenant, id) = (id(TenantId::parse(get(row, 0)?))?, id(MessageId::parse(get(row, 1)?))?);
            cache.forget(&tenant, Key::Message(id));
            Ok(())
        };
        self.repeat(MESSAGES, self.prune.messages_before.as_micros(), forget).await
    }

    async fn repeat(
        &mut self,
        sql: &str,
        before: i64,
        forget: impl Fn(&Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        loop {
            let chunk = self.chunk();
            if chunk == 0 {
                return Ok(());
            }
            let rows = self.pool.query(sql, &[&before, &bound(chunk)]).await?;
            self.gone += rows.len() as u64;
            rows.iter().try_for_each(&forget)?;
            if rows.len() < chunk {
                return Ok(());
            }
        }
    }

    async fn sessions(&mut self) -> Result<(), StoreError> {
        while self.chunk() > 0 {
            let limit = bound(self.chunk().min(SESSIONS));
            let found = self.pool.query(ENDED, &[&self.prune.sessions_before.as_micros(), &limit]).await?;
            if found.is_empty() {
                return Ok(());
            }
            let rows = self.remove_sessions(&found).await?;
            for row in &rows {
                let (tenant, id) = (id(TenantId::parse(get(row, 0)?))?, id(SessionId::parse(get(row, 1)?))?);
                self.cache.forget(&tenant, Key::Session(id));
            }
            let tasks: i64 = rows.first().map_or(Ok(0), |row| get(row, 2))?;
            self.gone += rows.len() as u64 + tasks.unsigned_abs();
        }
        Ok(())
    }

    async fn remove_sessions(&mut self, found: &[Row]) -> Result<Vec<Row>, StoreError> {
        let tenants = found.iter().map(|row| get(row, 0)).collect::<Result<Vec<&str>, _>>()?;
        let ids = found.iter().map(|row| get(row, 1)).collect::<Result<Vec<&str>, _>>()?;
        let (before, limit) = (self.prune.sessions_before.as_micros(), bound(self.chunk()));
        let mut connection = self.pool.connection().await?;
        let work = async {
            let transaction = connection.transaction().await?;
            transaction.query(&transaction.prepare_cached(sql::LOCK_TENANTS).await?, &[&tenants]).await?;
            let history = transaction.prepare_cached(HISTORY).await?;
            let entries = transaction.execute(&history, &[&tenants, &ids, &before, &limit]).await?;
            let rows = if entries < limit.unsigned_abs() {
                let sessions = transaction.prepare_cached(SESSION_ROWS).await?;
                transaction.query(&sessions, &[&tenants, &ids, &before]).await?
            } else {
                Vec::new()
            };
            transaction.commit().await?;
            Ok::<_, Error>((entries, rows))
        };
        let late = |_| StoreError::Unavailable("PostgreSQL did not answer in time".to_owned());
        let done = timeout(self.pool.patience(), work).await.map_err(late)?;
        let (entries, rows) = done.map_err(|error| fault::of_statement(&error))?;
        self.gone += entries;
        Ok(rows)
    }

    async fn events(&mut self, resume: &mut Resume) -> Result<(), StoreError> {
        if self.chunk() == 0 {
            return Ok(());
        }
        let before = self.prune.events_before;
        for row in self.pool.query(OLD_LOGS, &[&before.as_micros()]).await? {
            let tenant: &str = get(&row, 0)?;
            let last: i64 = get(&row, 1)?;
            let end = events::place_of_moment(self.pool, tenant, before).await?.min(last);
            let mut after = resume.after.remove(tenant).unwrap_or(-1);
            loop {
                let chunk = self.chunk();
                if chunk == 0 {
                    resume.after.insert(tenant.to_owned(), after);
                    return Ok(());
                }
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                    [&tenant, &after, &end, &before.as_micros(), &bound(chunk)];
                let Some(row) = self.pool.query_one(OLD_EVENTS, &values).await? else { break };
                let (last, looked_at, gone): (Option<i64>, i64, i64) =
                    (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);
                self.gone += gone.unsigned_abs();
                match last {
                    Some(last) if looked_at == bound(chunk) => after = last,
                    _ => break,
                }
            }
        }
        Ok(())
    }
}
