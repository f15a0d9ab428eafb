//! Retention: removing what is no longer kept, a bounded number of rows at a time.
//!
//! Only what is removed together with a session needs its tenant held, for a moment: a session that ended long
//! ago may be opened again right now. Everything else is final once it may go.

use std::collections::HashMap;

use signalbox_core::decision::{Key, Retention};
use signalbox_wire::id::{MessageId, SessionId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::pool::Pool;
use super::query::{bound, get, id};
use super::{events, fault, sql};
use crate::api::{Cutoffs, Prune};
use crate::cache::Cache;
use crate::{StoreError, schema};

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

/// Walks the tenants with something that may get old, each with the moment before which it goes. Parameters: that of
/// tenants that say nothing, how much is sought; arrays of the others and their moments.
macro_rules! walk {
    ($table:literal, $condition:literal) => {
        concat!(
            "WITH RECURSIVE walk (tenant) AS ((SELECT tenant FROM ", $table, " WHERE ", $condition,
            " ORDER BY tenant LIMIT 1) UNION ALL SELECT following.tenant FROM walk CROSS JOIN LATERAL \
             (SELECT tenant FROM ", $table, " WHERE ", $condition,
            " AND tenant > walk.tenant ORDER BY tenant LIMIT 1) AS following), \
             sought AS (SELECT walk.tenant, COALESCE(own.before, $1) AS before FROM walk \
             LEFT JOIN unnest($3::text[], $4::bigint[]) AS own (tenant, before) ON own.tenant = walk.tenant)"
        )
    };
}

const MESSAGES: &str = concat!(
    walk!("messages", "status IN ('delivered', 'cancelled')"),
    ", old AS (SELECT part.tenant, part.id FROM sought CROSS JOIN LATERAL (SELECT tenant, id FROM messages \
     WHERE messages.tenant = sought.tenant AND status IN ('delivered', 'cancelled') \
     AND settled_at < sought.before ORDER BY settled_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS part LIMIT $2) \
     DELETE FROM messages USING old \
     WHERE messages.tenant = old.tenant AND messages.id = old.id RETURNING messages.tenant, messages.id"
);

const ENDED: &str = concat!(
    walk!("sessions", "ended_at IS NOT NULL"),
    " SELECT part.tenant, part.id, sought.before FROM sought CROSS JOIN LATERAL (SELECT tenant, id FROM sessions \
     WHERE sessions.tenant = sought.tenant AND ended_at < sought.before ORDER BY ended_at LIMIT $2) AS part LIMIT $2"
);

/// Removes history; parameters: arrays of tenant, session and moment, how much.
const HISTORY: &str = "DELETE FROM events USING (SELECT entry.tenant, entry.sequence \
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS given (tenant, id, before) \
    JOIN sessions ON sessions.tenant = given.tenant AND sessions.id = given.id \
     AND sessions.ended_at < given.before \
    JOIN tenant_sequences ON tenant_sequences.tenant = given.tenant \
    JOIN events AS entry ON entry.tenant = given.tenant AND entry.session = given.id \
     AND entry.sequence < tenant_sequences.last LIMIT $4) AS old \
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

/// Tenants whose log begins before their moment, with its last place and that moment. Parameters: the moment of those
/// that say nothing; arrays of the others and their moments.
const OLD_LOGS: &str = "SELECT log.tenant, log.last, COALESCE(own.before, $1) FROM tenant_sequences AS log \
    LEFT JOIN unnest($2::text[], $3::bigint[]) AS own (tenant, before) ON own.tenant = log.tenant \
    CROSS JOIN LATERAL (SELECT at FROM events WHERE tenant = log.tenant ORDER BY sequence LIMIT 1) AS oldest \
    WHERE oldest.at < COALESCE(own.before, $1) ORDER BY log.tenant";

/// What tenants say of how long they keep things.
const OWN: &str = "SELECT tenant, body FROM settings WHERE name = $1";

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

/// Removes history of a session that is gone. Parameters: tenant, session, how much.
const LEFT_OVER: &str = "DELETE FROM events USING (SELECT entry.tenant, entry.sequence FROM events AS entry \
    JOIN tenant_sequences ON tenant_sequences.tenant = entry.tenant \
    WHERE entry.tenant = $1 AND entry.session = $2 AND entry.sequence < tenant_sequences.last \
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
    /// The moments of tenants that say how long they keep things.
    pub(super) own: Vec<(String, Cutoffs)>,
}

impl Pruning<'_> {
    /// Removes what may go; answers how many rows went.
    pub(super) async fn run(mut self, resume: &mut Resume) -> Result<u64, StoreError> {
        for row in self.pool.query(OWN, &[&schema::RETENTION]).await? {
            let own: Retention = schema::decode(get(&row, 1)?)?;
            self.own.push((get(&row, 0)?, self.prune.of(Some(&own))));
        }
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

    /// The tenants that say how long they keep things, and one moment of each.
    fn own(&self, moment: impl Fn(Cutoffs) -> i64) -> (Vec<String>, Vec<i64>) {
        self.own.iter().map(|(tenant, cutoffs)| (tenant.clone(), moment(*cutoffs))).unzip()
    }

    async fn expired(&mut self) -> Result<(), StoreError> {
        for sql in EXPIRED {
            self.repeat(sql, self.prune.now.as_micros(), None, |_| Ok(())).await?;
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
        let own = self.own(|cutoffs| cutoffs.messages);
        self.repeat(MESSAGES, self.prune.messages_before.as_micros(), Some(own), forget).await
    }

    async fn repeat(
        &mut self,
        sql: &str,
        before: i64,
        own: Option<(Vec<String>, Vec<i64>)>,
        forget: impl Fn(&Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        loop {
            let chunk = self.chunk();
            if chunk == 0 {
                return Ok(());
            }
            let limit = bound(chunk);
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&before, &limit];
            if let Some((tenants, moments)) = &own {
                values.extend([tenants as &(dyn ToSql + Sync), moments]);
            }
            let rows = self.pool.query(sql, &values).await?;
            self.gone += rows.len() as u64;
            rows.iter().try_for_each(&forget)?;
            if rows.len() < chunk {
                return Ok(());
            }
        }
    }

    async fn sessions(&mut self) -> Result<(), StoreError> {
        let (tenants, moments) = self.own(|cutoffs| cutoffs.sessions);
        let before = self.prune.sessions_before.as_micros();
        while self.chunk() > 0 {
            let limit = bound(self.chunk().min(SESSIONS));
            let found = self.pool.query(ENDED, &[&before, &limit, &tenants, &moments]).await?;
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
        let before = found.iter().map(|row| get(row, 2)).collect::<Result<Vec<i64>, _>>()?;
        let limit = bound(self.chunk());
        let mut connection = self.pool.connection().await?;
        let work = async {
            let transaction = connection.transaction().await?;
            transaction.query(&transaction.prepare_cached(sql::LOCK_TENANTS).await?, &[&tenants]).await?;
            let history = transaction.prepare_cached(HISTORY).await?;
            let entries = transaction.execute(&history, &[&tenants, &ids, &before, &limit]).await?;
            let rows = if entries < limit.unsigned_abs() {
                let sessions = transaction.prepare_cached(SESSION_ROWS).await?;
                let rows = transaction.query(&sessions, &[&tenants, &ids, &before]).await?;
                let tenants = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<&str>, _>>()?;
                let ids = rows.iter().map(|row| row.try_get(1)).collect::<Result<Vec<&str>, _>>()?;
                let payloads = transaction.prepare_cached(sql::CLEAR_PAYLOADS).await?;
                transaction.execute(&payloads, &[&tenants, &ids]).await?;
                rows
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
        let (tenants, moments) = self.own(|cutoffs| cutoffs.events);
        let operators = self.prune.events_before.as_micros();
        for row in self.pool.query(OLD_LOGS, &[&operators, &tenants, &moments]).await? {
            let tenant: &str = get(&row, 0)?;
            let last: i64 = get(&row, 1)?;
            let before = Timestamp::from_micros(get(&row, 2)?);
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
