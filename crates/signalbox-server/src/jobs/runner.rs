//! The runner: takes what commits hand over, claims what is due, and starts each job.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use signalbox_core::connection::Disconnected;
use signalbox_core::due::Lane;
use signalbox_store::{Claimed, DueKind, LaneClaim, StoreError, WaitingLane, WaitingLanes};
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::context::Jobs;
use super::timers::Timers;
use super::{deliver, expire, matching, nodes, presence, prune, sync, taken, usage};
use crate::clock;
use crate::engine::mailbox::{Alarms, NEVER, Post};
use crate::engine::slots::{Room, Slot};

/// Deliveries claimed in one go.
const CLAIMS_MAX: usize = 256;
/// Slots that a lane of which only a part was seen gets in one go.
const LANE_BATCH: usize = 16;
/// Lanes of which what has waited too long is ended, begun in one round.
const EXPIRED_AT_ONCE: usize = 16;
/// Timers that may be firing at once.
const TIMERS_MAX: usize = 256;
/// How long due work of other nodes may lie unnoticed.
const POLL: Duration = Duration::from_secs(1);
/// Time between two looks at other lanes while more waits than is looked at.
const LOOK_ON: Duration = Duration::from_millis(250);
/// How long claiming rests after the store could not answer.
const REST: Duration = Duration::from_millis(500);

/// Starts all jobs; they end when the server drains, and `tracker` tells when the last one has.
pub(crate) fn start(app: &Jobs, post: Post, tracker: &TaskTracker) {
    tracker.spawn(deliveries(app.clone(), post.deliveries, tracker.clone()));
    for kind in DueKind::ALL {
        tracker.spawn(woken(app.clone(), kind, Arc::clone(&post.alarms)));
        tracker.spawn(claims(app.clone(), kind, Arc::clone(&post.alarms), tracker.clone()));
    }
    tracker.spawn(ended_credentials(app.clone()));
    tracker.spawn(matching::run(app.clone(), post.hints, tracker.clone()));
    tracker.spawn(matching::sweep(app.clone()));
    tracker.spawn(close(app.clone(), post.disconnected));
    tracker.spawn(taken::run(app.clone()));
    tracker.spawn(prune::run(app.clone()));
    tracker.spawn(nodes::run(app.clone()));
    tracker.spawn(usage::run(app.clone()));
    if app.config.dispatches_through().is_some() {
        tracker.spawn(sync::run(app.clone()));
    }
}

/// Passes on what other nodes tell: that work of a kind is due which this node may take.
async fn woken(app: Jobs, kind: DueKind, alarms: Arc<Alarms>) {
    let wake_ups = app.drive.wake_ups();
    let mut due = wake_ups.due_work(kind.name()).await;
    loop {
        let payload = tokio::select! {
            () = app.draining.cancelled() => return,
            payload = due.next() => payload,
        };
        if let Some(at) = wake_ups.due_at(&payload) {
            alarms.of(kind).bring_forward(at);
        }
    }
}

/// Closes connections that commits on this node have ended.
async fn close(app: Jobs, mut disconnected: mpsc::Receiver<(TenantId, Disconnected)>) {
    loop {
        tokio::select! {
            () = app.draining.cancelled() => return,
            next = disconnected.recv() => match next {
                Some((tenant, ended)) => app.transport.connections().close(&tenant, &ended, app.drive.node()),
                None => return,
            },
        }
    }
}

/// Takes in which credentials have ended, on whatever node.
async fn ended_credentials(app: Jobs) {
    let mut ended = app.drive.wake_ups().ended_credentials().await;
    loop {
        tokio::select! {
            () = app.draining.cancelled() => return,
            next = ended.next() => app.authenticator.take_in_ended(next),
        }
    }
}

async fn deliveries(app: Jobs, mut handed: mpsc::UnboundedReceiver<(Claimed, Slot)>, tracker: TaskTracker) {
    loop {
        tokio::select! {
            () = app.draining.cancelled() => return,
            next = handed.recv() => match next {
                Some((claimed, mut slot)) => {
                    slot.queue_up();
                    tracker.spawn(Box::pin(deliver::run(app.clone(), claimed, slot)));
                }
                None => return,
            },
        }
    }
}

/// Claims what is due of one kind and sleeps until something is.
async fn claims(app: Jobs, kind: DueKind, alarms: Arc<Alarms>, tracker: TaskTracker) {
    let alarm = alarms.of(kind);
    let timers = Timers::new(TIMERS_MAX);
    while !app.draining.is_cancelled() {
        // Whatever is committed from here on may be missed by the claim below, and must ring.
        alarm.begin();
        let now = clock::now();
        let claimed = async {
            match kind {
                DueKind::Delivery | DueKind::Call => claim_by_lane(&app, kind, &tracker).await,
                DueKind::Timer => timers.claim(&app, &tracker).await,
            }
        };
        let claimed = tokio::select! {
            () = app.draining.cancelled() => return,
            claimed = claimed => claimed,
        };
        let next = match claimed {
            Ok(next) => next.unwrap_or(NEVER).min(now + POLL),
            Err(error) => {
                tracing::warn!(%error, "due work could not be claimed");
                // Slots that are given back would ring at once.
                tokio::select! {
                    () = app.draining.cancelled() => return,
                    () = tokio::time::sleep(REST) => continue,
                }
            }
        };
        let next = alarm.plan(next);
        let freed = async {
            match kind {
                DueKind::Timer => std::future::pending().await,
                kind => app.deliveries.room(kind).freed().await,
            }
        };
        tokio::select! {
            () = app.draining.cancelled() => return,
            () = tokio::time::sleep(next.since(clock::now())) => {}
            () = alarm.rings() => {}
            () = freed => {}
        }
    }
}

/// Looks which lanes have something, claims what there are slots for, and starts it; answers when to come again.
/// What gets no slot stays unclaimed until one is free.
async fn claim_by_lane(
    app: &Jobs,
    kind: DueKind,
    tracker: &TaskTracker,
) -> Result<Option<Timestamp>, StoreError> {
    let room = app.deliveries.room(kind);
    let now = clock::now();
    room.begin_round();
    let waiting = app.store.waiting_lanes(now, kind).await?;
    presence::look(app, room, &waiting, now).await?;
    let span = app.policy.delivery_span();
    let expiring = waiting.lanes.iter().filter(|lane| room.expires(&lane.tenant, &lane.lane, span, now));
    for lane in expiring.take(EXPIRED_AT_ONCE) {
        tracker.spawn(expire::run(app.clone(), kind, lane.clone()));
    }
    let mut slots = slots_for(room, &waiting, now);
    if !waiting.has_more {
        room.caught_up(behind(&waiting, &slots));
    }
    let wanted: Vec<LaneClaim> = slots
        .iter()
        .map(|((tenant, lane), slots)| LaneClaim {
            tenant: tenant.clone(),
            lane: lane.clone(),
            most: slots.len(),
            visible_by: now,
        })
        .collect();
    let asked: usize = wanted.iter().map(|lane| lane.most).sum();
    if !wanted.is_empty() {
        let mut claimed = app.store.claim_lanes(now, app.policy.lease, kind, wanted).await?;
        // What was put off for a moment is still the older.
        claimed.sort_by_key(|claimed| claimed.due_at);
        for claimed in claimed {
            let slot = slots.get_mut(&(claimed.tenant.clone(), claimed.lane.clone())).and_then(Vec::pop);
            if let Some(mut slot) = slot {
                slot.queue_up();
                tracker.spawn(Box::pin(deliver::run(app.clone(), claimed, slot)));
            }
        }
    }
    let comes_again = (waiting.has_more || asked >= CLAIMS_MAX) && asked > 0;
    // Lanes that were not looked at yet may have slots.
    let looks_on = waiting.has_more.then(|| now + LOOK_ON);
    let next = [waiting.next, room.opens_at(), looks_on].into_iter().flatten().min();
    Ok(if comes_again { Some(now) } else { next })
}

/// The lanes of which not all that waits got a slot.
fn behind(waiting: &WaitingLanes, slots: &LaneSlots) -> HashSet<(TenantId, Lane)> {
    let keys = waiting.lanes.iter().map(|lane| ((lane.tenant.clone(), lane.lane.clone()), lane.seen));
    keys.filter(|(key, seen)| slots.get(key).is_none_or(|slots| slots.len() < *seen))
        .map(|(key, _)| key)
        .collect()
}

type LaneSlots = HashMap<(TenantId, Lane), Vec<Slot>>;

/// Slots for what waits, one for each lane in turn until nobody gets another.
fn slots_for(room: &Arc<Room>, waiting: &WaitingLanes, now: Timestamp) -> LaneSlots {
    let mut slots = LaneSlots::new();
    let mut lanes: Vec<&WaitingLane> = waiting.lanes.iter().collect();
    let mut count = 0;
    while !lanes.is_empty() && count < CLAIMS_MAX {
        lanes.retain(|lane| {
            let Some(slot) = Room::slot(room, &lane.tenant, &lane.lane, now) else { return false };
            count += 1;
            let of_lane = slots.entry((lane.tenant.clone(), lane.lane.clone())).or_default();
            of_lane.push(slot);
            // While more waits than was looked at, a lane may have more than was seen of it.
            of_lane.len() < if waiting.has_more { lane.seen.max(LANE_BATCH) } else { lane.seen }
        });
    }
    slots
}
