//! A decision made ready for the writer: bodies as text, due work as rows, and what the cache will hold.
//!
//! All of it is done on the caller's side, so that the one writer does as little as possible.

use std::sync::Arc;

use signalbox_core::Decision;
use signalbox_core::decision::{Guard, Key, Row, Write};
use signalbox_core::due::Due;
use signalbox_core::event::NewEvent;
use signalbox_core::lease::Lease;
use signalbox_core::session::SessionState;
use signalbox_core::task::Task;
use signalbox_core::view::{Loaded, Versioned};
use signalbox_wire::id::{NodeId, SessionId, TenantId};
use signalbox_wire::time::Timestamp;

use crate::backend::ReadRow;
use crate::cache::Cache;
use crate::error::StoreError;
use crate::schema::{self, TableId};

/// A decision ready to be written.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Whose it is.
    pub(crate) tenant: TenantId,
    /// Rows to write or remove, each row at most once.
    pub(crate) changes: Vec<Change>,
    /// Rows that must still be at this version.
    pub(crate) expects: Vec<(Key, Option<i64>)>,
    /// Entries for the log.
    pub(crate) events: Vec<NewEvent>,
    /// Due work to add or to move.
    pub(crate) due: Vec<DueRow>,
    /// Due work to remove, by id.
    pub(crate) done: Vec<String>,
    refills: Vec<(Key, Option<ReadRow>)>,
}

/// One row written or removed.
#[derive(Debug)]
pub(crate) struct Change {
    /// Which row.
    pub(crate) key: Key,
    /// What must be there now.
    pub(crate) guard: Guard,
    /// What to write; `None` to remove the row.
    pub(crate) put: Option<Put>,
}

/// A row to write.
#[derive(Debug)]
pub(crate) struct Put {
    /// The row.
    pub(crate) row: Row,
    /// The version it gets.
    pub(crate) version: i64,
    /// The whole row as JSON.
    pub(crate) body: String,
}

/// A row of due work.
#[derive(Debug)]
pub(crate) struct DueRow {
    /// Its id.
    pub(crate) id: String,
    /// Its kind, as a word.
    pub(crate) kind: &'static str,
    /// When it is due.
    pub(crate) due_at: Timestamp,
    /// From when on it can be claimed.
    pub(crate) visible_at: Timestamp,
    /// Who holds it from the start.
    pub(crate) leased_by: Option<NodeId>,
    /// [`signalbox_core::due::Work`] as JSON.
    pub(crate) body: String,
}

impl Change {
    /// The table of the row.
    pub(crate) fn table(&self) -> TableId {
        TableId::of(&self.key)
    }
}

impl Commit {
    /// Makes `decision` ready. Due work that is due at `now` already is held under `lease` where one is given.
    pub(crate) fn prepare(
        tenant: &TenantId,
        decision: Decision,
        now: Timestamp,
        lease: Option<&Lease>,
        cache: &Cache,
    ) -> Result<Self, StoreError> {
        let Decision { writes, expects, events, due, done, hints: _ } = decision;
        let changes = writes.into_iter().map(change).collect::<Result<Vec<_>, _>>()?;
        let due = due.into_iter().map(|due| due_row(due, now, lease)).collect::<Result<Vec<_>, _>>()?;
        let refills = refills(tenant, &changes, cache);
        Ok(Self { tenant: tenant.clone(), changes, expects, events, due, done, refills })
    }

    /// Brings the cache in line with what is now committed.
    pub(crate) fn settle(&mut self, cache: &Cache) {
        for (key, row) in self.refills.drain(..) {
            match row {
                Some(row) => cache.put(&self.tenant, key, row),
                None => cache.forget(&self.tenant, key),
            }
        }
    }
}

fn change(write: Write) -> Result<Change, StoreError> {
    Ok(match write {
        Write::Put { row, guard, version } => {
            let body = schema::body(&row)?;
            Change { key: row.key(), guard, put: Some(Put { row, version, body }) }
        }
        Write::Remove { key, guard } => Change { key, guard, put: None },
    })
}

fn due_row(due: Due, now: Timestamp, lease: Option<&Lease>) -> Result<DueRow, StoreError> {
    let lease = lease.filter(|_| due.at <= now);
    let body = serde_json::to_string(&due.work)
        .map_err(|error| StoreError::Corrupt(format!("due work cannot be written: {error}")))?;
    Ok(DueRow {
        id: due.work.id(),
        kind: due.work.kind(),
        due_at: due.at,
        visible_at: lease.map_or(due.at, |lease| lease.until),
        leased_by: lease.map(|lease| lease.node.clone()),
        body,
    })
}

fn refills(tenant: &TenantId, changes: &[Change], cache: &Cache) -> Vec<(Key, Option<ReadRow>)> {
    let mut refills = Vec::with_capacity(changes.len());
    for change in changes {
        match &change.put {
            Some(Put { row: Row::Task(session, _), .. }) => {
                let key = Key::Session(session.clone());
                if !changes.iter().any(|other| other.key == key) {
                    refills.push((key, None));
                }
            }
            Some(put) if Cache::holds(&change.key) => {
                refills.push((change.key.clone(), refill(tenant, change, put, changes, cache)));
            }
            None if Cache::holds(&change.key) => refills.push((change.key.clone(), None)),
            _ => {}
        }
    }
    refills
}

fn refill(
    tenant: &TenantId,
    change: &Change,
    put: &Put,
    changes: &[Change],
    cache: &Cache,
) -> Option<ReadRow> {
    let version = put.version;
    let loaded = match &put.row {
        Row::Agent(row) => Loaded::Agent(Versioned { version, value: Arc::clone(row) }),
        Row::AgentName(row) => Loaded::AgentName(Versioned { version, value: Arc::new(row.clone()) }),
        Row::Status(row) => Loaded::Status(Versioned { version, value: Arc::clone(row) }),
        Row::Definition(row) => Loaded::Definition(Versioned { version, value: Arc::clone(row) }),
        Row::Workflow(row) => Loaded::Workflow(Versioned { version, value: Arc::new(row.clone()) }),
        Row::Message(row) => Loaded::Message(Versioned { version, value: Arc::clone(row) }),
        Row::Tool(row) => Loaded::Tool(Versioned { version, value: Arc::clone(row) }),
        Row::Session(row) => {
            let before = match change.guard {
                Guard::Absent => Some((Vec::new(), 0)),
                Guard::At(read) => cached_tasks(tenant, &change.key, read, cache),
                Guard::Guarded => None,
            };
            let (mut tasks, before_bytes) = before?;
            let bytes = put.body.len() + merge(&mut tasks, before_bytes, &row.id, changes)?;
            let value = Arc::new(SessionState { session: row.as_ref().clone(), tasks });
            return Some(ReadRow { loaded: Loaded::Session(Versioned { version, value }), bytes });
        }
        _ => return None,
    };
    Some(ReadRow { loaded, bytes: put.body.len() })
}

fn cached_tasks(tenant: &TenantId, key: &Key, version: i64, cache: &Cache) -> Option<(Vec<Task>, usize)> {
    let cached = cache.get(tenant, key)?;
    match cached.loaded {
        Loaded::Session(state) if state.version == version => Some((state.value.tasks.clone(), cached.bytes)),
        _ => None,
    }
}

/// Puts the changed tasks in their places and answers about how many bytes all of them take; `None` when a
/// task is removed, which only a read can follow.
fn merge(
    tasks: &mut Vec<Task>,
    before_bytes: usize,
    session: &SessionId,
    changes: &[Change],
) -> Option<usize> {
    let (mut changed_bytes, mut replaced, count) = (0, 0, tasks.len());
    for change in changes {
        match (&change.key, &change.put) {
            (Key::Task(_), None) => return None,
            (Key::Task(_), Some(Put { row: Row::Task(owner, task), body, .. })) if owner == session => {
                changed_bytes += body.len();
                match tasks.iter_mut().find(|known| known.id == task.id) {
                    Some(known) => {
                        replaced += 1;
                        *known = task.as_ref().clone();
                    }
                    None => tasks.push(task.as_ref().clone()),
                }
            }
            _ => {}
        }
    }
    tasks.sort_by_key(|task| task.position);
    Some(changed_bytes + before_bytes.checked_div(count).unwrap_or(0) * (count - replaced))
}
