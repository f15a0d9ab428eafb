//! The log's layout: where a tenant's entries lie, and which of them are about an agent.
//!
//! Entries are numbered per tenant and grouped in blocks. Whoever appends the last entry of a block indexes the
//! block in the same commit, so every full block is indexed and only the newest, unfinished one must be walked.
//!
//! Entries of one session that are written together are a run: only the first is in an index. Its `run` says how many
//! places from there on may hold the rest. An entry that is not the first of its run always has that before it.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use quick_cache::DefaultHashBuilder;
use rusqlite::{Connection, OptionalExtension, params};
use signalbox_wire::id::{AgentId, TenantId};

/// Bits of an id that number the entry within its tenant.
const PLACE_BITS: u32 = 40;
/// Entries in a block. Offsets within one fit 16 bits.
const BLOCK: i64 = 4_096;

/// Entries of one run of a session's, at most: as far behind a place its first may be looked for.
pub(super) const RUN_MAX: usize = 64;
const RUN_PLACES: i64 = RUN_MAX as i64;

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
        let end = |direction: &str| -> rusqlite::Result<Option<i64>> {
            let sql =
                format!("SELECT id FROM events WHERE id BETWEEN ?1 AND ?2 ORDER BY id {direction} LIMIT 1");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_row([self.id(0), self.id(i64::MAX)], |row| row.get(0)).optional()
        };
        Ok(end("ASC")?.zip(end("DESC")?).map(|(first, last)| (self.place(first), self.place(last))))
    }

    /// Where the tenant's order goes on.
    pub(super) fn last_place(self, connection: &Connection) -> rusqlite::Result<i64> {
        Ok(self.ends(connection)?.map_or(0, |(_, last)| last))
    }

    /// Which entries of the block that ends at `last` are about which agent.
    pub(super) fn read_block(
        self,
        connection: &Connection,
        last: i64,
    ) -> rusqlite::Result<Vec<(i64, AgentId)>> {
        let sql = "SELECT id, agent FROM events WHERE id BETWEEN ?1 AND ?2 AND agent IS NOT NULL ORDER BY id";
        let mut walk = connection.prepare_cached(sql)?;
        let places = places_of(block_of(last));
        let mut rows = walk.query([self.id(*places.start()), self.id(*places.end())])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            if let Ok(agent) = AgentId::parse(row.get_ref(1)?.as_str()?) {
                found.push((self.place(row.get(0)?), agent));
            }
        }
        Ok(found)
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

    /// The id of the first entry of a run that may reach the entry at `place`, at the earliest.
    pub(super) fn first_of_run(self, place: i64) -> i64 {
        self.id(place.saturating_sub(RUN_PLACES - 1))
    }

    /// Removes up to `limit` entries of a session, never the newest of the log; answers how many. Runs go from their
    /// ends, so that no entry is left without the first of its run.
    pub(super) fn remove_session(
        self,
        connection: &Connection,
        session: &str,
        limit: i64,
    ) -> rusqlite::Result<usize> {
        let newest = self.last_place(connection)?;
        let mut remove = connection.prepare_cached(
            "DELETE FROM events WHERE id IN
             (SELECT entry.id FROM events AS first CROSS JOIN events AS entry
              WHERE first.session = ?1 AND first.run IS NOT NULL AND first.id BETWEEN ?2 AND ?3
              AND entry.id BETWEEN first.id AND min(first.id + first.run - 1, ?3) AND entry.session = ?1
              ORDER BY first.id DESC, entry.id DESC LIMIT ?4)",
        )?;
        let count = remove.execute(params![session, self.id(0), self.id(newest - 1), limit])?;
        self.mend_run(connection, newest)?;
        Ok(count)
    }

    /// Makes the next entry from `place` on the first of a run where the first of its own is gone.
    pub(super) fn mend_run(self, connection: &Connection, place: i64) -> rusqlite::Result<()> {
        let mut next = connection.prepare_cached(
            "SELECT id, session, run FROM events WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut rows = next.query(params![self.id(place), self.id(i64::MAX), RUN_PLACES])?;
        let (mut first, mut last) = (None, 0);
        while let Some(row) = rows.next()? {
            let (id, session, run): (i64, Option<String>, Option<i64>) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let Some(session) = session.filter(|_| run.is_none()) else { break };
            let (first, of) = first.get_or_insert_with(|| (id, session.clone()));
            if session != *of || id - *first >= RUN_PLACES {
                break;
            }
            last = id;
        }
        let Some((first, session)) = first else { return Ok(()) };
        let mut mend = connection.prepare_cached(
            "UPDATE events SET run = ?2 WHERE id = ?1 AND NOT EXISTS
             (SELECT 1 FROM events AS first WHERE first.id BETWEEN ?3 AND ?1 - 1 AND first.session = ?4
              AND first.run IS NOT NULL AND first.id + first.run > ?1)",
        )?;
        let earliest = self.first_of_run(self.place(first));
        mend.execute(params![first, last - first + 1, earliest, session]).map(|_| ())
    }

    /// Forgets up to `limit` rows of the index, whatever they cover; answers how many.
    pub(super) fn remove_index(self, connection: &Connection, limit: usize) -> rusqlite::Result<usize> {
        let mut remove = connection.prepare(
            "DELETE FROM event_agents WHERE (tenant, block, agent) IN
             (SELECT tenant, block, agent FROM event_agents WHERE tenant = ?1 LIMIT ?2)",
        )?;
        remove.execute(params![self.number, super::convert::sql_limit(limit)])
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
