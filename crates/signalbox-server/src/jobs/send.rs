//! Sending one message once: which way it takes, what its body is, and whether enough of the lease is left.

use std::time::Duration;

use bytes::Bytes;
use signalbox_core::delivery::{Message, Outcome};
use signalbox_core::payload;
use signalbox_core::reach::{NoWay, Reach};
use signalbox_store::{Claimed, DueKind, StoreError};
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::time::Timestamp;

use super::context::Jobs;
use super::postpone::{ROOM_AGAIN, postpone};
use super::presence;
use crate::clock::{self, Stopwatch};
use crate::engine::slots::Slot;
use crate::engine::{DriveError, payloads};
use crate::transport::connection::Unsent;
use crate::transport::{Carried, Parcel};

/// How long what is sent waits where nobody holds the connection that its agent's status has.
const UNTOLD_AGAIN: Duration = Duration::from_millis(500);
/// What an attempt needs of its lease besides the destination's time to answer.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// What came of a try, and when it was made.
pub(super) struct Sent {
    pub(super) carried: Carried,
    pub(super) sent_at: Timestamp,
    pub(super) answered_at: Timestamp,
}

impl Sent {
    /// It was not sent.
    pub(super) fn not(outcome: Outcome) -> Self {
        let now = clock::now();
        Self { carried: Carried { outcome, report: None }, sent_at: now, answered_at: now }
    }
}

/// Sends a message once more; `None` where too little of the lease is left, and the work for later.
pub(super) async fn send(
    app: &Jobs,
    claimed: &Claimed,
    message: &Message,
    slot: &mut Slot,
) -> Result<Option<Sent>, DriveError> {
    let (tenant, attempt) = (&claimed.tenant, message.attempts + 1);
    let reach = match reach(app, tenant, message).await? {
        Ok(reach) => reach,
        Err(NoWay::Over(outcome)) => return Ok(Some(Sent::not(outcome))),
        Err(NoWay::Away) => return away(app, claimed, message).await,
    };
    // Made only where there is room for it; until then it stays due.
    let Some(room) = app.transport.room_now(body_bytes(app, message)) else {
        postpone(app, claimed, clock::now() + ROOM_AGAIN).await?;
        return Ok(None);
    };
    let body = match body(app, tenant, message).await? {
        Ok(body) => body,
        Err(outcome) => return Ok(Some(Sent::not(outcome))),
    };
    let sent_at = clock::now();
    // With less left than the destination may take, another would send it beside this one.
    if !claimed.lease.covers(sent_at, app.transport.timeout() + LEASE_MARGIN) {
        postpone(app, claimed, sent_at).await?;
        return Ok(None);
    }
    let watch = Stopwatch::start();
    let parcel = Parcel { tenant, message, body, room, attempt };
    let mut carried = match slot.in_turn(app.transport.carry(&reach, parcel)).await {
        Ok(carried) => carried,
        Err(Unsent::NotConnected) => return away(app, claimed, message).await,
        Err(Unsent::Elsewhere(reason)) => {
            leave_to_holder(app, claimed, message.agent.as_ref(), &reason).await?;
            return Ok(None);
        }
    };
    let answered_at = clock::now();
    // The next one may call it while what came of this is being kept.
    slot.leave(is_reached(&carried.outcome), answered_at);
    if slot.is_probe() {
        end_in_time(app, message, slot.open_for(answered_at), answered_at, &mut carried.outcome);
    }
    app.metrics.delivered(message.kind.name(), outcome_name(&carried.outcome), watch.elapsed());
    if let Outcome::Failed { error, .. } = &carried.outcome {
        tracing::info!(message_id = %message.id, attempt, error, "a delivery failed");
    }
    Ok(Some(Sent { carried, sent_at, answered_at }))
}

/// The way that a message takes now.
async fn reach(app: &Jobs, tenant: &TenantId, message: &Message) -> Result<Result<Reach, NoWay>, StoreError> {
    let Some(id) = &message.agent else { return Ok(message.reach(None, false, app.transport.ways())) };
    let agent = app.store.agent(tenant, id).await?;
    let is_connected = match &agent {
        Some(agent) if agent.value.endpoint.is_none() => {
            app.store.status(tenant, id).await?.is_some_and(|status| status.value.connection.is_some())
        }
        _ => false,
    };
    Ok(message.reach(agent.as_ref().map(|agent| &*agent.value), is_connected, app.transport.ways()))
}

/// The agent holds no connection: the message waits for the next one. One that goes by the lane of an endpoint which its
/// agent had once is tried again like one that failed.
async fn away(app: &Jobs, claimed: &Claimed, message: &Message) -> Result<Option<Sent>, DriveError> {
    if wait_for_connection(app, claimed, message.agent.as_ref()).await? {
        return Ok(None);
    }
    let agent = message.agent.as_ref().map_or("?", |agent| agent.as_str());
    let reason = format!("agent {agent} has no contact endpoint and is not connected");
    Ok(Some(Sent::not(Outcome::failed(reason, true))))
}

/// Leaves claimed work until its agent is connected, where it goes by the agent's own lane; whether it does.
pub(super) async fn wait_for_connection(
    app: &Jobs,
    claimed: &Claimed,
    agent: Option<&AgentId>,
) -> Result<bool, StoreError> {
    let Some(agent) = agent.filter(|agent| claimed.lane.of_agent().as_ref() == Some(*agent)) else {
        return Ok(false);
    };
    let (room, now) = (app.deliveries.room(DueKind::Delivery), clock::now());
    let looked = room.begin_look();
    let since = presence::away_since(app, &claimed.tenant, agent, &claimed.lane).await?;
    let is_away = since.is_some() && room.set_away((&claimed.tenant, &claimed.lane), since, looked, now);
    // Where it is not, the end of its connection or that of its node is not told yet, or it has just connected.
    postpone(app, claimed, if is_away { claimed.due_at } else { now + UNTOLD_AGAIN }).await?;
    Ok(true)
}

/// Leaves claimed work to the node that holds its agent's connection, which cannot be handed it over the bus: it is too
/// large, or the bus is away. That is no try.
pub(super) async fn leave_to_holder(
    app: &Jobs,
    claimed: &Claimed,
    agent: Option<&AgentId>,
    reason: &str,
) -> Result<(), StoreError> {
    let now = clock::now();
    let own_lane = agent.filter(|agent| claimed.lane.of_agent().as_ref() == Some(*agent));
    let Some(agent) = own_lane else { return postpone(app, claimed, now + UNTOLD_AGAIN).await };
    let status = app.store.status(&claimed.tenant, agent).await?;
    let connection = status.as_ref().and_then(|status| status.value.connection.as_ref());
    if connection.is_none_or(|connection| connection.node == *app.drive.node()) {
        return wait_for_connection(app, claimed, Some(agent)).await.map(drop);
    }
    tracing::debug!(reason, %agent, work = %claimed.work.id(), "the node that holds the agent's connection is to send this");
    app.deliveries.room(DueKind::Delivery).set_elsewhere(&claimed.tenant, &claimed.lane, now);
    postpone(app, claimed, claimed.due_at).await
}

/// The message that tries a destination which is left alone is due anew after each try, so the time that it has waited is
/// counted from its start, and that of the destination since it was reached last.
fn end_in_time(
    app: &Jobs,
    message: &Message,
    open_for: Option<Duration>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let span = app.policy.delivery_span();
    let is_over = now.since(message.scheduled_at()) >= span && open_for.is_some_and(|open| open >= span);
    if let (true, Outcome::Failed { may_retry: may_retry @ true, error, .. }) = (is_over, outcome) {
        *may_retry = false;
        error.push_str(&format!("; the time of all attempts ({} s) is over", span.as_secs()));
    }
}

/// How many bytes [`body`] is going to take.
fn body_bytes(app: &Jobs, message: &Message) -> u64 {
    let stored = message.body.len() as u64;
    if !refers(message) {
        return stored;
    }
    let said = serde_json::from_str(&message.body).map_or(stored, |value| payload::bytes(&value));
    said.clamp(stored, app.config.payload_bytes_max.max(stored))
}

/// Whether its body may hold references to payloads.
fn refers(message: &Message) -> bool {
    message.task.is_some() && message.body.contains(payload::REFERENCE)
}

/// What is sent, with the payloads that it refers to in their places where it is a task's.
async fn body(
    app: &Jobs,
    tenant: &TenantId,
    message: &Message,
) -> Result<Result<Bytes, Outcome>, StoreError> {
    if !refers(message) {
        return Ok(Ok(Bytes::from(message.body.clone())));
    }
    let Ok(stored) = serde_json::from_str(&message.body) else {
        return Ok(Ok(Bytes::from(message.body.clone())));
    };
    let whole = payloads::inline(&app.store, tenant, &stored, app.config.payload_bytes_max).await?;
    Ok(match whole {
        Ok(whole) => Ok(Bytes::from(whole.to_string())),
        Err(fault) => Err(Outcome::failed(format!("the task cannot be sent: {fault}"), false)),
    })
}

/// Whether the destination is there: an answer of any kind but overload says so.
pub(super) fn is_reached(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Delivered { .. } => Some(true),
        Outcome::Failed { may_retry: true, .. } => Some(false),
        Outcome::Failed { status, .. } => status.map(|_| true),
        Outcome::Unwanted { .. } => None,
    }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Failed { may_retry: true, .. } => "failed",
        Outcome::Failed { may_retry: false, .. } => "refused",
        Outcome::Unwanted { .. } => "unwanted",
    }
}
