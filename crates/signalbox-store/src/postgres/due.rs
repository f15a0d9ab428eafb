//! Due work: claiming, releasing, and the sweep over waiting tasks.

use std::collections::HashMap;

use signalbox_core::due::Lane;
use signalbox_core::lease::Lease;
use signalbox_core::snapshot::WaitingTask;
use signalbox_wire::id::{NodeId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;

use super::pool::Pool;
use super::query::{bound, get, id, unsigned};
use super::rows::waiting_task;
use crate::StoreError;
use crate::api::{Backlog, Claimed, DueKind, LaneClaim, WaitingLanes};
use crate::rotation::{
    LANES_LOOKED_AT, OLDEST_LOOKED_AT, RotationCursor, Sweep, TENANTS_LOOKED_AT, TenantRotation, by_lane,
    share,
};
use crate::schema;

/// Takes rows of due work, `free` telling which. What others are about to take or to remove is passed over, so claims
/// never wait for each other. Parameters: now, until when, by whom, how many; then those of `free`.
fn claim_sql(free: &str) -> String {
    format!(
        "UPDATE due SET visible_at = $2, leased_by = $3 FROM ({free}) AS free \
         WHERE due.tenant = free.tenant AND due.id = free.id \
         RETURNING due.tenant, due.body, due.due_at, free.visible_at, due.lane"
    )
}

/// What has been visible the longest.
fn oldest(kind: DueKind) -> String {
    format!(
        "SELECT tenant, id, visible_at FROM due WHERE {} AND visible_at <= $1 ORDER BY visible_at LIMIT $4 \
         FOR UPDATE SKIP LOCKED",
        kind.condition()
    )
}

/// What is visible of some tenants. Parameters: an array of them, how much of each.
fn in_turn(kind: DueKind) -> String {
    format!(
        "SELECT part.tenant, part.id, part.visible_at FROM unnest($5::text[]) AS asked (tenant) CROSS JOIN LATERAL \
         (SELECT tenant, id, visible_at FROM due WHERE {} AND due.tenant = asked.tenant AND visible_at <= $1 \
          ORDER BY visible_at LIMIT $6 FOR UPDATE SKIP LOCKED) AS part LIMIT $4",
        kind.condition()
    )
}

/// The tenants after `$1` that have rows in `table` under a condition, `$2` of them at most.
fn tenants_sql(table: &str, condition: &str) -> String {
    format!(
        "WITH RECURSIVE walk (tenant, count) AS ( \
         (SELECT tenant, 1::bigint FROM {table} WHERE {condition} AND tenant > $1 ORDER BY tenant LIMIT 1) \
         UNION ALL SELECT following.tenant, walk.count + 1 FROM walk CROSS JOIN LATERAL \
          (SELECT tenant FROM {table} WHERE {condition} AND tenant > walk.tenant ORDER BY tenant LIMIT 1) AS following \
         WHERE walk.count < $2) SELECT tenant FROM walk"
    )
}

/// A claim under way.
struct Claim<'a> {
    pool: &'a Pool,
    now: i64,
    lease: &'a Lease,
    kind: DueKind,
    taken: Vec<(i64, Claimed)>,
}

/// Takes what is visible at `now`, the longest visible first; while that is more than `limit`, a part of what are
/// timers tenant by tenant.
pub(super) async fn claim(
    pool: &Pool,
    now: Timestamp,
    lease: &Lease,
    kind: DueKind,
    limit: usize,
    turns: &Mutex<TenantRotation>,
) -> Result<Vec<Claimed>, StoreError> {
    let mut turn = turns.lock().await.of(kind).clone();
    let mut claim = Claim { pool, now: now.as_micros(), lease, kind, taken: Vec::new() };
    if turn.is_behind && kind == DueKind::Timer {
        claim.in_turn(limit, &mut turn).await?;
    }
    let left = limit.saturating_sub(claim.taken.len());
    if left > 0 {
        claim.take(&oldest(kind), left, &[]).await?;
    }
    turn.is_behind = claim.taken.len() >= limit;
    *turns.lock().await.of(kind) = turn;
    claim.taken.sort_by_key(|(visible_at, _)| *visible_at);
    Ok(claim.taken.into_iter().map(|(_, claimed)| claimed).collect())
}

impl Claim<'_> {
    /// Takes what is visible of one tenant after the other, of each its share.
    async fn in_turn(&mut self, limit: usize, turn: &mut RotationCursor) -> Result<(), StoreError> {
        let asked = tenants(self.pool, "due", self.kind.condition(), &turn.last).await?;
        self.take(&in_turn(self.kind), limit, &[&asked, &bound(share(limit))]).await?;
        let is_cut = self.taken.len() >= limit;
        let last = match self.taken.iter().map(|(_, claimed)| claimed.tenant.as_str()).max() {
            Some(last) if is_cut => Some(last),
            _ => asked.last().map(String::as_str).filter(|_| asked.len() >= TENANTS_LOOKED_AT),
        };
        turn.last = last.unwrap_or_default().to_owned();
        Ok(())
    }

    async fn take(
        &mut self,
        free: &str,
        most: usize,
        others: &[&(dyn ToSql + Sync)],
    ) -> Result<(), StoreError> {
        let (until, most) = (self.lease.until.as_micros(), bound(most));
        let node = self.lease.node.as_str();
        let values: [&(dyn ToSql + Sync); 4] = [&self.now, &until, &node, &most];
        let values: Vec<_> = values.into_iter().chain(others.iter().copied()).collect();
        for row in self.pool.query(&claim_sql(free), &values).await? {
            let tenant = id(TenantId::parse(get(&row, 0)?))?;
            let due_at = Timestamp::from_micros(get(&row, 2)?);
            let work = schema::decode(get(&row, 1)?)?;
            let lane = Lane::named(get::<String>(&row, 4)?);
            let claimed = Claimed { tenant, work, due_at, lane, lease: self.lease.clone() };
            self.taken.push((get(&row, 3)?, claimed));
        }
        Ok(())
    }
}

/// What is visible of some lanes. Parameters after those of every claim (the first is not looked at): arrays of tenants,
/// lanes, how much of each, and by when it must have been visible.
fn of_lanes(kind: DueKind) -> String {
    format!(
        "SELECT part.tenant, part.id, part.visible_at \
         FROM unnest($5::text[], $6::text[], $7::bigint[], $8::bigint[]) AS asked (tenant, lane, most, by) \
         CROSS JOIN LATERAL (SELECT tenant, id, visible_at FROM due WHERE {} AND due.tenant = asked.tenant \
          AND due.lane = asked.lane AND visible_at <= least(asked.by, $1) ORDER BY visible_at LIMIT asked.most \
          FOR UPDATE SKIP LOCKED) AS part LIMIT $4",
        kind.condition()
    )
}

/// Takes of each lane what it may.
pub(super) async fn claim_lanes(
    pool: &Pool,
    lease: &Lease,
    kind: DueKind,
    wanted: &[LaneClaim],
) -> Result<Vec<Claimed>, StoreError> {
    let tenants: Vec<&str> = wanted.iter().map(|lane| lane.tenant.as_str()).collect();
    let lanes: Vec<&str> = wanted.iter().map(|lane| lane.lane.as_str()).collect();
    let most: Vec<i64> = wanted.iter().map(|lane| bound(lane.most)).collect();
    let by: Vec<i64> = wanted.iter().map(|lane| lane.visible_by.as_micros()).collect();
    let in_all = wanted.iter().map(|lane| lane.most).sum();
    let mut claim = Claim { pool, now: i64::MAX, lease, kind, taken: Vec::new() };
    claim.take(&of_lanes(kind), in_all, &[&tenants, &lanes, &most, &by]).await?;
    claim.taken.sort_by_key(|(visible_at, _)| *visible_at);
    Ok(claim.taken.into_iter().map(|(_, claimed)| claimed).collect())
}

/// The lanes of what has been visible the longest. Parameters: now, how many rows.
fn oldest_lanes(kind: DueKind) -> String {
    format!(
        "SELECT tenant, lane, count(*) FROM (SELECT tenant, lane FROM due WHERE {} AND visible_at <= $1 \
         ORDER BY visible_at LIMIT $2) AS oldest GROUP BY tenant, lane",
        kind.condition()
    )
}

/// The next lanes of some tenants, each with the moment from which on something of it can be claimed. Parameters:
/// arrays of tenants and of the lane after which each goes on, how many lanes of each.
fn lanes_in_turn(kind: DueKind) -> String {
    let condition = kind.condition();
    format!(
        "SELECT asked.tenant, walk.lane, walk.visible_at FROM unnest($1::text[], $2::text[]) AS asked (tenant, after) \
         CROSS JOIN LATERAL (WITH RECURSIVE walk (lane, visible_at, count) AS ( \
          (SELECT lane, visible_at, 1::bigint FROM due WHERE {condition} AND tenant = asked.tenant \
           AND lane > asked.after ORDER BY lane, visible_at LIMIT 1) \
          UNION ALL SELECT following.lane, following.visible_at, walk.count + 1 FROM walk CROSS JOIN LATERAL \
           (SELECT lane, visible_at FROM due WHERE {condition} AND tenant = asked.tenant AND lane > walk.lane \
            ORDER BY lane, visible_at LIMIT 1) AS following WHERE walk.count < $3) \
         SELECT lane, visible_at FROM walk) AS walk"
    )
}

/// The lanes of what has waited the longest, and while that is more than is looked at, those of other tenants and other
/// lanes in turn.
pub(super) async fn waiting_lanes(
    pool: &Pool,
    now: Timestamp,
    kind: DueKind,
    sweep: &mut Sweep,
) -> Result<WaitingLanes, StoreError> {
    let mut rows = Vec::new();
    let mut count = 0;
    for row in pool.query(&oldest_lanes(kind), &[&now.as_micros(), &bound(OLDEST_LOOKED_AT)]).await? {
        let seen = usize::try_from(get::<i64>(&row, 2)?).unwrap_or(1);
        count += seen;
        rows.push((id(TenantId::parse(get(&row, 0)?))?, Lane::named(get::<String>(&row, 1)?), seen));
    }
    let has_more = count >= OLDEST_LOOKED_AT;
    if has_more {
        rows.extend(others_in_turn(pool, now, kind, sweep).await?);
    }
    let sql = format!(
        "SELECT visible_at FROM due WHERE {} AND visible_at > $1 ORDER BY visible_at LIMIT 1",
        kind.condition()
    );
    let next = pool.query_one(&sql, &[&now.as_micros()]).await?;
    let next = next.map(|row| Ok::<_, StoreError>(Timestamp::from_micros(get(&row, 0)?))).transpose()?;
    Ok(WaitingLanes { lanes: by_lane(rows), has_more, next })
}

/// Lanes of one tenant after the other, with something that can be claimed.
async fn others_in_turn(
    pool: &Pool,
    now: Timestamp,
    kind: DueKind,
    sweep: &mut Sweep,
) -> Result<Vec<(TenantId, Lane, usize)>, StoreError> {
    let asked = tenants(pool, "due", kind.condition(), &sweep.last).await?;
    sweep.last = asked.last().filter(|_| asked.len() >= TENANTS_LOOKED_AT).cloned().unwrap_or_default();
    let after: Vec<String> = asked.iter().map(|tenant| sweep.resume(tenant)).collect();
    let mut rows = Vec::new();
    let mut ends: HashMap<String, (usize, String)> = HashMap::new();
    for row in pool.query(&lanes_in_turn(kind), &[&asked, &after, &bound(LANES_LOOKED_AT)]).await? {
        let (tenant, lane) = (get::<String>(&row, 0)?, get::<String>(&row, 1)?);
        if get::<i64>(&row, 2)? <= now.as_micros() {
            rows.push((id(TenantId::parse(&tenant))?, Lane::named(lane.clone()), 1));
        }
        let end = ends.entry(tenant).or_default();
        *end = (end.0 + 1, lane.max(std::mem::take(&mut end.1)));
    }
    for (tenant, (count, lane)) in ends {
        if count >= LANES_LOOKED_AT {
            sweep.stopped(&tenant, lane);
        }
    }
    Ok(rows)
}

/// The next tenants after `last` with rows in `table`.
async fn tenants(pool: &Pool, table: &str, condition: &str, last: &str) -> Result<Vec<String>, StoreError> {
    let sql = tenants_sql(table, condition);
    let most = bound(TENANTS_LOOKED_AT);
    let rows = pool.query(&sql, &[&last, &most]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// Frees what `node` holds.
pub(super) async fn release(pool: &Pool, node: &NodeId) -> Result<(), StoreError> {
    let sql = "UPDATE due SET visible_at = due_at, leased_by = NULL WHERE leased_by = $1";
    pool.query(sql, &[&node.as_str()]).await.map(drop)
}

/// How much there is.
pub(super) async fn backlog(pool: &Pool) -> Result<Backlog, StoreError> {
    let Some(row) = pool.query_one("SELECT count(*) FROM due", &[]).await? else {
        return Ok(Backlog::default());
    };
    let mut earliest = None;
    for kind in DueKind::ALL {
        earliest = [earliest, next(pool, kind).await?].into_iter().flatten().min();
    }
    Ok(Backlog { pending: unsigned(get(&row, 0)?)?, next: earliest })
}

/// The next moment at which work of this kind can be claimed.
pub(super) async fn next(pool: &Pool, kind: DueKind) -> Result<Option<Timestamp>, StoreError> {
    let sql = format!("SELECT visible_at FROM due WHERE {} ORDER BY visible_at LIMIT 1", kind.condition());
    let row = pool.query_one(&sql, &[]).await?;
    row.map(|row| Ok(Timestamp::from_micros(get(&row, 0)?))).transpose()
}

/// The tasks that are served first, `$3` at most of each, under the routing keys of tenant `$1` after `$2`; `$4` at
/// most in all.
const SWEEP: &str = "WITH RECURSIVE routes (route) AS ( \
    (SELECT wait_route FROM tasks WHERE tenant = $1 AND wait_route > $2 ORDER BY wait_route LIMIT 1) \
    UNION ALL SELECT following.wait_route FROM routes CROSS JOIN LATERAL \
        (SELECT wait_route FROM tasks WHERE tenant = $1 AND wait_route > routes.route \
         ORDER BY wait_route LIMIT 1) AS following) \
    SELECT task.session, task.id, routes.route FROM routes CROSS JOIN LATERAL \
        (SELECT session, id FROM tasks WHERE tenant = $1 AND wait_route = routes.route \
         ORDER BY priority DESC, queued_at, id LIMIT $3) AS task LIMIT $4";

/// Waiting tasks of one tenant after the other, and of each those that are served first under its next routing keys,
/// until `limit` is reached or every tenant that was looked at had its turn.
pub(super) async fn sweep(
    pool: &Pool,
    sweep: &mut Sweep,
    limit: usize,
    per_route: usize,
) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
    let share = share(limit).max(per_route);
    let mut asked = tenants(pool, "tasks", WAITS, &sweep.last).await?;
    if asked.len() < TENANTS_LOOKED_AT && !sweep.last.is_empty() {
        let from_the_start = tenants(pool, "tasks", WAITS, "").await?;
        asked.extend(from_the_start.into_iter().take_while(|tenant| *tenant <= sweep.last));
    }
    let mut tasks = Vec::new();
    for tenant in asked {
        if tasks.len() >= limit {
            break;
        }
        tasks.extend(of_tenant(pool, sweep, &tenant, share.min(limit - tasks.len()), per_route).await?);
        sweep.last = tenant;
    }
    Ok(tasks)
}

const WAITS: &str = "wait_route IS NOT NULL";

/// One tenant's turn.
async fn of_tenant(
    pool: &Pool,
    sweep: &mut Sweep,
    tenant: &str,
    most: usize,
    per_route: usize,
) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
    let after = sweep.resume(tenant);
    let (per_route, limit) = (bound(per_route), bound(most));
    let mut rows = pool.query(SWEEP, &[&tenant, &after.as_str(), &per_route, &limit]).await?;
    if rows.len() < most && !after.is_empty() {
        let limit = bound(most - rows.len());
        for row in pool.query(SWEEP, &[&tenant, &"", &per_route, &limit]).await? {
            if get::<&str>(&row, 2)? > after.as_str() {
                break;
            }
            rows.push(row);
        }
    }
    if rows.len() == most
        && let Some(last) = rows.last()
    {
        sweep.stopped(tenant, get(last, 2)?);
    }
    let owner = id(TenantId::parse(tenant))?;
    rows.iter().map(|row| Ok((owner.clone(), waiting_task(row)?))).collect()
}
