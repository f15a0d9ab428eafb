//! The log in the file.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use signalbox_core::event::Level;
use signalbox_wire::id::{AgentId, SessionId, TaskId, TenantId};
use signalbox_wire::time::Timestamp;

use super::fault::fault;
use super::{id, unsigned};
use crate::api::{EventFilter, Listed, Page, StoredEvent};
use crate::backend::EVENTS_LOOKED_AT;
use crate::error::StoreError;

/// Entries of the log, by their place in the tenant's order or in the session's where the filter names one.
pub(super) fn list(
    connection: &Connection,
    tenant: &TenantId,
    filter: &EventFilter,
    page: &Page,
) -> Result<Listed<StoredEvent>, StoreError> {
    let Some((sql, parameters)) = walk(connection, tenant, filter, page)? else {
        return Ok(Listed { items: Vec::new(), next: None });
    };
    let read = || -> rusqlite::Result<Result<Listed<StoredEvent>, StoreError>> {
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        let needle = filter.text.as_ref().map(|text| text.to_lowercase());
        let mut items: Vec<StoredEvent> = Vec::new();
        let mut looked_at: Option<i64> = None;
        for count in 0.. {
            let Some(row) = rows.next()? else { return Ok(Ok(Listed { items, next: None })) };
            if items.len() == page.limit || count == EVENTS_LOOKED_AT {
                break;
            }
            looked_at = Some(row.get(0)?);
            if matches(row, filter, needle.as_deref())? {
                match event(row)? {
                    Ok(event) => items.push(event),
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
        Ok(Ok(Listed { items, next: looked_at.map(|place| place.to_string()) }))
    };
    read().map_err(|error| fault(&error))?
}

/// The oldest kept place in the tenant's order.
pub(super) fn first_sequence(connection: &Connection, tenant: &TenantId) -> Result<Option<u64>, StoreError> {
    let read = || -> rusqlite::Result<Option<i64>> {
        connection
            .prepare_cached("SELECT min(sequence) FROM events WHERE tenant = ?1")?
            .query_row([tenant.as_str()], |row| row.get(0))
    };
    read().map_err(|error| fault(&error))?.map(unsigned).transpose()
}

/// The first place in the tenant's order at or after `moment`, by halving: places and moments grow together,
/// but for commits that were decided in one order and written in another.
pub(super) fn place_of_moment(
    connection: &Connection,
    tenant: &TenantId,
    moment: Timestamp,
) -> rusqlite::Result<i64> {
    let ends = "SELECT coalesce(min(sequence), 0), coalesce(max(sequence), 0) FROM events WHERE tenant = ?1";
    let (mut low, last): (i64, i64) = connection
        .prepare_cached(ends)?
        .query_row([tenant.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut high = last + 1;
    let mut probe = connection.prepare_cached(
        "SELECT sequence, at FROM events WHERE tenant = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT 1",
    )?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = probe
            .query_row(params![tenant.as_str(), middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((sequence, at)) if at < moment.as_micros() => low = sequence + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// How far apart the moments of neighbours in the log can be, generously.
const DISORDER: std::time::Duration = std::time::Duration::from_secs(600);

const COLUMNS: &str = "at, kind, level, session, session_sequence, agent, task, data, sequence";

/// The query that walks the right index in the right direction; `None` where nothing can be found.
fn walk(
    connection: &Connection,
    tenant: &TenantId,
    filter: &EventFilter,
    page: &Page,
) -> Result<Option<(String, Vec<Value>)>, StoreError> {
    let place = if filter.session.is_some() { "session_sequence" } else { "sequence" };
    let mut sql = format!("SELECT {place}, {COLUMNS} FROM events WHERE tenant = ?");
    let mut parameters = vec![Value::Text(tenant.as_str().to_owned())];
    match (&filter.session, &filter.agent) {
        (Some(session), _) => {
            sql.push_str(" AND session = ?");
            parameters.push(Value::Text(session.as_str().to_owned()));
        }
        (None, Some(agent)) => {
            sql.push_str(" AND agent = ?");
            parameters.push(Value::Text(agent.as_str().to_owned()));
        }
        (None, None) => {}
    }
    let mut bound = |sign: &str, number: i64| {
        sql.push_str(&format!(" AND {place} {sign} ?"));
        parameters.push(Value::Integer(number));
    };
    if let Some(after) = filter.after {
        bound(">", i64::try_from(after).unwrap_or(i64::MAX));
    }
    if let Some(after) = &page.after {
        let Ok(after) = after.parse() else { return Ok(None) };
        bound(if filter.newest_first { "<" } else { ">" }, after);
    }
    if filter.session.is_none() {
        let place_of = |moment| place_of_moment(connection, tenant, moment).map_err(|error| fault(&error));
        if let Some(since) = filter.since {
            bound(">=", place_of(since - DISORDER)?);
        }
        if let Some(until) = filter.until {
            bound("<", place_of(until + DISORDER)?);
        }
    }
    sql.push_str(&format!(" ORDER BY {place} {}", if filter.newest_first { "DESC" } else { "ASC" }));
    Ok(Some((sql, parameters)))
}

fn matches(row: &Row<'_>, filter: &EventFilter, needle: Option<&str>) -> rusqlite::Result<bool> {
    let at: i64 = row.get(1)?;
    if filter.since.is_some_and(|since| at < since.as_micros())
        || filter.until.is_some_and(|until| at >= until.as_micros())
    {
        return Ok(false);
    }
    if let Some(level) = filter.level
        && row.get::<_, i64>(3)? < level.number()
    {
        return Ok(false);
    }
    if let Some(kind) = &filter.kind
        && row.get_ref(2)?.as_str()? != kind
    {
        return Ok(false);
    }
    if let Some(agent) = &filter.agent
        && row.get_ref(6)?.as_str_or_null()? != Some(agent.as_str())
    {
        return Ok(false);
    }
    match needle {
        Some(needle) => Ok(row.get_ref(8)?.as_str()?.to_lowercase().contains(needle)),
        None => Ok(true),
    }
}

fn event(row: &Row<'_>) -> rusqlite::Result<Result<StoredEvent, StoreError>> {
    let session: Option<String> = row.get(4)?;
    let session_sequence: Option<i64> = row.get(5)?;
    let agent: Option<String> = row.get(6)?;
    let task: Option<String> = row.get(7)?;
    let (at, kind, level, data, sequence) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(8)?, row.get(9)?);
    let understood = || -> Result<StoredEvent, StoreError> {
        let session = match (session, session_sequence) {
            (Some(session), Some(place)) => Some((id(SessionId::parse(&session))?, unsigned(place)?)),
            _ => None,
        };
        Ok(StoredEvent {
            sequence: unsigned(sequence)?,
            kind,
            level: Level::from_number(level),
            at: Timestamp::from_micros(at),
            session,
            agent: agent.map(|agent| id(AgentId::parse(&agent))).transpose()?,
            task: task.map(|task| id(TaskId::parse(&task))).transpose()?,
            data,
        })
    };
    Ok(understood())
}
