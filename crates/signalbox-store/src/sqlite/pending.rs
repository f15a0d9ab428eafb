//! What is durable in the redo log and not yet in the tables.
//!
//! A row that is written several times in between goes into its table once, and due work that comes and goes never does.
//! Reads by key look here first; whoever reads lists has all of this written to the tables before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use indexmap::IndexMap;
use parking_lot::{RwLock, RwLockReadGuard};
use quick_cache::DefaultHashBuilder;
use signalbox_core::decision::{Guard, Key};
use signalbox_core::event::NewEvent;
use signalbox_wire::id::TenantId;

use super::log::Log;
use crate::commit::{Change, Commit, DueRow, Holder, Put};
use crate::read_row::ReadRow;
use crate::schema::TableId;

/// What waits to be written to the tables, shared with those who read.
#[derive(Default)]
pub(super) struct Pending {
    state: RwLock<State>,
    parts: AtomicU64,
}

/// Which parts of the store something waits for: a bit for each table of rows, and these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts(u64);

/// What waits, by tenant, and the log's entries in their order.
#[derive(Default)]
pub(super) struct State {
    tenants: HashMap<TenantId, OfTenant, DefaultHashBuilder>,
    pub(super) events: Vec<PlacedEvent>,
    decisions: usize,
    flushes: usize,
    bytes: usize,
    rows: usize,
}

/// What waits of one tenant, in the order in which it was first written.
#[derive(Default)]
pub(super) struct OfTenant {
    pub(super) rows: IndexMap<Key, PendingRow, DefaultHashBuilder>,
    /// Due work, by id.
    pub(super) due: IndexMap<String, PendingDue, DefaultHashBuilder>,
    pub(super) holders: Vec<Holder>,
    /// Whether some of the log's entries are its.
    pub(super) has_entries: bool,
}

/// A row as it will be, and what takes the table there.
pub(super) struct PendingRow {
    pub(super) put: Option<Put>,
    pub(super) way: Way,
}

/// Due work as it will be.
pub(super) struct PendingDue {
    /// To add it or to move it; `None` to remove it.
    pub(super) put: Option<DueRow>,
    /// Whether the table has none with its id.
    pub(super) is_new: bool,
}

/// How a row gets into its table, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The table has no such row.
    Insert,
    /// The table has it.
    Update,
    /// The table has it, with the same index columns.
    Rewrite,
    /// The table may have it.
    Put,
    /// The table may have another with its key, of which nothing is to be left.
    Replace,
    /// The table may have it, and shall not.
    Remove,
    /// The table has no such row and gets none.
    Nothing,
}

/// An entry of the log and its place.
pub(super) struct PlacedEvent {
    pub(super) tenant: TenantId,
    pub(super) log: Log,
    pub(super) place: i64,
    pub(super) event: NewEvent,
}

/// What is known here of a row.
pub(super) enum Found {
    /// Nothing: the table has it as it is, if there is one.
    Nothing,
    /// There is none.
    Removed,
    /// The row.
    Row(ReadRow),
    /// It is to be read once it is in its table.
    Unwritten,
}

impl Parts {
    /// Entries of the log.
    pub(super) const LOG: Self = Self(1 << 60);
    /// Due work that nobody holds. What is held is in no index, and known in memory.
    pub(super) const FREE_DUE: Self = Self(1 << 61);
    /// Other due work.
    const HELD_DUE: Self = Self(1 << 62);
    /// Everything.
    pub(super) const ALL: Self = Self(u64::MAX);

    /// The rows of a table.
    pub(super) const fn table(table: TableId) -> Self {
        Self(1 << table as u64)
    }
}

const _: () = assert!(TableId::ALL.len() < 60, "each table has a bit of its own");

impl Pending {
    /// Whether anything of these parts waits.
    pub(super) fn has(&self, parts: Parts) -> bool {
        self.parts.load(Ordering::Acquire) & parts.0 != 0
    }

    /// What waits.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// What is known of a row.
    pub(super) fn find(&self, tenant: &TenantId, key: &Key) -> Found {
        if !self.has(Parts::table(TableId::of(key))) {
            return Found::Nothing;
        }
        let state = self.state.read();
        let Some(row) = state.row(tenant, key) else { return Found::Nothing };
        let Some(put) = &row.put else { return Found::Removed };
        match put.row.loaded(put.version) {
            Some(loaded) if !matches!(key, Key::Session(_)) => {
                Found::Row(ReadRow::alone(loaded, put.body.len()))
            }
            _ => Found::Unwritten,
        }
    }

    /// Takes over what commits change that are durable; their entries have these places.
    pub(super) fn absorb(&self, commits: &mut [(&mut Commit, Option<(Log, i64)>)], bytes: usize) {
        let mut state = self.state.write();
        let mut parts = self.parts.load(Ordering::Relaxed);
        for (commit, place) in commits {
            state.rows += commit.rows();
            state.absorb(commit, *place, &mut parts);
            state.decisions += 1;
        }
        state.flushes += 1;
        state.bytes += bytes;
        self.parts.store(parts, Ordering::Release);
    }

    /// All of it is in the tables.
    pub(super) fn clear(&self) {
        let mut state = self.state.write();
        if state.tenants.len() > TENANTS_REMEMBERED {
            state.tenants.clear();
        }
        for tenant in state.tenants.values_mut() {
            tenant.rows.clear();
            tenant.due.clear();
            tenant.holders.clear();
            tenant.has_entries = false;
        }
        state.events.clear();
        (state.decisions, state.flushes, state.bytes, state.rows) = (0, 0, 0, 0);
        self.parts.store(0, Ordering::Release);
    }
}

/// Tenants for which there is room to note what waits, kept when nothing does.
const TENANTS_REMEMBERED: usize = 64;

impl State {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.decisions == 0
    }

    /// Decisions that wait.
    pub(super) fn decisions(&self) -> usize {
        self.decisions
    }

    /// Flushes of the redo log that they took.
    pub(super) fn flushes(&self) -> usize {
        self.flushes
    }

    /// About how many bytes they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows, entries and due work that were written, each as often as it was.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What waits, by tenant.
    pub(super) fn tenants(&self) -> impl Iterator<Item = (&TenantId, &OfTenant)> {
        self.tenants.iter()
    }

    /// The version that a row has here: `None` where the table has it as it is, and `Some(None)` for one that is gone.
    pub(super) fn version(&self, tenant: &TenantId, key: &Key) -> Option<Option<i64>> {
        self.row(tenant, key).map(|row| row.put.as_ref().map(|put| put.version))
    }

    /// The last place of a tenant's log that waits here.
    pub(super) fn last_place(&self, tenant: &TenantId) -> Option<i64> {
        self.events.iter().rev().find(|placed| placed.tenant == *tenant).map(|placed| placed.place)
    }

    fn row(&self, tenant: &TenantId, key: &Key) -> Option<&PendingRow> {
        self.tenants.get(tenant)?.rows.get(key)
    }

    fn absorb(&mut self, commit: &mut Commit, place: Option<(Log, i64)>, parts: &mut u64) {
        if !self.tenants.contains_key(&commit.tenant) {
            self.tenants.insert(commit.tenant.clone(), OfTenant::default());
        }
        let Some(of_tenant) = self.tenants.get_mut(&commit.tenant) else { return };
        for change in commit.changes.iter().filter(|change| !change.is_in_memory_alone) {
            *parts |= Parts::table(change.table()).0;
            of_tenant.absorb(change);
        }
        if !commit.done.is_empty() {
            *parts |= Parts::HELD_DUE.0;
        }
        for due in commit.take_due() {
            *parts |= if due.leased_by.is_some() { Parts::HELD_DUE.0 } else { Parts::FREE_DUE.0 };
            of_tenant.put_due(due);
        }
        for id in std::mem::take(&mut commit.done) {
            of_tenant.due.entry(id).or_insert(PendingDue { put: None, is_new: false }).put = None;
        }
        of_tenant.holders.append(&mut commit.holders);
        if let Some((log, first)) = place {
            *parts |= Parts::LOG.0;
            of_tenant.has_entries = true;
            for (place, event) in (first..).zip(std::mem::take(&mut commit.events)) {
                self.events.push(PlacedEvent { tenant: commit.tenant.clone(), log, place, event });
            }
        }
    }
}

impl OfTenant {
    fn put_due(&mut self, due: DueRow) {
        match self.due.get_mut(&due.id) {
            Some(known) => known.put = Some(due),
            None => {
                let is_new = due.is_new;
                self.due.insert(due.id.clone(), PendingDue { put: Some(due), is_new });
            }
        }
    }

    fn absorb(&mut self, change: &Change) {
        let put = change.put.clone();
        match self.rows.get_mut(&change.key) {
            Some(known) => {
                known.way = known.way.then(change);
                known.put = put;
            }
            None => {
                self.rows.insert(change.key.clone(), PendingRow { put, way: Way::of(change) });
            }
        }
    }
}

impl Way {
    /// How the first change gets into the table.
    pub(super) fn of(change: &Change) -> Self {
        match (&change.put, change.guard) {
            (Some(_), Guard::Absent) => Self::Insert,
            (Some(Put { is_listed_already: true, .. }), _) => Self::Rewrite,
            (Some(_), Guard::At(_)) => Self::Update,
            (Some(_), Guard::Guarded) => Self::Put,
            (None, _) => Self::Remove,
        }
    }

    /// How it gets there when this change comes on top.
    fn then(self, change: &Change) -> Self {
        match (self, &change.put) {
            (Self::Insert | Self::Nothing, Some(_)) => Self::Insert,
            (Self::Insert | Self::Nothing, None) => Self::Nothing,
            (Self::Rewrite, Some(put)) if put.is_listed_already => Self::Rewrite,
            (Self::Rewrite | Self::Update, Some(_)) => Self::Update,
            (Self::Put, Some(_)) => Self::Put,
            (Self::Remove | Self::Replace, Some(_)) => Self::Replace,
            (Self::Rewrite | Self::Update | Self::Put | Self::Remove | Self::Replace, None) => Self::Remove,
        }
    }
}
