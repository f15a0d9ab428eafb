//! A batch of decisions, decided in memory: which of them conflict, and what the others come to.
//!
//! Everything is borrowed from the commits. The versions given are those of a moment from which on nobody else
//! can change them; decisions are taken in order, each on what those before it left behind.

use quick_cache::DefaultHashBuilder;
use signalbox_core::decision::{Guard, Key};
use signalbox_core::event::NewEvent;
use signalbox_wire::id::TenantId;

use crate::commit::{Commit, DueRow, Holder, Put, Use};
use crate::schema::TableId;

/// A map whose hashing is quick.
pub(super) type Map<K, V> = std::collections::HashMap<K, V, DefaultHashBuilder>;

/// A set whose hashing is quick.
pub(super) type Set<K> = std::collections::HashSet<K, DefaultHashBuilder>;

/// A row's name among all tenants.
pub(super) type Name<'a> = (&'a TenantId, &'a Key);

/// The rows whose versions must be known, by table.
pub(super) type Questions<'a> = Map<TableId, Vec<Name<'a>>>;

/// What a batch comes to.
#[derive(Default)]
pub(super) struct Outcome<'a> {
    /// What comes of each decision.
    pub(super) verdicts: Vec<Verdict>,
    /// Rows that decisions rest on at a version that is not theirs.
    pub(super) stale: Vec<(Name<'a>, i64)>,
    /// The rows that are written.
    pub(super) rows: Map<Name<'a>, Written<'a>>,
    /// Entries for the log with their place.
    pub(super) events: Vec<(&'a TenantId, i64, &'a NewEvent)>,
    /// Due work to put, and to remove where there is nothing to put.
    pub(super) due: Map<(&'a TenantId, &'a str), Option<&'a DueRow>>,
    /// Who gets a task of which session.
    pub(super) holders: Vec<(&'a TenantId, &'a Holder)>,
    /// Which sessions refer to which payloads.
    pub(super) uses: Vec<(&'a TenantId, &'a Use)>,
    /// The last place in the order of each tenant that has new events.
    pub(super) last: Map<&'a TenantId, i64>,
    /// The tenants for which anything is committed.
    pub(super) touched: Set<&'a TenantId>,
    /// The versions given, as they are after the batch.
    pub(super) versions: Map<Name<'a>, i64>,
}

/// What comes of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written; the place of its last event, 0 for none.
    Written(i64),
    /// Something it rests on is not as it was.
    Conflict,
    /// Its tenant has been removed.
    Removed,
}

/// How a tenant is found, while it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TenantLock {
    /// The last place in its log.
    pub(super) last: i64,
    /// Which writer may rely on what it remembers.
    pub(super) writer: Option<i64>,
    /// Whether the tenant has been removed, and not made again.
    pub(super) is_removed: bool,
}

/// A row that a batch writes.
pub(super) struct Written<'a> {
    /// What to put; nothing to remove the row.
    pub(super) put: Option<&'a Put>,
    /// Whether the row is known to exist before the batch.
    was_there: bool,
}

/// The rows that a batch writes, by table.
#[derive(Default)]
pub(super) struct Writes<'a> {
    /// Rows to put in place of those that exist.
    pub(super) replace: Map<TableId, Vec<(Name<'a>, &'a Put)>>,
    /// Rows to put, whether they exist or not.
    pub(super) put: Map<TableId, Vec<(Name<'a>, &'a Put)>>,
    /// Rows to remove.
    pub(super) remove: Questions<'a>,
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
    let mut asked = Set::default();
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
    let mut tables = Questions::default();
    for name in names {
        tables.entry(TableId::of(name.1)).or_default().push(name);
    }
    tables
}

/// What reports take for granted: of each row, what the first of them rests on. Nothing for a batch that does more than
/// replace statuses and append to the log.
pub(super) fn granted<'a>(commits: impl Iterator<Item = &'a Commit>) -> Option<Map<Name<'a>, i64>> {
    let mut versions = Map::default();
    for commit in commits {
        let has_more = !commit.due.is_empty() || !commit.done.is_empty();
        if has_more || !commit.uses.is_empty() || !commit.holders.is_empty() {
            return None;
        }
        for change in &commit.changes {
            let (Key::Status(_), Guard::At(read), Some(_)) = (&change.key, change.guard, &change.put) else {
                return None;
            };
            versions.entry((&commit.tenant, &change.key)).or_insert(read);
        }
        for (key, read) in &commit.expects {
            let (Key::Agent(_), Some(read)) = (key, read) else { return None };
            versions.entry((&commit.tenant, key)).or_insert(*read);
        }
    }
    Some(versions)
}

/// Decides a batch on `versions` (absent rows are not in it) and on how its tenants are found.
pub(super) fn decide<'a>(
    commits: impl Iterator<Item = &'a Commit>,
    versions: Map<Name<'a>, i64>,
    held: &Map<&'a TenantId, TenantLock>,
) -> Outcome<'a> {
    let mut outcome = Outcome { versions, ..Outcome::default() };
    for commit in commits {
        let lock = held.get(&commit.tenant);
        if lock.is_some_and(|lock| lock.is_removed) && !outcome.is_there_again(commit) {
            outcome.verdicts.push(Verdict::Removed);
        } else if outcome.admits(commit) {
            outcome.take(commit);
            let verdict = outcome.append(commit, lock.map_or(0, |lock| lock.last));
            outcome.verdicts.push(verdict);
        } else {
            outcome.note_stale(commit);
            outcome.verdicts.push(Verdict::Conflict);
        }
    }
    outcome
}

impl<'a> Outcome<'a> {
    /// The rows that are written, by table.
    pub(super) fn writes(&self) -> Writes<'a> {
        let mut writes = Writes::default();
        for (name, written) in &self.rows {
            let table = TableId::of(name.1);
            match written {
                Written { put: Some(put), was_there: true } => {
                    writes.replace.entry(table).or_default().push((*name, *put));
                }
                Written { put: Some(put), was_there: false } => {
                    writes.put.entry(table).or_default().push((*name, *put));
                }
                Written { put: None, .. } => writes.remove.entry(table).or_default().push(*name),
            }
        }
        writes
    }

    /// The statuses that are replaced, where the batch does nothing but that and append to the log.
    pub(super) fn reports(&self) -> Option<Vec<(Name<'a>, &'a Put)>> {
        let statuses = self.rows.iter().map(|(name, written)| match (name.1, written) {
            (Key::Status(_), Written { put: Some(put), was_there: true }) => Some((*name, *put)),
            _ => None,
        });
        statuses.collect::<Option<_>>().filter(|_| self.due.is_empty())
    }

    /// The last place of a tenant after the batch, where it was at `before`.
    pub(super) fn last_after(&self, tenant: &TenantId, before: i64) -> i64 {
        self.last.get(tenant).copied().unwrap_or(before)
    }

    /// Puts what was appended to the logs behind `last`, the place of each tenant that was not known before.
    pub(super) fn follow(&mut self, commits: &[&'a Commit], last: &Map<&TenantId, i64>) {
        for (commit, verdict) in commits.iter().zip(&mut self.verdicts) {
            if let (Verdict::Written(place @ 1..), Some(last)) = (verdict, last.get(&commit.tenant)) {
                *place += last;
            }
        }
    }

    /// Whether a tenant that was removed is made again by `commit`, or was by one before it.
    fn is_there_again(&self, commit: &Commit) -> bool {
        commit.makes_its_tenant() || self.touched.contains(&commit.tenant)
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

    fn note_stale(&mut self, commit: &'a Commit) {
        let guards = commit.changes.iter().filter_map(|change| match change.guard {
            Guard::At(read) => Some((&change.key, read)),
            Guard::Absent | Guard::Guarded => None,
        });
        let expected = commit.expects.iter().filter_map(|(key, read)| Some((key, (*read)?)));
        for (key, read) in guards.chain(expected) {
            let name = (&commit.tenant, key);
            if self.versions.get(&name) != Some(&read) {
                self.stale.push((name, read));
            }
        }
    }

    fn take(&mut self, commit: &'a Commit) {
        self.touched.insert(&commit.tenant);
        for change in &commit.changes {
            let name = (&commit.tenant, &change.key);
            let put = change.put.as_ref();
            let before = match put {
                Some(put) => self.versions.insert(name, put.version),
                None => self.versions.remove(&name),
            };
            let written = self.rows.entry(name);
            written.or_insert(Written { put, was_there: before.is_some() }).put = put;
        }
        self.holders.extend(commit.holders.iter().map(|holder| (&commit.tenant, holder)));
        self.uses.extend(commit.uses.iter().map(|used| (&commit.tenant, used)));
        for due in &commit.due {
            self.due.insert((&commit.tenant, &due.id), Some(due));
        }
        for id in &commit.done {
            self.due.insert((&commit.tenant, id), None);
        }
    }

    fn append(&mut self, commit: &'a Commit, before: i64) -> Verdict {
        if commit.events.is_empty() {
            return Verdict::Written(0);
        }
        let place = self.last.entry(&commit.tenant).or_insert(before);
        for event in &commit.events {
            *place += 1;
            self.events.push((&commit.tenant, *place, event));
        }
        Verdict::Written(*place)
    }
}
