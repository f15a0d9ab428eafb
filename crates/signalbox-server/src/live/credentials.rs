//! What connected agents rest on: the keys by which they came, their registrations, and their tenants. Where one of these
//! ends, on whichever node, the connections that rest on it end.
//!
//! Each is looked at, once for all of its connections: when it is told to have ended, when a connection is made (it may
//! have ended meanwhile), when its own time comes, and now and then, as what is told may be lost. While the nodes over this
//! database are not known to tell each other everything, that is each second.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_bus::Ended;
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::{AgentId, ConnectionId, KeyId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::admission::Admitted;
use super::parts::Parts;
use crate::auth::{UsedKey, good_until};
use crate::clock;
use crate::transport::outbox::{CloseReason, Outbox};

/// How often all are looked at although nobody said that one has ended, where everything is told.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How often what is due is looked at: what has expired, what the store could not tell, and a part of a look at all.
const TICK: Duration = Duration::from_secs(1);
/// How many a look at all takes in one tick, so that it is no burden; 5,000 are of about 2,500 agents.
const PART: usize = 5_000;
/// How many are read in one go.
const READ_AT_ONCE: usize = 500;

/// What a connection rests on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Basis {
    /// An API key under one of its secrets.
    ApiKey(KeyId, Arc<str>),
    /// The SSH key that signed in.
    SshKey(KeyId),
    /// The tenant itself, for whoever came by a key that is not the tenant's own.
    Tenant,
    /// The agent as it registered then.
    Agent(AgentId, Timestamp),
}

type Named = (TenantId, Basis);

/// Connections: nearly always one of an agent, and many of a key.
#[derive(Default)]
enum Few {
    #[default]
    None,
    One(Outbox),
    Many(HashMap<ConnectionId, Outbox>),
}

impl Few {
    fn insert(&mut self, outbox: Outbox) {
        match std::mem::take(self) {
            Self::None => *self = Self::One(outbox),
            Self::One(other) => {
                *self = Self::Many([other, outbox].map(|one| (one.connection().clone(), one)).into())
            }
            Self::Many(mut many) => {
                many.insert(outbox.connection().clone(), outbox);
                *self = Self::Many(many);
            }
        }
    }

    /// Takes one out; whether there is none left.
    fn remove(&mut self, connection: &ConnectionId) -> bool {
        match self {
            Self::None => {}
            Self::One(one) if one.connection() == connection => *self = Self::None,
            Self::One(_) => return false,
            Self::Many(many) => {
                many.remove(connection);
                return many.is_empty();
            }
        }
        true
    }

    fn iter(&self) -> impl Iterator<Item = &Outbox> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// The connections that rest on something.
#[derive(Default)]
struct Held {
    connections: Few,
    /// When it ends by itself, as far as that is known.
    until: Option<Timestamp>,
}

/// Which connections rest on what; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Credentials(Arc<Inner>);

#[derive(Default)]
struct Inner {
    held: Mutex<HashMap<Named, Held>>,
    /// What new connections rest on that has not been looked at since.
    fresh: Mutex<HashSet<Named>>,
    registered: Notify,
}

/// A connection that ends with what it rests on, until this is dropped.
pub(super) struct Registered {
    credentials: Credentials,
    rests_on: Vec<Named>,
    connection: ConnectionId,
}

impl Credentials {
    /// Lets a connection end with what it rests on. What was found when its agent was admitted is looked at once more.
    pub(super) fn register(&self, admitted: &Admitted, outbox: &Outbox) -> Registered {
        let key = match (&admitted.key, &admitted.api_key) {
            (Some(key), _) => Basis::SshKey(key.clone()),
            (None, Some(UsedKey { id, secret })) => Basis::ApiKey(id.clone(), Arc::clone(secret)),
            (None, None) => Basis::Tenant,
        };
        let agent = Basis::Agent(admitted.agent.clone(), admitted.registered_at);
        let rests_on: Vec<Named> = [key, agent].map(|basis| (admitted.tenant.clone(), basis)).into();
        let connection = outbox.connection().clone();
        {
            let mut held = self.0.held.lock();
            for named in &rests_on {
                let connections = &mut held.entry(named.clone()).or_default().connections;
                connections.insert(outbox.clone());
            }
        }
        self.0.fresh.lock().extend(rests_on.iter().cloned());
        self.0.registered.notify_one();
        Registered { credentials: self.clone(), rests_on, connection }
    }

    /// Ends connections that rest on what has ended, for as long as it is awaited.
    pub(super) async fn watch(&self, parts: &Parts) {
        let Parts { store, authenticator, drive, .. } = parts;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut round, mut again) = (VecDeque::new(), Vec::new());
        let mut began = Instant::now();
        loop {
            // What is told to have ended goes before everything else.
            let named = tokio::select! {
                biased;
                ended = authenticator.ended().next() => match ended {
                    Ended::Any => {
                        round = self.all().into();
                        began = Instant::now();
                        continue;
                    }
                    ended => self.of(&ended),
                },
                _ = ticks.tick() => {
                    let every = if drive.wake_ups().tells_all(store.cache_may_be_old()) { LOOK_EVERY } else { TICK };
                    if round.is_empty() && began.elapsed() >= every {
                        round = self.all().into();
                        began = Instant::now();
                    }
                    let mut due: Vec<Named> = std::mem::take(&mut again);
                    due.extend(self.over(clock::now()));
                    due.extend(round.drain(..round.len().min(PART)));
                    due
                }
                () = self.0.registered.notified() => {
                    std::mem::take(&mut *self.0.fresh.lock()).into_iter().collect()
                }
            };
            again.extend(self.look(store, named).await);
        }
    }

    fn all(&self) -> Vec<Named> {
        self.0.held.lock().keys().cloned().collect()
    }

    /// What of this is held: a key under any of its secrets, a tenant's all.
    fn of(&self, ended: &Ended) -> Vec<Named> {
        let is_meant = |(tenant, basis): &&Named| match (ended, basis) {
            (Ended::Key(of, key), Basis::ApiKey(id, _) | Basis::SshKey(id)) => tenant == of && id == key,
            (Ended::Tenant(of), _) => tenant == of,
            _ => false,
        };
        self.0.held.lock().keys().filter(is_meant).cloned().collect()
    }

    /// What has come to its end by now.
    fn over(&self, now: Timestamp) -> Vec<Named> {
        let held = self.0.held.lock();
        let over = held.iter().filter(|(_, held)| held.until.is_some_and(|until| until <= now));
        over.map(|(named, _)| named.clone()).collect()
    }

    /// Looks at these, and gives those back that the store cannot tell of now: that proves nothing.
    async fn look(&self, store: &Store, named: Vec<Named>) -> Vec<Named> {
        let mut by_tenant: BTreeMap<TenantId, Vec<Basis>> = BTreeMap::new();
        for (tenant, basis) in named {
            by_tenant.entry(tenant).or_default().push(basis);
        }
        let mut again = Vec::new();
        for (tenant, mut bases) in by_tenant {
            // Keys before agents: it is told first of what ended first.
            bases.sort_unstable();
            bases.dedup();
            for bases in bases.chunks(READ_AT_ONCE) {
                match Standing::read(store, &tenant, bases).await {
                    Ok(standing) => self.settle(&tenant, bases, &standing),
                    Err(error) => {
                        tracing::debug!(%error, "what connected agents rest on could not be looked at");
                        again.extend(bases.iter().map(|basis| (tenant.clone(), basis.clone())));
                    }
                }
            }
        }
        again
    }

    fn settle(&self, tenant: &TenantId, bases: &[Basis], standing: &Standing) {
        let mut ended = Vec::new();
        {
            let mut held = self.0.held.lock();
            for basis in bases {
                let Some(held) = held.get_mut(&(tenant.clone(), basis.clone())) else { continue };
                match standing.of(basis) {
                    Some(until) => held.until = until,
                    None => {
                        ended.extend(held.connections.iter().map(|outbox| (outbox.clone(), basis.reason())))
                    }
                }
            }
        }
        for (outbox, reason) in ended {
            outbox.close(reason);
        }
    }
}

impl Basis {
    fn reason(&self) -> CloseReason {
        match self {
            Self::ApiKey(..) => CloseReason::ApiKeyEnded,
            Self::SshKey(_) => CloseReason::SshKeyEnded,
            Self::Tenant => CloseReason::TenantRemoved,
            Self::Agent(..) => CloseReason::Removed,
        }
    }
}

/// What of the things that connections of a tenant rest on still stands, and until when.
#[derive(Default)]
struct Standing {
    keys: HashMap<(KeyId, Arc<str>), Option<Timestamp>>,
    ssh_keys: HashSet<KeyId>,
    agents: HashSet<(AgentId, Timestamp)>,
    has_tenant: bool,
}

impl Standing {
    async fn read(store: &Store, tenant: &TenantId, bases: &[Basis]) -> Result<Self, StoreError> {
        let now = clock::now();
        let (mut used, mut ssh_keys, mut agents, mut asks_tenant) =
            (Vec::new(), Vec::new(), Vec::new(), false);
        for basis in bases {
            match basis {
                Basis::ApiKey(id, secret) => used.push((id.clone(), Arc::clone(secret))),
                Basis::SshKey(id) => ssh_keys.push(id.clone()),
                Basis::Agent(id, _) => agents.push(id.clone()),
                Basis::Tenant => asks_tenant = true,
            }
        }
        let mut standing = Self::default();
        if !used.is_empty() {
            let ids: Vec<KeyId> = used.iter().map(|(id, _)| id.clone()).collect();
            let found = store.api_keys_among(tenant, &ids).await?;
            let found: HashMap<&KeyId, _> = found.iter().map(|key| (&key.id, key)).collect();
            for (id, secret) in used {
                let until = found.get(&id).and_then(|key| good_until(key, &secret, now).ok());
                standing.keys.extend(until.map(|until| ((id, secret), until)));
            }
        }
        if !ssh_keys.is_empty() {
            let found = store.ssh_keys_among(tenant, &ssh_keys).await?;
            standing.ssh_keys =
                found.iter().filter(|key| key.is_active()).map(|key| key.id.clone()).collect();
        }
        if !agents.is_empty() {
            let found = store.agents_among(tenant, &agents).await?;
            standing.agents = found.iter().map(|agent| (agent.id.clone(), agent.registered_at)).collect();
        }
        if asks_tenant {
            standing.has_tenant =
                *tenant == TenantId::default_tenant() || store.tenant(tenant).await?.is_some();
        }
        Ok(standing)
    }

    /// Until when this stands, where it stands at all.
    fn of(&self, basis: &Basis) -> Option<Option<Timestamp>> {
        match basis {
            Basis::ApiKey(id, secret) => self.keys.get(&(id.clone(), Arc::clone(secret))).copied(),
            Basis::SshKey(id) => self.ssh_keys.contains(id).then_some(None),
            Basis::Agent(id, at) => self.agents.contains(&(id.clone(), *at)).then_some(None),
            Basis::Tenant => self.has_tenant.then_some(None),
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut held = self.credentials.0.held.lock();
        for named in &self.rests_on {
            if let Some(of_named) = held.get_mut(named) {
                if of_named.connections.remove(&self.connection) {
                    held.remove(named);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;
    use crate::transport::outbox::OutboxBounds;

    #[test]
    fn few_connections_are_kept_as_many_are() {
        let outbox = |id: &str| {
            let bounds = OutboxBounds { frames: 1, bytes: 1, unacknowledged: 1 };
            Outbox::new(ConnectionId::parse(id).expect("valid"), bounds, Gauge::default()).0
        };
        let id = |id: &str| ConnectionId::parse(id).expect("valid");
        let ids = |few: &Few| {
            let mut ids: Vec<String> = few.iter().map(|one| one.connection().to_string()).collect();
            ids.sort();
            ids
        };
        let mut few = Few::default();
        few.insert(outbox("con_1"));
        assert!(!few.remove(&id("con_2")) && ids(&few) == ["con_1"]);
        few.insert(outbox("con_2"));
        few.insert(outbox("con_3"));
        assert_eq!(ids(&few), ["con_1", "con_2", "con_3"]);
        assert!(!few.remove(&id("con_1")) && !few.remove(&id("con_3")));
        assert_eq!(ids(&few), ["con_2"]);
        assert!(few.remove(&id("con_2")) && ids(&few).is_empty());
        few.insert(outbox("con_4"));
        assert!(few.remove(&id("con_4")) && few.remove(&id("con_4")));
    }
}
