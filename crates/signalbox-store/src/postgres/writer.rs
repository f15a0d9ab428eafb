//! The writing connection: one transaction in two flights, or in one statement.
//!
//! The first flight begins, takes hold of the tenants and reads the versions that matter; what is decided on
//! them is written and committed by the second. A failed statement lets the COMMIT behind it undo everything.
//! Reports, the bulk of all commits, need no look where all that they rest on is remembered: then one statement
//! does it all, and fails if a tenant does not stand where it was left.

use signalbox_core::decision::{Key, Row};
use signalbox_wire::id::TenantId;
use tokio_postgres::{Client, Error, Statement};

use super::batch::{self, Map, Name, Outcome, Place, Questions};
use super::columns::Columns;
use super::fault;
use super::memory::Memory;
use super::pipeline::{Flight, fly};
use super::sql;
use super::statements::Statements;
use super::target::Target;
use crate::StoreError;
use crate::commit::{Commit, DueRow, Put};
use crate::schema::{self, ColumnKind, TableId};

const TEXT: ColumnKind = ColumnKind::Text;
const NUMBER: ColumnKind = ColumnKind::Integer;

/// A plan is made on what a table held when its statement ran first, so plans are made anew from time to time:
/// often in the beginning, when tables grow fast, and ever more rarely.
const REPLAN: &str = "DISCARD PLANS";

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
    pub(super) held: Map<&'a TenantId, Place>,
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
        let mut flights: Vec<Flight<'_, Rows, Error>> = Vec::new();
        if self.count.is_power_of_two() {
            self.client.batch_execute(REPLAN).await?;
        }
        flights.push(Box::pin(async { self.client.batch_execute("BEGIN").await.map(|()| Vec::new()) }));
        flights.push(Box::pin(self.hold(&tenants)));
        flights.extend(self.ask(&open));
        let mut answers = fly(flights).await?.into_iter();
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
            for (rows, answer) in changed.values().zip(fly(flights).await?) {
                note(&mut versions, rows, &answer)?;
            }
        }
        let new = tenants.into_iter().filter(|tenant| !held.contains_key(tenant)).collect();
        Ok(Found { versions, held, new, asked })
    }

    /// Writes what a batch comes to and commits it.
    pub(super) async fn finish<'a>(&mut self, found: &Found<'a>, outcome: &Outcome<'a>) -> Result<(), Error> {
        let mut flights: Vec<Flight<'_, u64, Error>> = Vec::new();
        if !outcome.touched.is_empty() {
            flights.push(Box::pin(self.execute(&self.statements.move_tenants, moves(found, outcome))));
        }
        let writes = outcome.writes();
        for (table, rows) in writes.replace {
            flights.push(Box::pin(self.execute(&self.statements.of(table).replace, columns(table, &rows))));
        }
        for (table, rows) in writes.put {
            flights.push(Box::pin(self.execute(&self.statements.of(table).put, columns(table, &rows))));
        }
        for (table, names) in writes.remove {
            flights.push(Box::pin(self.execute(&self.statements.of(table).remove, keys(table, &names))));
        }
        self.list_capabilities(outcome, &mut flights);
        self.move_due(outcome, &mut flights);
        if !outcome.events.is_empty() {
            flights.push(Box::pin(self.execute(&self.statements.add_events, entries(outcome))));
        }
        flights.push(Box::pin(async { self.client.batch_execute("COMMIT").await.map(|()| 0) }));
        fly(flights).await?;
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
        let statuses = columns(TableId::AgentStatuses, statuses);
        let columns = moves(found, outcome).then(statuses).then(entries(outcome));
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

    fn ask<'q>(&'q self, questions: &'q Questions<'_>) -> impl Iterator<Item = Flight<'q, Rows, Error>> {
        questions.iter().map(|(table, names)| -> Flight<'_, _, _> {
            Box::pin(async {
                let keys = keys(*table, names);
                self.client.query(&self.statements.of(*table).versions, &keys.parameters()).await
            })
        })
    }

    /// Takes what is remembered into `versions` if it holds; answers the rows of which nothing is, because another process
    /// has committed meanwhile.
    fn confirm<'a>(
        &mut self,
        recalled: Vec<Name<'a>>,
        held: &Map<&'a TenantId, Place>,
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
            self.memory.leave(tenant, after(tenant, *place, outcome));
        }
        for name in &found.asked {
            self.memory.keep(*name, outcome.versions.get(name).copied());
        }
        for (name, written) in &outcome.rows {
            self.memory.keep(*name, written.put.map(|put| put.version));
        }
    }

    fn list_capabilities<'a>(&'a self, outcome: &Outcome<'a>, flights: &mut Vec<Flight<'a, u64, Error>>) {
        let agents = || {
            outcome.rows.iter().filter_map(|((tenant, key), written)| match *key {
                Key::Agent(agent) => Some((tenant.as_str(), agent.as_str(), written.put)),
                _ => None,
            })
        };
        let mut gone = Columns::of([TEXT; 2], 0);
        let mut listed = Columns::of([TEXT; 3], 0);
        for (tenant, agent, put) in agents() {
            gone.push(tenant);
            gone.push(agent);
            let Some(Put { row: Row::Agent(row), .. }) = put else { continue };
            for capability in schema::capabilities(row) {
                listed.push(tenant);
                listed.push(agent);
                listed.push(capability);
            }
        }
        if !gone.is_empty() {
            flights.push(Box::pin(self.execute(&self.statements.clear_capabilities, gone)));
        }
        if !listed.is_empty() {
            flights.push(Box::pin(self.execute(&self.statements.add_capabilities, listed)));
        }
    }

    fn move_due<'a>(&'a self, outcome: &Outcome<'a>, flights: &mut Vec<Flight<'a, u64, Error>>) {
        let mut put = Columns::of([TEXT, TEXT, TEXT, NUMBER, NUMBER, TEXT, TEXT], outcome.due.len());
        let mut removed = Columns::of([TEXT; 2], outcome.due.len());
        for ((tenant, id), due) in &outcome.due {
            match due {
                Some(due) => push_due(&mut put, tenant, due),
                None => {
                    removed.push(tenant.as_str());
                    removed.push(*id);
                }
            }
        }
        if !put.is_empty() {
            flights.push(Box::pin(self.execute(&self.statements.put_due, put)));
        }
        if !removed.is_empty() {
            flights.push(Box::pin(self.execute(&self.statements.remove_due, removed)));
        }
    }

    async fn execute(&self, statement: &Statement, columns: Columns<'_>) -> Result<u64, Error> {
        self.client.execute(statement, &columns.parameters()).await
    }
}

/// From where the tenants move, and to where.
fn moves<'a>(found: &Found<'a>, outcome: &Outcome<'a>) -> Columns<'a> {
    let mut columns = Columns::of([TEXT, NUMBER, NUMBER, NUMBER], found.held.len());
    let mut held: Vec<_> = found.held.iter().collect();
    held.sort_unstable_by_key(|(tenant, _)| **tenant);
    for (tenant, place) in held {
        let next = after(tenant, *place, outcome);
        columns.push(tenant.as_str());
        columns.push(next.last);
        columns.push(place.commits);
        columns.push(next.commits - place.commits);
    }
    columns
}

/// What a batch appends to the log.
fn entries<'a>(outcome: &Outcome<'a>) -> Columns<'a> {
    let kinds = [TEXT, NUMBER, NUMBER, TEXT, NUMBER, TEXT, NUMBER, TEXT, TEXT, TEXT];
    let mut columns = Columns::of(kinds, outcome.events.len());
    for (tenant, place, event) in &outcome.events {
        columns.push(tenant.as_str());
        columns.push(*place);
        columns.push(event.at);
        columns.push(event.kind.as_str());
        columns.push(event.level.number());
        columns.push_text(event.session.as_ref().map(|(session, _)| session.as_str()));
        columns.push_number(event.session.as_ref().and_then(|(_, place)| i64::try_from(*place).ok()));
        columns.push_text(event.agent.as_ref().map(|agent| agent.as_str()));
        columns.push_text(event.task.as_ref().map(|task| task.as_str()));
        columns.push(event.data.as_str());
    }
    columns
}

/// Where a tenant stands after a batch.
fn after(tenant: &TenantId, place: Place, outcome: &Outcome<'_>) -> Place {
    let last = outcome.last.get(tenant).copied().unwrap_or(place.last);
    Place { last, commits: place.commits + i64::from(outcome.touched.contains(tenant)) }
}

/// Where the tenants stand; one without a row is missing.
fn places<'a>(tenants: &[&'a TenantId], rows: &Rows) -> Result<Map<&'a TenantId, Place>, Error> {
    let mut held = Map::default();
    for row in rows {
        let name: &str = row.try_get(0)?;
        // Both sides are in the order of their bytes.
        if let Ok(index) = tenants.binary_search_by(|tenant| tenant.as_str().cmp(name)) {
            held.insert(tenants[index], Place { last: row.try_get(1)?, commits: row.try_get(2)? });
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

fn keys<'a>(table: TableId, names: &[Name<'a>]) -> Columns<'a> {
    let mut columns = Columns::of(sql::key_kinds(table.table()), names.len());
    for (tenant, key) in names {
        columns.push(tenant.as_str());
        columns.extend(&schema::key_cells(key));
    }
    columns
}

fn columns<'a>(table: TableId, rows: &[(Name<'a>, &'a Put)]) -> Columns<'a> {
    let mut columns = Columns::of(sql::put_kinds(table.table()), rows.len());
    for ((tenant, key), put) in rows {
        columns.push(tenant.as_str());
        columns.extend(&schema::key_cells(key));
        columns.extend(&schema::index_cells(&put.row));
        columns.push(put.version);
        columns.push(put.body.as_str());
    }
    columns
}

fn push_due<'a>(columns: &mut Columns<'a>, tenant: &'a TenantId, due: &'a DueRow) {
    columns.push(tenant.as_str());
    columns.push(due.id.as_str());
    columns.push(due.kind);
    columns.push(due.due_at);
    columns.push(due.visible_at);
    columns.push_text(due.leased_by.as_ref().map(|node| node.as_str()));
    columns.push(due.body.as_str());
}
