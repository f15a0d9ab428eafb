//! Due work: claiming, releasing, and the sweep over waiting tasks.
//!
//! Nothing is taken that is not visible by the database's own clock too: a node whose clock is ahead takes nothing
//! from the others.

use std::collections::HashMap;
use std::time::Duration;

use signalbox_core::due::Lane;
use signalbox_core::lease::Lease;
use signalbox_core::snapshot::WaitingTask;
use signalbox_wire::id::{NodeId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::pool::Pool;
use super::query::{bound, get, id, unsigned};
use super::rows::waiting_task;
use crate::StoreError;
use crate::api::{Backlog, Claimed, DueKind, LaneClaim, WaitingLanes};
use crate::rotation::{
    ENDED_PART, LANES_LOOKED_AT, OLDEST_LOOKED_AT, RotationCursor, Sweep, TENANTS_LOOKED_AT, TenantRotation,
    by_lane, share,
};
use crate::schema::{self, FREE_DUE};

/// How long due work that this program cannot read is left alone.
const UNREADABLE_REST: Duration = Duration::from_secs(10);

/// Takes rows of due work, `free` telling which. What others are about to take or to remove is passed over, so claims
/// never wait for each other. Parameters: now, until when, by whom, how many; then those of `free`.
fn claim_sql(free: &str, also: &str) -> String {
    format!(
        "UPDATE due SET visible_at = $2, leased_by = $3{also} FROM ({free}) AS free \
         WHERE due.tenant = free.tenant AND due.id = free.id \
         RETURNING due.tenant, due.body, due.due_at, free.visible_at, due.lane, due.id"
    )
}

/// Visible for whoever says that it is `$1`, and for the database.
fn visible() -> String {
    format!("visible_at <= $1 AND visible_at <= {NOW}")
}

/// The database's time in microseconds since 1970; the same throughout a statement.
pub(super) const NOW: &str = "(extract(epoch from statement_timestamp()) * 1000000)::bigint";

/// What has been visible the longest.
fn oldest(kind: DueKind) -> String {
    format!(
        "SELECT tenant, id, visible_at FROM due WHERE {} AND {} ORDER BY visible_at LIMIT $4 \
         FOR UPDATE SKIP LOCKED",
        kind.condition(),
        visible()
    )
}

/// What is over by now, whatever it is and whoever holds it.
fn ended() -> String {
    format!(
        "SELECT tenant, id, ends_at AS visible_at FROM due WHERE ends_at IS NOT NULL AND ends_at <= $1 \
         AND ends_at <= {NOW} ORDER BY ends_at LIMIT $4 FOR UPDATE SKIP LOCKED"
    )
}

/// What is visible of some tenants. Parameters: an array of them, how much of each.
fn in_turn(kind: DueKind) -> String {
    format!(
        "SELECT part.tenant, part.id, part.visible_at FROM unnest($5::text[]) AS asked (tenant) CROSS JOIN LATERAL \
         (SELECT tenant, id, visible_at FROM due WHERE {} AND due.tenant = asked.tenant AND {} \
          ORDER BY visible_at LIMIT $6 FOR UPDATE SKIP LOCKED) AS part LIMIT $4",
        kind.condition(),
        visible()
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
    /// The tenants and ids of rows that this program cannot read.
    unreadable: (Vec<String>, Vec<String>),
}

/// Takes what is visible at `now`, the longest visible first; while that is more than `limit`, a part of what are
/// timers tenant by tenant. Timers are also what is over, of which a part of `limit` is taken first.
pub(super) async fn claim(
    pool: &Pool,
    now: Timestamp,
    lease: &Lease,
    kind: DueKind,
    limit: usize,
    turns: &Mutex<TenantRotation>,
) -> Result<ClaimedBatch, StoreError> {
    let mut turn = turns.lock().await.of(kind).clone();
    let mut claim = Claim::new(pool, now.as_micros(), lease, kind);
    if kind == DueKind::Timer {
        claim.take_by(&claim_sql(&ended(), ", ends_at = $2"), limit.div_ceil(ENDED_PART), &[]).await?;
    }
    if turn.is_behind && kind == DueKind::Timer && claim.taken.len() < limit {
        let left = limit - claim.taken.len();
        claim.in_turn(left, &mut turn).await?;
    }
    let left = limit.saturating_sub(claim.taken.len());
    if left > 0 {
        claim.take(&oldest(kind), left, &[]).await?;
    }
    turn.is_behind = claim.taken.len() >= limit;
    *turns.lock().await.of(kind) = turn;
    claim.end().await
}

/// What a claim has taken.
pub(super) struct ClaimedBatch {
    pub(super) claimed: Vec<Claimed>,
    /// Rows that were left to a program that can read them.
    pub(super) unreadable: usize,
}

impl<'a> Claim<'a> {
    fn new(pool: &'a Pool, now: i64, lease: &'a Lease, kind: DueKind) -> Self {
        Self { pool, now, lease, kind, taken: Vec::new(), unreadable: (Vec::new(), Vec::new()) }
    }

    /// Lays aside what cannot be read and gives the rest, the longest visible first.
    async fn end(mut self) -> Result<ClaimedBatch, StoreError> {
        self.leave_unreadable().await?;
        self.taken.sort_by_key(|(visible_at, _)| *visible_at);
        let claimed = self.taken.into_iter().map(|(_, claimed)| claimed).collect();
        Ok(ClaimedBatch { claimed, unreadable: self.unreadable.1.len() })
    }

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
        self.take_by(&claim_sql(free, ""), most, others).await
    }

    async fn take_by(
        &mut self,
        sql: &str,
        most: usize,
        others: &[&(dyn ToSql + Sync)],
    ) -> Result<(), StoreError> {
        let (until, most) = (self.lease.until.as_micros(), bound(most));
        let node = self.lease.node.as_str();
        let values: [&(dyn ToSql + Sync); 4] = [&self.now, &until, &node, &most];
        let values: Vec<_> = values.into_iter().chain(others.iter().copied()).collect();
        for row in self.pool.query_once(sql, &values).await? {
            match self.understand(&row) {
                Ok(claimed) => self.taken.push((get(&row, 3)?, claimed)),
                Err(error) => {
                    let (tenant, id): (String, String) = (get(&row, 0)?, get(&row, 5)?);
                    tracing::warn!(tenant, id, %error, "due work is left to a program that can read it");
                    self.unreadable.0.push(tenant);
                    self.unreadable.1.push(id);
                }
            }
        }
        Ok(())
    }

    fn understand(&self, row: &Row) -> Result<Claimed, StoreError> {
        let tenant = id(TenantId::parse(get(row, 0)?))?;
        let due_at = Timestamp::from_micros(get(row, 2)?);
        let work = schema::decode(get(row, 1)?)?;
        let lane = Lane::named(get::<String>(row, 4)?);
        Ok(Claimed { tenant, work, due_at, lane, lease: self.lease.clone() })
    }

    /// Lays aside what cannot be read here, for a program of a later version that may be running beside this one.
    async fn leave_unreadable(&self) -> Result<(), StoreError> {
        let (tenants, ids) = &self.unreadable;
        if ids.is_empty() {
            return Ok(());
        }
        let (until, free_at) = (self.lease.until.as_micros(), self.now + micros(UNREADABLE_REST));
        let node = self.lease.node.as_str();
        let sql = "UPDATE due SET visible_at = $1, leased_by = NULL \
            FROM unnest($4::text[], $5::text[]) AS given (tenant, id) \
            WHERE due.tenant = given.tenant AND due.id = given.id AND leased_by = $2 AND visible_at = $3";
        self.pool.query(sql, &[&free_at, &node, &until, tenants, ids]).await.map(drop)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Moves leased work, or keeps it for longer, where it is still held as it was claimed; answers how much was.
pub(super) async fn move_held(
    pool: &Pool,
    held: &[Claimed],
    until: Timestamp,
    keeper: Option<&NodeId>,
) -> Result<usize, StoreError> {
    let tenants: Vec<&str> = held.iter().map(|held| held.tenant.as_str()).collect();
    let ids: Vec<String> = held.iter().map(|held| held.work.id()).collect();
    let nodes: Vec<&str> = held.iter().map(|held| held.lease.node.as_str()).collect();
    let untils: Vec<i64> = held.iter().map(|held| held.lease.until.as_micros()).collect();
    let (until, keeper) = (until.as_micros(), keeper.map(NodeId::as_str));
    // Work that is kept stays due when it was: should its holder die, it is as old as it is.
    let sql = "UPDATE due SET visible_at = $1, leased_by = $2, \
         due_at = CASE WHEN $2::text IS NULL THEN $1 ELSE due_at END \
        FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[]) AS held (tenant, id, node, until) \
        WHERE due.tenant = held.tenant AND due.id = held.id AND due.leased_by = held.node \
        AND due.visible_at = held.until RETURNING 1";
    Ok(pool.query_once(sql, &[&until, &keeper, &tenants, &ids, &nodes, &untils]).await?.len())
}

/// Frees what `node` holds until exactly one of these moments.
pub(super) async fn free_lost(pool: &Pool, node: &NodeId, untils: &[i64]) -> Result<(), StoreError> {
    for kind in DueKind::ALL {
        let sql = format!(
            "UPDATE due SET {FREE_DUE} \
             WHERE {} AND visible_at = ANY($2::bigint[]) AND leased_by = $1",
            kind.condition()
        );
        pool.query(&sql, &[&node.as_str(), &untils]).await?;
    }
    Ok(())
}

/// The database's time.
pub(super) async fn time(pool: &Pool) -> Result<Timestamp, StoreError> {
    let row = pool.query_one(&format!("SELECT {NOW}"), &[]).await?;
    let row = row.ok_or_else(|| StoreError::Corrupt("PostgreSQL knows no time".to_owned()))?;
    Ok(Timestamp::from_micros(get(&row, 0)?))
}

/// What is visible of some lanes. Parameters after those of every claim (the first is the latest of the moments): arrays of tenants,
/// lanes, how much of each, and by when it must have been visible.
fn of_lanes(kind: DueKind) -> String {
    format!(
        "SELECT part.tenant, part.id, part.visible_at \
         FROM unnest($5::text[], $6::text[], $7::bigint[], $8::bigint[]) AS asked (tenant, lane, most, by) \
         CROSS JOIN LATERAL (SELECT tenant, id, visible_at FROM due WHERE {} AND due.tenant = asked.tenant \
          AND due.lane = asked.lane AND visible_at <= asked.by AND {} ORDER BY visible_at LIMIT asked.most \
          FOR UPDATE SKIP LOCKED) AS part LIMIT $4",
        kind.condition(),
        visible()
    )
}

/// Takes of each lane what it may.
pub(super) async fn claim_lanes(
    pool: &Pool,
    lease: &Lease,
    kind: DueKind,
    wanted: &[LaneClaim],
) -> Result<ClaimedBatch, StoreError> {
    let tenants: Vec<&str> = wanted.iter().map(|lane| lane.tenant.as_str()).collect();
    let lanes: Vec<&str> = wanted.iter().map(|lane| lane.lane.as_str()).collect();
    let most: Vec<i64> = wanted.iter().map(|lane| bound(lane.most)).collect();
    let by: Vec<i64> = wanted.iter().map(|lane| lane.visible_by.as_micros()).collect();
    let in_all = wanted.iter().map(|lane| lane.most).sum();
    let latest = wanted.iter().map(|lane| lane.visible_by.as_micros()).max().unwrap_or_default();
    let mut claim = Claim::new(pool, latest, lease, kind);
    claim.take(&of_lanes(kind), in_all, &[&tenants, &lanes, &most, &by]).await?;
    claim.end().await
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

/// How much there is in one lane, up to `most`.
pub(super) async fn waiting_in_lane(
    pool: &Pool,
    tenant: &TenantId,
    kind: DueKind,
    lane: &Lane,
    most: usize,
) -> Result<usize, StoreError> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM due WHERE {} AND tenant = $1 AND lane = $2 LIMIT $3) AS found",
        kind.condition()
    );
    let row = pool.query_one(&sql, &[&tenant.as_str(), &lane.as_str(), &bound(most)]).await?;
    let count: i64 = row.map_or(Ok(0), |row| get(&row, 0))?;
    Ok(usize::try_from(count).unwrap_or_default())
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
    let sql = format!("UPDATE due SET {FREE_DUE} WHERE leased_by = $1");
    pool.query(&sql, &[&node.as_str()]).await.map(drop)
}

/// How much there is; `limit` pieces are counted at most, by an index of each kind.
pub(super) async fn backlog(pool: &Pool, limit: u64) -> Result<Backlog, StoreError> {
    let mut backlog = Backlog::default();
    for kind in DueKind::ALL {
        let left = bound(usize::try_from(limit - backlog.pending).unwrap_or(usize::MAX));
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM due WHERE {} LIMIT $1) AS counted",
            kind.condition()
        );
        if let Some(row) = pool.query_one(&sql, &[&left]).await? {
            backlog.pending += unsigned(get(&row, 0)?)?;
        }
        backlog.next = [backlog.next, next(pool, kind).await?].into_iter().flatten().min();
    }
    Ok(backlog)
}

/// The next moment at which work of this kind can be claimed.
pub(super) async fn next(pool: &Pool, kind: DueKind) -> Result<Option<Timestamp>, StoreError> {
    let sql = format!("SELECT visible_at FROM due WHERE {} ORDER BY visible_at LIMIT 1", kind.condition());
    let row = pool.query_one(&sql, &[]).await?;
    let next = row.map(|row| Ok::<_, StoreError>(Timestamp::from_micros(get(&row, 0)?))).transpose()?;
    if kind != DueKind::Timer {
        return Ok(next);
    }
    let sql = "SELECT ends_at FROM due WHERE ends_at IS NOT NULL ORDER BY ends_at LIMIT 1";
    let row = pool.query_one(sql, &[]).await?;
    let ends = row.map(|row| Ok::<_, StoreError>(Timestamp::from_micros(get(&row, 0)?))).transpose()?;
    Ok([next, ends].into_iter().flatten().min())
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
