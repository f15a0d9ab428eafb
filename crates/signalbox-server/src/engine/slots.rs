//! Room for what is sent: how much may be in flight, in all, of one tenant and by one lane, and each lane's circuit
//! breaker.
//!
//! A tenant may use two thirds of what others leave, so that something is free whoever comes. Of a tenant's share a
//! quarter is kept for lanes that have little in flight: the first thing of a lane goes out at once whatever its
//! neighbours do. What gets no slot stays in the store, unclaimed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use signalbox_core::breaker::{Breaker, Permission};
use signalbox_core::due::Lane;
use signalbox_store::DueKind;
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;
use tokio::sync::Notify;

use super::turns::{Turn, Turns};

/// Lanes remembered at once, besides those of absent agents; over it, those that have nothing in flight are forgotten.
const LANES_MAX: usize = 10_000;
/// Lanes remembered at once whose agents hold no connection; over it, those are forgotten that have to be looked up anyway.
const AWAY_MAX: usize = 50_000;
/// Lanes remembered of which the agents have connected last.
const RETURNS_KEPT: usize = 1_024;
/// How long it is taken for certain that an agent holds no connection, where nothing tells that it has connected.
const AWAY_FOR: Duration = Duration::from_secs(5);
/// How long what waits for an agent is left to the node that holds its connection, where this one cannot hand it over.
const ELSEWHERE_FOR: Duration = Duration::from_secs(5);
/// Time between two looks for what has waited too long for a lane that is left alone.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// Room for deliveries, and room of their own for calls of tools; cheap to clone.
#[derive(Clone)]
pub(crate) struct Deliveries {
    deliveries: Arc<Room>,
    calls: Arc<Room>,
}

/// Room for one kind of what is sent.
pub(crate) struct Room {
    all: usize,
    per_lane: usize,
    state: Mutex<State>,
    /// Rings when something that was refused may go now.
    freed: Notify,
}

#[derive(Default)]
struct State {
    in_flight: usize,
    tenants: HashMap<TenantId, usize, DefaultHashBuilder>,
    lanes: HashMap<(TenantId, Lane), LaneState, DefaultHashBuilder>,
    /// Lanes for which something may wait in the store: what is new goes behind it.
    backlog: HashSet<(TenantId, Lane)>,
    /// Something was refused because the room was short, not because its lane was full.
    is_short: bool,
    /// When the first lane that was refused because it is left alone may be tried.
    opens_at: Option<Timestamp>,
    open: usize,
    /// Lanes whose agents hold no connection.
    away: usize,
    returns: Returns,
}

/// Whose agents have connected.
#[derive(Default)]
struct Returns {
    count: u64,
    /// The last of them.
    last: VecDeque<(TenantId, Lane)>,
}

impl Returns {
    fn add(&mut self, key: (TenantId, Lane)) {
        if self.last.len() >= RETURNS_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(key);
        self.count += 1;
    }

    /// Whether the agent of a lane may have connected since somebody looked.
    fn may_have(&self, key: &(TenantId, Lane), looked: Looked) -> bool {
        let since = usize::try_from(self.count.saturating_sub(looked.0)).unwrap_or(usize::MAX);
        since > self.last.len() || self.last.iter().rev().take(since).any(|returned| returned == key)
    }
}

/// What was known when somebody began to look up whether an agent holds a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Looked(u64);

#[derive(Default)]
struct LaneState {
    in_flight: usize,
    breaker: Breaker,
    /// Something was refused because the lane was full.
    has_waiting: bool,
    is_expiring: bool,
    expired_at: Option<Timestamp>,
    /// Its agent holds no connection.
    away: Option<Away>,
    /// Until then the node that holds its agent's connection sends what waits.
    elsewhere_until: Option<Timestamp>,
    /// Who sends next of those that go to an agent's connection.
    turns: Option<Turns>,
}

/// What is known of a lane whose agent holds no connection.
#[derive(Debug, Clone, Copy)]
struct Away {
    /// Since when.
    since: Timestamp,
    /// When that was found: it is looked up again after [`AWAY_FOR`].
    found_at: Timestamp,
}

/// The right to send one thing by its lane.
pub(crate) struct Slot {
    room: Arc<Room>,
    key: (TenantId, Lane),
    is_probe: bool,
    has_left: bool,
    turn: Option<Turn>,
}

impl Deliveries {
    pub(crate) fn new(deliveries: usize, calls: usize, per_lane: usize) -> Self {
        let room = |all: usize| {
            let (state, freed) = (Mutex::default(), Notify::new());
            Arc::new(Room { all: all.max(1), per_lane: per_lane.max(1), state, freed })
        };
        Self { deliveries: room(deliveries), calls: room(calls) }
    }

    /// The room for one kind.
    pub(crate) fn room(&self, kind: DueKind) -> &Arc<Room> {
        match kind {
            DueKind::Call => &self.calls,
            DueKind::Delivery | DueKind::Timer => &self.deliveries,
        }
    }

    /// Deliveries and calls that are under way.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.deliveries.state.lock().in_flight, self.calls.state.lock().in_flight)
    }

    /// A slot for each of these, or none at all.
    pub(crate) fn reserve(
        &self,
        tenant: &TenantId,
        wanted: &[(DueKind, Lane)],
        now: Timestamp,
    ) -> Option<Vec<Slot>> {
        wanted.iter().map(|(kind, lane)| self.room(*kind).slot_for_new(tenant, lane, now)).collect()
    }
}

/// A tenant's share of what others leave.
fn share(left: usize) -> usize {
    left.saturating_mul(2).div_ceil(3)
}

/// How much of its tenant's share a lane with so much in flight leaves free for lanes with less.
fn kept_free(share: usize, in_flight: usize) -> usize {
    share * in_flight.min(4) / 16
}

impl Room {
    /// A slot for one thing by `lane`, if there is room and the lane is not left alone.
    pub(crate) fn slot(room: &Arc<Self>, tenant: &TenantId, lane: &Lane, now: Timestamp) -> Option<Slot> {
        let mut state = room.state.lock();
        let state = &mut *state;
        let of_tenant = state.tenants.get(tenant).copied().unwrap_or_default();
        let share = share(room.all.saturating_sub(state.in_flight - of_tenant));
        let free = share.saturating_sub(of_tenant);
        if state.lanes.len().saturating_sub(state.away) >= LANES_MAX {
            state.forget_lanes(tenant);
        }
        let key = (tenant.clone(), lane.clone());
        let lane = state.lanes.entry(key.clone()).or_default();
        if lane.in_flight >= room.per_lane {
            lane.has_waiting = true;
            return None;
        }
        if free <= kept_free(share, lane.in_flight) {
            state.is_short = true;
            if lane.is_forgotten() {
                state.lanes.remove(&key);
            }
            return None;
        }
        if let Some(away) = lane.away {
            // Whether it is still so is for whoever looks for work to find.
            let until = away.found_at + AWAY_FOR;
            state.opens_at = Some(state.opens_at.map_or(until, |at| at.min(until)));
            return None;
        }
        let elsewhere = lane.elsewhere_until.filter(|until| now < *until && *until <= now + ELSEWHERE_FOR);
        lane.elsewhere_until = elsewhere;
        if let Some(until) = elsewhere {
            state.opens_at = Some(state.opens_at.map_or(until, |at| at.min(until)));
            return None;
        }
        if let Permission::Wait(until) = lane.breaker.ask(now) {
            state.opens_at = Some(state.opens_at.map_or(until, |at| at.min(until)));
            return None;
        }
        let is_probe = lane.breaker.is_open();
        lane.in_flight += 1;
        state.in_flight += 1;
        *state.tenants.entry(tenant.clone()).or_default() += 1;
        Some(Slot { room: Arc::clone(room), key, is_probe, has_left: false, turn: None })
    }

    /// A slot for something that is not yet in the store, where nothing waits there that is older.
    fn slot_for_new(self: &Arc<Self>, tenant: &TenantId, lane: &Lane, now: Timestamp) -> Option<Slot> {
        let key = (tenant.clone(), lane.clone());
        if self.state.lock().backlog.contains(&key) {
            return None;
        }
        let slot = Self::slot(self, tenant, lane, now);
        if slot.is_none() {
            let mut state = self.state.lock();
            if state.backlog.len() < LANES_MAX {
                state.backlog.insert(key);
            }
        }
        slot
    }

    /// Nothing waits in the store for any lane but `behind`.
    pub(crate) fn caught_up(&self, behind: HashSet<(TenantId, Lane)>) {
        self.state.lock().backlog = behind;
    }

    /// Forgets what was refused: whoever calls asks anew for all that waits.
    pub(crate) fn begin_round(&self) {
        let mut state = self.state.lock();
        (state.is_short, state.opens_at) = (false, None);
    }

    /// When something that was refused in this round may be tried, where nothing else rings before.
    pub(crate) fn opens_at(&self) -> Option<Timestamp> {
        self.state.lock().opens_at
    }

    /// Waits until something that was refused may go.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// How many destinations are left alone now, of all tenants.
    pub(crate) fn open_count(&self) -> usize {
        self.state.lock().open
    }

    /// Whether what goes by `lane` is held back now.
    pub(crate) fn is_left_alone(&self, tenant: &TenantId, lane: &Lane, now: Timestamp) -> bool {
        let state = self.state.lock();
        state.open > 0
            && state
                .lanes
                .get(&(tenant.clone(), lane.clone()))
                .is_some_and(|lane| lane.breaker.is_left_alone(now))
    }

    /// A sign of life of whoever is at the end of a lane: it may be tried at once.
    pub(crate) fn try_again(&self, tenant: &TenantId, lane: &Lane, now: Timestamp) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let key = (tenant.clone(), lane.clone());
        if let Some(lane) = state.lanes.get_mut(&key) {
            lane.breaker.try_again(now);
            lane.elsewhere_until = None;
            state.away -= usize::from(lane.away.take().is_some());
            self.freed.notify_one();
        }
        if lane.of_agent().is_some() {
            state.returns.add(key);
        }
    }

    /// Somebody is about to look up whether an agent holds a connection.
    pub(crate) fn begin_look(&self) -> Looked {
        Looked(self.state.lock().returns.count)
    }

    /// Whether it has to be looked up whether the agent at the end of a lane holds a connection.
    pub(crate) fn is_presence_unknown(&self, tenant: &TenantId, lane: &Lane, now: Timestamp) -> bool {
        let state = self.state.lock();
        let known = state.lanes.get(&(tenant.clone(), lane.clone())).and_then(|lane| lane.away);
        known.is_none_or(|away| now >= away.found_at + AWAY_FOR || away.found_at > now)
    }

    /// The agent at the end of a lane was found to hold no connection since then, or to hold one: what waits for it is left
    /// alone until it does. Where it may have connected since the look began, nothing is taken for known. Answers whether what
    /// waits is left alone now.
    pub(crate) fn set_away(
        &self,
        (tenant, lane): (&TenantId, &Lane),
        since: Option<Timestamp>,
        looked: Looked,
        now: Timestamp,
    ) -> bool {
        let mut state = self.state.lock();
        let state = &mut *state;
        let key = (tenant.clone(), lane.clone());
        let since = since.filter(|_| !state.returns.may_have(&key, looked));
        let Some(since) = since else {
            if let Some(lane) = state.lanes.get_mut(&key).filter(|lane| lane.away.is_some()) {
                lane.away = None;
                state.away = state.away.saturating_sub(1);
                if lane.is_forgotten() {
                    state.lanes.remove(&key);
                }
            }
            return false;
        };
        if state.away >= AWAY_MAX {
            state.forget_away(now);
        }
        let lane = state.lanes.entry(key).or_default();
        state.away += usize::from(lane.away.is_none());
        lane.away = Some(Away { since, found_at: now });
        true
    }

    /// What goes by a lane is left for a while to the node that holds its agent's connection.
    pub(crate) fn set_elsewhere(&self, tenant: &TenantId, lane: &Lane, now: Timestamp) {
        let mut state = self.state.lock();
        // Whoever asks has a slot of the lane.
        if let Some(lane) = state.lanes.get_mut(&(tenant.clone(), lane.clone())) {
            lane.elsewhere_until = Some(now + ELSEWHERE_FOR);
        }
    }

    /// How many lanes are known to have agents that hold no connection.
    #[cfg(test)]
    fn away_count(&self) -> usize {
        self.state.lock().away
    }

    /// Whether to look now for what has waited too long for a lane that was not reached for `span`; then nobody else
    /// does until [`Room::has_expired`].
    pub(crate) fn expires(&self, tenant: &TenantId, lane: &Lane, span: Duration, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        // A command has a time of its own.
        if lane.needs_connection() {
            return false;
        }
        let Some(lane) = state.lanes.get_mut(&(tenant.clone(), lane.clone())) else { return false };
        let is_due = lane.expired_at.is_none_or(|at| now.since(at) >= EXPIRE_EVERY);
        let away_for = lane.away.map(|away| now.since(away.since));
        let is_open = lane.breaker.open_for(now).or(away_for).is_some_and(|open| open >= span);
        if !is_open || lane.is_expiring || !is_due {
            return false;
        }
        (lane.is_expiring, lane.expired_at) = (true, Some(now));
        true
    }

    /// What had waited too long is settled; `has_more` may be there.
    pub(crate) fn has_expired(&self, tenant: &TenantId, lane: &Lane, has_more: bool) {
        let mut state = self.state.lock();
        if let Some(lane) = state.lanes.get_mut(&(tenant.clone(), lane.clone())) {
            lane.is_expiring = false;
            if has_more {
                lane.expired_at = None;
                self.freed.notify_one();
            }
        }
    }
}

impl State {
    /// Makes room for more lanes: those that are not left alone are forgotten first, then those of the tenant that wants
    /// more, so that nobody's many destinations make others' forgotten.
    fn forget_lanes(&mut self, tenant: &TenantId) {
        let is_kept = |lane: &LaneState| lane.in_flight > 0 || lane.away.is_some();
        self.lanes.retain(|_, lane| is_kept(lane) || lane.breaker.is_open());
        if self.lanes.len().saturating_sub(self.away) >= LANES_MAX {
            self.lanes.retain(|(of, _), lane| is_kept(lane) || of != tenant);
        }
        if self.lanes.len().saturating_sub(self.away) >= LANES_MAX {
            self.lanes.retain(|_, lane| is_kept(lane));
        }
        self.open = self.lanes.values().filter(|lane| lane.breaker.is_open()).count();
    }

    /// Makes room for more lanes of absent agents: those whose agents have to be looked up anew anyway are forgotten, and
    /// where there are none, all.
    fn forget_away(&mut self, now: Timestamp) {
        let is_stale = |away: &Away| now.since(away.found_at) >= AWAY_FOR;
        let has_stale = self.lanes.values().filter_map(|lane| lane.away.as_ref()).any(is_stale);
        self.lanes.retain(|_, lane| {
            lane.away = lane.away.filter(|away| has_stale && !is_stale(away));
            !lane.is_forgotten()
        });
        self.away = self.lanes.values().filter(|lane| lane.away.is_some()).count();
    }
}

impl LaneState {
    /// Whether nothing is known of it that is worth remembering.
    fn is_forgotten(&self) -> bool {
        self.in_flight == 0
            && self.breaker.is_idle()
            && !self.is_expiring
            && self.away.is_none()
            && self.elsewhere_until.is_none()
    }
}

impl Slot {
    /// Takes its turn behind what was started before it, where it goes to an agent's connection: there the oldest goes first.
    pub(crate) fn queue_up(&mut self) {
        if self.key.1.of_agent().is_none() {
            return;
        }
        let mut state = self.room.state.lock();
        let Some(lane) = state.lanes.get_mut(&self.key) else { return };
        self.turn = Some(lane.turns.get_or_insert_default().take());
    }

    /// Sends in its turn: what was started before has begun to be sent by then, or will not be. Beginning is enough, as it
    /// is then on its way.
    pub(crate) async fn in_turn<F: Future>(&mut self, sending: F) -> F::Output {
        let Some(turn) = self.turn.take() else { return sending.await };
        turn.comes().await;
        let mut sending = pin!(sending);
        let begun = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await;
        drop(turn);
        match begun {
            Poll::Ready(sent) => sent,
            Poll::Pending => sending.await,
        }
    }

    /// Whether what is sent by this slot tries a destination that was left alone.
    pub(crate) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// How long the destination has not been reached, where it is left alone.
    pub(crate) fn open_for(&self, now: Timestamp) -> Option<Duration> {
        self.room.state.lock().lanes.get(&self.key).and_then(|lane| lane.breaker.open_for(now))
    }

    /// Tells the lane's breaker how an attempt ended (reached, failed, or nothing learned), and leaves the lane to the
    /// next; the room stays taken until the slot is dropped.
    pub(crate) fn leave(&mut self, is_reached: Option<bool>, now: Timestamp) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        let mut state = self.room.state.lock();
        let state = &mut *state;
        let Some(lane) = state.lanes.get_mut(&self.key) else { return };
        let was_open = lane.breaker.is_open();
        match is_reached {
            Some(true) => lane.breaker.succeeded(),
            Some(false) => lane.breaker.failed(now, self.is_probe),
            None if self.is_probe => lane.breaker.abandoned(),
            None => {}
        }
        match (was_open, lane.breaker.is_open()) {
            (false, true) => state.open += 1,
            (true, false) => state.open = state.open.saturating_sub(1),
            _ => {}
        }
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let rings = std::mem::take(&mut lane.has_waiting) || self.is_probe;
        if lane.is_forgotten() {
            state.lanes.remove(&self.key);
        }
        if rings {
            self.room.freed.notify_one();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.leave(None, Timestamp::default());
        let mut state = self.room.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Some(count) = state.tenants.get_mut(&self.key.0) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.tenants.remove(&self.key.0);
            }
        }
        if std::mem::take(&mut state.is_short) {
            self.room.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_core::breaker::{PAUSE_INITIAL, THRESHOLD};
    use signalbox_wire::id::AgentId;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("valid")
    }

    fn lane(number: usize) -> Lane {
        Lane::named(format!("lane-{number}"))
    }

    fn taken(room: &Arc<Room>, tenant: &TenantId, number: usize) -> Vec<Slot> {
        std::iter::from_fn(|| Room::slot(room, tenant, &lane(number), Timestamp::default())).collect()
    }

    #[test]
    fn something_is_left_for_others_whatever_some_take() {
        let rooms = Deliveries::new(1_024, 256, 64);
        let room = rooms.room(DueKind::Delivery);
        let (greedy, other) = (tenant("greedy"), tenant("other"));
        let slots: Vec<_> = (0..1_000).map(|number| taken(room, &greedy, number)).collect();
        assert_eq!(slots.iter().map(Vec::len).sum::<usize>(), 683, "two thirds");
        let theirs = taken(room, &other, 1);
        assert_eq!(theirs.len(), 64, "another tenant has its own");
        assert!(rooms.room(DueKind::Call).state.lock().in_flight == 0, "and calls have room of their own");
        drop(slots);
        drop(theirs);
        let state = room.state.lock();
        assert!(state.in_flight == 0 && state.tenants.is_empty() && state.lanes.is_empty());
    }

    #[test]
    fn a_new_lane_of_the_same_tenant_gets_a_slot() {
        let rooms = Deliveries::new(1_024, 256, 64);
        let room = rooms.room(DueKind::Delivery);
        let one = tenant("one");
        let slots: Vec<_> = (0..20).map(|number| taken(room, &one, number)).collect();
        assert_eq!(slots[0].len(), 64);
        assert!(slots.iter().all(|slots| !slots.is_empty()));
        assert!(Room::slot(room, &one, &lane(99), Timestamp::default()).is_some());
    }

    #[test]
    fn what_is_for_an_agent_that_is_not_connected_gets_no_slot_until_it_is() {
        let rooms = Deliveries::new(1_024, 256, 64);
        let room = rooms.room(DueKind::Delivery);
        let (one, start, span) = (tenant("one"), Timestamp::from_seconds(100), Duration::from_secs(60));
        assert!(room.is_presence_unknown(&one, &lane(1), start));
        let looked = room.begin_look();
        room.set_away((&one, &lane(1)), Some(start), looked, start);
        assert!(Room::slot(room, &one, &lane(1), start).is_none() && room.away_count() == 1);
        assert!(Room::slot(room, &one, &lane(2), start).is_some(), "others are sent");
        assert!(!room.is_presence_unknown(&one, &lane(1), start));
        assert_eq!(room.opens_at(), Some(start + AWAY_FOR));
        assert!(room.is_presence_unknown(&one, &lane(1), start + AWAY_FOR));
        assert!(!room.expires(&one, &lane(1), span, start + AWAY_FOR));
        assert!(room.expires(&one, &lane(1), span, start + span), "dead destinations' bounds are its own");
        room.has_expired(&one, &lane(1), false);
        room.try_again(&one, &lane(1), start + span);
        assert_eq!(room.away_count(), 0);
        assert!(Room::slot(room, &one, &lane(1), start + span).is_some());
        assert!(room.set_away((&one, &lane(3)), Some(start), looked, start));
        assert!(!room.set_away((&one, &lane(3)), None, looked, start));
        assert!(room.away_count() == 0 && room.state.lock().lanes.is_empty(), "nothing is remembered");
    }

    #[test]
    fn what_another_node_is_to_send_gets_no_slot_for_a_while() {
        let rooms = Deliveries::new(1_024, 256, 64);
        let room = rooms.room(DueKind::Delivery);
        let (one, start) = (tenant("one"), Timestamp::from_seconds(100));
        let slot = Room::slot(room, &one, &of_agent(1), start).expect("a slot");
        room.set_elsewhere(&one, &of_agent(1), start);
        drop(slot);
        assert!(Room::slot(room, &one, &of_agent(1), start).is_none());
        assert_eq!(room.opens_at(), Some(start + ELSEWHERE_FOR));
        let later = start + ELSEWHERE_FOR;
        drop(Room::slot(room, &one, &of_agent(1), later).expect("it may have come here meanwhile"));
        assert!(room.state.lock().lanes.is_empty(), "nothing is remembered");
        let slot = Room::slot(room, &one, &of_agent(1), later).expect("a slot");
        room.set_elsewhere(&one, &of_agent(1), later);
        drop(slot);
        room.try_again(&one, &of_agent(1), later);
        assert!(Room::slot(room, &one, &of_agent(1), later).is_some(), "it has connected here");
    }

    fn of_agent(number: usize) -> Lane {
        Lane::agent(&AgentId::parse(&format!("agt_{number}")).expect("valid"))
    }

    #[test]
    fn what_was_looked_up_counts_although_other_agents_connect_meanwhile() {
        let rooms = Deliveries::new(1_024, 256, 64);
        let room = rooms.room(DueKind::Delivery);
        let (one, start) = (tenant("one"), Timestamp::from_seconds(100));
        let looked = room.begin_look();
        (1..500).for_each(|number| room.try_again(&one, &of_agent(number), start));
        room.try_again(&one, &lane(0), start);
        assert!(room.set_away((&one, &of_agent(0)), Some(start), looked, start));
        assert!(!room.set_away((&one, &of_agent(1)), Some(start), looked, start), "it has connected since");
        (0..RETURNS_KEPT).for_each(|number| room.try_again(&one, &of_agent(1_000 + number), start));
        assert!(!room.set_away((&one, &of_agent(2_500)), Some(start), looked, start), "it may have");
        assert_eq!(room.away_count(), 1);
    }

    #[test]
    fn many_absent_agents_make_nothing_else_forgotten_and_the_oldest_findings_go_first() {
        let rooms = Deliveries::new(1_024, 256, 64);
        let room = rooms.room(DueKind::Delivery);
        let (one, start) = (tenant("one"), Timestamp::from_seconds(100));
        for _ in 0..THRESHOLD {
            let mut slot = Room::slot(room, &one, &lane(1), start).expect("a slot");
            slot.leave(Some(false), start);
        }
        let looked = room.begin_look();
        let later = start + AWAY_FOR;
        let find = |number, at| room.set_away((&one, &of_agent(number)), Some(at), looked, at);
        (0..AWAY_MAX).for_each(|number| assert!(find(number, if number < 10 { start } else { later })));
        assert!(Room::slot(room, &one, &lane(2), start).is_some(), "others are sent");
        assert!(find(AWAY_MAX, later) && room.away_count() == AWAY_MAX - 9);
        assert!(!room.is_presence_unknown(&one, &of_agent(10), later), "what was found is still known");
        assert!(room.is_left_alone(&one, &lane(1), start));
    }

    #[test]
    fn a_lane_that_fails_is_left_alone_and_then_tried_once() {
        let rooms = Deliveries::new(1_024, 256, 64);
        let room = rooms.room(DueKind::Delivery);
        let (one, start) = (tenant("one"), Timestamp::from_seconds(100));
        for _ in 0..THRESHOLD {
            let mut slot = Room::slot(room, &one, &lane(1), start).expect("a slot");
            slot.leave(Some(false), start);
        }
        assert!(
            Room::slot(room, &one, &lane(1), start).is_none() && room.is_left_alone(&one, &lane(1), start)
        );
        assert_eq!(room.opens_at(), Some(start + PAUSE_INITIAL));
        let later = start + PAUSE_INITIAL;
        assert!(!room.is_left_alone(&one, &lane(1), later));
        let probe = Room::slot(room, &one, &lane(1), later).expect("one may try");
        assert!(Room::slot(room, &one, &lane(1), later).is_none());
        drop(probe);
        let mut again =
            Room::slot(room, &one, &lane(1), later).expect("another may, since that one told nothing");
        again.leave(Some(true), later);
        assert!(room.open_count() == 0 && taken(room, &one, 1).len() == 64);
    }
}
