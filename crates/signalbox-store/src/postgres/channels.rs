//! Channels and their histories: lists, pages, and what retention removes of them.

use std::sync::Arc;

use signalbox_core::channel::{Channel, ChannelMessage};
use signalbox_wire::id::{ChannelId, TenantId};
use signalbox_wire::time::Timestamp;

use super::listings::{bodies, by_name as list_by_name};
use super::pool::Pool;
use super::query::{Query, bound, get, text};
use crate::StoreError;
use crate::api::{Listed, Page};
use crate::retention::{CHANNELS_AT_ONCE, TENANTS_MAX, Tenant};
use crate::schema;

/// Parameters: tenant, channel, sequence, how many, bytes after which no further one is given, since when.
const HISTORY: &str = "SELECT body FROM \
    (SELECT body, sequence, sum(octet_length(body)) OVER (ORDER BY sequence) - octet_length(body) AS before FROM \
     (SELECT body, sequence FROM channel_messages WHERE tenant = $1 AND channel = $2 AND sequence > $3 \
      AND at >= $6 ORDER BY sequence LIMIT $4) AS page) AS sized WHERE before < $5 ORDER BY sequence";

/// Walks the oldest message of each channel of a tenant, whose name is `$tenant`, to those that may go at `$2`.
macro_rules! walk {
    ($tenant:literal, $select:literal) => {
        concat!(
            "WITH RECURSIVE walk (channel, sequence, at) AS \
             ((SELECT channel, sequence, at FROM channel_messages WHERE tenant = ",
            $tenant,
            " ORDER BY channel, sequence LIMIT 1) UNION ALL \
             SELECT following.* FROM walk CROSS JOIN LATERAL \
             (SELECT channel, sequence, at FROM channel_messages WHERE tenant = ",
            $tenant,
            " AND channel > walk.channel ORDER BY channel, sequence LIMIT 1) AS following) ",
            $select,
            " FROM walk LEFT JOIN channels ON channels.tenant = ",
            $tenant,
            " AND channels.id = walk.channel \
             WHERE (channels.id IS NULL OR walk.sequence < channels.first_kept \
              OR walk.at < $2 - channels.max_age)"
        )
    };
}

/// Tenants with a channel whose oldest message may go: each is walked to the first such, and none behind the last that is
/// asked for. Parameters: the tenant after which it begins, the moment, how many.
const TENANTS: &str = concat!(
    "WITH RECURSIVE named (tenant) AS \
     ((SELECT tenant FROM channel_messages WHERE tenant > $1 ORDER BY tenant LIMIT 1) UNION ALL \
     SELECT following.tenant FROM named CROSS JOIN LATERAL \
     (SELECT tenant FROM channel_messages WHERE tenant > named.tenant ORDER BY tenant LIMIT 1) AS following) \
     SELECT named.tenant FROM named WHERE EXISTS (",
    walk!("named.tenant", "SELECT 1"),
    ") LIMIT $3"
);

/// Channels of a tenant whose oldest message may go: before which sequence, and before which moment; all of it where
/// there is no such channel any more. Parameters: tenant, the moment, how many.
const CHANNELS: &str = concat!(
    walk!(
        "$1",
        "SELECT walk.channel, COALESCE(channels.first_kept, 9223372036854775807), \
         COALESCE($2 - channels.max_age, 9223372036854775807)"
    ),
    " LIMIT $3"
);

/// Parameters: tenant, channel, before which sequence or which moment, how many.
const REMOVE: &str = "DELETE FROM channel_messages USING (SELECT sender, id FROM \
    (SELECT sender, id, sequence, at FROM channel_messages WHERE tenant = $1 AND channel = $2 \
     ORDER BY sequence LIMIT $5) AS oldest WHERE sequence < $3 OR at < $4) AS old \
    WHERE channel_messages.tenant = $1 AND channel_messages.channel = $2 \
    AND channel_messages.sender = old.sender AND channel_messages.id = old.id RETURNING 1";

/// Channels by name.
pub(super) async fn by_name(
    pool: &Pool,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<Channel>>, StoreError> {
    let query = Query::new(
        "SELECT n.name, c.body FROM channel_names n JOIN channels c ON c.tenant = n.tenant AND c.id = n.channel \
         WHERE n.tenant = ?",
        [text(tenant.as_str())],
    );
    bodies(list_by_name(pool, query, "n.name", page).await?)
}

/// Messages of a channel after a sequence that are not older than a moment: so many, and so many bytes, at most.
pub(super) async fn history(
    pool: &Pool,
    tenant: &TenantId,
    channel: &ChannelId,
    (after, since): (u64, Timestamp),
    (limit, bytes): (usize, usize),
) -> Result<Vec<Arc<ChannelMessage>>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let (tenant, channel) = (tenant.as_str(), channel.as_str());
    let (limit, bytes, since) = (bound(limit), bound(bytes.max(1)), since.as_micros());
    let rows = pool.query(HISTORY, &[&tenant, &channel, &after, &limit, &bytes, &since]).await?;
    rows.iter().map(|row| schema::decode(get(row, 0)?).map(Arc::new)).collect()
}

/// Tenants after `last` with a channel whose oldest message may go at `now`.
pub(super) async fn tenants(pool: &Pool, last: &str, now: i64) -> Result<Vec<Tenant>, StoreError> {
    let rows = pool.query(TENANTS, &[&last, &now, &bound(TENANTS_MAX)]).await?;
    rows.iter().map(|row| Ok(Tenant { name: get(row, 0)?, before: now })).collect()
}

/// Removes up to `limit` messages that a tenant's channels no longer keep; answers how many, and whether that was all.
pub(super) async fn remove(pool: &Pool, tenant: &Tenant, limit: usize) -> Result<(usize, bool), StoreError> {
    let found = pool.query(CHANNELS, &[&tenant.name, &tenant.before, &bound(CHANNELS_AT_ONCE)]).await?;
    let mut count = 0;
    for row in &found {
        let (channel, below, before) = (get::<&str>(row, 0)?, get::<i64>(row, 1)?, get::<i64>(row, 2)?);
        let left = bound(limit.saturating_sub(count));
        if left == 0 {
            break;
        }
        count += pool.query(REMOVE, &[&tenant.name, &channel, &below, &before, &left]).await?.len();
    }
    Ok((count, count < limit && found.len() < CHANNELS_AT_ONCE))
}
