//! Who on this node is subscribed to what, and how a message gets to all of them.
//!
//! A frame is made once, and each connection that gets it holds the same bytes. Whom a subject goes to is looked up
//! once and remembered until a subscription of the tenant changes, so that a delivery costs a clone of a counter and a
//! push to the connection's buffer; nobody who publishes waits for anybody who reads. A message that matches several
//! subscriptions of a connection comes to it once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use signalbox_bus::{Pattern, Subject};
use signalbox_wire::id::{AgentId, ChannelId, TenantId};
use signalbox_wire::time::Timestamp;

use super::feed::Feed;
use super::frames;
use super::subject::{Wanted, overlap};
use crate::transport::outbox::{Frame, Outbox};

/// Different patterns of one tenant on this node, at most: each is held against every new subject.
pub(super) const PATTERNS_MAX: usize = 4_096;
/// Subjects whose subscribers are remembered for one tenant, at most.
const ROUTES_MAX: usize = 16_384;

/// A connection that may be subscribed.
pub(super) struct Subscriber {
    pub(super) number: u64,
    pub(super) agent: AgentId,
    pub(super) outbox: Outbox,
}

/// One subscription of one connection.
#[derive(Clone)]
struct Entry {
    subscriber: Arc<Subscriber>,
    since: Timestamp,
}

/// Whom a subject goes to, each once.
#[derive(Default)]
pub(super) struct Route {
    pub(super) members: Vec<Arc<Subscriber>>,
}

/// As many patterns as may be are there already.
#[derive(Debug)]
pub(super) struct PatternsFull;

/// An agent that is subscribed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Subscribed {
    pub(super) agent: AgentId,
    pub(super) subject: String,
    pub(super) since: Timestamp,
}

/// What one tenant's connections on this node are subscribed to.
pub(super) struct TenantHub {
    pub(super) tenant: TenantId,
    index: Mutex<Index>,
    /// Counts changes of the subscriptions.
    generation: AtomicU64,
    routes: RwLock<HashMap<Arc<str>, (u64, Arc<Route>)>>,
}

#[derive(Default)]
struct Index {
    exact: HashMap<Arc<str>, Vec<Entry>>,
    patterns: HashMap<Arc<str>, (Pattern, Vec<Entry>)>,
    feeds: HashMap<Arc<str>, Arc<Feed>>,
    /// Subscriptions that are told who comes and goes.
    watchers: Vec<(Arc<str>, Arc<Subscriber>)>,
    /// How many connections there are, subscribed or not.
    connections: usize,
}

impl TenantHub {
    pub(super) fn new(tenant: TenantId) -> Self {
        Self { tenant, index: Mutex::default(), generation: AtomicU64::new(0), routes: RwLock::default() }
    }

    /// Takes in a connection.
    pub(super) fn join(&self) {
        self.index.lock().connections += 1;
    }

    /// Lets a connection go, whose subscriptions have been ended before; says whether it was the last.
    pub(super) fn leave(&self) -> bool {
        let mut index = self.index.lock();
        index.connections = index.connections.saturating_sub(1);
        index.connections == 0
    }

    /// Adds a subscription, in place of one of the same text.
    pub(super) fn subscribe(
        &self,
        wanted: &Wanted,
        subscriber: &Arc<Subscriber>,
        since: Timestamp,
        watches: bool,
    ) -> Result<(), PatternsFull> {
        let mut index = self.index.lock();
        let entry = Entry { subscriber: Arc::clone(subscriber), since };
        if wanted.has_wildcards() {
            if index.patterns.len() >= PATTERNS_MAX && !index.patterns.contains_key(&wanted.text) {
                return Err(PatternsFull);
            }
            let place = index.patterns.entry(Arc::clone(&wanted.text));
            let (_, entries) = place.or_insert_with(|| (wanted.pattern.clone(), Vec::new()));
            put(entries, entry);
        } else {
            put(index.exact.entry(Arc::clone(&wanted.text)).or_default(), entry);
        }
        index.watchers.retain(|(text, other)| *text != wanted.text || other.number != subscriber.number);
        if watches {
            index.watchers.push((Arc::clone(&wanted.text), Arc::clone(subscriber)));
        }
        self.changed();
        Ok(())
    }

    /// Ends a subscription; says whether the agent has no other connection here with the same one.
    pub(super) fn unsubscribe(&self, wanted: &Wanted, subscriber: &Subscriber) -> bool {
        let mut index = self.index.lock();
        let mut is_last = true;
        if wanted.has_wildcards() {
            if let Some((_, entries)) = index.patterns.get_mut(&wanted.text) {
                is_last = remove(entries, subscriber);
                if entries.is_empty() {
                    index.patterns.remove(&wanted.text);
                }
            }
        } else if let Some(entries) = index.exact.get_mut(&wanted.text) {
            is_last = remove(entries, subscriber);
            if entries.is_empty() {
                index.exact.remove(&wanted.text);
            }
        }
        index.watchers.retain(|(text, other)| *text != wanted.text || other.number != subscriber.number);
        self.changed();
        is_last
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whom a subject goes to now.
    pub(super) fn route(&self, subject: &str) -> Arc<Route> {
        let generation = self.generation.load(Ordering::Acquire);
        if let Some((of, route)) = self.routes.read().get(subject)
            && *of == generation
        {
            return Arc::clone(route);
        }
        let index = self.index.lock();
        // The lock is held: no subscription changes meanwhile.
        let generation = self.generation.load(Ordering::Acquire);
        let route = Arc::new(index.route(&self.tenant, subject));
        drop(index);
        let mut routes = self.routes.write();
        if routes.len() >= ROUTES_MAX {
            routes.retain(|_, (of, _)| *of == generation);
            if routes.len() >= ROUTES_MAX {
                routes.clear();
            }
        }
        routes.insert(Arc::from(subject), (generation, Arc::clone(&route)));
        route
    }

    /// Gives a frame to all who are subscribed to a subject; answers how many they are.
    pub(super) fn deliver(&self, subject: &str, frame: &Frame) -> usize {
        let route = self.route(subject);
        for member in &route.members {
            // One that is too slow ends its connection by itself.
            let _ = member.outbox.push(frame.clone());
        }
        route.members.len()
    }

    /// Gives a frame to every connection that has a subscription; answers how many they are.
    pub(super) fn tell_all(&self, frame: &Frame) -> usize {
        let members: HashMap<u64, Arc<Subscriber>> = {
            let index = self.index.lock();
            let all = index.exact.values().chain(index.patterns.values().map(|(_, entries)| entries));
            all.flatten().map(|entry| (entry.subscriber.number, Arc::clone(&entry.subscriber))).collect()
        };
        members.values().for_each(|member| drop(member.outbox.push(frame.clone())));
        members.len()
    }

    /// The feed of a subject, where there is one.
    pub(super) fn feed(&self, subject: &str) -> Option<Arc<Feed>> {
        self.index.lock().feeds.get(subject).cloned()
    }

    /// The feed of a channel; a new one has come to `head`.
    pub(super) fn feed_of(&self, subject: &str, channel: &ChannelId, head: u64) -> Arc<Feed> {
        let mut index = self.index.lock();
        match index.feeds.get(subject) {
            Some(feed) if feed.channel >= *channel => Arc::clone(feed),
            _ => {
                let feed = Arc::new(Feed::new(Arc::from(subject), channel.clone(), head));
                index.feeds.insert(Arc::clone(&feed.subject), Arc::clone(&feed));
                feed
            }
        }
    }

    /// Forgets the feed of a channel that is gone.
    pub(super) fn forget_feed(&self, feed: &Feed) {
        let mut index = self.index.lock();
        if index.feeds.get(&feed.subject).is_some_and(|other| other.channel == feed.channel) {
            index.feeds.remove(&feed.subject);
        }
    }

    /// Every feed that a subscriber may stand aside of.
    pub(super) fn feeds_of(&self, wanted: &Wanted) -> Vec<Arc<Feed>> {
        let index = self.index.lock();
        if !wanted.has_wildcards() {
            return index.feeds.get(&wanted.text).cloned().into_iter().collect();
        }
        let matching = index.feeds.values().filter(|feed| wanted.matches(&self.tenant, &feed.subject));
        matching.cloned().collect()
    }

    /// All feeds that anybody is subscribed to; the others are forgotten.
    pub(super) fn live_feeds(&self) -> Vec<Arc<Feed>> {
        let mut index = self.index.lock();
        let feeds: Vec<Arc<Feed>> = index.feeds.values().cloned().collect();
        let (live, idle): (Vec<_>, Vec<_>) =
            feeds.into_iter().partition(|feed| !index.route(&self.tenant, &feed.subject).members.is_empty());
        for feed in idle {
            index.feeds.remove(&feed.subject);
        }
        live
    }

    /// Which agents on this node are subscribed to a subject, and by what.
    pub(super) fn subscribed(&self, subject: &str) -> Vec<Subscribed> {
        let index = self.index.lock();
        let mut found = Vec::new();
        for (text, entries) in index.matching(&self.tenant, subject) {
            found.extend(entries.iter().map(|entry| Subscribed {
                agent: entry.subscriber.agent.clone(),
                subject: text.to_string(),
                since: entry.since,
            }));
        }
        found
    }

    /// Tells those who watch that an agent has subscribed to `text` or ended that.
    pub(super) fn tell_presence(&self, agent: &AgentId, text: &str, has_come: bool, id: &str, at: Timestamp) {
        let watchers: HashMap<u64, Arc<Subscriber>> = {
            let index = self.index.lock();
            let watching = index.watchers.iter().filter(|(watched, _)| overlap(watched, text));
            watching.map(|(_, watcher)| (watcher.number, Arc::clone(watcher))).collect()
        };
        if watchers.is_empty() {
            return;
        }
        let frame = frames::presence(id, agent, text, has_come, at);
        watchers.values().for_each(|watcher| drop(watcher.outbox.push(frame.clone())));
    }
}

impl Index {
    /// The subscriptions that match a subject.
    fn matching<'i>(
        &'i self,
        tenant: &TenantId,
        subject: &str,
    ) -> impl Iterator<Item = (&'i Arc<str>, &'i Vec<Entry>)> {
        let exact = self.exact.get_key_value(subject);
        let named = if self.patterns.is_empty() { None } else { Subject::channel(tenant, subject).ok() };
        let wild = self.patterns.iter().filter_map(move |(text, (pattern, entries))| {
            named.as_ref().is_some_and(|named| pattern.matches(named)).then_some((text, entries))
        });
        exact.into_iter().chain(wild)
    }

    fn route(&self, tenant: &TenantId, subject: &str) -> Route {
        let lists: Vec<&Vec<Entry>> = self.matching(tenant, subject).map(|(_, entries)| entries).collect();
        let mut members = Vec::with_capacity(lists.iter().map(|entries| entries.len()).sum());
        let mut seen = HashSet::new();
        let is_alone = lists.len() == 1;
        for entry in lists.into_iter().flatten() {
            if is_alone || seen.insert(entry.subscriber.number) {
                members.push(Arc::clone(&entry.subscriber));
            }
        }
        Route { members }
    }
}

fn put(entries: &mut Vec<Entry>, entry: Entry) {
    match entries.iter_mut().find(|other| other.subscriber.number == entry.subscriber.number) {
        Some(other) => *other = entry,
        None => entries.push(entry),
    }
}

/// Takes a connection's entry out; says whether its agent has no other left.
fn remove(entries: &mut Vec<Entry>, subscriber: &Subscriber) -> bool {
    entries.retain(|entry| entry.subscriber.number != subscriber.number);
    !entries.iter().any(|entry| entry.subscriber.agent == subscriber.agent)
}
