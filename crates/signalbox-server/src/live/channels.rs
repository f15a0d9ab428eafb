//! Channels as the rest of the server uses them: publish, who is subscribed, and a connection's part in it all.
//!
//! A message of a durable channel is committed first, then given to the subscribers of this node and told to the other
//! nodes. A subject that no channel keeps, or a channel that keeps nothing, is live only: the message goes to whoever is
//! subscribed now.

mod asking;
pub(crate) mod fault;
mod feed;
pub(crate) mod frames;
mod history;
mod hub;
mod listing;
mod names;
mod network;
mod publishing;
mod relay;
mod requests;
mod session;
mod shared;
mod spreading;
mod subject;
mod subscriber;
mod tending;
mod told_room;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_bus::{BusError, Subject};
use signalbox_wire::id::{AgentId, TenantId};

use self::hub::TenantHub;
use self::listing::Listing;
use self::names::Names;
use self::relay::{Heard, Told};
pub(crate) use self::session::{ChannelSession, KINDS};
use self::shared::Tenant;
pub(crate) use self::shared::{Channels, PAYLOAD_BYTES_MAX, Parts};
pub(crate) use self::spreading::publication;
use self::subscriber::{Subscribed, Subscriber};
use crate::transport::outbox::Outbox;

/// How long other nodes are waited for that are asked who is subscribed.
const GATHER_FOR: Duration = Duration::from_millis(300);

/// Whose connection takes part.
pub(crate) struct Member {
    pub(crate) tenant: TenantId,
    pub(crate) agent: AgentId,
    pub(crate) outbox: Outbox,
}

impl Channels {
    /// Keeps in order what subscribers get, until the server drains.
    pub(crate) async fn run(self) {
        tokio::join!(tending::run(&self), network::answers(&self));
    }

    /// Lets a connection take part. It leaves everything when what it gets is dropped.
    pub(crate) fn join(&self, member: Member) -> ChannelSession {
        let Member { tenant: name, agent, outbox } = member;
        let tenant = {
            let mut tenants = self.0.tenants.lock();
            let tenant = tenants.entry(name.clone()).or_insert_with(|| self.opened(&name));
            tenant.hub.join();
            Arc::clone(tenant)
        };
        let subscriber = Arc::new(Subscriber { number: self.number(), agent, outbox });
        ChannelSession::new(self.clone(), tenant, subscriber)
    }

    fn opened(&self, name: &TenantId) -> Arc<Tenant> {
        let tenant = Arc::new(Tenant {
            hub: TenantHub::new(name.clone()),
            names: Names::default(),
            listing: Listing::default(),
            network: Mutex::default(),
        });
        if self.0.bus.reaches_other_nodes() {
            let told = tokio::spawn(network::told(self.clone(), Arc::downgrade(&tenant), name.clone()));
            *tenant.network.lock() = Some(told.abort_handle());
        }
        tenant
    }

    /// A connection has left.
    fn left(&self, tenant: &Tenant) {
        let mut tenants = self.0.tenants.lock();
        if tenant.hub.leave() {
            tenants.remove(&tenant.hub.tenant);
        }
    }

    /// The agents that are subscribed to a subject, on all nodes that answer in time, each once, by id.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] where other nodes cannot be asked.
    pub(crate) async fn subscribed(
        &self,
        tenant: &TenantId,
        subject: &str,
    ) -> Result<Vec<(AgentId, Subscribed)>, BusError> {
        let mut found = match self.tenant(tenant) {
            Some(here) => here.hub.subscribed(subject),
            None => Vec::new(),
        };
        if self.0.bus.reaches_other_nodes() {
            let mut question = self.0.asking.ask(tenant);
            let (number, subject) = (question.number, subject.to_owned());
            let told = Told::Who { from: self.0.node.clone(), number, subject };
            self.tell(&Subject::subscribers(tenant), &told, None)?;
            let gather = async {
                loop {
                    if let Heard::Who { agents } = question.heard().await {
                        found.extend(agents);
                    }
                }
            };
            // Nodes without the tenant's agents do not answer, so this ends with its time.
            let _ = tokio::time::timeout(GATHER_FOR, gather).await;
        }
        let mut agents: BTreeMap<AgentId, Subscribed> = BTreeMap::new();
        for one in found {
            match agents.get(&one.agent) {
                Some(other) if other.since <= one.since => {}
                _ => drop(agents.insert(one.agent.clone(), one)),
            }
        }
        Ok(agents.into_iter().collect())
    }
}
