//! Appending to the log: each entry gets its place when its decision is applied, and is written with all others
//! of the batch.

use std::collections::HashMap;

use quick_cache::DefaultHashBuilder;
use rusqlite::{Connection, Statement};
use signalbox_core::event::NewEvent;
use signalbox_wire::id::{AgentId, TenantId};

use super::log::{Log, RUN_MAX, ends_block};
use super::pending::{PlacedEvent, State};
use super::statements::{EVENTS_AT_ONCE, Statements};

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
    /// How many entries of a session begin here, where it is the first of them.
    run: Option<usize>,
}

impl<'e> Placed<'e> {
    /// An entry that got its place before.
    pub(super) fn again(placed: &'e PlacedEvent) -> Self {
        let PlacedEvent { tenant, log, place, event } = placed;
        Self { tenant, log: *log, place: *place, event, run: None }
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
        Ok(Placed { tenant, log, place, event, run: None })
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
        find_runs(placed);
        for some in placed.chunks(EVENTS_AT_ONCE) {
            if some.len() == EVENTS_AT_ONCE {
                add(&mut statements.add_events, some)?;
            } else {
                some.chunks(1).try_for_each(|one| add(&mut statements.add_event, one))?;
            }
        }
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

/// Finds the entries of one session that stand next to each other.
fn find_runs(placed: &mut [Placed<'_>]) {
    let is_next = |one: &Placed<'_>, next: &Placed<'_>| {
        one.log == next.log
            && match (&one.event.session, &next.event.session) {
                (Some((one, _)), Some((next, _))) => one == next,
                (one, next) => one.is_none() && next.is_none(),
            }
    };
    for together in placed.chunk_by_mut(is_next) {
        for run in together.chunks_mut(RUN_MAX) {
            let length = run.len();
            if let Some(first) = run.first_mut().filter(|first| first.event.session.is_some()) {
                first.run = Some(length);
            }
        }
    }
}

/// Adds as many entries as the statement has room for.
fn add(statement: &mut Statement<'_>, placed: &[Placed<'_>]) -> rusqlite::Result<()> {
    for (number, Placed { log, place, event, run, .. }) in placed.iter().enumerate() {
        let first = number * 10 + 1;
        let session = event.session.as_ref();
        statement.raw_bind_parameter(first, log.id(*place))?;
        statement.raw_bind_parameter(first + 1, event.at.as_micros())?;
        statement.raw_bind_parameter(first + 2, event.kind.as_str())?;
        statement.raw_bind_parameter(first + 3, event.level.number())?;
        statement.raw_bind_parameter(first + 4, session.map(|(session, _)| session.as_str()))?;
        statement.raw_bind_parameter(first + 5, session.map(|(_, sequence)| sequence.cast_signed()))?;
        statement.raw_bind_parameter(first + 6, run.map(|length| length as i64))?;
        statement.raw_bind_parameter(first + 7, event.agent.as_ref().map(AgentId::as_str))?;
        statement.raw_bind_parameter(first + 8, event.task.as_ref().map(|task| task.as_str()))?;
        statement.raw_bind_parameter(first + 9, event.data.as_str())?;
    }
    statement.raw_execute().map(|_| ())
}
