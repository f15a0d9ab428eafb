//! The log.

use signalbox_core::event::Level;
use signalbox_wire::id::{AgentId, SessionId, TaskId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio_postgres::Row;

use super::pool::Pool;
use super::query::{Query, Value, bound, get, id, text, unsigned};
use crate::StoreError;
use crate::api::{EventFilter, Listed, Page, StoredEvent};
use crate::backend::EVENTS_LOOKED_AT;

/// How far apart the moments of neighbours in the log can be, generously.
const DISORDER: std::time::Duration = std::time::Duration::from_secs(600);

/// Entries of the log, by their place in the tenant's order or in the session's where the filter names one.
pub(super) async fn list(
    pool: &Pool,
    tenant: &TenantId,
    filter: &EventFilter,
    page: &Page,
) -> Result<Listed<StoredEvent>, StoreError> {
    let Some(range) = range(pool, tenant, filter, page).await? else {
        return Ok(Listed { items: Vec::new(), next: None });
    };
    let needle = filter.text.as_ref().map(|text| text.to_lowercase());
    let rows = walk(tenant, filter, range, needle.as_deref(), page.limit).rows(pool).await?;
    let mut items = Vec::with_capacity(rows.len().min(page.limit));
    let mut last = None;
    for row in &rows {
        let place: i64 = get(row, 0)?;
        let is_end = get::<Option<i64>>(row, 1)?.is_none();
        if is_end || items.len() == page.limit {
            let next = match last.filter(|_| !is_end) {
                Some(last) => last,
                // The first entry that was not looked at: the place before it ends this page.
                None if filter.newest_first => place + 1,
                None => place - 1,
            };
            return Ok(Listed { items, next: Some(next.to_string()) });
        }
        items.push(event(row)?);
        last = Some(place);
    }
    Ok(Listed { items, next: None })
}

/// The oldest kept place in the tenant's order.
pub(super) async fn first_sequence(pool: &Pool, tenant: &TenantId) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT sequence FROM events WHERE tenant = ? ORDER BY sequence LIMIT 1";
    let rows = Query::new(sql, [text(tenant.as_str())]).rows(pool).await?;
    rows.first().map(|row| unsigned(get(row, 0)?)).transpose()
}

/// The first place in the tenant's order at or after a moment, by halving: places and moments grow together,
/// but for commits that were decided in one order and written in another.
const PLACE_OF_MOMENT: &str = "WITH RECURSIVE halves (low, high) AS ( \
    SELECT (SELECT sequence FROM events WHERE tenant = $1 ORDER BY sequence LIMIT 1), \
           (SELECT sequence + 1 FROM events WHERE tenant = $1 ORDER BY sequence DESC LIMIT 1) \
    UNION ALL SELECT \
        CASE WHEN probe.at < $2 THEN probe.sequence + 1 ELSE low END, \
        CASE WHEN probe.at < $2 THEN high ELSE (low + high) / 2 END \
    FROM halves LEFT JOIN LATERAL \
        (SELECT sequence, at FROM events WHERE tenant = $1 AND sequence >= (low + high) / 2 \
         ORDER BY sequence LIMIT 1) AS probe ON true \
    WHERE low < high) SELECT low FROM halves WHERE low >= high";

/// The first place at or after `moment`; the one after the last where there is none.
pub(super) async fn place_of_moment(pool: &Pool, tenant: &str, moment: Timestamp) -> Result<i64, StoreError> {
    let row = pool.query_one(PLACE_OF_MOMENT, &[&tenant, &moment.as_micros()]).await?;
    row.map_or(Ok(0), |row| get(&row, 0))
}

/// The places between which to look, both exclusive; `None` where nothing can be found.
async fn range(
    pool: &Pool,
    tenant: &TenantId,
    filter: &EventFilter,
    page: &Page,
) -> Result<Option<(i64, i64)>, StoreError> {
    let mut low = filter.after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let mut high = i64::MAX;
    if let Some(after) = &page.after {
        let Ok(after) = after.parse() else { return Ok(None) };
        if filter.newest_first {
            high = after;
        } else {
            low = low.max(after);
        }
    }
    if let Some(since) = filter.since {
        low = low.max(place_of_moment(pool, tenant.as_str(), since - DISORDER).await? - 1);
    }
    if let Some(until) = filter.until {
        high = high.min(place_of_moment(pool, tenant.as_str(), until + DISORDER).await?);
    }
    Ok(Some((low, high)))
}

/// The query that walks the right index in the right direction. It looks at a bounded number of entries; a row
/// without a moment is the first one that it did not look at, and comes only when the page is not full.
fn walk<'a>(
    tenant: &'a TenantId,
    filter: &'a EventFilter,
    (low, high): (i64, i64),
    needle: Option<&'a str>,
    limit: usize,
) -> Query<'a> {
    let whose = match (&filter.session, &filter.agent) {
        (Some(session), _) => Some(("session", session.as_str())),
        (None, Some(agent)) => Some(("agent", agent.as_str())),
        (None, None) => None,
    };
    let direction = if filter.newest_first { "DESC" } else { "ASC" };
    let columns = "at, kind, level, session, session_sequence, agent, task, data, sequence";
    let mut query =
        Query::new(&format!("SELECT * FROM ((SELECT sequence AS place, {columns} FROM (SELECT "), []);
    let source = |query: &mut Query<'a>, columns: &str| {
        query.add(
            &format!("{columns} FROM events WHERE tenant = ? AND sequence > ? AND sequence < ?"),
            [text(tenant.as_str()), Value::Number(low), Value::Number(high)],
        );
        if let Some((column, id)) = whose {
            query.add(&format!(" AND {column} = ?"), [text(id)]);
        }
        if let Some(after) = filter.after_in_session {
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            query.add(" AND session_sequence > ?", [Value::Number(after)]);
        }
        query.add(&format!(" ORDER BY sequence {direction}"), []);
    };
    source(&mut query, columns);
    query.add(
        " LIMIT ?) AS looked_at WHERE level >= ? AND at >= ? AND at < ?",
        [
            Value::Number(bound(EVENTS_LOOKED_AT)),
            Value::Number(filter.level.map_or(i64::MIN, Level::number)),
            Value::Number(filter.since.map_or(i64::MIN, Timestamp::as_micros)),
            Value::Number(filter.until.map_or(i64::MAX, Timestamp::as_micros)),
        ],
    );
    if let Some(kind) = &filter.kind {
        query.add(" AND kind = ?", [text(kind)]);
    }
    if let Some(agent) = &filter.agent {
        query.add(" AND agent = ?", [text(agent.as_str())]);
    }
    if let Some(needle) = needle {
        query.add(" AND strpos(lower(data), ?) > 0", [text(needle)]);
    }
    let more = Value::Number(bound(limit).saturating_add(1));
    query.add(" LIMIT ?) UNION ALL (SELECT ", [more.clone()]);
    source(&mut query, "sequence, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, sequence");
    query.add(" OFFSET ? LIMIT 1)) AS found LIMIT ?", [Value::Number(bound(EVENTS_LOOKED_AT)), more]);
    query
}

fn event(row: &Row) -> Result<StoredEvent, StoreError> {
    let session: Option<&str> = get(row, 4)?;
    let session_sequence: Option<i64> = get(row, 5)?;
    Ok(StoredEvent {
        sequence: unsigned(get(row, 9)?)?,
        kind: get(row, 2)?,
        level: Level::from_number(get(row, 3)?),
        at: Timestamp::from_micros(get(row, 1)?),
        session: match (session, session_sequence) {
            (Some(session), Some(place)) => Some((id(SessionId::parse(session))?, unsigned(place)?)),
            _ => None,
        },
        agent: get::<Option<&str>>(row, 6)?.map(|agent| id(AgentId::parse(agent))).transpose()?,
        task: get::<Option<&str>>(row, 7)?.map(|task| id(TaskId::parse(task))).transpose()?,
        data: get(row, 8)?,
    })
}
