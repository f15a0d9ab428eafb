//! A decision made ready for the writer: bodies as text, due work as rows, and what the cache will hold.
//!
//! All of it is done on the caller's side, so that the one writer does as little as possible.

use std::sync::Arc;

use signalbox_core::Decision;
use signalbox_core::decision::{Guard, Key, Row, Write};
use signalbox_core::due::{Due, Lane};
use signalbox_core::event::NewEvent;
use signalbox_core::lease::Lease;
use signalbox_core::payload;
use signalbox_core::session::{SessionState, Tasks};
use signalbox_core::snapshot::Loaded;
use signalbox_core::task::Task;
use signalbox_wire::id::{AgentId, NodeId, SessionId, TenantId};
use signalbox_wire::json;
use signalbox_wire::time::Timestamp;

use crate::cache::Cache;
use crate::error::StoreError;
use crate::read_row::{ReadRow, TaskBytes};
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
    /// Who gets a task of which session, where that is not known to be written already.
    pub(crate) holders: Vec<Holder>,
    /// Which sessions refer to which payloads.
    pub(crate) uses: Vec<Use>,
    /// Whether it may be written along with what comes next.
    pub(crate) may_wait: bool,
    /// Sessions with their tasks as they will be, where that is known.
    sessions: Vec<(SessionId, Option<ReadRow>)>,
    /// Until when it lets this process hold due work that has been [taken out](Self::take_due).
    leased_until: Vec<Timestamp>,
}

/// An agent that gets a task of a session.
#[derive(Debug)]
pub(crate) struct Holder {
    /// The session.
    pub(crate) session: SessionId,
    /// The agent.
    pub(crate) agent: AgentId,
    /// When the session was made: lists by agent are in that order.
    pub(crate) created_at: Timestamp,
}

/// A session that refers to a payload.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    /// The session.
    pub(crate) session: SessionId,
    /// The payload's name.
    pub(crate) payload: String,
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
    /// Whether it is none for the table: what changes of it is kept in memory.
    pub(crate) is_in_memory_alone: bool,
}

/// A row to write.
#[derive(Debug, Clone)]
pub(crate) struct Put {
    /// The row.
    pub(crate) row: Row,
    /// The version it gets.
    pub(crate) version: i64,
    /// The whole row as JSON.
    pub(crate) body: Arc<String>,
    /// Whether the row that is there is known to have the same index columns: SQLite would write each index entry
    /// anew, changed or not.
    pub(crate) is_listed_already: bool,
}

/// A row of due work.
#[derive(Debug)]
pub(crate) struct DueRow {
    /// Its id.
    pub(crate) id: String,
    /// Its kind, as a word.
    pub(crate) kind: &'static str,
    /// The lane that it goes by.
    pub(crate) lane: Lane,
    /// When it is due.
    pub(crate) due_at: Timestamp,
    /// From when on it can be claimed.
    pub(crate) visible_at: Timestamp,
    /// Who holds it from the start.
    pub(crate) leased_by: Option<NodeId>,
    /// From when on it is a timer, whoever holds it.
    pub(crate) ends_at: Option<Timestamp>,
    /// [`signalbox_core::due::DueJob`] as JSON.
    pub(crate) body: String,
    /// Whether there has been none with its id before.
    pub(crate) is_new: bool,
}

/// Rows and entries, and bytes, of a commit that is kept in the redo log: larger ones go to the tables at once.
const REDO_ROWS_MAX: usize = 4_096;
const REDO_BYTES_MAX: usize = 2 << 20;

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
        let Decision { writes, expects, events, due, done, hints: _, disconnected: _, may_wait } = decision;
        let mut changes = writes.into_iter().map(change).collect::<Result<Vec<_>, _>>()?;
        compare_listing(tenant, &mut changes, cache);
        let due = due.into_iter().map(|due| due_row(due, now, lease)).collect::<Result<Vec<_>, _>>()?;
        let sessions = sessions(tenant, &changes, cache);
        let holders = holders(tenant, &changes, cache);
        let uses = uses(&changes, &events)?;
        Ok(Self {
            tenant: tenant.clone(),
            changes,
            expects,
            events,
            due,
            done,
            holders,
            uses,
            may_wait,
            sessions,
            leased_until: Vec::new(),
        })
    }

    /// Until when it lets this process hold due work from the start.
    pub(crate) fn born_leases(&self) -> impl Iterator<Item = Timestamp> {
        let born = self.due.iter().filter(|due| due.leased_by.is_some()).map(|due| due.visible_at);
        born.chain(self.leased_until.iter().copied())
    }

    /// Takes the due work out; its leases stay known.
    pub(crate) fn take_due(&mut self) -> Vec<DueRow> {
        self.leased_until = self.born_leases().collect();
        std::mem::take(&mut self.due)
    }

    /// Whether it makes the tenant that it is for.
    pub(crate) fn makes_its_tenant(&self) -> bool {
        self.changes.iter().any(|change| {
            change.put.is_some() && matches!(&change.key, Key::Tenant(tenant) if *tenant == self.tenant)
        })
    }

    /// About how many bytes it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        let rows = self.changes.iter().filter_map(|change| change.put.as_ref()).map(|put| put.body.len());
        let events = self.events.iter().map(|event| event.data.len());
        rows.chain(events).sum()
    }

    /// How many rows, entries and due work it writes.
    pub(crate) fn rows(&self) -> usize {
        self.changes.len() + self.events.len() + self.due.len() + self.done.len() + self.holders.len()
    }

    /// Whether it may be kept in the redo log for a while: it is small, and of rows that change all the time.
    pub(crate) fn is_for_the_redo_log(&self) -> bool {
        let is_common = |change: &Change| match change.table() {
            TableId::Sessions | TableId::Tasks => change.put.is_some(),
            TableId::AgentStatuses
            | TableId::Available
            | TableId::Messages
            | TableId::IdempotencyRecord
            | TableId::Channels
            | TableId::ChannelMessages
            | TableId::Commands
            | TableId::Figures
            | TableId::Usage => true,
            _ => false,
        };
        self.uses.is_empty()
            && self.rows() <= REDO_ROWS_MAX
            && self.size_bytes() <= REDO_BYTES_MAX
            && self.changes.iter().all(is_common)
    }

    /// Brings the cache in line with what is now committed.
    pub(crate) fn settle(&mut self, cache: &Cache) {
        for Change { key, put, .. } in &self.changes {
            match put.as_ref().and_then(|put| loaded(key, put)) {
                Some(row) => cache.put(&self.tenant, key.clone(), row),
                None if Cache::holds(key) && !matches!(key, Key::Session(_)) => {
                    cache.forget(&self.tenant, key.clone());
                }
                None => {}
            }
        }
        for (id, row) in self.sessions.drain(..) {
            match row {
                Some(row) => cache.put(&self.tenant, Key::Session(id), row),
                None => cache.forget(&self.tenant, Key::Session(id)),
            }
        }
    }
}

fn change(write: Write) -> Result<Change, StoreError> {
    Ok(match write {
        Write::Put { row, guard, version } => {
            let body = Arc::new(schema::body(&row)?);
            let put = Put { row, version, body, is_listed_already: false };
            Change { key: put.row.key(), guard, put: Some(put), is_in_memory_alone: false }
        }
        Write::Remove { key, guard } => Change { key, guard, put: None, is_in_memory_alone: false },
    })
}

/// Finds out which sessions and tasks stay where the indexes have them, as far as the cache holds them as they are.
fn compare_listing(tenant: &TenantId, changes: &mut [Change], cache: &Cache) {
    let states: Vec<_> = changes
        .iter()
        .filter_map(|change| match (&change.key, change.guard) {
            (Key::Session(_), Guard::At(version)) => cached_session(tenant, &change.key, version, cache),
            _ => None,
        })
        .map(|(state, _)| state)
        .collect();
    // Nearly always nothing of a session is there.
    if states.is_empty() {
        return;
    }
    for put in changes.iter_mut().filter_map(|change| change.put.as_mut()) {
        put.is_listed_already = match &put.row {
            Row::Session(session) => states.iter().any(|state| {
                state.session.id == session.id
                    && schema::session_cells(&state.session) == schema::session_cells(session)
            }),
            Row::Task(session, task) => states.iter().any(|state| {
                let known = state.tasks.get(task.position).filter(|known| known.id == task.id);
                state.session.id == *session
                    && known.is_some_and(|known| {
                        schema::task_cells(session, known) == schema::task_cells(session, task)
                    })
            }),
            _ => false,
        };
    }
}

/// Who gets a task by these changes. A task is only ever given together with a change of its session. An agent that a
/// task names in the session as it was read has been written by the commit by which that task came to name it.
fn holders(tenant: &TenantId, changes: &[Change], cache: &Cache) -> Vec<Holder> {
    let named = changes.iter().filter_map(|change| match &change.put {
        Some(Put { row: Row::Task(session, task), .. }) => Some((session, task.agent.as_ref()?)),
        _ => None,
    });
    let mut holders: Vec<Holder> = Vec::new();
    for (id, agent) in named {
        if holders.iter().any(|known| known.agent == *agent && known.session == *id) {
            continue;
        }
        let session = changes.iter().find_map(|change| match &change.put {
            Some(Put { row: Row::Session(session), .. }) if session.id == *id => Some((change, session)),
            _ => None,
        });
        let Some((change, session)) = session else { continue };
        let before = match change.guard {
            Guard::At(version) => cached_session(tenant, &change.key, version, cache),
            Guard::Absent | Guard::Guarded => None,
        };
        let is_written = before
            .is_some_and(|(before, _)| before.tasks.iter().any(|task| task.agent.as_ref() == Some(agent)));
        if !is_written {
            let (session, created_at) = (id.clone(), session.created_at);
            holders.push(Holder { session, agent: agent.clone(), created_at });
        }
    }
    holders
}

/// Which payloads the sessions and their histories refer to, as far as they change. Nearly always there are none, and
/// that is quick to tell.
fn uses(changes: &[Change], events: &[NewEvent]) -> Result<Vec<Use>, StoreError> {
    let rows = changes.iter().filter_map(|change| change.put.as_ref()).filter_map(|put| match &put.row {
        Row::Session(session) => Some((&session.id, put.body.as_str())),
        Row::Task(session, _) => Some((session, put.body.as_str())),
        _ => None,
    });
    let entries = events.iter().filter_map(|event| {
        let (session, _) = event.session.as_ref().filter(|(_, sequence)| *sequence > 0)?;
        Some((session, event.data.as_str()))
    });
    let mut uses = Vec::new();
    for (session, text) in rows.chain(entries).filter(|(_, text)| text.contains(payload::REFERENCE)) {
        let value: serde_json::Value = schema::decode(text)?;
        let names = payload::references(&value).into_iter();
        uses.extend(names.map(|name| Use { session: session.clone(), payload: name.to_owned() }));
    }
    uses.sort_unstable();
    uses.dedup();
    Ok(uses)
}

fn due_row(due: Due, now: Timestamp, lease: Option<&Lease>) -> Result<DueRow, StoreError> {
    let kind = crate::DueKind::of(&due.work);
    let lease = lease.filter(|_| due.at <= now && kind != crate::DueKind::Timer);
    let body = json::to_string(&due.work)
        .map_err(|error| StoreError::Corrupt(format!("due work cannot be written: {error}")))?;
    Ok(DueRow {
        id: due.work.id(),
        kind: kind.column(),
        lane: due.lane,
        due_at: due.at,
        visible_at: lease.map_or(due.at, |lease| lease.until),
        leased_by: lease.map(|lease| lease.node.clone()),
        ends_at: due.ends,
        body,
        is_new: due.is_new,
    })
}

/// A written row as a decision will see it; `None` for those that are not held, and for sessions.
fn loaded(key: &Key, put: &Put) -> Option<ReadRow> {
    let loaded = Cache::holds(key).then(|| put.row.loaded(put.version))??;
    Some(ReadRow::alone(loaded, put.body.len()))
}

/// The sessions that are touched, as they will be; `None` for one that must be read again.
fn sessions(tenant: &TenantId, changes: &[Change], cache: &Cache) -> Vec<(SessionId, Option<ReadRow>)> {
    let mut sessions: Vec<(SessionId, Option<ReadRow>)> = Vec::new();
    for change in changes {
        match (&change.key, &change.put) {
            (Key::Session(id), Some(put)) => {
                let row = session(tenant, change, put, changes, cache);
                sessions.retain(|(known, _)| known != id);
                sessions.push((id.clone(), row));
            }
            (Key::Session(id), None) => sessions.push((id.clone(), None)),
            (_, Some(Put { row: Row::Task(id, _), .. }))
                if !sessions.iter().any(|(known, _)| known == id) =>
            {
                sessions.push((id.clone(), None));
            }
            _ => {}
        }
    }
    sessions
}

fn session(
    tenant: &TenantId,
    change: &Change,
    put: &Put,
    changes: &[Change],
    cache: &Cache,
) -> Option<ReadRow> {
    let Row::Session(row) = &put.row else { return None };
    let (mut tasks, mut task_bytes) = match change.guard {
        Guard::Absent => Default::default(),
        Guard::At(read) => {
            let (state, task_bytes) = cached_session(tenant, &change.key, read, cache)?;
            (state.tasks.clone(), TaskBytes::clone(&task_bytes))
        }
        Guard::Guarded => return None,
    };
    merge(&mut tasks, &mut task_bytes, &row.id, changes)?;
    let state = SessionState { session: Arc::clone(row), tasks };
    Some(ReadRow::session(put.version, state, put.body.len(), task_bytes))
}

/// A session as the cache holds it at `version`, and how many bytes each of its tasks takes.
fn cached_session(
    tenant: &TenantId,
    key: &Key,
    version: i64,
    cache: &Cache,
) -> Option<(Arc<SessionState>, Arc<TaskBytes>)> {
    let cached = cache.get(tenant, key)?;
    match cached.loaded {
        Loaded::Session(state) if state.version == version => Some((state.value, cached.task_bytes?)),
        _ => None,
    }
}

/// Puts the changed tasks in their places, each with the length of its body; `None` when a task is removed, which only
/// a read can follow.
fn merge(
    tasks: &mut Tasks,
    task_bytes: &mut TaskBytes,
    session: &SessionId,
    changes: &[Change],
) -> Option<()> {
    let mut is_in_order = true;
    for change in changes {
        match (&change.key, &change.put) {
            (Key::Task(_), None) => return None,
            (Key::Task(_), Some(Put { row: Row::Task(owner, task), body, .. })) if owner == session => {
                let place = tasks.set(Arc::clone(task));
                task_bytes.set(place, body.len());
                let before = place.checked_sub(1).and_then(|before| tasks.get(before));
                is_in_order &= before.is_none_or(|before| before.position < task.position);
            }
            _ => {}
        }
    }
    // Nearly always what is new comes behind all others.
    if !is_in_order {
        let mut parts: Vec<(Arc<Task>, usize)> = tasks.iter().cloned().zip(task_bytes.iter()).collect();
        parts.sort_by_key(|(task, _)| task.position);
        *task_bytes = parts.iter().map(|(_, bytes)| *bytes).collect();
        *tasks = parts.into_iter().map(|(task, _)| task).collect();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signalbox_core::routing::Route;
    use signalbox_wire::id::{TaskId, WorkflowId};

    use super::*;

    /// A session of which these tasks are written, each with a result of this many letters.
    fn decision(version: i64, tasks: &[(usize, usize)]) -> Decision {
        let id = SessionId::parse("ses_a").expect("valid");
        let workflow = WorkflowId::parse("w").expect("valid");
        let session = signalbox_core::session::Session::new(id.clone(), workflow, 1, Timestamp::default());
        let mut decision = Decision::default();
        let read = (version > 1).then(|| version - 1);
        decision.put(Row::Session(Arc::new(session)), read, version);
        for (position, letters) in tasks.iter().copied().collect::<std::collections::BTreeMap<_, _>>() {
            let task_id = TaskId::parse(&format!("tsk_{position}")).expect("valid");
            let mut task = Task::new(task_id, format!("step{position}"), position, Route::Any);
            task.result = Some("x".repeat(letters).into());
            decision.put_guarded(Row::Task(id.clone(), Arc::new(task)), version);
        }
        decision
    }

    /// A change of a session by which these tasks are held by these agents.
    fn given(version: i64, held: &[(usize, &str)]) -> Decision {
        let tasks: Vec<(usize, usize)> = held.iter().map(|(position, _)| (*position, 0)).collect();
        let mut decision = decision(version, &tasks);
        for write in &mut decision.writes {
            if let Write::Put { row: Row::Task(_, task), .. } = write {
                let agent = held.iter().find(|(position, _)| *position == task.position);
                Arc::make_mut(task).agent = agent.and_then(|(_, agent)| AgentId::parse(agent).ok());
            }
        }
        decision
    }

    #[test]
    fn an_agent_is_written_once_for_a_session_as_far_as_memory_tells() {
        let (tenant, cache) = (TenantId::default_tenant(), Cache::new(1 << 30).expect("made"));
        let expect = |version: i64, held: &[(usize, &str)], expected: &[&str]| {
            let prepared = Commit::prepare(&tenant, given(version, held), Timestamp::default(), None, &cache);
            let mut prepared = prepared.expect("prepared");
            let written: Vec<&str> = prepared.holders.iter().map(|holder| holder.agent.as_str()).collect();
            assert_eq!(written, expected);
            prepared.settle(&cache);
        };
        expect(1, &[(0, "a"), (1, "b"), (2, "a")], &["a", "b"]);
        expect(2, &[(0, "b"), (3, "a")], &[]);
        expect(3, &[(2, "c"), (3, "b")], &["c"]);
        expect(4, &[(1, "a")], &["a"]);
        cache.clear();
        expect(5, &[(1, "a")], &["a"]);
    }

    proptest! {
        #[test]
        fn a_session_in_the_cache_is_reckoned_at_the_length_of_its_bodies(
            steps in prop::collection::vec(prop::collection::vec((0_usize..6, 0_usize..5_000), 0..4), 1..12),
        ) {
            let (tenant, cache) = (TenantId::default_tenant(), Cache::new(1 << 30).expect("made"));
            let key = Key::Session(SessionId::parse("ses_a").expect("valid"));
            for (version, tasks) in (1_i64..).zip(&steps) {
                let decision = decision(version, tasks);
                let prepared = Commit::prepare(&tenant, decision, Timestamp::default(), None, &cache);
                prepared.expect("prepared").settle(&cache);
                let held = cache.get(&tenant, &key).expect("held");
                let Loaded::Session(row) = &held.loaded else { panic!("no session") };
                let tasks = row.value.tasks.iter().map(|task| Row::Task(row.value.session.id.clone(), Arc::clone(task)));
                let mut bytes = schema::body(&Row::Session(Arc::clone(&row.value.session))).expect("text").len();
                for task in tasks {
                    bytes += schema::body(&task).expect("text").len();
                }
                prop_assert_eq!(held.bytes, bytes);
                let places: Vec<usize> = row.value.tasks.iter().map(|task| task.position).collect();
                prop_assert!(places.is_sorted());
            }
        }
    }
}
