//! Which of the agents that are reached over connections hold one: what waits for the others is left where it is, without a
//! try and without a write, until they connect.

use std::collections::BTreeMap;
use std::time::Duration;

use signalbox_core::agent::{Agent, AgentStatus};
use signalbox_core::due::Lane;
use signalbox_core::engine::DisconnectNode;
use signalbox_store::{StoreError, WaitingLanes};
use signalbox_wire::id::{AgentId, ConnectionId, NodeId, TenantId};
use signalbox_wire::time::Timestamp;

use super::context::Jobs;
use crate::engine::DriveError;
use crate::engine::slots::Room;

/// Connections that are ended in one go.
const SWEPT_AT_ONCE: usize = 256;
/// How long a sweep that the store could not take rests.
const REST: Duration = Duration::from_secs(1);

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

/// Ends what an earlier process of this node held, before anybody connects to this one. What the store cannot tell now is
/// found out by the agents' next heartbeats, or when they connect anew.
pub(crate) async fn sweep_own(app: &Jobs) {
    if let Err(error) = sweep(app, app.drive.node()).await {
        tracing::warn!(%error, "agents may be shown as connected to an earlier process of this node for a while");
    }
}

/// Ends what earlier processes held, where no other can be alive: over a database that one process uses alone.
pub(super) async fn sweep_at_start(app: Jobs) {
    while app.store.kind() == "sqlite" {
        let swept = async {
            for node in app.store.connected_nodes().await? {
                if node != *app.drive.node() {
                    sweep(&app, &node).await?;
                }
            }
            Ok::<_, DriveError>(())
        };
        match swept.await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "the connections of an earlier process are ended later"),
        }
        tokio::select! {
            () = app.draining.cancelled() => return,
            () = tokio::time::sleep(REST) => {}
        }
    }
}

/// Ends the connections that agents held with a node that is gone: they are offline from now on.
pub(super) async fn sweep(app: &Jobs, node: &NodeId) -> Result<(), DriveError> {
    let (mut after, mut count) = (None::<(TenantId, AgentId)>, 0);
    loop {
        let place = after.as_ref().map(|(tenant, agent)| (tenant, agent));
        let page = app.store.connected_agents(node, place, SWEPT_AT_ONCE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.tenant.clone(), last.agent.clone()));
        let mut tenants: BTreeMap<TenantId, Vec<(AgentId, ConnectionId)>> = BTreeMap::new();
        for found in page {
            tenants.entry(found.tenant).or_default().push((found.agent, found.connection));
        }
        for (tenant, connections) in tenants {
            count += app.drive.run(&tenant, &DisconnectNode { node: node.clone(), connections }).await?;
        }
    }
    if count > 0 {
        tracing::info!(%node, count, "agents that were connected to a node which is gone are offline");
    }
    Ok(())
}
