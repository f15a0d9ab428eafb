//! The writing connection: one transaction in two flights.
//!
//! The first begins, takes hold of the tenants and reads the versions that matter; what is decided on them is
//! written and committed by the second. A failed statement lets the COMMIT behind it undo everything.

use std::collections::{HashMap, HashSet};

use signalbox_core::decision::{Key, Row};
use signalbox_wire::id::TenantId;
use tokio_postgres::{Client, Error, Statement};

use super::batch::{self, Name, Outcome};
use super::columns::Columns;
use super::pipeline::{Flight, fly};
use super::sql;
use super::target::Target;
use super::fault;
use crate::StoreError;
use crate::commit::{Commit, DueRow, Put};
use crate::schema::{self, ColumnKind, TableId};

const TEXT: ColumnKind = ColumnKind::Text;
const NUMBER: ColumnKind = ColumnKind::Integer;

/// A connection that writes.
pub(super) struct Writer {
    client: Client,
    tables: Vec<TableStatements>,
    lock_tenants: Statement,
    add_tenants: Statement,
    move_tenants: Statement,
    add_events: Statement,
    put_due: Statement,
    remove_due: Statement,
    clear_capabilities: Statement,
    add_capabilities: Statement,
    /// Tenants that have a row to hold.
    known: HashSet<TenantId>,
}

struct TableStatements {
    versions: Statement,
    put: Statement,
    remove: Statement,
}

/// What the first flight brings back, with everything held until the second one ends.
pub(super) struct Found<'a> {
    /// The versions asked for, of the rows that exist.
    pub(super) versions: HashMap<Name<'a>, i64>,
    /// The last place in each tenant's order.
    pub(super) last: HashMap<&'a TenantId, i64>,
    /// Whether all tenants are held; one that is not has lost its row to a foreign hand.
    pub(super) holds_all: bool,
}

impl Writer {
    /// Connects and prepares all statements.
    pub(super) async fn open(target: &Target) -> Result<Self, StoreError> {
        let client = target.connect().await?;
        Self::prepare(client).await.map_err(|error| fault::of_statement(&error))
    }

    /// Whether the connection is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Begins the transaction of a batch.
    pub(super) async fn begin<'a>(&mut self, commits: &[&'a Commit]) -> Result<Found<'a>, Error> {
        let tenants = batch::tenants(commits.iter().copied());
        let questions: Vec<_> = batch::questions(commits.iter().copied()).into_iter().collect();
        let names: Vec<&str> = tenants.iter().map(|tenant| tenant.as_str()).collect();
        let new: Vec<&str> = tenants.iter().filter(|id| !self.known.contains(id.as_str())).map(|id| id.as_str()).collect();
        let mut flights: Vec<Flight<'_, Result<Vec<tokio_postgres::Row>, Error>>> = Vec::new();
        let is_new = !new.is_empty();
        if is_new {
            flights.push(Box::pin(async { self.client.query(&self.add_tenants, &[&new]).await }));
        }
        flights.push(Box::pin(async { self.client.batch_execute("BEGIN").await.map(|()| Vec::new()) }));
        flights.push(Box::pin(async { self.client.query(&self.lock_tenants, &[&names]).await }));
        for (table, rows) in &questions {
            flights.push(Box::pin(self.ask(*table, rows)));
        }
        let mut answers = fly(flights).await.into_iter();
        let mut answer = || answers.next().unwrap_or_else(|| Ok(Vec::new()));
        if is_new {
            answer()?;
        }
        answer()?;
        let last = last_places(&tenants, &answer()?)?;
        let mut versions = HashMap::new();
        for (_, rows) in &questions {
            for row in answer()? {
                let place = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(usize::MAX);
                if let Some(name) = rows.get(place.wrapping_sub(1)) {
                    versions.insert(*name, row.try_get(1)?);
                }
            }
        }
        let holds_all = last.len() == tenants.len();
        if holds_all {
            self.known.extend(tenants.into_iter().cloned());
        } else {
            self.known.clear();
        }
        Ok(Found { versions, last, holds_all })
    }

    /// Writes what a batch comes to and commits it.
    pub(super) async fn finish(&self, outcome: &Outcome<'_>) -> Result<(), Error> {
        let mut flights: Vec<Flight<'_, Result<u64, Error>>> = Vec::new();
        let (puts, removals) = by_table(outcome);
        for (table, rows) in puts {
            flights.push(Box::pin(self.put(table, rows)));
        }
        for (table, names) in removals {
            flights.push(Box::pin(self.remove(table, names)));
        }
        self.list_capabilities(outcome, &mut flights);
        self.move_due(outcome, &mut flights);
        if !outcome.events.is_empty() {
            flights.push(Box::pin(self.append(outcome)));
            flights.push(Box::pin(self.move_tenants(outcome)));
        }
        flights.push(Box::pin(async { self.client.batch_execute("COMMIT").await.map(|()| 0) }));
        fly(flights).await.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// Undoes a transaction that was begun and is not to be finished.
    pub(super) async fn undo(&self) -> Result<(), Error> {
        self.client.batch_execute("ROLLBACK").await
    }

    async fn ask(&self, table: TableId, rows: &[Name<'_>]) -> Result<Vec<tokio_postgres::Row>, Error> {
        let mut columns = Columns::of(sql::key_kinds(table.table()), rows.len());
        for (tenant, key) in rows {
            columns.push(tenant.as_str());
            columns.extend(&schema::key_cells(key));
        }
        self.client.query(&self.table(table).versions, &columns.parameters()).await
    }

    async fn put(&self, table: TableId, rows: Vec<(Name<'_>, &Put)>) -> Result<u64, Error> {
        let mut columns = Columns::of(sql::put_kinds(table.table()), rows.len());
        for ((tenant, key), put) in rows {
            columns.push(tenant.as_str());
            columns.extend(&schema::key_cells(key));
            columns.extend(&schema::index_cells(&put.row));
            columns.push(put.version);
            columns.push(put.body.as_str());
        }
        self.client.execute(&self.table(table).put, &columns.parameters()).await
    }

    async fn remove(&self, table: TableId, names: Vec<Name<'_>>) -> Result<u64, Error> {
        let mut columns = Columns::of(sql::key_kinds(table.table()), names.len());
        for (tenant, key) in names {
            columns.push(tenant.as_str());
            columns.extend(&schema::key_cells(key));
        }
        self.client.execute(&self.table(table).remove, &columns.parameters()).await
    }

    fn list_capabilities<'a>(&'a self, outcome: &Outcome<'a>, flights: &mut Vec<Flight<'a, Result<u64, Error>>>) {
        let agents = || outcome.rows.iter().filter_map(|((tenant, key), put)| match *key {
            Key::Agent(agent) => Some((tenant.as_str(), agent.as_str(), *put)),
            _ => None,
        });
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
        if agents().next().is_some() {
            flights.push(Box::pin(self.execute(&self.clear_capabilities, gone)));
            flights.push(Box::pin(self.execute(&self.add_capabilities, listed)));
        }
    }

    fn move_due<'a>(&'a self, outcome: &Outcome<'a>, flights: &mut Vec<Flight<'a, Result<u64, Error>>>) {
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
            flights.push(Box::pin(self.execute(&self.put_due, put)));
        }
        if !removed.is_empty() {
            flights.push(Box::pin(self.execute(&self.remove_due, removed)));
        }
    }

    async fn append(&self, outcome: &Outcome<'_>) -> Result<u64, Error> {
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
        self.client.execute(&self.add_events, &columns.parameters()).await
    }

    async fn move_tenants(&self, outcome: &Outcome<'_>) -> Result<u64, Error> {
        let mut columns = Columns::of([TEXT, NUMBER], outcome.last.len());
        for (tenant, last) in &outcome.last {
            columns.push(tenant.as_str());
            columns.push(*last);
        }
        self.client.execute(&self.move_tenants, &columns.parameters()).await
    }

    async fn execute(&self, statement: &Statement, columns: Columns<'_>) -> Result<u64, Error> {
        self.client.execute(statement, &columns.parameters()).await
    }

    fn table(&self, id: TableId) -> &TableStatements {
        &self.tables[id as usize]
    }

    async fn prepare(client: Client) -> Result<Self, Error> {
        let tables = async {
            let texts = TableId::ALL.iter().flat_map(|id| {
                let sql = sql::of(*id);
                [sql.versions.as_str(), sql.put.as_str(), sql.remove.as_str()]
            });
            let flights = texts.map(|text| -> Flight<'_, _> { Box::pin(client.prepare(text)) });
            fly(flights.collect()).await.into_iter().collect::<Result<Vec<Statement>, Error>>()
        };
        let (tables, lock_tenants, add_tenants, move_tenants, add_events) = tokio::try_join!(
            tables,
            client.prepare(sql::LOCK_TENANTS),
            client.prepare(sql::ADD_TENANTS),
            client.prepare(sql::MOVE_TENANTS),
            client.prepare(sql::ADD_EVENTS),
        )?;
        let (put_due, remove_due, clear_capabilities, add_capabilities) = tokio::try_join!(
            client.prepare(sql::PUT_DUE),
            client.prepare(sql::REMOVE_DUE),
            client.prepare(sql::CLEAR_CAPABILITIES),
            client.prepare(sql::ADD_CAPABILITIES),
        )?;
        let tables = tables.chunks_exact(3).map(|three| TableStatements {
            versions: three[0].clone(),
            put: three[1].clone(),
            remove: three[2].clone(),
        });
        Ok(Self {
            tables: tables.collect(),
            lock_tenants,
            add_tenants,
            move_tenants,
            add_events,
            put_due,
            remove_due,
            clear_capabilities,
            add_capabilities,
            known: HashSet::new(),
            client,
        })
    }
}

/// The last places by tenant.
fn last_places<'a>(
    tenants: &[&'a TenantId],
    rows: &[tokio_postgres::Row],
) -> Result<HashMap<&'a TenantId, i64>, Error> {
    let mut last = HashMap::with_capacity(rows.len());
    for row in rows {
        let name: &str = row.try_get(0)?;
        // Both sides are in the order of their bytes.
        if let Ok(index) = tenants.binary_search_by(|tenant| tenant.as_str().cmp(name)) {
            last.insert(tenants[index], row.try_get(1)?);
        }
    }
    Ok(last)
}

type ByTable<T> = HashMap<TableId, Vec<T>>;

fn by_table<'a>(outcome: &Outcome<'a>) -> (ByTable<(Name<'a>, &'a Put)>, ByTable<Name<'a>>) {
    let (mut puts, mut removals) = (ByTable::new(), ByTable::new());
    for (name, put) in &outcome.rows {
        let table = TableId::of(name.1);
        match put {
            Some(put) => puts.entry(table).or_insert_with(Vec::new).push((*name, *put)),
            None => removals.entry(table).or_insert_with(Vec::new).push(*name),
        }
    }
    (puts, removals)
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
