//! Channels and their histories: lists, pages, and what retention removes of them.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use signalbox_core::channel::{Channel, ChannelMessage};
use signalbox_wire::id::{ChannelId, TenantId};
use signalbox_wire::time::Timestamp;

use super::convert::sql_limit;
use super::fault::fault;
use super::listings::{Query, by_name as list_by_name, text};
use crate::StoreError;
use crate::api::{Listed, Page};
use crate::retention::{CHANNELS_AT_ONCE, TENANTS_MAX, Tenant};
use crate::schema;

/// Channels by name.
pub(super) fn by_name(
    connection: &Connection,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<Channel>>, StoreError> {
    let query = Query::new(
        "SELECT n.name, c.body FROM channel_names n JOIN channels c ON c.tenant = n.tenant AND c.id = n.channel
         WHERE n.tenant = ?",
        [text(tenant.as_str())],
    );
    list_by_name(connection, query, "n.name", page)
}

/// Messages of a channel after a sequence that are not older than a moment: so many, and so many bytes, at most.
pub(super) fn history(
    connection: &Connection,
    tenant: &TenantId,
    channel: &ChannelId,
    (after, since): (u64, Timestamp),
    (limit, bytes): (usize, usize),
) -> Result<Vec<Arc<ChannelMessage>>, StoreError> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut page = connection.prepare_cached(
            "SELECT body FROM channel_messages WHERE tenant = ?1 AND channel = ?2 AND sequence > ?3
             AND at >= ?5 ORDER BY sequence LIMIT ?4",
        )?;
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let (limit, since) = (sql_limit(limit), since.as_micros());
        let mut rows = page.query(params![tenant.as_str(), channel.as_str(), after, limit, since])?;
        let (mut bodies, mut taken) = (Vec::new(), 0);
        while taken < bytes.max(1)
            && let Some(row) = rows.next()?
        {
            let body: String = row.get(0)?;
            taken += body.len();
            bodies.push(body);
        }
        Ok(bodies)
    };
    let bodies = read().map_err(|error| fault(&error))?;
    bodies.iter().map(|body| schema::decode(body).map(Arc::new)).collect()
}

/// The beginning of a history that may go.
pub(super) struct Trim {
    channel: String,
    /// What comes before this sequence may go,
    below: i64,
    /// and what was published before this moment.
    before: i64,
}

/// The oldest message of a channel.
struct Oldest {
    tenant: String,
    channel: String,
    sequence: i64,
    at: i64,
}

/// The oldest message of the first channel after these: of the next tenant, or of the next channel of this one.
fn oldest_after(
    connection: &Connection,
    tenant: &str,
    channel: Option<&str>,
) -> rusqlite::Result<Option<Oldest>> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Oldest { tenant: row.get(0)?, channel: row.get(1)?, sequence: row.get(2)?, at: row.get(3)? })
    };
    match channel {
        Some(channel) => connection
            .prepare_cached(
                "SELECT tenant, channel, sequence, at FROM channel_messages INDEXED BY channel_messages_by_sequence
                 WHERE tenant = ?1 AND channel > ?2 ORDER BY channel, sequence LIMIT 1",
            )?
            .query_row([tenant, channel], read)
            .optional(),
        None => connection
            .prepare_cached(
                "SELECT tenant, channel, sequence, at FROM channel_messages INDEXED BY channel_messages_by_sequence
                 WHERE tenant > ?1 ORDER BY tenant, channel, sequence LIMIT 1",
            )?
            .query_row([tenant], read)
            .optional(),
    }
}

/// What of a channel may go at `now`, if anything: all of it where there is no such channel any more.
fn trim(connection: &Connection, oldest: &Oldest, now: i64) -> rusqlite::Result<Option<Trim>> {
    let kept = connection
        .prepare_cached("SELECT first_kept, max_age FROM channels WHERE tenant = ?1 AND id = ?2")?
        .query_row([&oldest.tenant, &oldest.channel], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .optional()?;
    let (below, before) = match kept {
        Some((first, max_age)) => (first, now.saturating_sub(max_age)),
        None => (i64::MAX, i64::MAX),
    };
    let may_go = oldest.sequence < below || oldest.at < before;
    Ok(may_go.then(|| Trim { channel: oldest.channel.clone(), below, before }))
}

/// Tenants after `last` with a channel whose oldest message may go at `now`.
pub(super) fn tenants(connection: &Connection, last: String, now: i64) -> rusqlite::Result<Vec<Tenant>> {
    let (mut tenant, mut channel) = (last, None);
    let mut tenants = Vec::new();
    while tenants.len() < TENANTS_MAX {
        let Some(oldest) = oldest_after(connection, &tenant, channel.as_deref())? else {
            match channel.take() {
                Some(_) => continue,
                None => break,
            }
        };
        tenant.clone_from(&oldest.tenant);
        channel = Some(oldest.channel.clone());
        if trim(connection, &oldest, now)?.is_some() {
            tenants.push(Tenant { name: oldest.tenant, before: now });
            channel = None;
        }
    }
    Ok(tenants)
}

/// What may go of a tenant's channels, some of them at a time.
pub(super) fn trims(connection: &Connection, tenant: &Tenant) -> rusqlite::Result<Vec<Trim>> {
    let (mut trims, mut channel) = (Vec::new(), String::new());
    while trims.len() < CHANNELS_AT_ONCE
        && let Some(oldest) = oldest_after(connection, &tenant.name, Some(&channel))?
    {
        channel.clone_from(&oldest.channel);
        trims.extend(trim(connection, &oldest, tenant.before)?);
    }
    Ok(trims)
}

/// Removes up to `limit` messages; answers how many. Under it, all of these have gone.
pub(super) fn remove(
    connection: &Connection,
    tenant: &str,
    trims: &[Trim],
    limit: usize,
) -> rusqlite::Result<usize> {
    let mut remove = connection.prepare_cached(
        "DELETE FROM channel_messages WHERE rowid IN
         (SELECT place FROM (SELECT rowid AS place, sequence, at FROM channel_messages
           INDEXED BY channel_messages_by_sequence WHERE tenant = ?1 AND channel = ?2 ORDER BY sequence LIMIT ?5)
          WHERE sequence < ?3 OR at < ?4)",
    )?;
    let mut count = 0;
    for Trim { channel, below, before } in trims {
        let left = limit.saturating_sub(count);
        if left == 0 {
            break;
        }
        count += remove.execute(params![tenant, channel, below, before, sql_limit(left)])?;
    }
    Ok(count)
}
