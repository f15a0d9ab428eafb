//! A batch of decisions, decided in memory: which of them conflict, and what the others come to.
//!
//! Everything is borrowed from the commits. The versions given are those of a moment from which on nobody else
//! can change them; decisions are taken in order, each on what those before it left behind.

use std::collections::{HashMap, HashSet};

use signalbox_core::decision::{Guard, Key};
use signalbox_core::event::NewEvent;
use signalbox_wire::id::TenantId;

use crate::commit::{Commit, DueRow, Put};
use crate::schema::TableId;

/// A row's name among all tenants.
pub(super) type Name<'a> = (&'a TenantId, &'a Key);

/// The rows whose versions must be known, by table.
pub(super) type Questions<'a> = HashMap<TableId, Vec<Name<'a>>>;

/// What a batch comes to.
#[derive(Default)]
pub(super) struct Outcome<'a> {
    /// For each decision the place of its last event (0 for none), or `None` when it conflicts.
    pub(super) verdicts: Vec<Option<i64>>,
    /// Rows to put, and to remove where there is nothing to put.
    pub(super) rows: HashMap<Name<'a>, Option<&'a Put>>,
    /// Entries for the log with their place.
    pub(super) events: Vec<(&'a TenantId, i64, &'a NewEvent)>,
    /// Due work to put, and to remove where there is nothing to put.
    pub(super) due: HashMap<(&'a TenantId, &'a str), Option<&'a DueRow>>,
    /// The last place in the order of each tenant that has new events.
    pub(super) last: HashMap<&'a TenantId, i64>,
    /// The tenants for which anything is committed.
    pub(super) touched: HashSet<&'a TenantId>,
    /// The versions given, as they are after the batch.
    pub(super) versions: HashMap<Name<'a>, i64>,
}

/// The tenants of a batch, each once.
pub(super) fn tenants<'a>(commits: impl Iterator<Item = &'a Commit>) -> Vec<&'a TenantId> {
    let mut tenants: Vec<&TenantId> = commits.map(|commit| &commit.tenant).collect();
    tenants.sort_unstable();
    tenants.dedup();
    tenants
}

/// The rows whose versions must be known before a batch can be decided, each once.
pub(super) fn questions<'a>(commits: impl Iterator<Item = &'a Commit>) -> Vec<Name<'a>> {
    let mut asked = HashSet::new();
    let mut questions = Vec::new();
    for commit in commits {
        let guarded = commit.changes.iter().filter(|change| change.guard != Guard::Guarded);
        let keys = guarded.map(|change| &change.key).chain(commit.expects.iter().map(|(key, _)| key));
        questions.extend(keys.map(|key| (&commit.tenant, key)).filter(|name| asked.insert(*name)));
    }
    questions
}

/// Rows by the table that holds them.
pub(super) fn by_table<'a>(names: impl IntoIterator<Item = Name<'a>>) -> Questions<'a> {
    let mut tables = Questions::new();
    for name in names {
        tables.entry(TableId::of(name.1)).or_default().push(name);
    }
    tables
}

/// Decides a batch on `versions` (absent rows are not in it) and the last place in each tenant's order.
pub(super) fn decide<'a>(
    commits: impl Iterator<Item = &'a Commit>,
    versions: HashMap<Name<'a>, i64>,
    last: impl Fn(&TenantId) -> i64,
) -> Outcome<'a> {
    let mut outcome = Outcome { versions, ..Outcome::default() };
    for commit in commits {
        if outcome.admits(commit) {
            outcome.take(commit);
            outcome.append(commit, &last);
        } else {
            outcome.verdicts.push(None);
        }
    }
    outcome
}

impl<'a> Outcome<'a> {
    /// The rows to put and those to remove, by table.
    #[expect(clippy::type_complexity, reason = "two lists by table, said once")]
    pub(super) fn by_table(&self) -> (HashMap<TableId, Vec<(Name<'a>, &'a Put)>>, Questions<'a>) {
        let (mut puts, mut removals) = (HashMap::<_, Vec<_>>::new(), Questions::new());
        for (name, put) in &self.rows {
            let table = TableId::of(name.1);
            match put {
                Some(put) => puts.entry(table).or_default().push((*name, *put)),
                None => removals.entry(table).or_default().push(*name),
            }
        }
        (puts, removals)
    }

    fn admits(&self, commit: &Commit) -> bool {
        let version = |key| self.versions.get(&(&commit.tenant, key)).copied();
        let guards = commit.changes.iter().all(|change| match change.guard {
            Guard::Absent => version(&change.key).is_none(),
            Guard::At(read) => version(&change.key) == Some(read),
            Guard::Guarded => true,
        });
        guards && commit.expects.iter().all(|(key, expected)| version(key) == *expected)
    }

    fn take(&mut self, commit: &'a Commit) {
        self.touched.insert(&commit.tenant);
        for change in &commit.changes {
            let name = (&commit.tenant, &change.key);
            match &change.put {
                Some(put) => self.versions.insert(name, put.version),
                None => self.versions.remove(&name),
            };
            self.rows.insert(name, change.put.as_ref());
        }
        for due in &commit.due {
            self.due.insert((&commit.tenant, &due.id), Some(due));
        }
        for id in &commit.done {
            self.due.insert((&commit.tenant, id), None);
        }
    }

    fn append(&mut self, commit: &'a Commit, last: &impl Fn(&TenantId) -> i64) {
        if commit.events.is_empty() {
            return self.verdicts.push(Some(0));
        }
        let place = self.last.entry(&commit.tenant).or_insert_with(|| last(&commit.tenant));
        for event in &commit.events {
            *place += 1;
            self.events.push((&commit.tenant, *place, event));
        }
        self.verdicts.push(Some(*place));
    }
}
