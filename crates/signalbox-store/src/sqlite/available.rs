//! Which agents are available under which route, least recently used first: in memory, as this process is the only writer.
//!
//! The table tells who is listed, so that a start needs to read nothing else. When an agent was used is kept here alone
//! while the process runs, and the table has it as of the last time that the agent was listed.

use std::collections::{BTreeSet, HashMap};

use parking_lot::RwLock;
use quick_cache::DefaultHashBuilder;
use rusqlite::Connection;
use signalbox_core::decision::{Key, Row};
use signalbox_wire::id::{AgentId, TenantId};

use crate::commit::{Commit, Put};

/// The agents that are available, as committed.
#[derive(Default)]
pub(super) struct AvailableAgents {
    tenants: RwLock<HashMap<TenantId, Routes, DefaultHashBuilder>>,
}

type Routes = HashMap<String, Listed, DefaultHashBuilder>;

/// The agents under one route.
#[derive(Default)]
struct Listed {
    used: HashMap<AgentId, i64, DefaultHashBuilder>,
    by_use: BTreeSet<(i64, AgentId)>,
}

impl AvailableAgents {
    /// Takes over what the file says, in place of what was known.
    pub(super) fn read(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT tenant, route, agent, last_used FROM available")?;
        let mut rows = statement.query([])?;
        let mut tenants: HashMap<TenantId, Routes, DefaultHashBuilder> = HashMap::default();
        while let Some(row) = rows.next()? {
            let (tenant, agent): (String, String) = (row.get(0)?, row.get(2)?);
            if let (Ok(tenant), Ok(agent)) = (TenantId::parse(&tenant), AgentId::parse(&agent)) {
                let routes = tenants.entry(tenant).or_default();
                routes.entry(row.get(1)?).or_default().list(&agent, row.get(3)?);
            }
        }
        *self.tenants.write() = tenants;
        Ok(())
    }

    /// Whether an agent is listed under a route.
    pub(super) fn holds(&self, tenant: &TenantId, route: &str, agent: &AgentId) -> bool {
        let tenants = self.tenants.read();
        tenants
            .get(tenant)
            .and_then(|routes| routes.get(route))
            .is_some_and(|listed| listed.used.contains_key(agent))
    }

    /// Follows a commit that has been made.
    pub(super) fn settle(&self, commit: &Commit) {
        let changes = commit.changes.iter().filter_map(|change| match (&change.key, &change.put) {
            (Key::Available(..), Some(Put { row: Row::Available(row), .. })) => {
                Some((&row.route, &row.agent, Some(row.last_used.as_micros())))
            }
            (Key::Available(route, agent), None) => Some((route, agent, None)),
            _ => None,
        });
        let mut changes = changes.peekable();
        if changes.peek().is_none() {
            return;
        }
        let mut tenants = self.tenants.write();
        let routes = tenants.entry(commit.tenant.clone()).or_default();
        for (route, agent, last_used) in changes {
            match last_used {
                Some(last_used) => match routes.get_mut(route) {
                    Some(listed) => listed.list(agent, last_used),
                    None => routes.entry(route.clone()).or_default().list(agent, last_used),
                },
                None => {
                    let is_empty = routes.get_mut(route).is_some_and(|listed| listed.drop_out(agent));
                    if is_empty {
                        routes.remove(route);
                    }
                }
            }
        }
        if routes.is_empty() {
            tenants.remove(&commit.tenant);
        }
    }

    /// The first agents under a route, least recently used first.
    pub(super) fn first(&self, tenant: &TenantId, route: &str, limit: usize) -> Vec<AgentId> {
        let tenants = self.tenants.read();
        let listed = tenants.get(tenant).and_then(|routes| routes.get(route));
        listed
            .into_iter()
            .flat_map(|listed| &listed.by_use)
            .take(limit)
            .map(|(_, agent)| agent.clone())
            .collect()
    }

    /// Forgets a tenant that is gone.
    pub(super) fn forget(&self, tenant: &TenantId) {
        self.tenants.write().remove(tenant);
    }
}

impl Listed {
    fn list(&mut self, agent: &AgentId, last_used: i64) {
        if let Some(before) = self.used.insert(agent.clone(), last_used) {
            if before == last_used {
                return;
            }
            self.by_use.remove(&(before, agent.clone()));
        }
        self.by_use.insert((last_used, agent.clone()));
    }

    /// Whether nobody is left.
    fn drop_out(&mut self, agent: &AgentId) -> bool {
        if let Some(before) = self.used.remove(agent) {
            self.by_use.remove(&(before, agent.clone()));
        }
        self.used.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str) -> AgentId {
        AgentId::parse(id).expect("valid")
    }

    #[test]
    fn the_least_recently_used_comes_first_and_each_once() {
        let mut listed = Listed::default();
        listed.list(&agent("a"), 3);
        listed.list(&agent("b"), 1);
        listed.list(&agent("a"), 3);
        listed.list(&agent("b"), 5);
        let order: Vec<_> =
            listed.by_use.iter().map(|(used, agent)| (*used, agent.as_str().to_owned())).collect();
        assert_eq!(order, [(3, "a".to_owned()), (5, "b".to_owned())]);
        assert!(!listed.drop_out(&agent("a")));
        assert!(!listed.drop_out(&agent("unknown")));
        assert!(listed.drop_out(&agent("b")) && listed.by_use.is_empty());
    }
}
