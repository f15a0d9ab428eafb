//! What connections left that ended a moment ago: their agents may come back for it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use signalbox_wire::id::{AgentId, ConnectionId, TenantId};
use tokio::time::Instant;

use crate::transport::outbox::Leftover;

/// How long it is kept; as long as core leaves an agent what it was given and never had.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(10);
/// Connections of which it is kept; those that ended first go first.
const KEPT_MAX: usize = 100_000;

/// What connections left that ended a moment ago.
#[derive(Default)]
pub(super) struct Lost {
    leftovers: HashMap<(TenantId, AgentId), Leftover>,
    /// In the order in which they end.
    expiries: VecDeque<(Instant, TenantId, AgentId, ConnectionId)>,
}

impl Lost {
    /// Keeps what a connection left; gives the connection back where somebody waits for the end of it.
    pub(super) fn keep(
        &mut self,
        tenant: &TenantId,
        agent: &AgentId,
        leftover: Leftover,
    ) -> Option<ConnectionId> {
        let now = Instant::now();
        while let Some((_, tenant, agent, connection)) =
            self.expiries.pop_front_if(|(at, ..)| *at <= now).or_else(|| self.over())
        {
            drop(self.expire(&tenant, &agent, &connection));
        }
        let connection = leftover.connection.clone();
        let awaited = (!leftover.is_empty()).then(|| connection.clone());
        self.expiries.push_back((now + KEPT_FOR, tenant.clone(), agent.clone(), connection));
        self.leftovers.insert((tenant.clone(), agent.clone()), leftover);
        awaited
    }

    fn over(&mut self) -> Option<(Instant, TenantId, AgentId, ConnectionId)> {
        if self.expiries.len() < KEPT_MAX { None } else { self.expiries.pop_front() }
    }

    /// Takes what the last connection of an agent left.
    pub(super) fn take(&mut self, tenant: &TenantId, agent: &AgentId) -> Option<Leftover> {
        self.leftovers.remove(&(tenant.clone(), agent.clone()))
    }

    /// Gives up what a connection left, where nobody has taken it.
    pub(super) fn expire(
        &mut self,
        tenant: &TenantId,
        agent: &AgentId,
        connection: &ConnectionId,
    ) -> Option<Leftover> {
        let key = (tenant.clone(), agent.clone());
        self.leftovers.get(&key).filter(|leftover| leftover.connection == *connection)?;
        self.leftovers.remove(&key)
    }
}
