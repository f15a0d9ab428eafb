//! The log's layout: where a tenant's entries lie, and which of them are about an agent or of a session.
//!
//! Entries are numbered per tenant. Those that are written together stand in [rows](super::packed) of up to
//! [`ROW_ENTRIES`] places, each under the place of its last entry. A row may have lost some of its entries.
//!
//! Places are grouped in blocks. Whoever appends the last entry of a block indexes by agents in the same commit, so every
//! full block is indexed and only the newest, unfinished one must be walked.
//!
//! The entries of a session are found by stretches: from which place to which it has some, among those of others. What is
//! written together is one stretch.

use std::collections::HashMap;
use std::ops::{ControlFlow, RangeInclusive};

use quick_cache::DefaultHashBuilder;
use rusqlite::{Connection, OptionalExtension, params};
use signalbox_wire::id::{AgentId, TenantId};

use super::packed::{self, Entry, ROW_ENTRIES};

/// Bits of an id that number the entry within its tenant.
const PLACE_BITS: u32 = 40;
/// Entries in a block. Offsets within one fit 16 bits.
const BLOCK: i64 = 4_096;

/// As places.
const ROW_PLACES: i64 = ROW_ENTRIES as i64;

/// Where a session has entries, the oldest first. Its stretches do not overlap, so that at most one begins before the first place
/// that is asked for and reaches it. Parameters: tenant, session, first and last place.
pub(super) const STRETCHES: &str = "SELECT first, last FROM event_sessions WHERE tenant = ?1 AND session = ?2
    AND first >= ifnull((SELECT max(first) FROM event_sessions WHERE tenant = ?1 AND session = ?2 AND first <= ?3), ?3)
    AND first <= ?4 AND last >= ?3 ORDER BY first";

/// Which way the log is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the oldest entry on.
    Forward,
    /// From the newest entry on.
    Backward,
}

/// A tenant's part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    number: i64,
}

impl Log {
    /// The log of `tenant`, when anything was ever appended to it.
    pub(super) fn find(connection: &Connection, tenant: &str) -> rusqlite::Result<Option<Self>> {
        let mut statement =
            connection.prepare_cached("SELECT number FROM tenant_numbers WHERE tenant = ?1")?;
        statement.query_row([tenant], |row| Ok(Self { number: row.get(0)? })).optional()
    }

    /// The log of `tenant`, begun where there is none.
    pub(super) fn find_or_begin(connection: &Connection, tenant: &TenantId) -> rusqlite::Result<Self> {
        if let Some(found) = Self::find(connection, tenant.as_str())? {
            return Ok(found);
        }
        connection.execute("INSERT INTO tenant_numbers (tenant) VALUES (?1)", [tenant.as_str()])?;
        Ok(Self { number: connection.last_insert_rowid() })
    }

    /// The number of its tenant.
    pub(super) fn number(self) -> i64 {
        self.number
    }

    /// The log of the tenant with this number.
    pub(super) fn numbered(number: i64) -> Self {
        Self { number }
    }

    /// The moment of the oldest entry that is kept.
    pub(super) fn oldest(self, connection: &Connection) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT at FROM events WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1";
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row([self.id(0), self.id(i64::MAX)], |row| row.get(0)).optional()
    }

    /// The id of the entry at `place`.
    pub(super) fn id(self, place: i64) -> i64 {
        (self.number << PLACE_BITS) + place.clamp(0, (1 << PLACE_BITS) - 1)
    }

    /// The place of the entry with this id.
    pub(super) fn place(self, id: i64) -> i64 {
        id - self.id(0)
    }

    /// The oldest kept place and the newest; `None` where nothing is kept.
    pub(super) fn ends(self, connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
        let sql = "SELECT id, entries FROM events WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1";
        let mut oldest = connection.prepare_cached(sql)?;
        let first = oldest.query_row([self.id(0), self.id(i64::MAX)], |row| {
            packed::first_place(self.place(row.get(0)?), row.get_ref(1)?.as_blob()?)
        });
        Ok(first.optional()?.zip(self.newest(connection)?))
    }

    /// Where the tenant's order goes on.
    pub(super) fn last_place(self, connection: &Connection) -> rusqlite::Result<i64> {
        Ok(self.newest(connection)?.unwrap_or(0))
    }

    fn newest(self, connection: &Connection) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT id FROM events WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
        let mut newest = connection.prepare_cached(sql)?;
        newest.query_row([self.id(0), self.id(i64::MAX)], |row| Ok(self.place(row.get(0)?))).optional()
    }

    /// Walks the rows that may have places from `low` to `high`, until told to stop. Each is shown whole: its last place, and
    /// its [packed] entries.
    pub(super) fn rows<B>(
        self,
        connection: &Connection,
        (low, high): (i64, i64),
        direction: Direction,
        mut visit: impl FnMut(i64, &[u8]) -> rusqlite::Result<ControlFlow<B>>,
    ) -> rusqlite::Result<ControlFlow<B>> {
        if low > high {
            return Ok(ControlFlow::Continue(()));
        }
        let mut walk = connection.prepare_cached(match direction {
            Direction::Forward => "SELECT id, entries FROM events WHERE id BETWEEN ?1 AND ?3 ORDER BY id",
            Direction::Backward => {
                "SELECT id, entries FROM events
                 WHERE id BETWEEN ?1 AND ifnull((SELECT min(id) FROM events WHERE id BETWEEN ?2 AND ?3), ?2) ORDER BY id DESC"
            }
        })?;
        // Rows do not overlap: one alone reaches beyond the range, and ends at most so far behind it.
        let end = high.saturating_add(ROW_PLACES - 1);
        let mut rows = walk.query([self.id(low), self.id(high), self.id(end)])?;
        while let Some(row) = rows.next()? {
            let last = self.place(row.get(0)?);
            let visited = visit(last, row.get_ref(1)?.as_blob()?)?;
            if visited.is_break() {
                return Ok(visited);
            }
            if direction == Direction::Forward && last >= high {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Walks the entries at places from `low` to `high`, until told to stop.
    pub(super) fn walk(
        self,
        connection: &Connection,
        (low, high): (i64, i64),
        direction: Direction,
        mut visit: impl FnMut(&Entry<'_>) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<ControlFlow<()>> {
        self.rows(connection, (low, high), direction, |last, row| {
            let mut entries = packed::unpack(last, row)?;
            entries.retain(|entry| (low..=high).contains(&entry.place));
            if direction == Direction::Backward {
                entries.reverse();
            }
            for entry in &entries {
                if visit(entry)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Visits the stretches of places in which a session has entries, of those from `low` to `high`, until told to stop.
    pub(super) fn stretches(
        self,
        connection: &Connection,
        session: &str,
        (low, high): (i64, i64),
        direction: Direction,
        mut visit: impl FnMut((i64, i64)) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<ControlFlow<()>> {
        let mut find = match direction {
            Direction::Forward => connection.prepare_cached(STRETCHES)?,
            Direction::Backward => connection.prepare_cached(&format!("{STRETCHES} DESC"))?,
        };
        let mut found = find.query(params![self.number, session, low, high])?;
        while let Some(row) = found.next()? {
            if visit((row.get(0)?, row.get(1)?))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Up to `limit` of the stretches of a session that begin at `high` or before, the newest first.
    pub(super) fn newest_stretches(
        self,
        connection: &Connection,
        session: &str,
        high: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<(i64, i64)>> {
        let mut newest = Vec::new();
        self.stretches(connection, session, (0, high), Direction::Backward, |stretch| {
            newest.push(stretch);
            Ok(if newest.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
        .map(|_| newest)
    }

    /// Which entries of the block that ends at `last` are about which agent.
    pub(super) fn read_block(
        self,
        connection: &Connection,
        last: i64,
    ) -> rusqlite::Result<Vec<(i64, AgentId)>> {
        let places = places_of(block_of(last));
        let mut found = Vec::new();
        let all = self.walk(connection, places.into_inner(), Direction::Forward, |entry| {
            if let Some(Ok(agent)) = entry.agent.map(AgentId::parse) {
                found.push((entry.place, agent));
            }
            Ok(ControlFlow::Continue(()))
        });
        all.map(|_| found)
    }

    /// Indexes the block that ends at `last`, whose entries are about these agents.
    pub(super) fn index_block(
        self,
        connection: &Connection,
        last: i64,
        about: &[(i64, AgentId)],
    ) -> rusqlite::Result<()> {
        let block = block_of(last);
        let start = *places_of(block).start();
        let mut offsets: HashMap<&AgentId, Vec<u8>, DefaultHashBuilder> = HashMap::default();
        for (place, agent) in about {
            let offset = u16::try_from(place - start).unwrap_or(u16::MAX);
            offsets.entry(agent).or_default().extend(offset.to_le_bytes());
        }
        let mut offsets: Vec<_> = offsets.into_iter().collect();
        offsets.sort_unstable();
        let mut insert = connection.prepare_cached(
            "INSERT OR REPLACE INTO event_agents (tenant, block, agent, offsets) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (agent, offsets) in offsets {
            insert.execute(params![self.number, block, agent.as_str(), offsets])?;
        }
        Ok(())
    }

    /// The places of the entries about `agent` in an indexed block, in order.
    pub(super) fn places_about(
        self,
        connection: &Connection,
        block: i64,
        agent: &str,
    ) -> rusqlite::Result<Vec<i64>> {
        let mut statement = connection.prepare_cached(
            "SELECT offsets FROM event_agents WHERE tenant = ?1 AND block = ?2 AND agent = ?3",
        )?;
        let offsets: Option<Vec<u8>> =
            statement.query_row(params![self.number, block, agent], |row| row.get(0)).optional()?;
        let start = *places_of(block).start();
        let (pairs, _) = offsets.as_deref().unwrap_or_default().as_chunks::<2>();
        Ok(pairs.iter().map(|pair| start + i64::from(u16::from_le_bytes(*pair))).collect())
    }

    /// Forgets up to `limit` rows of the indexes, whatever they cover; answers how many.
    pub(super) fn remove_index(self, connection: &Connection, limit: usize) -> rusqlite::Result<usize> {
        let mut count = 0;
        for sql in [
            "DELETE FROM event_agents WHERE (tenant, block, agent) IN
             (SELECT tenant, block, agent FROM event_agents WHERE tenant = ?1 LIMIT ?2)",
            "DELETE FROM event_sessions WHERE (tenant, session, first) IN
             (SELECT tenant, session, first FROM event_sessions WHERE tenant = ?1 LIMIT ?2)",
        ] {
            let left = super::convert::sql_limit(limit.saturating_sub(count));
            count += connection.prepare(sql)?.execute(params![self.number, left])?;
        }
        Ok(count)
    }

    /// Forgets the index of the blocks that lie before the oldest kept entry.
    pub(super) fn trim_index(self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some((first, _)) = self.ends(connection)? {
            let mut trim =
                connection.prepare_cached("DELETE FROM event_agents WHERE tenant = ?1 AND block < ?2")?;
            trim.execute([self.number, block_of(first)])?;
        }
        Ok(())
    }
}

/// Whether the entry at `place` is the last of its block.
pub(super) fn ends_block(place: i64) -> bool {
    place % BLOCK == 0
}

/// The block that the entry at `place` is in.
pub(super) fn block_of(place: i64) -> i64 {
    (place - 1) / BLOCK
}

/// The places of a block.
pub(super) fn places_of(block: i64) -> RangeInclusive<i64> {
    block * BLOCK + 1..=(block + 1) * BLOCK
}
