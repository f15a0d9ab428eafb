//! A durable channel on one node: its messages go to the subscribers in sequence, without a gap or a repeat.
//!
//! A message is offered after its commit, from here or from the bus, in any order, and waits until those before it
//! have come. Whoever offers the one that was missing hands out all that is ready, for everybody; the others only leave
//! theirs. What does not come is read from the store, and what the store keeps no longer is told as a gap.
//!
//! A subscriber that first gets history stands aside meanwhile ([`Aside`]): live messages pass it by until its history
//! has come as far as the feed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use signalbox_wire::id::ChannelId;

use super::subscriber::{Route, Routes, Subscriber};
use crate::transport::burst::{Burst, BurstWriter};
use crate::transport::outbox::Frame;

/// Messages that wait for those before them, at most; what comes over it is read from the store later.
const WAITING_MAX: usize = 1_024;
/// Messages that are handed out at a time, before more that came meanwhile.
const BATCH: usize = 64;

/// A channel's messages on their way to the subscribers of one node.
pub(super) struct Feed {
    pub(super) subject: Arc<str>,
    pub(super) channel: ChannelId,
    state: Mutex<State>,
    /// Nobody was subscribed at the last look.
    was_idle: AtomicBool,
}

struct State {
    /// The last sequence that was handed out.
    head: u64,
    /// The last sequence that is known of.
    known: u64,
    waiting: BTreeMap<u64, Frame>,
    /// Somebody hands out what is ready.
    is_handing_out: bool,
    /// Somebody sees to what is missing.
    is_tended: bool,
    /// Subscribers that do not get what is handed out now, by their numbers.
    aside: HashMap<u64, Aside>,
}

/// Why a subscriber does not get a live message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aside {
    /// It is reading the history, under this number.
    Reads(u64),
    /// Its history has come further than the feed: to this sequence.
    HasUpTo(u64),
}

/// What of a feed is handed out now, and to whom.
struct Ready {
    frames: Vec<(u64, Frame)>,
    route: Arc<Route>,
    aside: HashMap<u64, Aside>,
}

impl Feed {
    pub(super) fn new(subject: Arc<str>, channel: ChannelId, head: u64) -> Self {
        let state = State {
            head,
            known: head,
            waiting: BTreeMap::new(),
            is_handing_out: false,
            is_tended: false,
            aside: HashMap::new(),
        };
        Self { subject, channel, state: Mutex::new(state), was_idle: AtomicBool::new(false) }
    }

    /// Offers a message, as [`Feed::offer_all`].
    pub(super) fn offer(&self, hub: &impl Routes, sequence: u64, frame: Frame) -> bool {
        self.offer_all(hub, [(sequence, frame)])
    }

    /// Offers messages; answers whether some before them are missing and nobody sees to that yet: the caller does then,
    /// until [`Feed::tended`].
    pub(super) fn offer_all(
        &self,
        hub: &impl Routes,
        frames: impl IntoIterator<Item = (u64, Frame)>,
    ) -> bool {
        {
            let mut state = self.state.lock();
            let mut is_news = false;
            for (sequence, frame) in frames {
                if sequence <= state.head {
                    continue;
                }
                is_news = true;
                state.known = state.known.max(sequence);
                if state.waiting.len() < WAITING_MAX || sequence == state.head + 1 {
                    state.waiting.entry(sequence).or_insert(frame);
                }
            }
            if !is_news || state.is_handing_out {
                return false;
            }
            state.is_handing_out = true;
        }
        self.hand_out(hub);
        let mut state = self.state.lock();
        state.head < state.known && !state.is_handing_out && !std::mem::replace(&mut state.is_tended, true)
    }

    /// The feed is known to have come to `last`; answers as [`Feed::offer`].
    pub(super) fn has_come_to(&self, last: u64) -> bool {
        let mut state = self.state.lock();
        state.known = state.known.max(last);
        state.head < state.known && !std::mem::replace(&mut state.is_tended, true)
    }

    /// What is missing after which sequence, where anything is.
    pub(super) fn missing_after(&self) -> Option<u64> {
        let state = self.state.lock();
        (state.head < state.known).then_some(state.head)
    }

    /// Nobody sees to what is missing any more; says whether something is.
    pub(super) fn tended(&self) -> bool {
        let mut state = self.state.lock();
        if state.head < state.known {
            return true;
        }
        state.is_tended = false;
        false
    }

    /// The messages up to `last` are gone for good: the feed goes on behind them. Answers the first of them, and whom to
    /// tell.
    pub(super) fn skip_to(&self, hub: &impl Routes, last: u64) -> Option<(u64, Vec<Arc<Subscriber>>)> {
        let mut state = self.state.lock();
        if last <= state.head {
            return None;
        }
        let first = state.head + 1;
        state.head = last;
        state.known = state.known.max(last);
        state.waiting = state.waiting.split_off(&(last + 1));
        let route = hub.route(&self.subject);
        // Those that read the history find it out by themselves.
        let members = route.members.iter().filter(|member| !state.aside.contains_key(&member.number));
        Some((first, members.cloned().collect()))
    }

    /// The channel is gone: nothing is missing any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.known = state.head;
        state.waiting.clear();
    }

    /// Notes whether anybody is subscribed; answers whether nobody was now and the last time.
    pub(super) fn is_idle(&self, has_subscribers: bool) -> bool {
        self.was_idle.swap(!has_subscribers, Ordering::Relaxed) && !has_subscribers
    }

    /// Whether nobody was subscribed at the last look, and nobody is about to be.
    pub(super) fn was_idle(&self) -> bool {
        self.was_idle.load(Ordering::Relaxed)
    }

    fn hand_out(&self, hub: &impl Routes) {
        loop {
            let Some(ready) = self.ready(hub) else { return };
            let Ready { frames, route, aside } = &ready;
            let bursts = together(frames, route);
            for member in &route.members {
                let stands = if aside.is_empty() { None } else { aside.get(&member.number) };
                let has = match stands {
                    None if !bursts.is_empty() => {
                        // One that is too slow ends its connection by itself.
                        let _ = bursts.iter().try_for_each(|burst| member.outbox.push_burst(burst.clone()));
                        continue;
                    }
                    None => 0,
                    Some(Aside::Reads(_)) => continue,
                    Some(Aside::HasUpTo(has)) => *has,
                };
                for (sequence, frame) in frames {
                    if *sequence > has && member.outbox.push(frame.clone()).is_err() {
                        break;
                    }
                }
            }
        }
    }

    /// Takes what is ready. With nothing ready, handing out ends.
    fn ready(&self, hub: &impl Routes) -> Option<Ready> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut frames = Vec::new();
        while frames.len() < BATCH
            && let Some(frame) = state.waiting.remove(&(state.head + 1))
        {
            state.head += 1;
            frames.push((state.head, frame));
        }
        if frames.is_empty() {
            state.is_handing_out = false;
            return None;
        }
        // Under the lock: who subscribes after this begins behind these messages.
        let ready = Ready { frames, route: hub.route(&self.subject), aside: state.aside.clone() };
        let head = state.head;
        state.aside.retain(|_, aside| !matches!(aside, Aside::HasUpTo(has) if *has <= head));
        Some(ready)
    }

    /// Runs `subscribe` with what the subscriber begins after, while nothing is handed out anew: from there on it gets what
    /// is live. A reading of its own ends, unless another of its subscriptions goes on with it (`reads_on`).
    pub(super) fn at_head<T>(&self, subscriber: u64, reads_on: bool, subscribe: impl FnOnce(u64) -> T) -> T {
        let mut state = self.state.lock();
        let begins = match state.aside.get(&subscriber) {
            // It has read further than the feed has come: that does not come again.
            Some(Aside::HasUpTo(has)) => state.head.max(*has),
            _ => state.head,
        };
        if !reads_on && matches!(state.aside.get(&subscriber), Some(Aside::Reads(_))) {
            state.aside.remove(&subscriber);
        }
        subscribe(begins)
    }

    /// A subscriber reads the history from now on, under a number that tells one reading from the next.
    pub(super) fn stand_aside(&self, subscriber: u64, reading: u64) {
        self.state.lock().aside.insert(subscriber, Aside::Reads(reading));
    }

    /// Whether a subscriber still reads the history under this number.
    pub(super) fn reads(&self, subscriber: u64, reading: u64) -> bool {
        self.state.lock().aside.get(&subscriber) == Some(&Aside::Reads(reading))
    }

    /// Runs `push` while a subscriber still reads the history under this number, and what it gets cannot be changed
    /// meanwhile; nothing where it does not.
    pub(super) fn while_reading<T>(
        &self,
        subscriber: u64,
        reading: u64,
        push: impl FnOnce() -> T,
    ) -> Option<T> {
        let state = self.state.lock();
        (state.aside.get(&subscriber) == Some(&Aside::Reads(reading))).then(push)
    }

    /// A subscriber has read the history up to `has`: where that is as far as the feed has come, it gets what is live
    /// from now on, and its reading is over; else it has to read on.
    pub(super) fn go_live(&self, subscriber: u64, reading: u64, has: u64) -> bool {
        let mut state = self.state.lock();
        // Its subscription may have ended meanwhile, or begun anew.
        if state.aside.get(&subscriber) != Some(&Aside::Reads(reading)) {
            return true;
        }
        if has < state.head {
            return false;
        }
        if has > state.head {
            state.aside.insert(subscriber, Aside::HasUpTo(has));
        } else {
            state.aside.remove(&subscriber);
        }
        true
    }

    /// A subscriber is gone.
    pub(super) fn forget(&self, subscriber: u64) {
        self.state.lock().aside.remove(&subscriber);
    }
}

/// Several frames written once for all who get them, in parts that a connection has room for; nothing of a single one.
fn together(frames: &[(u64, Frame)], route: &Route) -> Vec<Burst> {
    let (Some(member), [_, _, ..]) = (route.members.first(), frames) else { return Vec::new() };
    let (frames_max, bytes_max) = member.outbox.burst_max();
    let (mut bursts, mut writer) = (Vec::new(), BurstWriter::default());
    for (_, frame) in frames {
        if writer.frames() >= frames_max || writer.bytes().saturating_add(frame.text.len()) > bytes_max {
            bursts.extend(writer.take());
        }
        writer.put(&frame.text);
    }
    bursts.extend(writer.take());
    bursts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::subscriber::tests::{connected, frame, got};
    use super::*;

    /// Everything goes to these.
    struct To(Arc<Route>);

    impl Routes for To {
        fn route(&self, _: &str) -> Arc<Route> {
            Arc::clone(&self.0)
        }
    }

    fn to(members: &[&Arc<Subscriber>]) -> To {
        To(Arc::new(Route { members: members.iter().map(|member| Arc::clone(member)).collect() }))
    }

    fn feed(head: u64) -> Feed {
        Feed::new(Arc::from("a"), ChannelId::parse("chn_1").expect("valid"), head)
    }

    fn offer(feed: &Feed, hub: &To, sequence: u64) -> bool {
        feed.offer(hub, sequence, frame(&sequence.to_string()))
    }

    #[test]
    fn messages_go_out_in_sequence_in_whatever_order_they_come() {
        let (one, mut reader) = connected(1, "a");
        let (hub, feed) = (to(&[&one]), feed(0));
        assert!(offer(&feed, &hub, 3), "somebody has to see to what is missing");
        assert!(!offer(&feed, &hub, 2), "somebody does");
        assert_eq!((got(&mut reader).len(), feed.missing_after()), (0, Some(0)));
        offer(&feed, &hub, 1);
        offer(&feed, &hub, 2);
        assert_eq!(
            (got(&mut reader), feed.missing_after()),
            (vec!["1".into(), "2".into(), "3".into()], None)
        );
        assert!(!feed.tended());
        assert!(feed.has_come_to(6) && !feed.has_come_to(7));
        let (first, members) = feed.skip_to(&hub, 5).expect("they are gone");
        assert_eq!((first, members.len(), feed.missing_after()), (4, 1, Some(5)));
        offer(&feed, &hub, 4);
        offer(&feed, &hub, 6);
        assert_eq!(got(&mut reader), ["6"]);
    }

    #[test]
    fn who_reads_the_history_gets_what_is_live_behind_it() {
        let (one, mut reader) = connected(1, "a");
        let (hub, feed) = (to(&[&one]), feed(3));
        feed.stand_aside(1, 7);
        offer(&feed, &hub, 4);
        assert!(got(&mut reader).is_empty());
        assert!(!feed.go_live(1, 7, 3), "it has to read on");
        // It read 5 from the store before that came here.
        assert!(feed.go_live(1, 7, 5));
        for sequence in 5..=6 {
            offer(&feed, &hub, sequence);
        }
        assert_eq!(got(&mut reader), ["6"]);
        feed.stand_aside(1, 8);
        assert!(feed.go_live(1, 7, 0), "another reading has begun since");
        assert!(feed.reads(1, 8) && !feed.reads(1, 7));
    }

    #[test]
    fn who_subscribes_anew_during_a_reading_gets_what_comes_after_the_head_it_was_told() {
        let (one, mut reader) = connected(1, "a");
        let (hub, feed) = (to(&[&one]), feed(3));
        feed.stand_aside(1, 7);
        assert_eq!(feed.while_reading(1, 7, || one.outbox.push(frame("old"))), Some(Ok(())));
        assert_eq!(feed.at_head(1, false, |head| head), 3);
        // At once, before anything else is done: the next message is for it, and the reading is over.
        offer(&feed, &hub, 4);
        assert_eq!(feed.while_reading(1, 7, || one.outbox.push(frame("older"))), None);
        assert_eq!(got(&mut reader), ["old", "4"]);
        // Another subscription of it reads on.
        feed.stand_aside(1, 8);
        assert_eq!(feed.at_head(1, true, |head| head), 4);
        assert!(feed.reads(1, 8));
        // It has read further than the feed has come: none of that comes again.
        assert!(feed.go_live(1, 8, 6));
        assert_eq!(feed.at_head(1, false, |head| head), 6);
        for sequence in 5..=7 {
            offer(&feed, &hub, sequence);
        }
        assert_eq!(got(&mut reader), ["7"]);
    }

    proptest! {
        /// Messages come in any order and more than once, those that get lost are offered again, and a reader goes live at
        /// any moment: it gets everything after its beginning once and in sequence.
        #[test]
        fn nothing_is_missing_and_nothing_comes_twice(
            mut order in prop::collection::vec(1..40_u64, 0..120),
            has in 0..40_u64,
            moment in 0..120_usize,
        ) {
            let ((live, mut lives), (late, mut lates)) = (connected(1, "a"), connected(2, "b"));
            let (hub, feed) = (to(&[&live, &late]), feed(0));
            feed.stand_aside(2, 1);
            order.extend(1..40);
            let mut begun = None;
            for (at, sequence) in order.into_iter().enumerate() {
                if at == moment && feed.go_live(2, 1, has) {
                    begun = Some(has);
                }
                offer(&feed, &hub, sequence);
            }
            let all = |after: u64| (after + 1..40).map(|sequence| sequence.to_string()).collect::<Vec<_>>();
            prop_assert_eq!(got(&mut lives), all(0));
            prop_assert_eq!(got(&mut lates), begun.map(all).unwrap_or_default());
        }
    }
}
