//! Reading the log: walking it in either direction and choosing what a filter asks for.

use std::ops::ControlFlow;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use signalbox_core::event::Level;
use signalbox_wire::id::{AgentId, SessionId, TaskId, TenantId};
use signalbox_wire::time::Timestamp;

use super::append::ROW_MICROS;
use super::convert::{id, unsigned};
use super::fault::fault;
use super::log::{Direction, Log, block_of, places_of};
use super::packed::{self, Entry};
use crate::api::{EventFilter, Listed, Page, StoredEvent};
use crate::backend::EVENTS_LOOKED_AT;
use crate::error::StoreError;

/// How far apart the moments of neighbours in the log can be, generously. A row is found by the moment of its first entry.
const DISORDER: Duration = Duration::from_secs(600);
const _: () = assert!(DISORDER.as_micros() >= 2 * ROW_MICROS as u128);

/// Entries of others that are stepped over for as much as it takes to look at one.
const STEPS_OF_A_LOOK: usize = 16;

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
        let mut chosen = Chosen::new(filter, page.limit);
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

/// The first place at or after `moment`, about, by halving: places and moments grow together, but for decisions that
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
    fn direction(&self) -> Direction {
        if self.filter.newest_first { Direction::Backward } else { Direction::Forward }
    }

    fn all(&self, chosen: &mut Chosen<'_>) -> Step {
        self.stretch(self.range, chosen)
    }

    /// Walks everything from one place to another.
    fn stretch(&self, range: (i64, i64), chosen: &mut Chosen<'_>) -> Step {
        self.log.walk(self.connection, range, self.direction(), |entry| Ok(chosen.offer(entry)))
    }

    fn session(&self, session: &SessionId, chosen: &mut Chosen<'_>) -> Step {
        let (low, high) = self.range;
        let (after, direction) = (self.filter.after_in_session, self.direction());
        self.log.stretches(self.connection, session.as_str(), (low, high), direction, |(first, last)| {
            let range = (low.max(first), high.min(last));
            self.log.walk(self.connection, range, direction, |entry| {
                let is_wanted = entry.session.is_some_and(|(of, place)| {
                    of == session.as_str() && after.is_none_or(|after| place > after)
                });
                Ok(if is_wanted { chosen.offer(entry) } else { chosen.step_over(entry) })
            })
        })
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
        places.retain(|place| (low..=high).contains(place));
        let mut places = places.into_iter().peekable();
        while let Some(place) = places.next() {
            // The row that has it, and those of the next that it has too.
            let offered =
                self.log.rows(self.connection, (place, place), Direction::Forward, |last, row| {
                    let entries = packed::unpack(last, row)?;
                    let Some(first) = entries.first() else { return Ok(ControlFlow::Continue(())) };
                    let mut wanted = Some(place);
                    while let Some(place) = wanted {
                        // One that retention has removed is not there.
                        if let Ok(found) = entries.binary_search_by_key(&place, |entry| entry.place)
                            && chosen.offer(&entries[found]).is_break()
                        {
                            return Ok(ControlFlow::Break(true));
                        }
                        wanted = places.next_if(|next| (first.place..=last).contains(next));
                    }
                    Ok(ControlFlow::Break(false))
                })?;
            if offered == ControlFlow::Break(true) {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(chosen.passed(if self.filter.newest_first { low } else { high }))
    }
}

/// What a walk has found so far.
struct Chosen<'a> {
    filter: &'a EventFilter,
    needle: Option<String>,
    limit: usize,
    looked_at: usize,
    stepped_over: usize,
    last: Option<i64>,
    items: Vec<Result<StoredEvent, StoreError>>,
}

impl<'a> Chosen<'a> {
    fn new(filter: &'a EventFilter, limit: usize) -> Self {
        let needle = filter.text.as_ref().map(|text| text.to_lowercase());
        Self { filter, needle, limit, looked_at: 0, stepped_over: 0, last: None, items: Vec::new() }
    }

    /// Looks at an entry; breaks where the page is full or enough was looked at.
    fn offer(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        if self.items.len() == self.limit || self.looked_at == EVENTS_LOOKED_AT {
            return ControlFlow::Break(());
        }
        self.looked_at += 1;
        self.last = Some(entry.place);
        if self.wants(entry) {
            self.items.push(event(entry));
        }
        ControlFlow::Continue(())
    }

    /// Steps over an entry that stands between those that are looked for; breaks where that takes too long.
    fn step_over(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        self.stepped_over += 1;
        if self.stepped_over.is_multiple_of(STEPS_OF_A_LOOK) {
            self.looked_at += 1;
            if self.items.len() < self.limit {
                self.last = Some(entry.place);
            }
        }
        if self.looked_at < EVENTS_LOOKED_AT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Notes that everything up to `place` has been looked at.
    fn passed(&mut self, place: i64) -> ControlFlow<()> {
        if self.items.len() < self.limit {
            self.last = Some(place);
        }
        self.looked_at += 1;
        if self.looked_at < EVENTS_LOOKED_AT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn wants(&self, entry: &Entry<'_>) -> bool {
        let filter = self.filter;
        filter.since.is_none_or(|since| entry.at >= since.as_micros())
            && filter.until.is_none_or(|until| entry.at < until.as_micros())
            && filter.level.is_none_or(|level| i64::from(entry.level) >= level.number())
            && filter.kind.as_ref().is_none_or(|kind| entry.kind == kind)
            && filter.agent.as_ref().is_none_or(|agent| entry.agent == Some(agent.as_str()))
            && self.needle.as_ref().is_none_or(|needle| entry.data.to_lowercase().contains(needle))
    }

    fn listed(self, is_at_the_end: bool) -> Result<Listed<StoredEvent>, StoreError> {
        let next = self.last.filter(|_| !is_at_the_end).map(|place| place.to_string());
        Ok(Listed { items: self.items.into_iter().collect::<Result<_, _>>()?, next })
    }
}

fn event(entry: &Entry<'_>) -> Result<StoredEvent, StoreError> {
    let session = entry.session.map(|(session, place)| Ok((id(SessionId::parse(session))?, place)));
    Ok(StoredEvent {
        sequence: unsigned(entry.place)?,
        kind: entry.kind.to_owned(),
        level: Level::from_number(i64::from(entry.level)),
        at: Timestamp::from_micros(entry.at),
        session: session.transpose()?,
        agent: entry.agent.map(|agent| id(AgentId::parse(agent))).transpose()?,
        task: entry.task.map(|task| id(TaskId::parse(task))).transpose()?,
        data: entry.data.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(place: i64) -> Entry<'static> {
        Entry { place, at: 0, level: 20, kind: "e", session: None, agent: None, task: None, data: "{}" }
    }

    #[test]
    fn what_is_stepped_over_is_bounded_and_the_page_says_where_to_go_on() {
        let most = i64::try_from(EVENTS_LOOKED_AT * STEPS_OF_A_LOOK).expect("few");
        for (limit, goes_on) in [(1, 1), (2, most + 1)] {
            let filter = EventFilter::default();
            let mut chosen = Chosen::new(&filter, limit);
            assert!(chosen.offer(&entry(1)).is_continue());
            let stopped = (2..).find(|place| chosen.step_over(&entry(*place)).is_break()).expect("bounded");
            assert!(stopped <= most + 1, "{stopped}");
            let listed = chosen.listed(false).expect("read");
            let next: i64 = listed.next.expect("there is more").parse().expect("a place");
            // Behind a full page nothing is skipped; else at most what is stepped over for one look is looked at again.
            assert!(next <= goes_on && goes_on - next <= 2 * STEPS_OF_A_LOOK as i64, "{next}");
        }
    }
}
