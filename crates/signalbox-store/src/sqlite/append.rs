//! Appending to the log: each entry gets its place when its decision is applied, and is written with all others
//! of the batch.

use std::collections::HashMap;

use quick_cache::DefaultHashBuilder;
use rusqlite::{Connection, Statement};
use signalbox_core::event::NewEvent;
use signalbox_wire::id::{AgentId, TenantId};

use super::log::{Log, ends_block};
use super::packed::{self, Entry, ROW_ENTRIES};
use super::pending::{PlacedEvent, State};
use super::statements::{STRETCHES_AT_ONCE, Statements};

/// Data of one row, about and at most, in bytes: who wants one entry reads the whole row.
const ROW_BYTES: usize = 16 * 1024;

/// How far apart the moments of a row's entries are, at most. In microseconds.
pub(super) const ROW_MICROS: u64 = 60_000_000;

/// Tenants whose unfinished block is remembered; those of others are read again once they are full.
const BLOCKS_REMEMBERED: usize = 64;

/// The ends of all logs.
#[derive(Default)]
pub(super) struct Appender {
    tails: HashMap<TenantId, Tail, DefaultHashBuilder>,
    remembered: usize,
}

/// The end of a tenant's log.
struct Tail {
    log: Log,
    /// The last place that was given.
    last: i64,
    /// Which entries of the unfinished block are about which agent, where that is remembered.
    block: Option<Vec<(i64, AgentId)>>,
}

/// An entry and its place.
pub(super) struct Placed<'e> {
    tenant: &'e TenantId,
    log: Log,
    pub(super) place: i64,
    event: &'e NewEvent,
}

impl<'e> Placed<'e> {
    /// An entry that got its place before.
    pub(super) fn again(placed: &'e PlacedEvent) -> Self {
        let PlacedEvent { tenant, log, place, event } = placed;
        Self { tenant, log: *log, place: *place, event }
    }

    fn entry(&self) -> Entry<'e> {
        let NewEvent { kind, level, at, session, agent, task, data } = self.event;
        Entry {
            place: self.place,
            at: at.as_micros(),
            level: *level as u8,
            kind,
            session: session.as_ref().map(|(session, sequence)| (session.as_str(), *sequence)),
            agent: agent.as_ref().map(AgentId::as_str),
            task: task.as_ref().map(|task| task.as_str()),
            data,
        }
    }
}

impl Appender {
    /// Gives an entry its place, behind what waits to be written.
    pub(super) fn place<'e>(
        &mut self,
        connection: &Connection,
        pending: &State,
        tenant: &'e TenantId,
        event: &'e NewEvent,
    ) -> rusqlite::Result<Placed<'e>> {
        if !self.tails.contains_key(tenant) {
            Log::find_or_begin(connection, tenant)?;
        }
        let place = self.places(connection, pending, tenant, 1)?;
        let (log, place) = place.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        Ok(Placed { tenant, log, place, event })
    }

    /// Gives `count` entries their places, behind what waits to be written; answers the first of them, and nothing where
    /// the tenant has no log yet.
    pub(super) fn places(
        &mut self,
        connection: &Connection,
        pending: &State,
        tenant: &TenantId,
        count: usize,
    ) -> rusqlite::Result<Option<(Log, i64)>> {
        if !self.tails.contains_key(tenant) {
            let Some(log) = Log::find(connection, tenant.as_str())? else { return Ok(None) };
            self.find_tail(connection, pending, tenant, log)?;
        }
        Ok(self.tails.get_mut(tenant).map(|tail| {
            let first = tail.last + 1;
            tail.last += count as i64;
            (tail.log, first)
        }))
    }

    fn find_tail(
        &mut self,
        connection: &Connection,
        pending: &State,
        tenant: &TenantId,
        log: Log,
    ) -> rusqlite::Result<()> {
        let (written, waiting) = (log.last_place(connection)?, pending.last_place(tenant));
        let last = waiting.map_or(written, |waiting| waiting.max(written));
        let is_at_start = waiting.is_none() && (last == 0 || ends_block(last));
        let is_remembered = self.remembered < BLOCKS_REMEMBERED && is_at_start;
        self.remembered += usize::from(is_remembered);
        self.tails.insert(tenant.clone(), Tail { log, last, block: is_remembered.then(Vec::new) });
        Ok(())
    }

    /// Writes entries that have been given their places, in that order.
    pub(super) fn append(
        &mut self,
        connection: &Connection,
        statements: &mut Statements<'_>,
        placed: &mut Vec<Placed<'_>>,
    ) -> rusqlite::Result<()> {
        write(statements, placed)?;
        placed.drain(..).try_for_each(|placed| self.index(connection, &placed))
    }

    /// Forgets everything: what was appended last may have been undone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn index(&mut self, connection: &Connection, placed: &Placed<'_>) -> rusqlite::Result<()> {
        let Some(tail) = self.tails.get_mut(placed.tenant) else { return Ok(()) };
        if let (Some(block), Some(agent)) = (&mut tail.block, &placed.event.agent) {
            block.push((placed.place, agent.clone()));
        }
        if !ends_block(placed.place) {
            return Ok(());
        }
        match tail.block.take() {
            Some(block) => {
                placed.log.index_block(connection, placed.place, &block)?;
                tail.block = Some(Vec::with_capacity(block.len()));
            }
            None => {
                let block = placed.log.read_block(connection, placed.place)?;
                placed.log.index_block(connection, placed.place, &block)?;
                if self.remembered < BLOCKS_REMEMBERED {
                    self.remembered += 1;
                    tail.block = Some(Vec::new());
                }
            }
        }
        Ok(())
    }
}

/// Writes entries, and where those of sessions are. Leaves them in the order of their logs and places.
pub(super) fn write(statements: &mut Statements<'_>, placed: &mut [Placed<'_>]) -> rusqlite::Result<()> {
    placed.sort_by_key(|placed| (placed.log.number(), placed.place));
    let (mut rest, mut row) = (&*placed, Vec::new());
    while let Some((together, behind)) = rest.split_at_checked(row_length(rest)) {
        let (Some(first), Some(last)) = (together.first(), together.last()) else { break };
        packed::pack(&mut row, last.place, together.iter().map(Placed::entry));
        let add = &mut statements.add_entries;
        add.raw_bind_parameter(1, last.log.id(last.place))?;
        add.raw_bind_parameter(2, first.event.at.as_micros())?;
        add.raw_bind_parameter(3, row.as_slice())?;
        add.raw_execute()?;
        rest = behind;
    }
    add_stretches(statements, placed)
}

/// Removes what the tables may have of these entries.
pub(super) fn unwrite(statements: &mut Statements<'_>, placed: &[Placed<'_>]) -> rusqlite::Result<()> {
    let mut ends: HashMap<i64, (Log, i64, i64), DefaultHashBuilder> = HashMap::default();
    for Placed { log, place, .. } in placed {
        let (_, first, last) = ends.entry(log.number()).or_insert((*log, *place, *place));
        (*first, *last) = ((*first).min(*place), (*last).max(*place));
    }
    for (log, first, last) in ends.into_values() {
        statements.remove_entries.execute([log.id(first), log.id(last)])?;
    }
    Ok(())
}

/// How many of these entries make one row. It ends with its block.
fn row_length(placed: &[Placed<'_>]) -> usize {
    let Some(first) = placed.first() else { return 0 };
    let mut bytes = 0;
    let mut fits = |next: &Placed<'_>, place: i64| {
        bytes += next.event.data.len();
        let is_near = next.event.at.as_micros().abs_diff(first.event.at.as_micros()) <= ROW_MICROS;
        let is_next = next.log == first.log && next.place == place && !ends_block(place - 1);
        place == first.place || is_next && is_near && bytes <= ROW_BYTES
    };
    let candidates = placed.iter().zip(first.place..).take(ROW_ENTRIES);
    candidates.take_while(|(next, place)| fits(next, *place)).count()
}

/// Whose entries they are, as the tenant's number and a session, and from which place to which.
type Stretch<'a> = ((i64, &'a str), (i64, i64));

/// From which place to which each session has some of these entries.
fn add_stretches(statements: &mut Statements<'_>, placed: &[Placed<'_>]) -> rusqlite::Result<()> {
    let mut found: HashMap<(i64, &str), (i64, i64), DefaultHashBuilder> = HashMap::default();
    for Placed { log, place, event, .. } in placed {
        if let Some((session, _)) = &event.session {
            found.entry((log.number(), session.as_str())).or_insert((*place, *place)).1 = *place;
        }
    }
    // In the order of the table, so that neighbours find their page at hand.
    let mut stretches: Vec<Stretch<'_>> = found.into_iter().collect();
    stretches.sort_unstable();
    for some in stretches.chunks(STRETCHES_AT_ONCE) {
        if some.len() == STRETCHES_AT_ONCE {
            add(&mut statements.add_stretches, some)?;
        } else {
            some.chunks(1).try_for_each(|one| add(&mut statements.add_stretch, one))?;
        }
    }
    Ok(())
}

/// Adds as many stretches as the statement has room for.
fn add(statement: &mut Statement<'_>, stretches: &[Stretch<'_>]) -> rusqlite::Result<()> {
    for (number, ((log, session), (first, last))) in stretches.iter().enumerate() {
        let parameter = number * 4 + 1;
        statement.raw_bind_parameter(parameter, log)?;
        statement.raw_bind_parameter(parameter + 1, session)?;
        statement.raw_bind_parameter(parameter + 2, first)?;
        statement.raw_bind_parameter(parameter + 3, last)?;
    }
    statement.raw_execute().map(|_| ())
}
