//! Taking entries of the log out of the rows that they are [packed] in: each row is written once for all that goes.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use rusqlite::{Connection, params};

use super::log::{Direction, Log, ROW_ENTRIES};
use super::packed;

/// Rows that are held at once, at most.
const ROWS_MAX: usize = 256;

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
    /// What goes: a bit for each place, that of the last the lowest.
    gone: u64,
}

impl Row {
    /// Marks the entry at this many places before the last; whether it was not marked yet.
    fn mark(&mut self, before_last: i64) -> bool {
        let bit = u32::try_from(before_last).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0);
        let is_new = self.gone & bit == 0;
        self.gone |= bit;
        is_new
    }
}

impl<'c> EntryRemoval<'c> {
    /// A removal from this log.
    pub(super) fn begin(connection: &'c Connection, log: Log) -> rusqlite::Result<Self> {
        Ok(Self { connection, log, newest: log.last_place(connection)?, rows: BTreeMap::new() })
    }

    /// Marks up to `limit` entries of a session, the newest first; answers how many.
    pub(super) fn session(&mut self, session: &str, limit: usize) -> rusqlite::Result<usize> {
        let (connection, log, newest) = (self.connection, self.log, self.newest);
        let mut count = 0;
        for (first, last) in log.stretches(connection, session, (0, i64::MAX), Direction::Backward)? {
            let mut has_some_left = false;
            let stretch = log.rows(connection, (first, last), Direction::Backward, |end, entries| {
                let row = self.row(end, entries);
                for entry in packed::unpack(end, entries)?.iter().rev() {
                    let is_meant = (first..=last).contains(&entry.place)
                        && entry.session.is_some_and(|(of, _)| of == session);
                    if !is_meant {
                        continue;
                    }
                    if entry.place == newest || count == limit {
                        has_some_left = true;
                    } else {
                        count += usize::from(row.mark(end - entry.place));
                    }
                }
                let is_full = count == limit && has_some_left;
                Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            });
            if stretch?.is_break() {
                break;
            }
            if !has_some_left {
                let sql = "DELETE FROM event_sessions WHERE tenant = ?1 AND session = ?2 AND first = ?3";
                connection.prepare_cached(sql)?.execute(params![log.number(), session, first])?;
            }
            self.write_many()?;
        }
        Ok(count)
    }

    /// Marks the entries from one place to another, but for those of sessions that are to be kept; answers how many. Notes whose
    /// they are.
    pub(super) fn places(
        &mut self,
        (first, last): (i64, i64),
        mut keeps: impl FnMut(&str) -> rusqlite::Result<bool>,
        sessions: &mut HashSet<String>,
    ) -> rusqlite::Result<usize> {
        let (connection, log, newest) = (self.connection, self.log, self.newest);
        let mut count = 0;
        let walked = log.rows(connection, (first, last), Direction::Forward, |end, entries| {
            let row = self.row(end, entries);
            for entry in packed::unpack(end, entries)? {
                if !(first..=last).contains(&entry.place) || entry.place == newest {
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
                count += usize::from(row.mark(end - entry.place));
            }
            Ok(ControlFlow::<()>::Continue(()))
        });
        walked.map(drop)?;
        self.write_many()?;
        Ok(count)
    }

    /// Forgets where these sessions have entries that lie between two places, which all are gone.
    pub(super) fn forget_stretches(
        &self,
        sessions: &HashSet<String>,
        (first, last): (i64, i64),
    ) -> rusqlite::Result<()> {
        let mut forget = self.connection.prepare_cached(
            "DELETE FROM event_sessions WHERE tenant = ?1 AND session = ?2 AND first >= ?3 AND last <= ?4",
        )?;
        for session in sessions {
            forget.execute(params![self.log.number(), session, first, last])?;
        }
        Ok(())
    }

    /// Removes what is marked.
    pub(super) fn finish(mut self) -> rusqlite::Result<()> {
        self.write()
    }

    fn row(&mut self, end: i64, entries: &[u8]) -> &mut Row {
        self.rows.entry(end).or_insert_with(|| Row { entries: entries.to_vec(), gone: 0 })
    }

    fn write_many(&mut self) -> rusqlite::Result<()> {
        if self.rows.len() > ROWS_MAX { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> rusqlite::Result<()> {
        let mut remove = self.connection.prepare_cached("DELETE FROM events WHERE id = ?1")?;
        let mut change =
            self.connection.prepare_cached("UPDATE events SET at = ?2, entries = ?3 WHERE id = ?1")?;
        let mut packed = Vec::new();
        for (end, row) in std::mem::take(&mut self.rows).into_iter().filter(|(_, row)| row.gone != 0) {
            let mut left = packed::unpack(end, &row.entries)?;
            left.retain(|entry| row.gone >> (end - entry.place) & 1 == 0);
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
