//! The writing connection: one transaction in two round trips, or in one statement.
//!
//! The first round trip begins, takes hold of the tenants and reads the versions that matter; what is decided on
//! them is written and committed by the second. A failed statement lets the COMMIT behind it undo everything.
//! Reports, the bulk of all commits, need no look where all that they rest on is remembered: then one statement
//! does it all, and fails if a tenant does not stand where it was left.

use signalbox_wire::id::TenantId;
use tokio_postgres::{Client, Error, Statement};

use super::batch::{self, Map, Name, Outcome, Questions, RowSlot};
use super::columns::Columns;
use super::memory::Memory;
use super::pipeline::{PendingQuery, enqueue};
use super::sql::REPLAN;
use super::statements::Statements;
use super::target::Target;
use super::{arrays, fault};
use crate::StoreError;
use crate::commit::{Commit, Put};
use crate::schema::TableId;

/// A connection that writes.
pub(super) struct Writer {
    client: Client,
    statements: Statements,
    memory: Memory,
    /// Transactions so far.
    count: u64,
}

/// What a batch rests on.
pub(super) struct Found<'a> {
    /// The versions asked for, of the rows that exist.
    pub(super) versions: Map<Name<'a>, i64>,
    /// The tenants and where they stand.
    pub(super) held: Map<&'a TenantId, RowSlot>,
    /// Tenants that have no row to hold yet.
    pub(super) new: Vec<&'a TenantId>,
    asked: Vec<Name<'a>>,
}

type Rows = Vec<tokio_postgres::Row>;

impl Writer {
    /// Connects and prepares all statements.
    pub(super) async fn open(target: &Target) -> Result<Self, StoreError> {
        let client = target.connect().await?;
        let statements = Statements::prepare(&client).await.map_err(|error| fault::of_statement(&error))?;
        Ok(Self { client, statements, memory: Memory::default(), count: 0 })
    }

    /// Whether the connection is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// What a batch rests on, where all of it is remembered.
    pub(super) fn recall<'a>(&self, commits: &[&'a Commit]) -> Option<Found<'a>> {
        let asked = batch::questions(commits.iter().copied());
        let mut versions = Map::default();
        for name in &asked {
            if let Some(version) = self.memory.recall(*name)? {
                versions.insert(*name, version);
            }
        }
        let tenants = batch::tenants(commits.iter().copied()).into_iter();
        let held = tenants.map(|tenant| Some((tenant, self.memory.recall_place(tenant)?)));
        Some(Found { versions, held: held.collect::<Option<_>>()?, new: Vec::new(), asked })
    }

    /// Begins the transaction of a batch.
    pub(super) async fn begin<'a>(&mut self, commits: &[&'a Commit]) -> Result<Found<'a>, Error> {
        let tenants = batch::tenants(commits.iter().copied());
        let asked = batch::questions(commits.iter().copied());
        let (recalled, open): (Vec<Name<'_>>, Vec<_>) =
            asked.iter().partition(|name| self.memory.recall(**name).is_some());
        let open = batch::by_table(open);
        let mut flights: Vec<PendingQuery<'_, Rows, Error>> = Vec::new();
        if self.count.is_power_of_two() {
            self.client.batch_execute(REPLAN).await?;
        }
        flights.push(Box::pin(async { self.client.batch_execute("BEGIN").await.map(|()| Vec::new()) }));
        flights.push(Box::pin(self.hold(&tenants)));
        flights.extend(self.ask(&open));
        let mut answers = enqueue(flights).await?.into_iter();
        let mut answer = || answers.next().unwrap_or_default();
        answer();
        let held = places(&tenants, &answer())?;
        let mut versions = Map::default();
        for rows in open.values() {
            note(&mut versions, rows, &answer())?;
        }
        let changed = self.confirm(recalled, &held, &mut versions);
        if !changed.is_empty() {
            let changed = batch::by_table(changed);
            let flights = self.ask(&changed).collect();
            for (rows, answer) in changed.values().zip(enqueue(flights).await?) {
                note(&mut versions, rows, &answer)?;
            }
        }
        let new = tenants.into_iter().filter(|tenant| !held.contains_key(tenant)).collect();
        Ok(Found { versions, held, new, asked })
    }

    /// Writes what a batch comes to and commits it.
    pub(super) async fn finish<'a>(&mut self, found: &Found<'a>, outcome: &Outcome<'a>) -> Result<(), Error> {
        let mut flights: Vec<PendingQuery<'_, u64, Error>> = Vec::new();
        if !outcome.touched.is_empty() {
            flights.push(Box::pin(
                self.execute(&self.statements.move_tenants, arrays::moves(&found.held, outcome)),
            ));
        }
        let writes = outcome.writes();
        for (table, rows) in writes.replace {
            flights
                .push(Box::pin(self.execute(&self.statements.of(table).replace, arrays::rows(table, &rows))));
        }
        for (table, rows) in writes.put {
            flights.push(Box::pin(self.execute(&self.statements.of(table).put, arrays::rows(table, &rows))));
        }
        for (table, names) in writes.remove {
            flights
                .push(Box::pin(self.execute(&self.statements.of(table).remove, arrays::keys(table, &names))));
        }
        self.beside(outcome, &mut flights);
        flights.push(Box::pin(async { self.client.batch_execute("COMMIT").await.map(|()| 0) }));
        enqueue(flights).await?;
        self.count += 1;
        self.remember(found, outcome);
        Ok(())
    }

    /// Writes and commits a batch that consists of reports, on what is remembered.
    pub(super) async fn report<'a>(
        &mut self,
        found: &Found<'a>,
        outcome: &Outcome<'a>,
        statuses: &[(Name<'a>, &'a Put)],
    ) -> Result<(), Error> {
        let statuses = arrays::rows(TableId::AgentStatuses, statuses);
        let columns = arrays::moves(&found.held, outcome).then(statuses).then(arrays::entries(outcome));
        if self.count.is_power_of_two() {
            self.client.batch_execute(REPLAN).await?;
        }
        self.execute(&self.statements.report, columns).await?;
        self.count += 1;
        self.remember(found, outcome);
        Ok(())
    }

    /// Relies on nothing that is remembered any longer.
    pub(super) fn forget(&mut self) {
        self.memory = Memory::default();
    }

    /// Undoes a transaction that was begun and is not to be finished.
    pub(super) async fn undo(&self) -> Result<(), Error> {
        self.client.batch_execute("ROLLBACK").await
    }

    /// Gives tenants a row to hold, outside any transaction.
    pub(super) async fn add_tenants(&self, tenants: &[&TenantId]) -> Result<(), Error> {
        let names: Vec<&str> = tenants.iter().map(|tenant| tenant.as_str()).collect();
        self.client.execute(&self.statements.add_tenants, &[&names]).await.map(drop)
    }

    async fn hold(&self, tenants: &[&TenantId]) -> Result<Rows, Error> {
        let names: Vec<&str> = tenants.iter().map(|tenant| tenant.as_str()).collect();
        self.client.query(&self.statements.lock_tenants, &[&names]).await
    }

    fn ask<'q>(
        &'q self,
        questions: &'q Questions<'_>,
    ) -> impl Iterator<Item = PendingQuery<'q, Rows, Error>> {
        questions.iter().map(|(table, names)| -> PendingQuery<'_, _, _> {
            Box::pin(async {
                let keys = arrays::keys(*table, names);
                self.client.query(&self.statements.of(*table).versions, &keys.parameters()).await
            })
        })
    }

    /// Takes what is remembered into `versions` if it holds; answers the rows of which nothing is known any
    /// longer, because another process has committed meanwhile.
    fn confirm<'a>(
        &mut self,
        recalled: Vec<Name<'a>>,
        held: &Map<&'a TenantId, RowSlot>,
        versions: &mut Map<Name<'a>, i64>,
    ) -> Vec<Name<'a>> {
        for (tenant, place) in held {
            self.memory.meet(tenant, *place);
        }
        let mut changed = Vec::new();
        for name in recalled {
            match self.memory.recall(name) {
                Some(Some(version)) => {
                    versions.insert(name, version);
                }
                Some(None) => {}
                None => changed.push(name),
            }
        }
        changed
    }

    fn remember(&mut self, found: &Found<'_>, outcome: &Outcome<'_>) {
        for (tenant, place) in &found.held {
            self.memory.leave(tenant, outcome.after(tenant, *place));
        }
        for name in &found.asked {
            self.memory.keep(*name, outcome.versions.get(name).copied());
        }
        for (name, written) in &outcome.rows {
            self.memory.keep(*name, written.put.map(|put| put.version));
        }
    }

    /// Adds a query of its own for each statement that has something to do.
    fn beside<'a>(&'a self, outcome: &Outcome<'a>, flights: &mut Vec<PendingQuery<'a, u64, Error>>) {
        let (agents, listed) = arrays::capabilities(outcome);
        let (due, done) = arrays::due(outcome);
        let (sessions, holders) = arrays::holders(outcome);
        let statements = &self.statements;
        for (statement, columns) in [
            (&statements.clear_capabilities, agents),
            (&statements.add_capabilities, listed),
            (&statements.add_session_agents, holders),
            (&statements.clear_session_agents, sessions.clone()),
            (&statements.add_payload_uses, arrays::uses(outcome)),
            (&statements.clear_payloads, sessions),
            (&statements.put_due, due),
            (&statements.remove_due, done),
            (&statements.add_events, arrays::entries(outcome)),
        ] {
            if !columns.is_empty() {
                flights.push(Box::pin(self.execute(statement, columns)));
            }
        }
    }

    async fn execute(&self, statement: &Statement, columns: Columns<'_>) -> Result<u64, Error> {
        self.client.execute(statement, &columns.parameters()).await
    }
}

/// Where the tenants stand; one without a row is missing.
fn places<'a>(tenants: &[&'a TenantId], rows: &Rows) -> Result<Map<&'a TenantId, RowSlot>, Error> {
    let mut held = Map::default();
    for row in rows {
        let name: &str = row.try_get(0)?;
        // Both sides are in the order of their bytes.
        if let Ok(index) = tenants.binary_search_by(|tenant| tenant.as_str().cmp(name)) {
            held.insert(tenants[index], RowSlot { last: row.try_get(1)?, commits: row.try_get(2)? });
        }
    }
    Ok(held)
}

/// Takes an answer to a question about `names` into `versions`.
fn note<'a>(versions: &mut Map<Name<'a>, i64>, names: &[Name<'a>], rows: &Rows) -> Result<(), Error> {
    for row in rows {
        let place = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(usize::MAX);
        if let Some(name) = names.get(place.wrapping_sub(1)) {
            versions.insert(*name, row.try_get(1)?);
        }
    }
    Ok(())
}
