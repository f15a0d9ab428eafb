//! Due work in the file: claiming, releasing, and the sweep over waiting tasks.

use rusqlite::{Connection, OptionalExtension, params};
use signalbox_core::due::Work;
use signalbox_core::lease::Lease;
use signalbox_core::view::WaitingTask;
use signalbox_wire::id::{NodeId, SessionId, TaskId, TenantId};
use signalbox_wire::time::Timestamp;

use super::fault::fault;
use super::{id, sql_limit, unsigned};
use crate::api::{Backlog, Claimed, DueKind};
use crate::error::StoreError;
use crate::schema;

/// A claimed row, not yet understood.
pub(super) struct Taken {
    tenant: String,
    work: String,
    due_at: i64,
    lease: Lease,
}

impl Taken {
    pub(super) fn into_claimed(self) -> Result<Claimed, StoreError> {
        let work: Work = schema::decode(&self.work)?;
        let due_at = Timestamp::from_micros(self.due_at);
        Ok(Claimed { tenant: id(TenantId::parse(&self.tenant))?, work, due_at, lease: self.lease })
    }
}

/// Takes what is visible at `now`, the longest visible first.
pub(super) fn claim(
    connection: &Connection,
    now: Timestamp,
    lease: &Lease,
    kind: DueKind,
    limit: usize,
) -> rusqlite::Result<Vec<Taken>> {
    let mut find = connection.prepare_cached(&format!(
        "SELECT tenant, id, due_at, body FROM due WHERE {} AND visible_at <= ?1 ORDER BY visible_at LIMIT ?2",
        kind.condition()
    ))?;
    let mut take = connection
        .prepare_cached("UPDATE due SET visible_at = ?3, leased_by = ?4 WHERE tenant = ?1 AND id = ?2")?;
    let rows = find.query_map(params![now.as_micros(), sql_limit(limit)], |row| {
        let id: String = row.get(1)?;
        Ok((id, Taken { tenant: row.get(0)?, due_at: row.get(2)?, work: row.get(3)?, lease: lease.clone() }))
    })?;
    let found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for (id, taken) in &found {
        take.execute(params![taken.tenant, id, lease.until.as_micros(), lease.node.as_str()])?;
    }
    Ok(found.into_iter().map(|(_, taken)| taken).collect())
}

/// Frees what `node` holds.
pub(super) fn release(connection: &Connection, node: &NodeId) -> rusqlite::Result<()> {
    let sql = "UPDATE due SET visible_at = due_at, leased_by = NULL WHERE leased_by = ?1";
    connection.execute(sql, [node.as_str()]).map(|_| ())
}

/// Frees what anybody holds: who held it is gone.
pub(super) fn end_all_leases(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "UPDATE due SET visible_at = due_at, leased_by = NULL WHERE leased_by IS NOT NULL";
    connection.execute(sql, []).map(|_| ())
}

/// How much there is.
pub(super) fn backlog(connection: &Connection) -> Result<Backlog, StoreError> {
    let pending = connection.prepare_cached("SELECT count(*) FROM due");
    let pending = pending.and_then(|mut count| count.query_row([], |row| row.get(0)));
    let pending = unsigned(pending.map_err(|error| fault(&error))?)?;
    let next = DueKind::ALL.map(|kind| next(connection, kind));
    let next = next.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Backlog { pending, next: next.into_iter().flatten().min() })
}

/// The next moment at which work of this kind can be claimed.
pub(super) fn next(connection: &Connection, kind: DueKind) -> Result<Option<Timestamp>, StoreError> {
    let sql = format!("SELECT visible_at FROM due WHERE {} ORDER BY visible_at LIMIT 1", kind.condition());
    let next = connection
        .prepare_cached(&sql)
        .and_then(|mut next| next.query_row([], |row| row.get::<_, i64>(0)).optional());
    Ok(next.map_err(|error| fault(&error))?.map(Timestamp::from_micros))
}

/// Where the sweep over waiting tasks stands: the tenant and routing key that it looked at last.
#[derive(Default)]
pub(super) struct Sweep {
    last: Option<(String, String)>,
}

impl Sweep {
    /// The longest-waiting tasks under the next routing keys, until `limit` is reached or every key had its
    /// turn.
    pub(super) fn next(
        &mut self,
        connection: &Connection,
        limit: usize,
        per_route: usize,
    ) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
        let first = self.last.clone();
        let mut tasks = Vec::new();
        let mut has_wrapped = false;
        while tasks.len() < limit {
            let Some(route) = next_route(connection, self.last.as_ref()).map_err(|error| fault(&error))?
            else {
                self.last = None;
                if has_wrapped || first.is_none() {
                    break;
                }
                has_wrapped = true;
                continue;
            };
            if has_wrapped && Some(&route) > first.as_ref() {
                break;
            }
            let count = per_route.min(limit - tasks.len());
            tasks.extend(longest_waiting(connection, &route, count)?);
            self.last = Some(route);
        }
        Ok(tasks)
    }
}

fn next_route(
    connection: &Connection,
    last: Option<&(String, String)>,
) -> rusqlite::Result<Option<(String, String)>> {
    let (tenant, route) = last.map_or(("", ""), |(tenant, route)| (tenant, route));
    connection
        .prepare_cached(
            "SELECT tenant, wait_route FROM tasks INDEXED BY tasks_waiting
             WHERE wait_route IS NOT NULL AND (tenant, wait_route) > (?1, ?2)
             ORDER BY tenant, wait_route LIMIT 1",
        )?
        .query_row([tenant, route], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn longest_waiting(
    connection: &Connection,
    (tenant, route): &(String, String),
    count: usize,
) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
    let read = || -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = connection.prepare_cached(
            "SELECT session, id FROM tasks WHERE tenant = ?1 AND wait_route = ?2 ORDER BY queued_at, id LIMIT ?3",
        )?;
        let rows = statement
            .query_map(params![tenant, route, sql_limit(count)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    let tenant = id(TenantId::parse(tenant))?;
    let found = read().map_err(|error| fault(&error))?;
    let tasks = found.into_iter().map(|(session, task)| {
        let waiting =
            WaitingTask { session: id(SessionId::parse(&session))?, task: id(TaskId::parse(&task))? };
        Ok((tenant.clone(), waiting))
    });
    tasks.collect()
}
