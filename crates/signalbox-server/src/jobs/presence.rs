//! Which of the agents that are reached over connections hold one: what waits for the others is left where it is, without a
//! try and without a write, until they connect.

use signalbox_core::agent::{Agent, AgentStatus};
use signalbox_core::due::Lane;
use signalbox_store::{StoreError, WaitingLanes};
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::time::Timestamp;

use super::context::Jobs;
use crate::engine::slots::Room;

/// Looks up the agents of the lanes with something that waits, as far as that is not known yet.
pub(super) async fn look(
    app: &Jobs,
    room: &Room,
    waiting: &WaitingLanes,
    now: Timestamp,
) -> Result<(), StoreError> {
    for lane in &waiting.lanes {
        if let Some(agent) = lane.lane.of_agent()
            && room.is_presence_unknown(&lane.tenant, &lane.lane, now)
        {
            let looked = room.begin_look();
            let since = away_since(app, &lane.tenant, &agent, &lane.lane).await?;
            room.set_away((&lane.tenant, &lane.lane), since, looked, now);
        }
    }
    Ok(())
}

/// Since when an agent holds no connection, where what goes by this lane waits for one.
pub(super) async fn away_since(
    app: &Jobs,
    tenant: &TenantId,
    id: &AgentId,
    lane: &Lane,
) -> Result<Option<Timestamp>, StoreError> {
    let Some(agent) = app.store.agent_hint(tenant, id).await? else { return Ok(None) };
    if agent.endpoint.is_some() && !lane.needs_connection() {
        return Ok(None);
    }
    let status = app.store.status_hint(tenant, id).await?;
    Ok(since(&agent, status.as_deref()))
}

fn since(agent: &Agent, status: Option<&AgentStatus>) -> Option<Timestamp> {
    let never = Some(agent.registered_at);
    let Some(status) = status else { return never };
    if status.connection.is_some() { None } else { status.disconnected_at.or(never) }
}
