//! Due work: claiming, releasing, and the sweep over waiting tasks.

use signalbox_core::lease::Lease;
use signalbox_core::view::WaitingTask;
use signalbox_wire::id::{NodeId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio_postgres::Row;

use super::pool::Pool;
use super::query::{bound, get, id, unsigned};
use super::rows::waiting_task;
use crate::StoreError;
use crate::api::{Backlog, Claimed, DueKind};
use crate::schema;

/// What others are about to take or to remove is passed over, so claims never wait for each other.
fn claim_sql(kind: DueKind) -> String {
    format!(
        "UPDATE due SET visible_at = $2, leased_by = $3 FROM \
         (SELECT tenant, id, visible_at FROM due WHERE {} AND visible_at <= $1 ORDER BY visible_at LIMIT $4 \
          FOR UPDATE SKIP LOCKED) AS free \
         WHERE due.tenant = free.tenant AND due.id = free.id \
         RETURNING due.tenant, due.body, due.due_at, free.visible_at",
        kind.condition()
    )
}

/// Takes what is visible at `now`, the longest visible first.
pub(super) async fn claim(
    pool: &Pool,
    now: Timestamp,
    lease: &Lease,
    kind: DueKind,
    limit: usize,
) -> Result<Vec<Claimed>, StoreError> {
    let until = lease.until.as_micros();
    let rows = pool
        .query(&claim_sql(kind), &[&now.as_micros(), &until, &lease.node.as_str(), &bound(limit)])
        .await?;
    let mut claimed = rows
        .iter()
        .map(|row| {
            let tenant = id(TenantId::parse(get(row, 0)?))?;
            let due_at = Timestamp::from_micros(get(row, 2)?);
            let work = schema::decode(get(row, 1)?)?;
            Ok((get::<i64>(row, 3)?, Claimed { tenant, work, due_at, lease: lease.clone() }))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    claimed.sort_by_key(|(visible_at, _)| *visible_at);
    Ok(claimed.into_iter().map(|(_, claimed)| claimed).collect())
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

/// Where the sweep over waiting tasks stands: the tenant and routing key that it looked at last.
#[derive(Debug, Clone, Default)]
pub(super) struct Sweep {
    last: Option<(String, String)>,
}

/// The longest-waiting tasks, `$3` at most of each, under the routing keys after `$1, $2`; `$4` at most in all.
const SWEEP: &str = "WITH RECURSIVE routes (tenant, route) AS ( \
    (SELECT tenant, wait_route FROM tasks WHERE wait_route IS NOT NULL AND (tenant, wait_route) > ($1, $2) \
     ORDER BY tenant, wait_route LIMIT 1) \
    UNION ALL SELECT following.tenant, following.wait_route FROM routes CROSS JOIN LATERAL \
        (SELECT tenant, wait_route FROM tasks \
         WHERE wait_route IS NOT NULL AND (tenant, wait_route) > (routes.tenant, routes.route) \
         ORDER BY tenant, wait_route LIMIT 1) AS following) \
    SELECT task.session, task.id, routes.tenant, routes.route FROM routes CROSS JOIN LATERAL \
        (SELECT session, id FROM tasks WHERE tenant = routes.tenant AND wait_route = routes.route \
         ORDER BY queued_at, id LIMIT $3) AS task LIMIT $4";

impl Sweep {
    /// The longest-waiting tasks under the next routing keys, until `limit` is reached or every key had its
    /// turn.
    pub(super) async fn next(
        &mut self,
        pool: &Pool,
        limit: usize,
        per_route: usize,
    ) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
        let first = self.last.take();
        let mut rows = routes_after(pool, first.as_ref(), limit, per_route).await?;
        if rows.len() < limit && first.is_some() {
            let from_the_start = routes_after(pool, None, limit - rows.len(), per_route).await?;
            for row in from_the_start {
                if Some(route(&row)?) > first {
                    break;
                }
                rows.push(row);
            }
        }
        if rows.len() == limit {
            self.last = rows.last().map(route).transpose()?;
        }
        rows.iter().map(|row| Ok((id(TenantId::parse(get(row, 2)?))?, waiting_task(row)?))).collect()
    }
}

async fn routes_after(
    pool: &Pool,
    last: Option<&(String, String)>,
    limit: usize,
    per_route: usize,
) -> Result<Vec<Row>, StoreError> {
    let (tenant, route) = last.map_or(("", ""), |(tenant, route)| (tenant.as_str(), route.as_str()));
    pool.query(SWEEP, &[&tenant, &route, &bound(per_route), &bound(limit)]).await
}

fn route(row: &Row) -> Result<(String, String), StoreError> {
    Ok((get(row, 2)?, get(row, 3)?))
}
