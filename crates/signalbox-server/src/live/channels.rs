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
mod subject;
mod tending;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use signalbox_bus::{Bus, Subject};
use signalbox_core::Rejected;
use signalbox_core::channel::Channel;
use signalbox_core::engine::{NewChannelMessage, PublishToChannel, Published, PublishedMessage};
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::{AgentId, ChannelId, MessageId, NodeId, TenantId};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use self::asking::Asking;
use self::hub::{Subscribed, Subscriber, TenantHub};
use self::listing::Listing;
use self::names::{Names, Resolved};
use self::relay::{Heard, Told};
pub(crate) use self::session::{ChannelSession, KINDS};
use crate::clock;
use crate::engine::{Drive, DriveError};
use crate::quota::Quotas;
use crate::transport::connection::Connections;
use crate::transport::outbox::{Frame, Outbox};

/// Bytes of what is published, at most: what goes between nodes must fit into a message of the bus.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 512 << 10;
/// How long other nodes are waited for that are asked who is subscribed.
const GATHER_FOR: Duration = Duration::from_millis(300);

/// Channels, subscriptions and what is published; cheap to clone.
#[derive(Clone)]
pub(crate) struct Channels(Arc<Inner>);

/// What channels are made from.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) drive: Drive,
    pub(crate) bus: Bus,
    pub(crate) node: NodeId,
    pub(crate) connections: Connections,
    pub(crate) quotas: Quotas,
    pub(crate) draining: CancellationToken,
}

struct Inner {
    store: Store,
    drive: Drive,
    bus: Bus,
    node: NodeId,
    connections: Connections,
    quotas: Quotas,
    draining: CancellationToken,
    asking: Asking,
    tenants: Mutex<HashMap<TenantId, Arc<Tenant>>>,
    numbers: AtomicU64,
}

/// What there is of one tenant while any of its agents is connected here.
struct Tenant {
    hub: TenantHub,
    names: Names,
    listing: Listing,
    /// What takes from the bus what other nodes tell, where there are others.
    network: Mutex<Option<AbortHandle>>,
}

impl Drop for Tenant {
    fn drop(&mut self) {
        if let Some(network) = self.network.get_mut().take() {
            network.abort();
        }
    }
}

/// Whose connection takes part.
pub(crate) struct Member {
    pub(crate) tenant: TenantId,
    pub(crate) agent: AgentId,
    pub(crate) outbox: Outbox,
}

/// What became of a message that was published.
pub(crate) type Outcome = Result<PublishedMessage, Rejected>;

impl Channels {
    /// Channels without any subscriber yet.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, drive, bus, node, connections, quotas, draining } = parts;
        let asking = Asking::new(node.clone());
        let (tenants, numbers) = (Mutex::default(), AtomicU64::new(1));
        Self(Arc::new(Inner {
            store,
            drive,
            bus,
            node,
            connections,
            quotas,
            draining,
            asking,
            tenants,
            numbers,
        }))
    }

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

    /// Numbers connections, and what they begin to read.
    fn number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// What there is of a tenant, where any of its agents is connected here.
    fn tenant(&self, name: &TenantId) -> Option<Arc<Tenant>> {
        self.0.tenants.lock().get(name).cloned()
    }

    fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.0.tenants.lock().values().cloned().collect()
    }

    /// A new id for something that is told.
    fn new_id() -> MessageId {
        MessageId::new(clock::now(), clock::seed_128())
    }

    /// Publishes messages of one publisher to a channel, in this order. Those of a durable channel are committed when
    /// this answers. It goes on when whoever asked does not wait.
    pub(crate) async fn publish(
        &self,
        tenant: &TenantId,
        operation: PublishToChannel,
    ) -> Result<Vec<Outcome>, DriveError> {
        let (channels, name) = (self.clone(), tenant.clone());
        let published = tokio::spawn(async move {
            let published = channels.0.drive.run(&name, &operation).await?;
            channels.spread(&name, &published);
            Ok(published.messages)
        });
        let unknown = || StoreError::Unavailable("what was published was not followed to its end".to_owned());
        published.await.unwrap_or_else(|_| Err(unknown().into()))
    }

    /// Gives what was published to those who are subscribed.
    fn spread(&self, tenant: &TenantId, published: &Published) {
        let here = self.tenant(tenant);
        let goes_out = self.0.bus.reaches_other_nodes();
        if here.is_none() && !goes_out {
            return;
        }
        let channel = &published.channel;
        let made = published.messages.iter().flatten().filter(|message| !message.is_repeat);
        for message in made.map(|published| &published.message) {
            let place = (message.sequence > 0).then_some(message.sequence);
            let frame = match place {
                Some(_) => frames::message(&channel.name, message),
                None => frames::live_message(
                    &channel.name,
                    Some(&channel.id),
                    message.from.as_ref(),
                    &message.id,
                    &message.payload,
                    message.at,
                ),
            };
            self.give(tenant, here.as_ref(), &channel.name, place.map(|place| (&channel.id, place)), frame);
        }
    }

    /// Publishes on a subject that no channel keeps; answers how many it went to on this node.
    fn publish_live(
        &self,
        (tenant, subject): (&Arc<Tenant>, &str),
        channel: Option<&ChannelId>,
        from: &AgentId,
        id: &MessageId,
        payload: &RawValue,
    ) -> usize {
        let frame = frames::live_message(subject, channel, Some(from), id, payload, clock::now());
        self.give(&tenant.hub.tenant, Some(tenant), subject, None, frame)
    }

    /// Gives a message to the subscribers here, and tells the other nodes.
    fn give(
        &self,
        name: &TenantId,
        here: Option<&Arc<Tenant>>,
        subject: &str,
        place: Option<(&ChannelId, u64)>,
        frame: Frame,
    ) -> usize {
        if self.0.bus.reaches_other_nodes()
            && let Ok(on_bus) = Subject::channel(name, subject)
        {
            let from = self.0.node.clone();
            let channel = place.map(|(channel, sequence)| (channel.clone(), sequence));
            self.tell(&on_bus, &Told::Message { from, subject: subject.to_owned(), channel }, Some(&frame));
        }
        here.map_or(0, |tenant| self.take_in(tenant, subject, place, frame))
    }

    /// Takes in a message, published here or on another node, for the subscribers of this node.
    fn take_in(
        &self,
        tenant: &Arc<Tenant>,
        subject: &str,
        place: Option<(&ChannelId, u64)>,
        frame: Frame,
    ) -> usize {
        let Some((channel, sequence)) = place else { return tenant.hub.deliver(subject, &frame) };
        let feed = match tenant.hub.feed(subject) {
            Some(feed) if feed.channel >= *channel => feed,
            _ if tenant.hub.route(subject).members.is_empty() => return 0,
            // Whatever was there when somebody subscribed has a feed since: this one was made later.
            _ => tenant.hub.feed_of(subject, channel, 0),
        };
        if feed.channel == *channel && feed.offer(&tenant.hub, sequence, frame) {
            tending::tend(self, tenant, feed);
        }
        0
    }

    /// Tells other nodes, as far as they can be told now.
    fn tell(&self, subject: &Subject, told: &Told, frame: Option<&Frame>) {
        let Some(bytes) = told.written(frame) else { return };
        if let Err(error) = self.0.bus.publish(subject, bytes) {
            tracing::debug!(%error, %subject, "other nodes were not told; they find in the store what is durable");
        }
    }

    /// Tells the other nodes of a tenant's subscribers.
    fn tell_tenant(&self, tenant: &TenantId, told: impl FnOnce(NodeId) -> Told) {
        if self.0.bus.reaches_other_nodes() {
            self.tell(&Subject::subscribers(tenant), &told(self.0.node.clone()), None);
        }
    }

    /// A channel of this name was made, changed or removed: what is remembered of the name is forgotten, on every node.
    pub(crate) fn changed(&self, tenant: &TenantId, name: &str) {
        if let Some(tenant) = self.tenant(tenant) {
            tenant.names.forget(name);
        }
        self.tell_tenant(tenant, |from| Told::Channel { from, name: name.to_owned() });
    }

    /// The channel behind a name, as far as it is remembered from a moment ago.
    async fn resolve(&self, tenant: &Tenant, name: &str) -> Result<Option<Resolved>, StoreError> {
        if let Some(known) = tenant.names.get(name) {
            return Ok(known);
        }
        let generation = tenant.names.generation();
        let channel = self.channel_named(&tenant.hub.tenant, name).await?;
        let resolved =
            channel.map(|channel| Resolved { id: channel.id.clone(), is_durable: channel.is_durable() });
        tenant.names.keep(name, resolved.clone(), generation);
        Ok(resolved)
    }

    /// The channel of a name, as it is now.
    async fn channel_named(&self, tenant: &TenantId, name: &str) -> Result<Option<Arc<Channel>>, StoreError> {
        let Some(named) = self.0.store.channel_named(tenant, name).await? else { return Ok(None) };
        Ok(self.0.store.channel(tenant, &named.value.channel).await?.map(|read| read.value))
    }

    /// The agents that are subscribed to a subject, on all nodes that answer in time, each once, by id.
    pub(crate) async fn subscribed(&self, tenant: &TenantId, subject: &str) -> Vec<(AgentId, Subscribed)> {
        let mut found = match self.tenant(tenant) {
            Some(here) => here.hub.subscribed(subject),
            None => Vec::new(),
        };
        if self.0.bus.reaches_other_nodes() {
            let mut question = self.0.asking.ask(tenant);
            let (number, subject) = (question.number, subject.to_owned());
            self.tell_tenant(tenant, |from| Told::Who { from, number, subject });
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
        agents.into_iter().collect()
    }
}

/// One message as an operation that publishes it.
pub(crate) fn publication(
    channel: &ChannelId,
    from: Option<&AgentId>,
    id: Option<MessageId>,
    payload: Box<RawValue>,
) -> PublishToChannel {
    PublishToChannel {
        channel: channel.clone(),
        from: from.cloned(),
        messages: vec![NewChannelMessage { id, payload }],
    }
}
