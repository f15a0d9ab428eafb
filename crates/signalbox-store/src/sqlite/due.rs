//! Due work in the file: claiming, releasing, and the sweep over waiting tasks.
//!
//! The indexes hold what nobody holds; what is held is known in memory ([`super::leases`]). Whoever looks for work first
//! frees what is held no longer than until then.

use rusqlite::{Connection, OptionalExtension, ToSql, params};
use signalbox_core::due::{DueJob, Lane};
use signalbox_core::lease::Lease;
use signalbox_core::snapshot::WaitingTask;
use signalbox_wire::id::{NodeId, SessionId, TaskId, TenantId};
use signalbox_wire::time::Timestamp;

use super::convert::{id, sql_limit, unsigned};
use super::fault::fault;
use super::leases::{Held, Leases, Seen};
use crate::api::{Backlog, Claimed, DueKind, LaneClaim, WaitingLanes};
use crate::error::StoreError;
use crate::rotation::{
    ENDED_PART, LANES_LOOKED_AT, OLDEST_LOOKED_AT, RotationCursor, Sweep, TENANTS_LOOKED_AT, by_lane, share,
};
use crate::schema::{self, FREE_DUE};

/// Leases that are over and freed in one go, at least.
const FREED_AT_ONCE: usize = 1_024;

/// A claimed row, not yet understood.
pub(super) struct Taken {
    tenant: String,
    id: String,
    kind: String,
    work: String,
    due_at: i64,
    lane: String,
    ends_at: Option<i64>,
    lease: Lease,
}

/// What became of leases on the way to a claim, and by it.
#[derive(Default)]
pub(super) struct Changed {
    pub(super) freed: Vec<Seen>,
    pub(super) taken: Vec<Taken>,
}

impl Changed {
    /// Memory follows.
    pub(super) fn settle(&self, leases: &Leases) {
        leases.forget_seen(&self.freed);
        for taken in &self.taken {
            // What belongs to no tenant or is of no kind is for nobody to claim.
            if let (Ok(tenant), Some(kind)) =
                (TenantId::parse(&taken.tenant), DueKind::of_column(&taken.kind))
            {
                let until = taken.lease.until.as_micros();
                let held = Held::new(kind, Lane::named(taken.lane.clone()), until, taken.ends_at);
                leases.hold(&tenant, &taken.id, held);
            }
        }
    }
}

impl Taken {
    pub(super) fn understood(self) -> Result<Claimed, StoreError> {
        let work: DueJob = schema::decode(&self.work)?;
        let due_at = Timestamp::from_micros(self.due_at);
        let lane = Lane::named(self.lane);
        Ok(Claimed { tenant: id(TenantId::parse(&self.tenant))?, work, due_at, lane, lease: self.lease })
    }
}

/// A claim under way.
struct Claim<'a> {
    connection: &'a Connection,
    now: Timestamp,
    lease: &'a Lease,
    kind: DueKind,
    taken: Vec<Taken>,
}

/// Takes what is visible at `now`, the longest visible first; while that is more than `limit`, a part of what are
/// timers tenant by tenant. Timers are also what is over, of which a part of `limit` is taken first.
pub(super) fn claim(
    connection: &Connection,
    now: Timestamp,
    lease: &Lease,
    kind: DueKind,
    limit: usize,
    turn: &mut RotationCursor,
) -> rusqlite::Result<Vec<Taken>> {
    let mut claim = Claim { connection, now, lease, kind, taken: Vec::new() };
    if kind == DueKind::Timer {
        claim.ended(limit.div_ceil(ENDED_PART))?;
    }
    if turn.is_behind && kind == DueKind::Timer {
        claim.in_turn(limit, turn)?;
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM due WHERE {} AND visible_at <= ?1 ORDER BY visible_at LIMIT ?2",
        free(kind)
    );
    let left = sql_limit(limit.saturating_sub(claim.taken.len()));
    claim.take(&sql, params![now.as_micros(), left])?;
    turn.is_behind = claim.taken.len() >= limit;
    Ok(claim.taken)
}

/// What is free of a kind, as the indexes have it.
fn free(kind: DueKind) -> String {
    format!("{} AND leased_by IS NULL", kind.condition())
}

/// Frees what is held no longer than until `now` and is work of this kind then; what had waited longest first, at least
/// `most` of it.
pub(super) fn free_over(
    connection: &Connection,
    leases: &Leases,
    kind: DueKind,
    now: Timestamp,
    most: usize,
) -> rusqlite::Result<Vec<Seen>> {
    let over = leases.over(kind, now, most.max(FREED_AT_ONCE));
    if over.is_empty() {
        return Ok(over);
    }
    // One that has been leased again in this transaction stays as it is.
    let mut sql = connection.prepare_cached(
        "UPDATE due SET leased_by = NULL WHERE tenant = ?1 AND id = ?2 AND leased_by IS NOT NULL
         AND (visible_at <= ?3 OR ends_at <= ?3)",
    )?;
    for seen in &over {
        sql.execute(params![seen.work.tenant.as_str(), &*seen.work.id, now.as_micros()])?;
    }
    Ok(over)
}

const COLUMNS: &str = "tenant, id, due_at, body, lane, kind, ends_at";
const TAKE: &str = "UPDATE due SET visible_at = ?3, leased_by = ?4 WHERE tenant = ?1 AND id = ?2";
const TAKE_ENDED: &str =
    "UPDATE due SET visible_at = ?3, ends_at = ?3, leased_by = ?4 WHERE tenant = ?1 AND id = ?2";

impl Claim<'_> {
    /// Takes what is over, whatever it is.
    fn ended(&mut self, limit: usize) -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT {COLUMNS} FROM due WHERE ends_at IS NOT NULL AND leased_by IS NULL AND ends_at <= ?1
             ORDER BY ends_at LIMIT ?2"
        );
        self.take_by(TAKE_ENDED, &sql, params![self.now.as_micros(), sql_limit(limit)])?;
        let end = self.lease.until.as_micros();
        self.taken.iter_mut().for_each(|taken| taken.ends_at = Some(end));
        Ok(())
    }

    /// Takes what is visible of one tenant after the other, of each its share.
    fn in_turn(&mut self, limit: usize, turn: &mut RotationCursor) -> rusqlite::Result<()> {
        let (condition, index) = (free(self.kind), self.kind.lanes_index());
        let sql = format!(
            "SELECT {COLUMNS} FROM due INDEXED BY {index}
             WHERE {condition} AND tenant = ?1 AND visible_at <= ?2 ORDER BY visible_at LIMIT ?3"
        );
        let mut next = self.connection.prepare_cached(&format!(
            "SELECT tenant FROM due INDEXED BY {index} WHERE {condition} AND tenant > ?1 ORDER BY tenant LIMIT 1"
        ))?;
        let (mut first, mut has_wrapped) = (None, false);
        for _ in 0..TENANTS_LOOKED_AT {
            let left = limit.saturating_sub(self.taken.len());
            let tenant: Option<String> = next.query_row([&turn.last], |row| row.get(0)).optional()?;
            match tenant {
                _ if left == 0 => break,
                None if has_wrapped || turn.last.is_empty() => break,
                None => {
                    turn.last.clear();
                    has_wrapped = true;
                }
                Some(tenant) if first.as_ref() == Some(&tenant) => break,
                Some(tenant) => {
                    let most = sql_limit(share(limit).min(left));
                    self.take(&sql, params![tenant, self.now.as_micros(), most])?;
                    first.get_or_insert_with(|| tenant.clone());
                    turn.last = tenant;
                }
            }
        }
        Ok(())
    }

    /// Takes the rows that a statement finds.
    fn take(&mut self, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
        self.take_by(TAKE, sql, values)
    }

    fn take_by(&mut self, take: &str, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
        let mut find = self.connection.prepare_cached(sql)?;
        let mut take = self.connection.prepare_cached(take)?;
        let lease = self.lease;
        let rows = find.query_map(values, |row| {
            Ok(Taken {
                tenant: row.get(0)?,
                id: row.get(1)?,
                due_at: row.get(2)?,
                work: row.get(3)?,
                lane: row.get(4)?,
                kind: row.get(5)?,
                ends_at: row.get(6)?,
                lease: lease.clone(),
            })
        })?;
        for taken in rows.collect::<rusqlite::Result<Vec<_>>>()? {
            take.execute(params![taken.tenant, taken.id, lease.until.as_micros(), lease.node.as_str()])?;
            self.taken.push(taken);
        }
        Ok(())
    }
}

/// Takes of each lane what it may.
pub(super) fn claim_lanes(
    connection: &Connection,
    lease: &Lease,
    kind: DueKind,
    wanted: &[LaneClaim],
) -> rusqlite::Result<Vec<Taken>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM due INDEXED BY {}
         WHERE {} AND tenant = ?1 AND lane = ?2 AND visible_at <= ?3 ORDER BY visible_at LIMIT ?4",
        kind.lanes_index(),
        free(kind)
    );
    let mut claim = Claim { connection, now: Timestamp::default(), lease, kind, taken: Vec::new() };
    for LaneClaim { tenant, lane, most, visible_by } in wanted {
        claim
            .take(&sql, params![tenant.as_str(), lane.as_str(), visible_by.as_micros(), sql_limit(*most)])?;
    }
    Ok(claim.taken)
}

/// The lanes of what has waited the longest, and while that is more than is looked at, those of other tenants and other
/// lanes in turn.
pub(super) fn waiting_lanes(
    connection: &Connection,
    leases: &Leases,
    now: Timestamp,
    kind: DueKind,
    sweep: &mut Sweep,
) -> Result<WaitingLanes, StoreError> {
    let freed = leases.next(kind, Some(now));
    let (rows, next) = oldest_lanes(connection, now, kind).map_err(|error| fault(&error))?;
    let has_more = rows.len() >= OLDEST_LOOKED_AT;
    let others = if has_more { lanes_in_turn(connection, now, kind, sweep) } else { Ok(Vec::new()) };
    let others = others.map_err(|error| fault(&error))?;
    let rows = rows.into_iter().chain(others);
    let rows = rows.map(|(tenant, lane)| Ok((id(TenantId::parse(&tenant))?, Lane::named(lane), 1)));
    let lanes = by_lane(rows.collect::<Result<_, StoreError>>()?);
    let next = [next, freed].into_iter().flatten().min();
    Ok(WaitingLanes { lanes, has_more, next: next.map(Timestamp::from_micros) })
}

/// How much there is in one lane, up to `most`.
pub(super) fn waiting_in_lane(
    connection: &Connection,
    leases: &Leases,
    tenant: &TenantId,
    kind: DueKind,
    lane: &Lane,
    most: usize,
) -> Result<usize, StoreError> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM due INDEXED BY {} WHERE {} AND tenant = ?1 AND lane = ?2 LIMIT ?3)",
        kind.lanes_index(),
        free(kind)
    );
    let held = leases.count_in_lane(tenant, kind, lane).min(most);
    let mut counted = connection.prepare_cached(&sql).map_err(|error| fault(&error))?;
    let count: i64 = counted
        .query_row(params![tenant.as_str(), lane.as_str(), sql_limit(most - held)], |row| row.get(0))
        .map_err(|error| fault(&error))?;
    Ok(held + usize::try_from(count).unwrap_or_default())
}

type LaneNames = Vec<(String, String)>;

fn oldest_lanes(
    connection: &Connection,
    now: Timestamp,
    kind: DueKind,
) -> rusqlite::Result<(LaneNames, Option<i64>)> {
    let mut oldest = connection.prepare_cached(&format!(
        "SELECT tenant, lane FROM due WHERE {} AND visible_at <= ?1 ORDER BY visible_at LIMIT ?2",
        free(kind)
    ))?;
    let rows = oldest.query_map(params![now.as_micros(), sql_limit(OLDEST_LOOKED_AT)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let rows = rows.collect::<rusqlite::Result<LaneNames>>()?;
    let mut next = connection.prepare_cached(&format!(
        "SELECT visible_at FROM due WHERE {} AND visible_at > ?1 ORDER BY visible_at LIMIT 1",
        free(kind)
    ))?;
    let next = next.query_row([now.as_micros()], |row| row.get(0)).optional()?;
    Ok((rows, next))
}

/// Lanes of one tenant after the other, with something that can be claimed.
fn lanes_in_turn(
    connection: &Connection,
    now: Timestamp,
    kind: DueKind,
    sweep: &mut Sweep,
) -> rusqlite::Result<LaneNames> {
    let (condition, index) = (free(kind), kind.lanes_index());
    let mut next_tenant = connection.prepare_cached(&format!(
        "SELECT tenant FROM due INDEXED BY {index} WHERE {condition} AND tenant > ?1 ORDER BY tenant LIMIT 1"
    ))?;
    let mut next_lane = connection.prepare_cached(&format!(
        "SELECT lane, visible_at FROM due INDEXED BY {index} WHERE {condition} AND tenant = ?1 AND lane > ?2
         ORDER BY lane, visible_at LIMIT 1"
    ))?;
    let mut found = LaneNames::new();
    for _ in 0..TENANTS_LOOKED_AT {
        let tenant: Option<String> = next_tenant.query_row([&sweep.last], |row| row.get(0)).optional()?;
        let Some(tenant) = tenant else {
            sweep.last.clear();
            break;
        };
        let mut after = sweep.resume(&tenant);
        for looked_at in 1..=LANES_LOOKED_AT {
            let next = next_lane.query_row([&tenant, &after], |row| Ok((row.get(0)?, row.get(1)?)));
            let next: Option<(String, i64)> = next.optional()?;
            let Some((lane, visible_at)) = next else { break };
            if visible_at <= now.as_micros() {
                found.push((tenant.clone(), lane.clone()));
            }
            if looked_at == LANES_LOOKED_AT {
                sweep.stopped(&tenant, lane.clone());
            }
            after = lane;
        }
        sweep.last = tenant;
    }
    Ok(found)
}

/// Moves leased work, or keeps it for longer, where it is still held as it was claimed; answers the numbers of what was.
pub(super) fn move_held(
    connection: &Connection,
    held: &[Claimed],
    until: Timestamp,
    keeper: Option<&NodeId>,
) -> rusqlite::Result<Vec<usize>> {
    let mut sql = connection.prepare_cached(
        "UPDATE due SET visible_at = ?1, leased_by = ?2, due_at = CASE WHEN ?2 IS NULL THEN ?1 ELSE due_at END
         WHERE tenant = ?3 AND id = ?4 AND leased_by = ?5 AND visible_at = ?6",
    )?;
    let (until, keeper, mut moved) = (until.as_micros(), keeper.map(NodeId::as_str), Vec::new());
    for (number, Claimed { tenant, work, lease, .. }) in held.iter().enumerate() {
        let (node, end) = (lease.node.as_str(), lease.until.as_micros());
        if sql.execute(params![until, keeper, tenant.as_str(), work.id(), node, end])? > 0 {
            moved.push(number);
        }
    }
    Ok(moved)
}

/// Frees what `node` holds until exactly one of these moments; answers what was.
pub(super) fn free_lost(
    connection: &Connection,
    leases: &Leases,
    node: &NodeId,
    untils: &[i64],
) -> rusqlite::Result<Vec<Seen>> {
    let mut freed = Vec::new();
    for until in untils {
        let mut sql = connection.prepare_cached(&format!(
            "UPDATE due SET {FREE_DUE} WHERE tenant = ?1 AND id = ?2 AND visible_at = ?3 AND leased_by = ?4"
        ))?;
        for seen in leases.until(*until) {
            let values = params![seen.work.tenant.as_str(), &*seen.work.id, until, node.as_str()];
            if sql.execute(values)? > 0 {
                freed.push(seen);
            }
        }
    }
    Ok(freed)
}

/// Frees what `node` holds; answers what that was, by tenant and id.
pub(super) fn release(connection: &Connection, node: &NodeId) -> rusqlite::Result<Vec<(String, String)>> {
    let sql = format!("UPDATE due SET {FREE_DUE} WHERE leased_by = ?1 RETURNING tenant, id");
    let mut sql = connection.prepare(&sql)?;
    sql.query_map([node.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Frees what anybody holds: who held it is gone.
pub(super) fn end_all_leases(connection: &Connection) -> rusqlite::Result<()> {
    let sql = format!("UPDATE due SET {FREE_DUE} WHERE leased_by IS NOT NULL");
    connection.execute(&sql, []).map(|_| ())
}

/// Counts free work of this kind by an index that holds all that the count looks at; parameter: how much at most.
pub(super) fn count(kind: DueKind) -> String {
    format!("SELECT count(*) FROM (SELECT 1 FROM due WHERE {} LIMIT ?1)", free(kind))
}

/// How much there is; `limit` pieces are counted at most.
pub(super) fn backlog(connection: &Connection, leases: &Leases, limit: u64) -> Result<Backlog, StoreError> {
    let mut backlog = Backlog::default();
    for kind in DueKind::ALL {
        backlog.pending += (leases.count(kind) as u64).min(limit - backlog.pending);
        let left = sql_limit(usize::try_from(limit - backlog.pending).unwrap_or(usize::MAX));
        let counted = connection
            .prepare_cached(&count(kind))
            .and_then(|mut count| count.query_row([left], |row| row.get::<_, i64>(0)));
        backlog.pending += unsigned(counted.map_err(|error| fault(&error))?)?;
        backlog.next = [backlog.next, next(connection, leases, kind)?].into_iter().flatten().min();
    }
    Ok(backlog)
}

/// The next moment at which work of this kind can be claimed.
pub(super) fn next(
    connection: &Connection,
    leases: &Leases,
    kind: DueKind,
) -> Result<Option<Timestamp>, StoreError> {
    let freed = leases.next(kind, None);
    let sql = format!("SELECT visible_at FROM due WHERE {} ORDER BY visible_at LIMIT 1", free(kind));
    let next = connection
        .prepare_cached(&sql)
        .and_then(|mut next| next.query_row([], |row| row.get::<_, i64>(0)).optional());
    let next = next.map_err(|error| fault(&error))?;
    let ends =
        if kind == DueKind::Timer { next_end(connection).map_err(|error| fault(&error))? } else { None };
    Ok([next, ends, freed].into_iter().flatten().min().map(Timestamp::from_micros))
}

/// When the next thing is over that is no timer yet.
fn next_end(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql =
        "SELECT ends_at FROM due WHERE ends_at IS NOT NULL AND leased_by IS NULL ORDER BY ends_at LIMIT 1";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()
}

/// Waiting tasks of one tenant after the other, and of each those that are served first under its next routing keys,
/// until `limit` is reached or every tenant had its turn.
pub(super) fn sweep(
    connection: &Connection,
    sweep: &mut Sweep,
    limit: usize,
    per_route: usize,
) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
    let share = share(limit).max(per_route);
    let (mut tasks, mut first, mut has_wrapped) = (Vec::new(), None, false);
    while tasks.len() < limit {
        match next_tenant(connection, &sweep.last).map_err(|error| fault(&error))? {
            None if has_wrapped || sweep.last.is_empty() => break,
            None => {
                sweep.last.clear();
                has_wrapped = true;
            }
            Some(tenant) if first.as_ref() == Some(&tenant) => break,
            Some(tenant) => {
                let most = share.min(limit - tasks.len());
                tasks.extend(of_tenant(connection, sweep, &tenant, most, per_route)?);
                first.get_or_insert_with(|| tenant.clone());
                sweep.last = tenant;
            }
        }
    }
    Ok(tasks)
}

/// One tenant's turn.
fn of_tenant(
    connection: &Connection,
    sweep: &mut Sweep,
    tenant: &str,
    most: usize,
    per_route: usize,
) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
    let start = sweep.resume(tenant);
    let (mut tasks, mut after, mut has_wrapped) = (Vec::new(), start.clone(), false);
    while tasks.len() < most {
        match next_route(connection, tenant, &after).map_err(|error| fault(&error))? {
            None if has_wrapped || start.is_empty() => return Ok(tasks),
            None => {
                after.clear();
                has_wrapped = true;
            }
            Some(route) if has_wrapped && route > start => return Ok(tasks),
            Some(route) => {
                tasks.extend(first_served(connection, tenant, &route, per_route.min(most - tasks.len()))?);
                after = route;
            }
        }
    }
    sweep.stopped(tenant, after);
    Ok(tasks)
}

fn next_tenant(connection: &Connection, last: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT tenant FROM tasks INDEXED BY tasks_waiting
             WHERE wait_route IS NOT NULL AND tenant > ?1 ORDER BY tenant LIMIT 1",
        )?
        .query_row([last], |row| row.get(0))
        .optional()
}

fn next_route(connection: &Connection, tenant: &str, last: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT wait_route FROM tasks INDEXED BY tasks_waiting
             WHERE tenant = ?1 AND wait_route > ?2 ORDER BY wait_route LIMIT 1",
        )?
        .query_row([tenant, last], |row| row.get(0))
        .optional()
}

fn first_served(
    connection: &Connection,
    tenant: &str,
    route: &str,
    count: usize,
) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
    let read = || -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = connection.prepare_cached(
            "SELECT session, id FROM tasks WHERE tenant = ?1 AND wait_route = ?2
             ORDER BY priority DESC, queued_at, id LIMIT ?3",
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
