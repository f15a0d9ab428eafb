//! A hint, in memory, of the routing keys under which tasks may wait: most reports ask, and mostly none does.
//!
//! A key is noted after the commit that makes a task wait and before anybody is told of it. It is dropped when
//! a lookup finds nothing under it and nothing was noted since the lookup began.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use quick_cache::DefaultHashBuilder;
use rusqlite::Connection;
use signalbox_core::decision::Row;
use signalbox_wire::id::TenantId;

use crate::commit::{Commit, Put};

/// Keys that are told apart; with more, every key may have waiting tasks.
const ROUTES_MAX: usize = 100_000;

/// The routing keys under which tasks may wait, with the moment each was last noted.
#[derive(Default)]
pub(super) struct WaitingRoutes {
    routes: RwLock<HashMap<(TenantId, String), u64, DefaultHashBuilder>>,
    clock: AtomicU64,
}

impl WaitingRoutes {
    /// The keys under which tasks wait in the file.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let waiting = Self::default();
        let mut statement = connection
            .prepare("SELECT DISTINCT tenant, wait_route FROM tasks WHERE wait_route IS NOT NULL LIMIT ?1")?;
        let mut rows = statement.query([super::convert::sql_limit(ROUTES_MAX)])?;
        let mut routes = waiting.routes.write();
        while let Some(row) = rows.next()? {
            let (tenant, route): (String, String) = (row.get(0)?, row.get(1)?);
            if let Ok(tenant) = TenantId::parse(&tenant) {
                routes.insert((tenant, route), 0);
            }
        }
        drop(routes);
        Ok(waiting)
    }

    /// Notes the keys under which this commit makes tasks wait.
    pub(super) fn note(&self, commit: &Commit) {
        for change in &commit.changes {
            let Some(Put { row: Row::Task(_, task), .. }) = &change.put else { continue };
            let Some(route) = task.waiting_key() else { continue };
            let now = self.clock.fetch_add(1, Ordering::AcqRel) + 1;
            let mut routes = self.routes.write();
            if routes.len() < ROUTES_MAX {
                routes.insert((commit.tenant.clone(), route), now);
            }
        }
    }

    /// The moment to hand to [`Self::found_none`], taken before looking.
    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    /// A lookup that began at `since` found no task under this key.
    pub(super) fn found_none(&self, tenant: &TenantId, route: &str, since: u64) {
        let mut routes = self.routes.write();
        let key = (tenant.clone(), route.to_owned());
        // A full table has forgotten keys: it stays full, so that it goes on answering "maybe".
        if routes.len() < ROUTES_MAX && routes.get(&key).is_some_and(|noted| *noted <= since) {
            routes.remove(&key);
        }
    }

    /// Forgets a tenant that is gone.
    pub(super) fn forget(&self, tenant: &TenantId) {
        let mut routes = self.routes.write();
        if routes.len() < ROUTES_MAX {
            routes.retain(|(owner, _), _| owner != tenant);
        }
    }

    /// Whether a task may wait under one of these keys.
    pub(super) fn may_hold(&self, tenant: &TenantId, keys: &[String]) -> bool {
        let routes = self.routes.read();
        if routes.is_empty() {
            return false;
        }
        routes.len() >= ROUTES_MAX
            || keys.iter().any(|key| routes.contains_key(&(tenant.clone(), key.clone())))
    }
}
