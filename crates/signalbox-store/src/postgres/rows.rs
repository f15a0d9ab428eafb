//! Single rows, and the two lists that decisions ask for.

use std::sync::Arc;

use signalbox_core::decision::Key;
use signalbox_core::session::SessionState;
use signalbox_core::snapshot::{Loaded, Versioned, WaitingTask};
use signalbox_core::task::Task;
use signalbox_wire::id::{AgentId, SessionId, TaskId, TenantId};
use tokio_postgres::Row;

use super::pool::Pool;
use super::query::{Query, Value, bound, get, id, parameters, text};
use super::sql;
use crate::StoreError;
use crate::cache::Cache;
use crate::read_row::ReadRow;
use crate::schema::{self, TableId};

/// Tasks from which on it costs less to look for those that were written since than to read all.
const MANY_TASKS: usize = 16;

/// A session as memory holds it: what was not written since is not read again.
struct Held {
    version: i64,
    state: Arc<SessionState>,
    row: ReadRow,
}

/// The row with this key; a session with its tasks.
pub(super) async fn row(
    pool: &Pool,
    cache: &Cache,
    tenant: &TenantId,
    key: &Key,
) -> Result<Option<ReadRow>, StoreError> {
    let held = held(cache, tenant, key);
    let (sql, values) = question(tenant, key, held.as_ref());
    let rows = pool.query(sql, &parameters(&values)).await?;
    answered(pool, tenant, key, held, &rows).await
}

/// The rows with these keys, asked for at once.
pub(super) async fn rows(
    pool: &Pool,
    cache: &Cache,
    tenant: &TenantId,
    keys: &[Key],
) -> Result<Vec<Option<ReadRow>>, StoreError> {
    let held: Vec<_> = keys.iter().map(|key| held(cache, tenant, key)).collect();
    let questions = keys.iter().zip(&held).map(|(key, held)| question(tenant, key, held.as_ref()));
    let questions: Vec<_> = questions.collect();
    let asked: Vec<_> = questions.iter().map(|(sql, values)| (*sql, parameters(values))).collect();
    let answers = pool.query_all(&asked).await?;
    let mut rows = Vec::with_capacity(keys.len());
    for ((key, held), answer) in keys.iter().zip(held).zip(&answers) {
        rows.push(answered(pool, tenant, key, held, answer).await?);
    }
    Ok(rows)
}

/// The session with this key as memory holds it, where it has many tasks.
fn held(cache: &Cache, tenant: &TenantId, key: &Key) -> Option<Held> {
    let Key::Session(_) = key else { return None };
    let row = cache.get(tenant, key)?;
    match &row.loaded {
        Loaded::Session(Versioned { version, value })
            if row.task_bytes.is_some() && value.tasks.len() >= MANY_TASKS =>
        {
            Some(Held { version: *version, state: Arc::clone(value), row })
        }
        _ => None,
    }
}

/// The row out of the answer to its question.
async fn answered(
    pool: &Pool,
    tenant: &TenantId,
    key: &Key,
    held: Option<Held>,
    rows: &[Row],
) -> Result<Option<ReadRow>, StoreError> {
    let Some(held) = held else { return read(key, rows) };
    if rows.is_empty() {
        return Ok(None);
    }
    if let Some(row) = brought_up(held, rows)? {
        return Ok(Some(row));
    }
    let (sql, values) = question(tenant, key, None);
    read(key, &pool.query(sql, &parameters(&values)).await?)
}

/// What asks for the row with a key; of a session that is held, for what was written since.
fn question<'k>(tenant: &'k TenantId, key: &'k Key, held: Option<&Held>) -> (&'static str, Vec<Value<'k>>) {
    if let Key::Session(id) = key {
        let mut values = vec![text(tenant.as_str()), text(id.as_str())];
        let Some(held) = held else { return (SESSION, values) };
        values.push(Value::Number(held.version));
        return (SESSION_SINCE, values);
    }
    let mut values = vec![text(tenant.as_str())];
    values.extend(schema::key_cells(key).iter().map(Value::from));
    (&sql::of(TableId::of(key)).read, values)
}

/// The row with a key, out of what its question was answered with.
fn read(key: &Key, rows: &[Row]) -> Result<Option<ReadRow>, StoreError> {
    if let Key::Session(_) = key {
        return session(rows);
    }
    let Some(row) = rows.first() else { return Ok(None) };
    let body: &str = get(row, 1)?;
    let loaded = schema::loaded(key, get(row, 0)?, body)?;
    Ok(loaded.map(|loaded| ReadRow::alone(loaded, body.len())))
}

/// The version of the row with this key.
pub(super) async fn version(pool: &Pool, tenant: &TenantId, key: &Key) -> Result<Option<i64>, StoreError> {
    let mut values = vec![text(tenant.as_str())];
    values.extend(schema::key_cells(key).iter().map(Value::from));
    let sql = &sql::of(TableId::of(key)).version;
    pool.query_one(sql, &parameters(&values)).await?.map(|row| get(&row, 0)).transpose()
}

/// One statement, so that session and tasks are those of one moment.
const SESSION: &str = "SELECT version, body, -1::bigint AS place FROM sessions WHERE tenant = $1 AND id = $2 \
    UNION ALL SELECT version, body, position FROM tasks WHERE tenant = $1 AND session = $2 ORDER BY place";

/// Of a session that is held at a version: its own row with the number of its tasks, and those written since. A task has
/// the version that its session had when it was written. Nothing but the version where the session is as it was.
/// Parameters: tenant, session, version.
const SESSION_SINCE: &str = "SELECT version, CASE WHEN version = $3 THEN '' ELSE body END, -1::bigint AS place, \
    CASE WHEN version = $3 THEN 0 ELSE (SELECT count(*) FROM tasks WHERE tenant = $1 AND session = $2) END \
    FROM sessions WHERE tenant = $1 AND id = $2 \
    UNION ALL SELECT tasks.version, tasks.body, tasks.position, 0 FROM sessions \
    JOIN tasks ON tasks.tenant = $1 AND tasks.session = sessions.id \
    WHERE sessions.tenant = $1 AND sessions.id = $2 AND sessions.version <> $3 AND tasks.version > $3 \
    ORDER BY place";

/// A held session with what was written since; nothing where it has to be read as a whole.
fn brought_up(held: Held, rows: &[Row]) -> Result<Option<ReadRow>, StoreError> {
    let Some((first, changed)) = rows.split_first() else { return Ok(None) };
    let (version, own): (i64, &str) = (get(first, 0)?, get(first, 1)?);
    if version == held.version {
        return Ok(Some(held.row));
    }
    let Some(mut task_bytes) = held.row.task_bytes.as_deref().cloned() else { return Ok(None) };
    let mut tasks = held.state.tasks.clone();
    for row in changed {
        let body: &str = get(row, 1)?;
        let task: Arc<Task> = Arc::new(schema::decode(body)?);
        let position = task.position;
        let place = tasks.set(task);
        task_bytes.set(place, body.len());
        let before = place.checked_sub(1).and_then(|before| tasks.get(before));
        let behind = tasks.get(place + 1);
        // What is new comes behind all others; else their order has to be read.
        if before.is_some_and(|before| before.position >= position)
            || behind.is_some_and(|behind| behind.position <= position)
        {
            return Ok(None);
        }
    }
    // A version that went back is that of another session of the same name, and one task too many was removed.
    let is_whole = version > held.version && i64::try_from(tasks.len()).ok() == Some(get(first, 3)?);
    let state = SessionState { session: schema::decode(own)?, tasks };
    Ok(is_whole.then(|| ReadRow::session(version, state, own.len(), task_bytes)))
}

fn session(rows: &[Row]) -> Result<Option<ReadRow>, StoreError> {
    let bodies = rows.iter().map(|row| get(row, 1)).collect::<Result<Vec<&str>, _>>()?;
    let (Some(first), Some((own, tasks))) = (rows.first(), bodies.split_first()) else { return Ok(None) };
    // Tasks without their session: what was removed by halves is as good as gone.
    if get::<i64>(first, 2)? >= 0 {
        return Ok(None);
    }
    let task_bytes = tasks.iter().map(|body| body.len()).collect();
    let tasks = tasks.iter().map(|body| schema::decode(body)).collect::<Result<_, _>>()?;
    let state = SessionState { session: schema::decode(own)?, tasks };
    Ok(Some(ReadRow::session(get(first, 0)?, state, own.len(), task_bytes)))
}

/// The available agents under a route, least recently used first.
pub(super) async fn candidates(
    pool: &Pool,
    tenant: &TenantId,
    route: &str,
    limit: usize,
) -> Result<Vec<AgentId>, StoreError> {
    let sql = "SELECT agent FROM available WHERE tenant = ? AND route = ? ORDER BY last_used, agent LIMIT ?";
    let query = Query::new(sql, [text(tenant.as_str()), text(route), Value::Number(bound(limit))]);
    query.rows(pool).await?.iter().map(|row| id(AgentId::parse(get(row, 0)?))).collect()
}

const WAITING: &str = "SELECT task.session, task.id FROM unnest($2::text[]) AS asked (route) \
    CROSS JOIN LATERAL (SELECT session, id, priority, queued_at FROM tasks \
     WHERE tenant = $1 AND wait_route = asked.route \
     ORDER BY priority DESC, queued_at, id LIMIT $3) AS task \
    ORDER BY task.priority DESC, task.queued_at, task.id LIMIT $3";

/// The tasks that wait under any of `routes`, in the order in which they are served.
pub(super) async fn waiting(
    pool: &Pool,
    tenant: &TenantId,
    routes: &[String],
    limit: usize,
) -> Result<Vec<WaitingTask>, StoreError> {
    let mut routes: Vec<String> = routes.iter().map(|route| route.replace('\0', "\u{fffd}")).collect();
    routes.sort_unstable();
    routes.dedup();
    let rows = pool.query(WAITING, &[&tenant.as_str(), &routes, &bound(limit)]).await?;
    rows.iter().map(waiting_task).collect()
}

/// Parameters: tenant, key, priority, moment, id, how many are counted at most.
const AHEAD: &str = "SELECT (SELECT count(*) FROM (SELECT 1 FROM tasks \
     WHERE tenant = $1 AND wait_route = $2 AND priority > $3 LIMIT $6) AS above) \
    + (SELECT count(*) FROM (SELECT 1 FROM tasks \
     WHERE tenant = $1 AND wait_route = $2 AND priority = $3 AND (queued_at, id) < ($4, $5) LIMIT $6) AS before)";

/// How many tasks are served before this one of those that wait under the same key; no more than `most` are counted.
pub(super) async fn ahead(
    pool: &Pool,
    tenant: &TenantId,
    task: &Task,
    most: usize,
) -> Result<usize, StoreError> {
    let (Some(route), Some(queued_at)) = (task.waiting_key(), task.queued_at) else { return Ok(0) };
    let values = [
        text(tenant.as_str()),
        text(&route),
        Value::Number(schema::priority(task)),
        Value::Number(queued_at.as_micros()),
        text(task.id.as_str()),
        Value::Number(bound(most)),
    ];
    let row = pool.query_one(AHEAD, &parameters(&values)).await?;
    let count: i64 = row.map_or(Ok(0), |row| get(&row, 0))?;
    Ok(usize::try_from(count).unwrap_or(most).min(most))
}

/// A waiting task whose session and id are the first columns.
pub(super) fn waiting_task(row: &Row) -> Result<WaitingTask, StoreError> {
    Ok(WaitingTask { session: id(SessionId::parse(get(row, 0)?))?, task: id(TaskId::parse(get(row, 1)?))? })
}
