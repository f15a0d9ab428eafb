//! Taking entries of the log out of the rows that they are [packed] in: each row is written once for all that goes.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use rusqlite::{Connection, params};

use super::log::{Direction, Log};
use super::packed::{self, ROW_ENTRIES};

/// Rows that are held at once, about and at most.
const ROWS_MAX: usize = if cfg!(test) { 4 } else { 256 };
/// Stretches of a session that are looked for at once.
const STRETCHES_AT_ONCE: usize = if cfg!(test) { 3 } else { 256 };

const _: () = assert!(ROW_ENTRIES <= u64::BITS as usize, "each place of a row has a bit");

/// A removal of entries. Nothing is removed before it is [finished](Self::finish).
pub(super) struct EntryRemoval<'c> {
    connection: &'c Connection,
    log: Log,
    /// The newest entry of a log stays: it says where the order goes on.
    newest: i64,
    /// By their last places.
    rows: BTreeMap<i64, Row>,
}

struct Row {
    entries: Vec<u8>,
    /// What goes: the [`bit`] of each place.
    gone: u64,
}

/// The bit of a place in the row that ends at `end`, of which it [is](packed::unpack) one.
fn bit(end: i64, place: i64) -> u64 {
    1 << (end - place)
}

impl<'c> EntryRemoval<'c> {
    /// A removal from this log.
    pub(super) fn begin(connection: &'c Connection, log: Log) -> rusqlite::Result<Self> {
        Ok(Self { connection, log, newest: log.last_place(connection)?, rows: BTreeMap::new() })
    }

    /// Marks up to `limit` entries of a session, the newest first; answers how many.
    pub(super) fn session(&mut self, session: &str, limit: usize) -> rusqlite::Result<usize> {
        let (connection, log) = (self.connection, self.log);
        let (mut count, mut high) = (0, i64::MAX);
        loop {
            let stretches = log.newest_stretches(connection, session, high, STRETCHES_AT_ONCE)?;
            for stretch in &stretches {
                let left = limit - count;
                let (marked, has_more) = self.stretch(session, *stretch, left)?;
                count += marked;
                if has_more && count == limit {
                    return Ok(count);
                }
                if !has_more {
                    let sql = "DELETE FROM event_sessions WHERE tenant = ?1 AND session = ?2 AND first = ?3";
                    connection.prepare_cached(sql)?.execute(params![log.number(), session, stretch.0])?;
                }
                self.write_many()?;
            }
            match stretches.last() {
                Some((first, _)) if stretches.len() == STRETCHES_AT_ONCE => high = first - 1,
                _ => return Ok(count),
            }
        }
    }

    /// Marks up to `limit` entries of a session in one of its stretches; answers how many, and whether it has more there.
    fn stretch(
        &mut self,
        session: &str,
        (first, last): (i64, i64),
        limit: usize,
    ) -> rusqlite::Result<(usize, bool)> {
        let (connection, log, newest) = (self.connection, self.log, self.newest);
        let (mut count, mut has_more) = (0, false);
        log.rows(connection, (first, last), Direction::Backward, |end, row| {
            let mut gone = self.gone(end);
            for entry in packed::unpack(end, row)?.iter().rev() {
                let is_meant = (first..=last).contains(&entry.place)
                    && entry.session.is_some_and(|(of, _)| of == session);
                let bit = bit(end, entry.place);
                if !is_meant || gone & bit != 0 {
                    continue;
                }
                if entry.place == newest || count == limit {
                    has_more = true;
                } else {
                    gone |= bit;
                    count += 1;
                }
            }
            self.mark(end, row, gone);
            let is_full = has_more && count == limit;
            Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .map(|_| (count, has_more))
    }

    /// Marks the entries from one place to another, but for those of sessions that are to be kept; answers how many. Notes whose
    /// they are.
    pub(super) fn places(
        &mut self,
        (mut first, last): (i64, i64),
        mut keeps: impl FnMut(&str) -> rusqlite::Result<bool>,
        sessions: &mut HashSet<String>,
    ) -> rusqlite::Result<usize> {
        let (connection, log, newest) = (self.connection, self.log, self.newest);
        let mut count = 0;
        loop {
            let walked = log.rows(connection, (first, last), Direction::Forward, |end, row| {
                let mut gone = self.gone(end);
                for entry in packed::unpack(end, row)? {
                    let bit = bit(end, entry.place);
                    let is_meant = (first..=last).contains(&entry.place) && entry.place != newest;
                    if !is_meant || gone & bit != 0 {
                        continue;
                    }
                    if let Some((session, _)) = entry.session {
                        if keeps(session)? {
                            continue;
                        }
                        if !sessions.contains(session) {
                            sessions.insert(session.to_owned());
                        }
                    }
                    gone |= bit;
                    count += 1;
                }
                self.mark(end, row, gone);
                let is_full = self.rows.len() >= ROWS_MAX;
                Ok(if is_full { ControlFlow::Break(end + 1) } else { ControlFlow::Continue(()) })
            });
            let ControlFlow::Break(next) = walked? else { return Ok(count) };
            self.write()?;
            first = next;
        }
    }

    /// Forgets where these sessions have entries that lie between two places, which all are gone.
    pub(super) fn forget_stretches(
        &self,
        sessions: &HashSet<String>,
        (first, last): (i64, i64),
    ) -> rusqlite::Result<()> {
        let tenant = self.log.number();
        let mut forget = self.connection.prepare_cached(
            "DELETE FROM event_sessions WHERE tenant = ?1 AND session = ?2 AND first BETWEEN ?3 AND ?4 AND last <= ?4",
        )?;
        for session in sessions {
            let before = self.log.newest_stretches(self.connection, session, first - 1, 1)?;
            // One may have begun in what went before.
            let begun = before.first().filter(|(_, end)| (first..=last).contains(end));
            let from = match begun {
                Some((start, _)) if !self.has_entries(session, (*start, first - 1))? => *start,
                _ => first,
            };
            forget.execute(params![tenant, session, from, last])?;
        }
        Ok(())
    }

    fn has_entries(&self, session: &str, places: (i64, i64)) -> rusqlite::Result<bool> {
        let found = self.log.walk(self.connection, places, Direction::Forward, |entry| {
            let is_its = entry.session.is_some_and(|(of, _)| of == session);
            Ok(if is_its { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        found.map(|found| found.is_break())
    }

    /// Removes what is marked.
    pub(super) fn finish(mut self) -> rusqlite::Result<()> {
        self.write()
    }

    /// What is marked of a row.
    fn gone(&self, end: i64) -> u64 {
        self.rows.get(&end).map_or(0, |row| row.gone)
    }

    fn mark(&mut self, end: i64, entries: &[u8], gone: u64) {
        if gone != 0 {
            self.rows.entry(end).or_insert_with(|| Row { entries: entries.to_vec(), gone: 0 }).gone = gone;
        }
    }

    fn write_many(&mut self) -> rusqlite::Result<()> {
        if self.rows.len() > ROWS_MAX { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> rusqlite::Result<()> {
        let mut remove = self.connection.prepare_cached("DELETE FROM events WHERE id = ?1")?;
        let mut change =
            self.connection.prepare_cached("UPDATE events SET at = ?2, entries = ?3 WHERE id = ?1")?;
        let mut packed = Vec::new();
        for (end, row) in std::mem::take(&mut self.rows) {
            let mut left = packed::unpack(end, &row.entries)?;
            left.retain(|entry| row.gone & bit(end, entry.place) == 0);
            match left.first() {
                Some(first) => {
                    packed::pack(&mut packed, end, left.iter().copied());
                    change.execute(params![self.log.id(end), first.at, packed])?;
                }
                None => drop(remove.execute([self.log.id(end)])?),
            }
        }
        Ok(())
    }
}
