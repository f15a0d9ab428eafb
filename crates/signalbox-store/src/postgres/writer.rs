//! The writing connection: one transaction in two round trips, or in one statement.
//!
//! The first round trip begins, takes hold of the tenants and reads the versions that matter; what is decided on
//! them is written and committed by the second. A failed statement lets the COMMIT behind it undo everything.
//! Reports, the bulk of all commits, need no look where all that they rest on is remembered: then one statement
//! does it all, and fails if another process has committed for a tenant meanwhile. Where several processes commit for the
//! tenants, what reports rest on is taken for granted instead and looked at by the statement that writes them, so that
//! they take one round trip too; before it the tenants may be held already.

use signalbox_wire::id::TenantId;
use tokio::time::Instant;
use tokio_postgres::{Client, Error, Statement};

use super::batch::{self, Map, Name, Outcome, Questions, TenantLock};
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
    doubts: Doubts,
    held: Option<Held>,
    /// Transactions so far.
    count: u64,
}

/// Tenants that are held for a batch of which nothing is asked or written yet.
struct Held {
    /// In order.
    tenants: Vec<TenantId>,
    locks: Rows,
}

/// What a batch rests on.
pub(super) struct Found<'a> {
    /// The versions asked for, of the rows that exist.
    pub(super) versions: Map<Name<'a>, i64>,
    /// The tenants and where they stand.
    pub(super) held: Map<&'a TenantId, TenantLock>,
    /// Tenants that have no row to hold yet.
    pub(super) new: Vec<&'a TenantId>,
    asked: Vec<Name<'a>>,
}

/// How often what reports rest on was not as they took for granted, so that it is better looked at first.
#[derive(Default)]
struct Doubts {
    /// Batches that are still looked at.
    left: u32,
    /// Batches that were to be looked at the last time.
    given: u32,
}

/// Batches that are looked at before anything is taken for granted again, at most.
const DOUBTS_MAX: u32 = 31;

type Rows = Vec<tokio_postgres::Row>;

/// A name that no other writer has or had.
const NAME: &str = "SELECT ('x' || left(md5(gen_random_uuid()::text), 16))::bit(64)::bigint";

impl Writer {
    /// Connects and prepares all statements.
    pub(super) async fn open(target: &Target) -> Result<Self, StoreError> {
        let client = target.connect().await?;
        let statements = Statements::prepare(&client).await.map_err(|error| fault::of_statement(&error))?;
        let named = client.query_one(NAME, &[]).await.and_then(|row| row.try_get(0));
        let memory = Memory::of(named.map_err(|error| fault::of_statement(&error))?);
        Ok(Self { client, statements, memory, doubts: Doubts::default(), held: None, count: 0 })
    }

    /// Whether the connection is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// What a batch rests on, where all of it is remembered and nothing is held.
    pub(super) fn recall<'a>(&self, commits: &[&'a Commit]) -> Option<Found<'a>> {
        if self.held.is_some() {
            return None;
        }
        let asked = batch::questions(commits.iter().copied());
        let mut versions = Map::default();
        for name in &asked {
            if let Some(version) = self.memory.recall(*name)? {
                versions.insert(*name, version);
            }
        }
        let tenants = batch::tenants(commits.iter().copied()).into_iter();
        let held = tenants.map(|tenant| Some((tenant, self.memory.recall_lock(tenant)?)));
        Some(Found { versions, held: held.collect::<Option<_>>()?, new: Vec::new(), asked })
    }

    /// Whether several processes commit for all tenants of a batch.
    pub(super) fn has_company(&self, commits: &[&Commit]) -> bool {
        let now = Instant::now();
        let mut tenants = batch::tenants(commits.iter().copied()).into_iter();
        !commits.is_empty() && tenants.all(|tenant| self.memory.recall_shared(tenant, now).is_some())
    }

    /// Begins the transaction of a batch that is not complete yet, and takes hold of its tenants.
    pub(super) async fn hold(&mut self, commits: &[&Commit]) -> Result<(), Error> {
        self.replan().await?;
        let tenants = batch::tenants(commits.iter().copied());
        let flights: Vec<PendingQuery<'_, Rows, Error>> = vec![
            Box::pin(async { self.client.batch_execute("BEGIN").await.map(|()| Vec::new()) }),
            Box::pin(self.of_tenants(&self.statements.lock_tenants, &tenants)),
        ];
        let locks = enqueue(flights).await?.pop().unwrap_or_default();
        self.held = Some(Held { tenants: tenants.into_iter().cloned().collect(), locks });
        Ok(())
    }

    /// Whether a tenant is held already.
    pub(super) fn holds(&self, tenant: &TenantId) -> bool {
        self.held.as_ref().is_some_and(|held| held.tenants.binary_search(tenant).is_ok())
    }

    /// What a batch of reports takes for granted, where several processes commit for all of its tenants.
    pub(super) fn take_for_granted<'a>(&mut self, commits: &[&'a Commit]) -> Option<Found<'a>> {
        let now = Instant::now();
        let tenants = batch::tenants(commits.iter().copied()).into_iter();
        let held = tenants.map(|tenant| Some((tenant, self.memory.recall_shared(tenant, now)?)));
        let held = held.collect::<Option<_>>()?;
        let versions = batch::granted(commits.iter().copied())?;
        if self.doubts.left > 0 {
            self.doubts.left -= 1;
            return None;
        }
        Some(Found { versions, held, new: Vec::new(), asked: Vec::new() })
    }

    /// What a batch took for granted was not so.
    pub(super) fn doubt(&mut self) {
        let given = (self.doubts.given * 2 + 1).min(DOUBTS_MAX);
        self.doubts = Doubts { left: given, given };
    }

    /// Begins the transaction of a batch, or goes on with the one in which its tenants are held.
    pub(super) async fn begin<'a>(&mut self, commits: &[&'a Commit]) -> Result<Found<'a>, Error> {
        let tenants = batch::tenants(commits.iter().copied());
        let asked = batch::questions(commits.iter().copied());
        let (recalled, open): (Vec<Name<'_>>, Vec<_>) =
            asked.iter().partition(|name| self.memory.recall(**name).is_some());
        let open = batch::by_table(open);
        let mut flights: Vec<PendingQuery<'_, Rows, Error>> = Vec::new();
        let locks = self.held.take().map(|held| held.locks);
        if locks.is_none() {
            self.replan().await?;
            flights.push(Box::pin(async { self.client.batch_execute("BEGIN").await.map(|()| Vec::new()) }));
            flights.push(Box::pin(self.of_tenants(&self.statements.lock_tenants, &tenants)));
        }
        flights.push(Box::pin(self.of_tenants(&self.statements.last_places, &tenants)));
        flights.extend(self.ask(&open));
        let mut answers = enqueue(flights).await?.into_iter();
        let mut answer = || answers.next().unwrap_or_default();
        let locks = locks.unwrap_or_else(|| {
            answer();
            answer()
        });
        let held = held(&tenants, &locks, &answer())?;
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
        let now = Instant::now();
        let after = self.after(found, outcome, now);
        let taken = after.iter().filter(|(tenant, lock)| {
            found
                .held
                .get(*tenant)
                .is_some_and(|before| (before.writer, before.is_removed) != (lock.writer, lock.is_removed))
        });
        let taken: Vec<_> = taken.map(|(tenant, lock)| (*tenant, lock.writer)).collect();
        if !taken.is_empty() {
            flights.push(Box::pin(self.execute(&self.statements.take_tenants, arrays::writers(taken))));
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
        self.remember(found, outcome, &after, now);
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
        let writer = Some(self.memory.writer());
        let tenants = arrays::writers(found.held.keys().map(|tenant| (*tenant, writer)).collect());
        let columns = tenants.then(statuses).then(arrays::entries(outcome));
        self.replan().await?;
        self.execute(&self.statements.report, columns).await?;
        self.count += 1;
        let now = Instant::now();
        let after = self.after(found, outcome, now);
        self.remember(found, outcome, &after, now);
        Ok(())
    }

    /// Writes and commits a batch that consists of reports, if all is as `granted`.
    pub(super) async fn report_shared<'a>(
        &mut self,
        commits: &[&'a Commit],
        granted: &Map<Name<'a>, i64>,
        outcome: &mut Outcome<'a>,
        statuses: &[(Name<'a>, &'a Put)],
    ) -> Result<(), Error> {
        let tenants = batch::tenants(commits.iter().copied());
        let columns = arrays::tenants(tenants.iter().copied())
            .then(arrays::registrations(granted))
            .then(arrays::rows(TableId::AgentStatuses, statuses))
            .then(arrays::versions(statuses, granted))
            .then(arrays::entries(outcome));
        let parameters = columns.parameters();
        let mut flights: Vec<PendingQuery<'_, Rows, Error>> = Vec::new();
        if self.held.take().is_none() {
            self.replan().await?;
            flights.push(Box::pin(async { self.client.batch_execute("BEGIN").await.map(|()| Vec::new()) }));
            flights.push(Box::pin(self.of_tenants(&self.statements.lock_tenants, &tenants)));
        }
        flights.push(Box::pin(self.client.query(&self.statements.report_shared, &parameters)));
        flights.push(Box::pin(async { self.client.batch_execute("COMMIT").await.map(|()| Vec::new()) }));
        let mut answers = enqueue(flights).await?;
        answers.pop();
        self.count += 1;
        self.doubts = Doubts::default();
        let mut last = Map::default();
        for row in answers.pop().unwrap_or_default() {
            let name: &str = row.try_get(0)?;
            if let Ok(index) = tenants.binary_search_by(|tenant| tenant.as_str().cmp(name)) {
                last.insert(tenants[index], row.try_get(1)?);
            }
        }
        outcome.follow(commits, &last);
        Ok(())
    }

    /// Relies on nothing that is remembered any longer.
    pub(super) fn forget(&mut self) {
        self.memory = Memory::of(self.memory.writer());
    }

    /// Undoes a transaction that was begun and is not to be finished.
    pub(super) async fn undo(&mut self) -> Result<(), Error> {
        self.held = None;
        self.client.batch_execute("ROLLBACK").await
    }

    /// Gives tenants a row to hold, outside any transaction.
    pub(super) async fn add_tenants(&self, tenants: &[&TenantId]) -> Result<(), Error> {
        let names: Vec<&str> = tenants.iter().map(|tenant| tenant.as_str()).collect();
        self.client.execute(&self.statements.add_tenants, &[&names]).await.map(drop)
    }

    /// Lets plans be made anew from time to time, outside any transaction: nobody is to wait for it.
    async fn replan(&self) -> Result<(), Error> {
        if self.count.is_power_of_two() { self.client.batch_execute(REPLAN).await } else { Ok(()) }
    }

    async fn of_tenants(&self, statement: &Statement, tenants: &[&TenantId]) -> Result<Rows, Error> {
        let names: Vec<&str> = tenants.iter().map(|tenant| tenant.as_str()).collect();
        self.client.query(statement, &[&names]).await
    }

    /// How the tenants for which anything is committed are left.
    fn after<'a>(
        &self,
        found: &Found<'a>,
        outcome: &Outcome<'a>,
        now: Instant,
    ) -> Vec<(&'a TenantId, TenantLock)> {
        let touched = found.held.iter().filter(|(tenant, _)| outcome.touched.contains(*tenant));
        let after = touched.map(|(tenant, before)| {
            let writer = self.memory.next_writer(tenant, *before, now);
            let last = outcome.last_after(tenant, before.last);
            (*tenant, TenantLock { last, writer, is_removed: false })
        });
        after.collect()
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
        held: &Map<&'a TenantId, TenantLock>,
        versions: &mut Map<Name<'a>, i64>,
    ) -> Vec<Name<'a>> {
        for (tenant, lock) in held {
            self.memory.meet(tenant, *lock);
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

    fn remember(
        &mut self,
        found: &Found<'_>,
        outcome: &Outcome<'_>,
        after: &[(&TenantId, TenantLock)],
        now: Instant,
    ) {
        for (tenant, after) in after {
            if let Some(before) = found.held.get(*tenant) {
                self.memory.leave(tenant, *before, *after, now);
            }
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

/// How the tenants are found; one without a row is missing.
fn held<'a>(
    tenants: &[&'a TenantId],
    locks: &Rows,
    places: &Rows,
) -> Result<Map<&'a TenantId, TenantLock>, Error> {
    // Both sides are in the order of their bytes.
    let find = |name: &str| tenants.binary_search_by(|tenant| tenant.as_str().cmp(name));
    let mut held = Map::default();
    for row in locks {
        if let Ok(index) = find(row.try_get(0)?) {
            let (last, writer, is_removed) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            held.insert(tenants[index], TenantLock { last, writer, is_removed });
        }
    }
    for row in places {
        if let Some(lock) = find(row.try_get(0)?).ok().and_then(|index| held.get_mut(tenants[index])) {
            lock.last = lock.last.max(row.try_get(1)?);
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
