//! Which tasks wait for an agent, in the order in which they are served: in memory, as this process is the only writer. Each
//! task that is over, and each report of an agent that is free, asks for the first of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use parking_lot::RwLock;
use quick_cache::DefaultHashBuilder;
use rusqlite::Connection;
use signalbox_core::decision::{Key, Row};
use signalbox_core::snapshot::WaitingTask;
use signalbox_core::task::Task;
use signalbox_wire::id::{SessionId, TaskId, TenantId};

use crate::commit::{Commit, Put};
use crate::schema;

/// The tasks that wait, as committed.
#[derive(Default)]
pub(super) struct WaitingTasks {
    tenants: RwLock<HashMap<TenantId, Lines, DefaultHashBuilder>>,
}

/// The tasks of one tenant, under the routing keys that they wait under.
#[derive(Default)]
struct Lines {
    routes: HashMap<String, BTreeMap<Place, SessionId>, DefaultHashBuilder>,
    places: HashMap<TaskId, (String, Place), DefaultHashBuilder>,
}

/// Tasks are served by priority, the highest first, then the longest waiting, then by id.
type Place = (Reverse<i64>, i64, TaskId);

impl WaitingTasks {
    /// Takes over what the file says, in place of what was known.
    pub(super) fn read(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(
            "SELECT tenant, wait_route, priority, queued_at, id, session FROM tasks INDEXED BY tasks_waiting
             WHERE wait_route IS NOT NULL",
        )?;
        let mut rows = statement.query([])?;
        let mut tenants: HashMap<TenantId, Lines, DefaultHashBuilder> = HashMap::default();
        while let Some(row) = rows.next()? {
            let (tenant, task, session): (String, String, String) = (row.get(0)?, row.get(4)?, row.get(5)?);
            if let (Ok(tenant), Ok(task), Ok(session)) =
                (TenantId::parse(&tenant), TaskId::parse(&task), SessionId::parse(&session))
            {
                let place = (Reverse(row.get(2)?), row.get(3)?, task);
                tenants.entry(tenant).or_default().join(row.get(1)?, place, session);
            }
        }
        *self.tenants.write() = tenants;
        Ok(())
    }

    /// Follows a commit that has been made.
    pub(super) fn settle(&self, commit: &Commit) {
        let mut changes =
            commit.changes.iter().filter(|change| matches!(change.key, Key::Task(_))).peekable();
        if changes.peek().is_none() {
            return;
        }
        let is_none_known = self.tenants.read().get(&commit.tenant).is_none();
        let changes = changes.filter_map(|change| match (&change.key, &change.put) {
            (Key::Task(id), Some(Put { row: Row::Task(session, task), .. })) => {
                Some((id, place(task).map(|(route, place)| (route, place, session))))
            }
            (Key::Task(id), _) => Some((id, None)),
            _ => None,
        });
        // Nearly always nobody waits, and nobody begins to.
        let mut changes = changes.filter(|(_, waits)| !is_none_known || waits.is_some()).peekable();
        if changes.peek().is_none() {
            return;
        }
        let mut tenants = self.tenants.write();
        let lines = tenants.entry(commit.tenant.clone()).or_default();
        for (id, waits) in changes {
            match waits {
                Some((route, place, session)) => lines.join(route, place, session.clone()),
                None => lines.leave(id),
            }
        }
        if lines.places.is_empty() {
            tenants.remove(&commit.tenant);
        }
    }

    /// The first that wait under any of these keys.
    pub(super) fn first(&self, tenant: &TenantId, routes: &[String], limit: usize) -> Vec<WaitingTask> {
        let tenants = self.tenants.read();
        let Some(lines) = tenants.get(tenant) else { return Vec::new() };
        let each = routes.iter().filter_map(|route| lines.routes.get(route));
        let mut found: Vec<_> = each.flat_map(|line| line.iter().take(limit)).collect();
        found.sort_unstable();
        let first = found.into_iter().take(limit);
        first
            .map(|((.., task), session)| WaitingTask { session: session.clone(), task: task.clone() })
            .collect()
    }

    /// How many are served before this task, of those that wait under the same key; no more than `most` are counted.
    pub(super) fn ahead(&self, tenant: &TenantId, task: &Task, most: usize) -> usize {
        let Some((route, place)) = place(task) else { return 0 };
        let tenants = self.tenants.read();
        let line = tenants.get(tenant).and_then(|lines| lines.routes.get(&route));
        line.map_or(0, |line| line.range(..place).take(most).count())
    }

    /// Whether a task waits under one of these keys.
    pub(super) fn holds(&self, tenant: &TenantId, routes: &[String]) -> bool {
        let tenants = self.tenants.read();
        tenants.get(tenant).is_some_and(|lines| routes.iter().any(|route| lines.routes.contains_key(route)))
    }

    /// Forgets a tenant that is gone.
    pub(super) fn forget(&self, tenant: &TenantId) {
        self.tenants.write().remove(tenant);
    }
}

/// Where a task waits; nothing for one that does not.
fn place(task: &Task) -> Option<(String, Place)> {
    let queued_at = task.queued_at?.as_micros();
    Some((task.waiting_key()?, (Reverse(schema::priority(task)), queued_at, task.id.clone())))
}

impl Lines {
    fn join(&mut self, route: String, place: Place, session: SessionId) {
        if self.places.get(&place.2).is_some_and(|known| known.0 == route && known.1 == place) {
            return;
        }
        self.leave(&place.2);
        self.places.insert(place.2.clone(), (route.clone(), place.clone()));
        self.routes.entry(route).or_default().insert(place, session);
    }

    fn leave(&mut self, task: &TaskId) {
        let Some((route, place)) = self.places.remove(task) else { return };
        if let Some(line) = self.routes.get_mut(&route) {
            line.remove(&place);
            if line.is_empty() {
                self.routes.remove(&route);
            }
        }
    }
}
