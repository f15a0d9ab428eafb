//! Which of the agents that are reached over connections hold one: what waits for the others is left where it is, without a
//! try and without a write, until they connect.

use std::collections::BTreeMap;

use signalbox_core::agent::AgentStatus;
use signalbox_core::due::Lane;
use signalbox_core::engine::{Disconnect, DisconnectMany};
use signalbox_store::{StoreError, WaitingLanes};
use signalbox_wire::id::{AgentId, ConnectionId, NodeId, TenantId};
use signalbox_wire::time::Timestamp;

use super::context::Jobs;
use crate::engine::DriveError;
use crate::engine::slots::Room;

/// Connections that are ended in one go.
const SWEPT_AT_ONCE: usize = 64;

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
            match away_since(app, &lane.tenant, &agent, &lane.lane).await {
                Ok(since) => {
                    room.set_away((&lane.tenant, &lane.lane), since, looked, now);
                }
                // It holds up no other; what waits for it is tried, and that tells.
                Err(StoreError::Corrupt(error)) => {
                    tracing::debug!(%error, %agent, "whether an agent is connected cannot be read");
                }
                Err(error) => return Err(error),
            }
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
    if status.as_ref().is_some_and(|status| status.connection.is_some()) {
        return Ok(None);
    }
    let since = status.as_deref().and_then(AgentStatus::is_away_since);
    Ok(Some(since.unwrap_or(agent.registered_at)))
}

/// Ends the connections that agents are said to have with a node, as far as they are not held here: those of a node that
/// is gone, or those of this one whose ends were not written down. One that is said to be held here is known here before
/// the store knows it.
pub(super) async fn sweep(app: &Jobs, node: &NodeId) -> Result<(), DriveError> {
    let reason = if node == app.drive.node() {
        format!("node {node} does not hold it any more")
    } else {
        format!("node {node} is gone")
    };
    let (mut after, mut count) = (None::<(TenantId, AgentId)>, 0);
    loop {
        let place = after.as_ref().map(|(tenant, agent)| (tenant, agent));
        let page = app.store.connected_agents(node, place, SWEPT_AT_ONCE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.tenant.clone(), last.agent.clone()));
        let mut tenants: BTreeMap<TenantId, Vec<(AgentId, ConnectionId)>> = BTreeMap::new();
        for found in page {
            let held = app.transport.connections().outbox(&found.tenant, &found.agent);
            if held.is_none_or(|outbox| *outbox.connection() != found.connection) {
                tenants.entry(found.tenant).or_default().push((found.agent, found.connection));
            }
        }
        for (tenant, connections) in tenants {
            count += end(app, &tenant, connections, &reason).await?;
        }
    }
    if count > 0 {
        tracing::info!(%node, count, "agents whose connections nobody holds are offline");
    }
    Ok(())
}

/// Ends some connections at once, or one by one where one of them stands in the way; how many were still held.
async fn end(
    app: &Jobs,
    tenant: &TenantId,
    connections: Vec<(AgentId, ConnectionId)>,
    reason: &str,
) -> Result<usize, DriveError> {
    let together = DisconnectMany { connections, reason: reason.to_owned() };
    match app.drive.run(tenant, &together).await {
        Err(DriveError::Store(StoreError::Conflict | StoreError::Corrupt(_))) => {}
        // Its agents go with it.
        Err(DriveError::Store(StoreError::Removed)) => return Ok(0),
        done => return done,
    }
    let mut count = 0;
    for (agent, connection) in together.connections {
        let alone = Disconnect { agent, connection, reason: reason.to_owned() };
        match app.drive.run(tenant, &alone).await {
            Ok(was_held) => count += usize::from(was_held),
            Err(DriveError::Store(error @ (StoreError::Conflict | StoreError::Corrupt(_)))) => {
                tracing::warn!(%error, %tenant, agent = %alone.agent, "the end of a connection was not written down");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
