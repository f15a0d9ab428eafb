//! One decision within a batch: first every guard is checked, then everything is applied.
//!
//! Checking first means that a conflict leaves nothing behind, so a batch needs no savepoints. Versions come
//! from what the batch itself has written, then from what waits, then from the cache, which is current, then from the
//! file.

use std::collections::HashMap;

use quick_cache::DefaultHashBuilder;
use rusqlite::{Connection, OptionalExtension, Statement, params};
use signalbox_core::decision::{Guard, Key, Row};
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;

use super::append::{Appender, Placed, unwrite};
use super::available::AvailableAgents;
use super::log::Log;
use super::pending::{OfTenant, PendingRow, State, Way};
use super::row_hints::Places;
use super::statements::{Statements, bind};
use super::unused;
use crate::cache::Cache;
use crate::commit::{Change, Commit, DueRow, Holder, Put, Use};
use crate::schema::{self, TableId};

/// A batch being written.
pub(super) struct Batch<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    /// Versions written in this batch by tenant; `None` for removed rows.
    written: HashMap<TenantId, Versions, DefaultHashBuilder>,
    /// Whether it is of one decision, so that nobody will ask what it wrote.
    is_alone: bool,
    appender: Appender,
    places: Places<'c>,
    available: &'c AvailableAgents,
}

type Versions = HashMap<Key, Option<i64>, DefaultHashBuilder>;

/// Tenants for which there is room to note what a batch wrote, kept from batch to batch.
const TENANTS_REMEMBERED: usize = 64;

/// What became of one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is part of the batch; its last event has this place.
    Yes(u64),
    /// Something that it rests on has changed.
    Conflict,
    /// Its tenant has been removed.
    Removed,
}

impl<'c> Batch<'c> {
    pub(super) fn new(connection: &'c Connection, available: &'c AvailableAgents) -> rusqlite::Result<Self> {
        let statements = Statements::prepare(connection)?;
        Ok(Self {
            connection,
            statements,
            written: HashMap::default(),
            is_alone: false,
            appender: Appender::default(),
            places: Places::prepare(connection)?,
            available,
        })
    }

    /// Begins a physical commit of `count` decisions.
    pub(super) fn begin(&mut self, count: usize) -> rusqlite::Result<()> {
        self.is_alone = count == 1;
        self.statements.begin.raw_execute().map(|_| ())
    }

    /// Makes what this batch wrote durable.
    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.statements.commit.raw_execute()?;
        self.forget_written();
        Ok(())
    }

    /// What this batch wrote is undone, and what it accepted is nowhere.
    pub(super) fn rolled_back(&mut self) {
        self.forget_written();
        self.appender.forget();
    }

    /// What this batch wrote is in the tables or in the redo log.
    pub(super) fn forget_written(&mut self) {
        if self.written.len() > TENANTS_REMEMBERED {
            self.written.clear();
        }
        self.written.values_mut().for_each(Versions::clear);
    }

    /// Applies a decision whole or not at all. Its entries for the log get their places and are left to be
    /// [appended](Self::append).
    pub(super) fn apply<'e>(
        &mut self,
        commit: &'e Commit,
        cache: &Cache,
        pending: &State,
        placed: &mut Vec<Placed<'e>>,
    ) -> rusqlite::Result<Applied> {
        if !self.holds(commit, cache, pending)? {
            return Ok(Applied::Conflict);
        }
        for change in &commit.changes {
            if let (Key::Session(session), None) = (&change.key, &change.put) {
                let values = params![commit.tenant.as_str(), session.as_str()];
                self.statements.clear_session_agents.execute(values)?;
            }
        }
        for change in &commit.changes {
            self.change(&commit.tenant, change)?;
        }
        self.add_holders(&commit.tenant, &commit.holders)?;
        for Use { session, payload } in &commit.uses {
            let values = params![commit.tenant.as_str(), session.as_str(), payload];
            self.statements.add_payload_use.execute(values)?;
        }
        for change in &commit.changes {
            if let (Key::Session(session), None) = (&change.key, &change.put) {
                unused::payloads(self.connection, commit.tenant.as_str(), session.as_str())?;
            }
        }
        for due in &commit.due {
            self.add_due(&commit.tenant, due)?;
        }
        for id in &commit.done {
            self.remove_due(&commit.tenant, id)?;
        }
        let mut last = 0;
        for event in &commit.events {
            let entry = self.appender.place(self.connection, pending, &commit.tenant, event)?;
            last = entry.place;
            placed.push(entry);
        }
        Ok(Applied::Yes(last.unsigned_abs()))
    }

    /// Begins `count` decisions that go to the redo log.
    pub(super) fn begin_logging(&mut self, count: usize) {
        self.is_alone = count == 1;
    }

    /// Whether the tenant has a log, or needs none for this.
    pub(super) fn has_log(&mut self, commit: &Commit, pending: &State) -> rusqlite::Result<bool> {
        if commit.events.is_empty() {
            return Ok(true);
        }
        Ok(self.appender.places(self.connection, pending, &commit.tenant, 0)?.is_some())
    }

    /// Accepts a decision for the redo log, or not: nothing is written. Its entries have places from the one that is
    /// answered on.
    pub(super) fn accept(
        &mut self,
        commit: &mut Commit,
        cache: &Cache,
        pending: &State,
    ) -> rusqlite::Result<(Applied, Option<(Log, i64)>)> {
        if !self.holds(commit, cache, pending)? {
            return Ok((Applied::Conflict, None));
        }
        for change in &mut commit.changes {
            change.is_in_memory_alone = self.is_listed_as_it_will_be(&commit.tenant, change);
            self.note_written(&commit.tenant, change);
        }
        if commit.events.is_empty() {
            return Ok((Applied::Yes(0), None));
        }
        let count = commit.events.len();
        let place = self.appender.places(self.connection, pending, &commit.tenant, count)?;
        let last = place.map_or(0, |(_, first)| first + count as i64 - 1);
        Ok((Applied::Yes(last.unsigned_abs()), place))
    }

    /// Writes what waits to the tables, and that all records up to `position` are there. Rows may be there already.
    pub(super) fn write_pending(
        &mut self,
        pending: &State,
        position: u64,
        is_again: bool,
    ) -> rusqlite::Result<usize> {
        let mut rows = 0;
        for (tenant, waiting) in pending.tenants() {
            rows += self.write_pending_of(tenant, waiting, is_again)?;
            // An end of a log that was forgotten is known again before entries are written there.
            if waiting.has_entries {
                self.appender.places(self.connection, pending, tenant, 0)?;
            }
        }
        let mut placed = pending.events.iter().map(Placed::again).collect::<Vec<_>>();
        if is_again {
            unwrite(&mut self.statements, &placed)?;
        }
        self.append(&mut placed)?;
        self.note_position(position)?;
        Ok(rows)
    }

    /// Writes that all records up to `position` are in the tables.
    pub(super) fn note_position(&mut self, position: u64) -> rusqlite::Result<()> {
        self.statements.set_redo_position.execute([position.cast_signed()]).map(|_| ())
    }

    fn write_pending_of(
        &mut self,
        tenant: &TenantId,
        waiting: &OfTenant,
        is_again: bool,
    ) -> rusqlite::Result<usize> {
        let mut rows = 0;
        for (key, PendingRow { put, way }) in &waiting.rows {
            if *way == Way::Nothing && !is_again {
                continue;
            }
            rows += 1;
            if matches!(way, Way::Remove | Way::Replace | Way::Nothing) {
                self.remove_row(tenant, key)?;
            }
            if let Some(put) = put {
                self.write_row(tenant, key, put, if is_again { Way::Put } else { *way })?;
            }
        }
        self.add_holders(tenant, &waiting.holders)?;
        for (id, due) in &waiting.due {
            match &due.put {
                Some(put) => self.add_due(tenant, put)?,
                None if due.is_new && !is_again => {}
                None => self.remove_due(tenant, id)?,
            }
        }
        Ok(rows + waiting.holders.len() + waiting.due.len())
    }

    fn write_row(&mut self, tenant: &TenantId, key: &Key, put: &Put, way: Way) -> rusqlite::Result<()> {
        if let (Row::Status(status), Way::Update) = (&put.row, way)
            && self.places.update(tenant, status, put)?
        {
            return Ok(());
        }
        let table = self.statements.table(TableId::of(key))?;
        let statement = match way {
            Way::Insert | Way::Replace => &mut table.insert,
            Way::Update => &mut table.update,
            Way::Rewrite => &mut table.rewrite,
            Way::Put | Way::Remove | Way::Nothing => &mut table.put,
        };
        let mut next = bind_key(statement, tenant, key)?;
        if way != Way::Rewrite {
            next = bind(statement, next, &schema::index_cells(&put.row))?;
        }
        statement.raw_bind_parameter(next, put.version)?;
        statement.raw_bind_parameter(next + 1, put.body.as_str())?;
        let rows = statement.raw_execute()?;
        // Nothing but an errand in the same batch can have taken the row away since it was checked.
        if rows != 1 {
            return Err(rusqlite::Error::StatementChangedRows(rows));
        }
        if let (Row::Status(status), Way::Update) = (&put.row, way) {
            self.places.note(tenant, &status.agent)?;
        }
        Ok(())
    }

    fn remove_row(&mut self, tenant: &TenantId, key: &Key) -> rusqlite::Result<()> {
        let remove = &mut self.statements.table(TableId::of(key))?.remove;
        bind_key(remove, tenant, key)?;
        remove.raw_execute().map(|_| ())
    }

    fn holds(&mut self, commit: &Commit, cache: &Cache, pending: &State) -> rusqlite::Result<bool> {
        for change in &commit.changes {
            let expected = match change.guard {
                Guard::Absent => None,
                Guard::At(version) => Some(version),
                Guard::Guarded => {
                    continue;
                }
            };
            if self.version(&commit.tenant, &change.key, cache, pending)? != expected {
                return Ok(false);
            }
        }
        for (key, expected) in &commit.expects {
            if self.version(&commit.tenant, key, cache, pending)? != *expected {
                return Ok(false);
            }
        }
        self.hashes_are_free(commit)
    }

    /// A key's hash is unique among all tenants; a second one conflicts like a row that exists already.
    fn hashes_are_free(&mut self, commit: &Commit) -> rusqlite::Result<bool> {
        for change in &commit.changes {
            let Some(Put { row: Row::ApiKey(key), .. }) = &change.put else { continue };
            let owner: Option<(String, String)> = self
                .statements
                .hash_owner
                .query_row([&key.hash], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let is_free =
                owner.is_none_or(|(tenant, id)| tenant == commit.tenant.as_str() && id == key.id.as_str());
            if !is_free {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn version(
        &mut self,
        tenant: &TenantId,
        key: &Key,
        cache: &Cache,
        pending: &State,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(version) = self.written.get(tenant).and_then(|versions| versions.get(key)) {
            return Ok(*version);
        }
        if let Some(version) = pending.version(tenant, key) {
            return Ok(version);
        }
        if let Some(version) = cache.version(tenant, key) {
            return Ok(Some(version));
        }
        let statement = &mut self.statements.table(TableId::of(key))?.version;
        bind_key(statement, tenant, key)?;
        let mut rows = statement.raw_query();
        rows.next()?.map(|row| row.get(0)).transpose()
    }

    fn change(&mut self, tenant: &TenantId, change: &Change) -> rusqlite::Result<()> {
        if self.is_listed_as_it_will_be(tenant, change) {
            self.note_written(tenant, change);
            return Ok(());
        }
        match &change.put {
            Some(put) => self.write_row(tenant, &change.key, put, Way::of(change))?,
            None => self.remove_row(tenant, &change.key)?,
        }
        if let Key::Agent(agent) = &change.key {
            self.list_capabilities(tenant, agent.as_str(), change.put.as_ref())?;
        }
        self.note_written(tenant, change);
        Ok(())
    }

    fn note_written(&mut self, tenant: &TenantId, change: &Change) {
        if self.is_alone {
            return;
        }
        let version = change.put.as_ref().map(|put| put.version);
        match self.written.get_mut(tenant) {
            Some(versions) => versions.insert(change.key.clone(), version),
            None => self.written.entry(tenant.clone()).or_default().insert(change.key.clone(), version),
        };
    }

    /// Whether a change of who is available is none for the table: when an agent was used is kept in memory alone.
    fn is_listed_as_it_will_be(&self, tenant: &TenantId, change: &Change) -> bool {
        let Key::Available(route, agent) = &change.key else { return false };
        if change.guard != Guard::Guarded {
            return false;
        }
        let written = self.written.get(tenant).and_then(|versions| versions.get(&change.key));
        let is_listed = match written {
            Some(version) => version.is_some(),
            None => self.available.holds(tenant, route, agent),
        };
        is_listed == change.put.is_some()
    }

    fn list_capabilities(&mut self, tenant: &TenantId, id: &str, put: Option<&Put>) -> rusqlite::Result<()> {
        self.statements.clear_capabilities.execute(params![tenant.as_str(), id])?;
        if let Some(Put { row: Row::Agent(agent), .. }) = put {
            for capability in schema::capabilities(agent) {
                self.statements.add_capability.execute(params![tenant.as_str(), id, capability])?;
            }
        }
        Ok(())
    }

    fn add_holders(&mut self, tenant: &TenantId, holders: &[Holder]) -> rusqlite::Result<()> {
        for Holder { session, agent, created_at } in holders {
            let values = params![tenant.as_str(), session.as_str(), agent.as_str(), created_at.as_micros()];
            self.statements.add_session_agent.execute(values)?;
        }
        Ok(())
    }

    fn remove_due(&mut self, tenant: &TenantId, id: &str) -> rusqlite::Result<()> {
        self.statements.remove_due.execute(params![tenant.as_str(), id]).map(|_| ())
    }

    fn add_due(&mut self, tenant: &TenantId, due: &DueRow) -> rusqlite::Result<()> {
        self.statements.add_due.execute(params![
            tenant.as_str(),
            due.id,
            due.kind,
            due.lane.as_str(),
            due.due_at.as_micros(),
            due.visible_at.as_micros(),
            due.leased_by.as_ref().map(|node| node.as_str()),
            due.ends_at.map(Timestamp::as_micros),
            due.body,
        ])?;
        Ok(())
    }

    /// Writes the entries that have been given their places.
    pub(super) fn append(&mut self, placed: &mut Vec<Placed<'_>>) -> rusqlite::Result<()> {
        self.appender.append(self.connection, &mut self.statements, placed)
    }
}

fn bind_key(statement: &mut Statement<'_>, tenant: &TenantId, key: &Key) -> rusqlite::Result<usize> {
    statement.raw_bind_parameter(1, tenant.as_str())?;
    bind(statement, 2, &schema::key_cells(key))
}
