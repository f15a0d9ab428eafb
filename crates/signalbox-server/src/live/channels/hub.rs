//! Who on this node is subscribed to what, and how a message gets to all of them.
//!
//! A frame is made once, and each connection that gets it holds the same bytes. Whom a subject goes to is looked up
//! once and remembered until a subscription of the tenant changes, so that a delivery costs a clone of a counter and a
//! push to the connection's buffer; nobody who publishes waits for anybody who reads. A message that matches several
//! subscriptions of a connection comes to it once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use signalbox_bus::{Pattern, Subject};
use signalbox_wire::id::{AgentId, ChannelId, TenantId};
use signalbox_wire::time::Timestamp;

use super::feed::Feed;
use super::frames;
use super::subject::{Wanted, overlap};
use super::subscriber::{Route, Routes, Subscribed, Subscriber};
use crate::transport::burst::Burst;
use crate::transport::outbox::Frame;

/// Different patterns of one tenant on this node, at most: each is held against every new subject.
pub(super) const PATTERNS_MAX: usize = 4_096;
/// Subjects whose subscribers are remembered for one tenant, at most.
const ROUTES_MAX: usize = 16_384;
/// The subscribers of all these subjects together, at most: eight bytes each.
const MEMBERS_MAX: usize = 1 << 20;

/// One subscription of one connection.
#[derive(Clone)]
struct Entry {
    subscriber: Arc<Subscriber>,
    since: Timestamp,
}

/// As many patterns as may be are there already.
#[derive(Debug)]
pub(super) struct PatternsFull;

/// Whom subjects go to, until a subscription changes.
#[derive(Default)]
struct Remembered {
    /// Counts changes of the subscriptions.
    generation: u64,
    by_subject: HashMap<Arc<str>, Arc<Route>>,
    /// The members of all of them.
    members: usize,
}

impl Remembered {
    fn forget(&mut self) -> HashMap<Arc<str>, Arc<Route>> {
        self.members = 0;
        std::mem::take(&mut self.by_subject)
    }
}

/// What one tenant's connections on this node are subscribed to.
pub(super) struct TenantHub {
    pub(super) tenant: TenantId,
    index: Mutex<Index>,
    routes: RwLock<Remembered>,
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
        Self { tenant, index: Mutex::default(), routes: RwLock::default() }
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

    /// A subscription has changed; the index is locked meanwhile.
    fn changed(&self) {
        let mut routes = self.routes.write();
        routes.generation += 1;
        let forgotten = routes.forget();
        drop(routes);
        drop(forgotten);
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

    /// Gives frames that came together to all who are subscribed to a subject.
    pub(super) fn deliver_burst(&self, subject: &str, burst: &Burst) {
        for member in &self.route(subject).members {
            let _ = member.outbox.push_burst(burst.clone());
        }
    }

    /// Gives a frame to every connection that has a subscription; answers how many they are.
    pub(super) fn tell_all(&self, frame: &Frame) -> usize {
        let members: HashMap<u64, Arc<Subscriber>> = {
            let index = self.index.lock();
            let all = index.exact.values().chain(index.patterns.values().map(|(_, entries)| entries));
            all.flatten().map(|entry| (entry.subscriber.number, Arc::clone(&entry.subscriber))).collect()
        };
        for member in members.values() {
            let _ = member.outbox.push(frame.clone());
        }
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
            Some(feed) if feed.channel >= *channel => {
                // It is about to be subscribed to.
                feed.is_idle(true);
                Arc::clone(feed)
            }
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

    /// All feeds, live or not.
    pub(super) fn feeds(&self) -> Vec<Arc<Feed>> {
        self.index.lock().feeds.values().cloned().collect()
    }

    /// Whether anybody is subscribed to a feed; one that nobody was at two looks is forgotten.
    pub(super) fn is_live(&self, feed: &Feed) -> bool {
        let has_subscribers = !self.route(&feed.subject).members.is_empty();
        if feed.is_idle(has_subscribers) {
            let mut index = self.index.lock();
            // Somebody may be about to subscribe since.
            let is_it = |known: &Arc<Feed>| known.channel == feed.channel && known.was_idle();
            if index.feeds.get(&feed.subject).is_some_and(is_it) {
                index.feeds.remove(&feed.subject);
            }
        }
        has_subscribers
    }

    /// Whether there is any subscription.
    pub(super) fn has_subscriptions(&self) -> bool {
        let index = self.index.lock();
        !index.exact.is_empty() || !index.patterns.is_empty()
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
        for watcher in watchers.values() {
            let _ = watcher.outbox.push(frame.clone());
        }
    }
}

impl Routes for TenantHub {
    fn route(&self, subject: &str) -> Arc<Route> {
        if let Some(route) = self.routes.read().by_subject.get(subject) {
            return Arc::clone(route);
        }
        let index = self.index.lock();
        // The lock is held: no subscription changes meanwhile.
        let generation = self.routes.read().generation;
        let route = Arc::new(index.route(&self.tenant, subject));
        drop(index);
        let mut routes = self.routes.write();
        if routes.generation != generation {
            return route;
        }
        let members = route.members.len();
        let is_full =
            routes.by_subject.len() >= ROUTES_MAX || routes.members.saturating_add(members) > MEMBERS_MAX;
        let forgotten = is_full.then(|| routes.forget());
        if routes.by_subject.insert(Arc::from(subject), Arc::clone(&route)).is_none() {
            routes.members += members;
        }
        drop(routes);
        drop(forgotten);
        route
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::super::subscriber::tests::{connected, frame, got};
    use super::*;
    use crate::transport::outbox::{CloseReason, Next};

    fn hub() -> TenantHub {
        TenantHub::new(TenantId::default_tenant())
    }

    fn wanted(text: &str) -> Wanted {
        Wanted::parse(&TenantId::default_tenant(), text).expect("a subject or pattern")
    }

    fn subscribe(hub: &TenantHub, subscriber: &Arc<Subscriber>, text: &str) {
        hub.subscribe(&wanted(text), subscriber, Timestamp::default(), false).expect("there is room");
    }

    #[test]
    fn a_message_that_matches_several_subscriptions_comes_once() {
        let hub = hub();
        let ((one, mut reads), (other, mut others)) = (connected(1, "a"), connected(2, "b"));
        for text in ["a.b", "a.*", "a.>", ">"] {
            subscribe(&hub, &one, text);
        }
        subscribe(&hub, &other, "a.c");
        assert_eq!(hub.deliver("a.b", &frame("1")), 1);
        assert_eq!(hub.deliver("a.c", &frame("2")), 2);
        assert_eq!(hub.deliver("b", &frame("3")), 1);
        assert_eq!(
            (got(&mut reads), got(&mut others)),
            (vec!["1".into(), "2".into(), "3".into()], vec!["2".into()])
        );
        for text in ["a.*", "a.>", ">"] {
            hub.unsubscribe(&wanted(text), &one);
        }
        assert_eq!((hub.deliver("a.b", &frame("4")), hub.deliver("b", &frame("5"))), (1, 0));
        hub.unsubscribe(&wanted("a.b"), &one);
        assert_eq!(hub.deliver("a.b", &frame("6")), 0);
        assert_eq!(got(&mut reads), ["4"]);
    }

    #[test]
    fn whom_subjects_go_to_is_remembered_within_bounds_and_forgotten_with_a_change() {
        let hub = hub();
        let (one, _reader) = connected(1, "a");
        subscribe(&hub, &one, ">");
        for number in 0..=ROUTES_MAX {
            assert_eq!(hub.route(&format!("a{number}")).members.len(), 1);
        }
        assert_eq!((hub.routes.read().by_subject.len(), hub.routes.read().members), (1, 1));
        let held = hub.route("a");
        assert!(Arc::ptr_eq(&held, &hub.route("a")));
        hub.unsubscribe(&wanted(">"), &one);
        assert!(hub.routes.read().by_subject.is_empty());
        assert_eq!((Arc::strong_count(&held), hub.route("a").members.len()), (1, 0));
    }

    #[test]
    fn a_feed_that_nobody_wants_at_two_looks_is_forgotten_unless_somebody_is_about_to() {
        let hub = hub();
        let (one, _reader) = connected(1, "a");
        let channel = ChannelId::parse("chn_1").expect("valid");
        let feed = hub.feed_of("a", &channel, 0);
        assert!(!hub.is_live(&feed));
        assert!(Arc::ptr_eq(&feed, &hub.feed_of("a", &channel, 7)), "it is wanted again");
        assert!(!hub.is_live(&feed) && hub.feed("a").is_some());
        subscribe(&hub, &one, "a");
        assert!(hub.is_live(&feed) && hub.feed("a").is_some());
        hub.unsubscribe(&wanted("a"), &one);
        assert!(!hub.is_live(&feed) && !hub.is_live(&feed));
        assert!(hub.feed("a").is_none() && hub.feeds().is_empty());
    }

    #[test]
    fn who_watches_is_told_who_comes_and_goes_where_it_concerns_them() {
        let hub = hub();
        let ((watcher, mut told), (other, _reader)) = (connected(1, "w"), connected(2, "a"));
        hub.subscribe(&wanted("a.*"), &watcher, Timestamp::default(), true).expect("there is room");
        let at = Timestamp::default();
        hub.tell_presence(&other.agent, "a.b", true, "1", at);
        hub.tell_presence(&other.agent, "b", true, "2", at);
        hub.tell_presence(&other.agent, "a.>", false, "3", at);
        let told = got(&mut told);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains(r#""event":"join""#) && told[1].contains(r#""event":"leave""#));
        subscribe(&hub, &watcher, "a.*");
        hub.tell_presence(&other.agent, "a.b", true, "4", at);
        subscribe(&hub, &other, "a.b");
        let subscribed = hub.subscribed("a.b");
        assert_eq!(subscribed.iter().map(|one| one.subject.as_str()).collect::<Vec<_>>(), ["a.b", "a.*"]);
    }

    #[test]
    fn patterns_are_bounded_and_the_same_one_counts_once() {
        let hub = hub();
        let ((one, _r1), (other, _r2)) = (connected(1, "a"), connected(2, "b"));
        for number in 0..PATTERNS_MAX {
            subscribe(&hub, &one, &format!("a{number}.*"));
        }
        assert!(hub.subscribe(&wanted("b.*"), &other, Timestamp::default(), false).is_err());
        subscribe(&hub, &other, "a7.*");
        subscribe(&hub, &other, "b.c");
        hub.unsubscribe(&wanted("a0.*"), &one);
        subscribe(&hub, &other, "b.*");
    }

    #[test]
    fn a_slow_reader_is_closed_and_holds_up_nobody() {
        let hub = hub();
        let ((slow, mut never), (quick, mut reads)) = (connected(1, "slow"), connected(2, "quick"));
        subscribe(&hub, &slow, "a");
        subscribe(&hub, &quick, "a");
        for number in 0..1_500 {
            hub.deliver("a", &frame("{}"));
            assert_eq!(got(&mut reads).len(), 1, "message {number}");
        }
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(never.poll_next(&mut cx), Poll::Ready(Next::End(CloseReason::TooSlow)));
    }
}
