//! Reading the log: walking it in either direction and choosing what a filter asks for.

use std::ops::ControlFlow;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row};
use signalbox_core::event::Level;
use signalbox_wire::id::{AgentId, SessionId, TaskId, TenantId};
use signalbox_wire::time::Timestamp;

use super::convert::{id, unsigned};
use super::fault::fault;
use super::log::{Log, block_of, places_of};
use crate::api::{EventFilter, Listed, Page, StoredEvent};
use crate::backend::EVENTS_LOOKED_AT;
use crate::error::StoreError;

/// How far apart the moments of neighbours in the log can be, generously.
const DISORDER: Duration = Duration::from_secs(600);

const COLUMNS: &str = "entry.id, entry.at, entry.kind, entry.level, entry.session, entry.session_sequence, entry.agent, \
    entry.task, entry.data";

/// Entries of the log, by their place in the tenant's order.
pub(super) fn list(
    connection: &Connection,
    tenant: &TenantId,
    filter: &EventFilter,
    page: &Page,
) -> Result<Listed<StoredEvent>, StoreError> {
    let nothing = Listed { items: Vec::new(), next: None };
    let after = match page.after.as_deref().map(str::parse::<i64>).transpose() {
        Ok(after) => after,
        Err(_) => return Ok(nothing),
    };
    let run = || -> rusqlite::Result<Result<Listed<StoredEvent>, StoreError>> {
        let Some(log) = Log::find(connection, tenant.as_str())? else { return Ok(Ok(nothing)) };
        let mut chosen = Chosen::new(log, filter, page.limit);
        let walk = Walk { connection, log, filter, range: range(connection, log, filter, after)? };
        let ended = match (&filter.session, &filter.agent) {
            (Some(session), _) => walk.session(session, &mut chosen)?,
            (None, Some(agent)) => walk.agent(agent, &mut chosen)?,
            (None, None) => walk.all(&mut chosen)?,
        };
        Ok(chosen.listed(ended.is_continue()))
    };
    run().map_err(|error| fault(&error))?
}

/// The oldest kept place in the tenant's order.
pub(super) fn first_sequence(connection: &Connection, tenant: &TenantId) -> Result<Option<u64>, StoreError> {
    let read = || -> rusqlite::Result<Option<i64>> {
        let Some(log) = Log::find(connection, tenant.as_str())? else { return Ok(None) };
        Ok(log.ends(connection)?.map(|(first, _)| first))
    };
    read().map_err(|error| fault(&error))?.map(unsigned).transpose()
}

/// The first and last place to look at.
fn range(
    connection: &Connection,
    log: Log,
    filter: &EventFilter,
    after: Option<i64>,
) -> rusqlite::Result<(i64, i64)> {
    let (mut low, mut high) = (1, i64::MAX);
    if let Some(after) = filter.after {
        low = i64::try_from(after).unwrap_or(i64::MAX).saturating_add(1);
    }
    match after {
        Some(after) if filter.newest_first => high = after.saturating_sub(1),
        Some(after) => low = low.max(after.saturating_add(1)),
        None => {}
    }
    if let Some(since) = filter.since {
        low = low.max(place_of_moment(connection, log, since - DISORDER)?);
    }
    if let Some(until) = filter.until {
        high = high.min(place_of_moment(connection, log, until + DISORDER)?);
    }
    Ok((low, high))
}

/// The first place at or after `moment`, by halving: places and moments grow together, but for decisions that
/// were made in one order and written in another.
fn place_of_moment(connection: &Connection, log: Log, moment: Timestamp) -> rusqlite::Result<i64> {
    let Some((mut low, last)) = log.ends(connection)? else { return Ok(1) };
    let mut high = last + 1;
    let mut probe = connection
        .prepare_cached("SELECT id, at FROM events WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = probe
            .query_row([log.id(middle), log.id(last)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((id, at)) if at < moment.as_micros() => low = log.place(id) + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// One walk over the log.
struct Walk<'a> {
    connection: &'a Connection,
    log: Log,
    filter: &'a EventFilter,
    /// The first and last place to look at.
    range: (i64, i64),
}

type Step = rusqlite::Result<ControlFlow<()>>;

impl Walk<'_> {
    fn direction(&self) -> &'static str {
        if self.filter.newest_first { "DESC" } else { "ASC" }
    }

    fn all(&self, chosen: &mut Chosen<'_>) -> Step {
        self.stretch(self.range, chosen)
    }

    /// Walks everything from one place to another.
    fn stretch(&self, (low, high): (i64, i64), chosen: &mut Chosen<'_>) -> Step {
        if low > high {
            return Ok(ControlFlow::Continue(()));
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM events AS entry WHERE id BETWEEN ?1 AND ?2 ORDER BY id {}",
            self.direction()
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([self.log.id(low), self.log.id(high)])?;
        while let Some(row) = rows.next()? {
            if chosen.offer(self.log.place(row.get(0)?), row)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn session(&self, session: &SessionId, chosen: &mut Chosen<'_>) -> Step {
        let mut statement = self.connection.prepare_cached(&of_session(self.direction()))?;
        let (low, high) = self.range;
        let after = self.filter.after_in_session.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
        let mut rows = statement.query(rusqlite::params![
            session.as_str(),
            self.log.id(low),
            self.log.id(high),
            after,
            self.log.first_of_run(low)
        ])?;
        while let Some(row) = rows.next()? {
            if chosen.offer(self.log.place(row.get(0)?), row)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Full blocks by their index, the unfinished one entry by entry.
    fn agent(&self, agent: &AgentId, chosen: &mut Chosen<'_>) -> Step {
        let Some((first, last)) = self.log.ends(self.connection)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let (low, high) = (self.range.0.max(first), self.range.1.min(last));
        if low > high {
            return Ok(ControlFlow::Continue(()));
        }
        let unfinished = block_of(last + 1);
        let (oldest, newest) = (block_of(low), block_of(high));
        let in_range = |block: i64| (low.max(*places_of(block).start()), high.min(*places_of(block).end()));
        for step in 0..=newest - oldest {
            let block = if self.filter.newest_first { newest - step } else { oldest + step };
            let walked = if block == unfinished {
                self.stretch(in_range(block), chosen)?
            } else {
                self.block(block, in_range(block), agent, chosen)?
            };
            if walked.is_break() {
                return Ok(walked);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn block(&self, block: i64, (low, high): (i64, i64), agent: &AgentId, chosen: &mut Chosen<'_>) -> Step {
        let mut places = self.log.places_about(self.connection, block, agent.as_str())?;
        if self.filter.newest_first {
            places.reverse();
        }
        let sql = format!("SELECT {COLUMNS} FROM events AS entry WHERE id = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        for place in places.into_iter().filter(|place| (low..=high).contains(place)) {
            let mut rows = statement.query([self.log.id(place)])?;
            // One that retention has removed is not there.
            if let Some(row) = rows.next()?
                && chosen.offer(place, row)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(chosen.passed(if self.filter.newest_first { low } else { high }))
    }
}

/// Reads a session's entries run by run; parameters: session, first and last id, after which place in the session, and the
/// first id at which a run can begin that has the first of them.
pub(super) fn of_session(direction: &str) -> String {
    format!(
        "SELECT {COLUMNS} FROM events AS first CROSS JOIN events AS entry
         WHERE first.session = ?1 AND first.run IS NOT NULL AND first.id BETWEEN ?5 AND ?3
         AND entry.id BETWEEN max(first.id, ?2) AND min(first.id + first.run - 1, ?3)
         AND entry.session = ?1 AND entry.session_sequence > ?4
         ORDER BY first.id {direction}, entry.id {direction}"
    )
}

/// What a walk has found so far.
struct Chosen<'a> {
    log: Log,
    filter: &'a EventFilter,
    needle: Option<String>,
    limit: usize,
    looked_at: usize,
    last: Option<i64>,
    items: Vec<Result<StoredEvent, StoreError>>,
}

impl<'a> Chosen<'a> {
    fn new(log: Log, filter: &'a EventFilter, limit: usize) -> Self {
        let needle = filter.text.as_ref().map(|text| text.to_lowercase());
        Self { log, filter, needle, limit, looked_at: 0, last: None, items: Vec::new() }
    }

    /// Looks at an entry; breaks where the page is full or enough was looked at.
    fn offer(&mut self, place: i64, row: &Row<'_>) -> Step {
        if self.items.len() == self.limit || self.looked_at == EVENTS_LOOKED_AT {
            return Ok(ControlFlow::Break(()));
        }
        self.looked_at += 1;
        self.last = Some(place);
        if self.wants(row)? {
            self.items.push(event(self.log, row)?);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Notes that everything up to `place` has been looked at.
    fn passed(&mut self, place: i64) -> ControlFlow<()> {
        if self.items.len() < self.limit {
            self.last = Some(place);
        }
        self.looked_at += 1;
        if self.looked_at < EVENTS_LOOKED_AT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn wants(&self, row: &Row<'_>) -> rusqlite::Result<bool> {
        let at: i64 = row.get(1)?;
        if self.filter.since.is_some_and(|since| at < since.as_micros())
            || self.filter.until.is_some_and(|until| at >= until.as_micros())
        {
            return Ok(false);
        }
        if let Some(level) = self.filter.level
            && row.get::<_, i64>(3)? < level.number()
        {
            return Ok(false);
        }
        if let Some(kind) = &self.filter.kind
            && row.get_ref(2)?.as_str()? != kind
        {
            return Ok(false);
        }
        if let Some(agent) = &self.filter.agent
            && row.get_ref(6)?.as_str_or_null()? != Some(agent.as_str())
        {
            return Ok(false);
        }
        match &self.needle {
            Some(needle) => Ok(row.get_ref(8)?.as_str()?.to_lowercase().contains(needle)),
            None => Ok(true),
        }
    }

    fn listed(self, is_at_the_end: bool) -> Result<Listed<StoredEvent>, StoreError> {
        let next = self.last.filter(|_| !is_at_the_end).map(|place| place.to_string());
        Ok(Listed { items: self.items.into_iter().collect::<Result<_, _>>()?, next })
    }
}

fn event(log: Log, row: &Row<'_>) -> rusqlite::Result<Result<StoredEvent, StoreError>> {
    let (place, session, session_place) = (log.place(row.get(0)?), row.get(4)?, row.get(5)?);
    let (agent, task): (Option<String>, Option<String>) = (row.get(6)?, row.get(7)?);
    let (at, kind, level, data) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(8)?);
    let understood = || -> Result<StoredEvent, StoreError> {
        let session: Option<(String, i64)> = Option::zip(session, session_place);
        let session = session.map(|(session, place)| Ok((id(SessionId::parse(&session))?, unsigned(place)?)));
        Ok(StoredEvent {
            sequence: unsigned(place)?,
            kind,
            level: Level::from_number(level),
            at: Timestamp::from_micros(at),
            session: session.transpose()?,
            agent: agent.map(|agent| id(AgentId::parse(&agent))).transpose()?,
            task: task.map(|task| id(TaskId::parse(&task))).transpose()?,
            data,
        })
    };
    Ok(understood())
}
