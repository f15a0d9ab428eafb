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
}

/// The tenants of a batch, each once.
pub(super) fn tenants<'a>(commits: impl Iterator<Item = &'a Commit>) -> Vec<&'a TenantId> {
    let mut tenants: Vec<&TenantId> = commits.map(|commit| &commit.tenant).collect();
    tenants.sort_unstable();
    tenants.dedup();
    tenants
}

/// What must be known before a batch can be decided.
pub(super) fn questions<'a>(commits: impl Iterator<Item = &'a Commit>) -> Questions<'a> {
    let mut asked = HashSet::new();
    let mut questions = Questions::new();
    for commit in commits {
        let guarded = commit.changes.iter().filter(|change| change.guard != Guard::Guarded);
        let keys = guarded.map(|change| &change.key).chain(commit.expects.iter().map(|(key, _)| key));
        for key in keys {
            if asked.insert((&commit.tenant, key)) {
                questions.entry(TableId::of(key)).or_default().push((&commit.tenant, key));
            }
        }
    }
    questions
}

/// Decides a batch on `versions` (absent rows are not in it) and the `last` place in each tenant's order.
pub(super) fn decide<'a>(
    commits: impl Iterator<Item = &'a Commit>,
    mut versions: HashMap<Name<'a>, i64>,
    last: &HashMap<&'a TenantId, i64>,
) -> Outcome<'a> {
    let mut outcome = Outcome::default();
    for commit in commits {
        if !holds(commit, &versions) {
            outcome.verdicts.push(None);
            continue;
        }
        outcome.take(commit, &mut versions);
        outcome.append(commit, last);
    }
    outcome
}

fn holds(commit: &Commit, versions: &HashMap<Name<'_>, i64>) -> bool {
    let version = |key| versions.get(&(&commit.tenant, key)).copied();
    let guards = commit.changes.iter().all(|change| match change.guard {
        Guard::Absent => version(&change.key).is_none(),
        Guard::At(read) => version(&change.key) == Some(read),
        Guard::Guarded => true,
    });
    guards && commit.expects.iter().all(|(key, expected)| version(key) == *expected)
}

impl<'a> Outcome<'a> {
    fn take(&mut self, commit: &'a Commit, versions: &mut HashMap<Name<'a>, i64>) {
        for change in &commit.changes {
            let name = (&commit.tenant, &change.key);
            match &change.put {
                Some(put) => versions.insert(name, put.version),
                None => versions.remove(&name),
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

    fn append(&mut self, commit: &'a Commit, last: &HashMap<&'a TenantId, i64>) {
        if commit.events.is_empty() {
            return self.verdicts.push(Some(0));
        }
        let before = last.get(&commit.tenant).copied().unwrap_or(0);
        let place = self.last.entry(&commit.tenant).or_insert(before);
        for event in &commit.events {
            *place += 1;
            self.events.push((&commit.tenant, *place, event));
        }
        self.verdicts.push(Some(*place));
    }
}
