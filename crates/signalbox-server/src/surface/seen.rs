//! When an agent was last seen: what it said, and the heartbeats of its connection, which are kept apart.

use std::sync::Arc;

use signalbox_core::agent::AgentStatus;
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::{AgentId, TenantId};

/// An agent's status, last seen when its connection told so last.
pub(crate) async fn status(
    store: &Store,
    tenant: &TenantId,
    id: &AgentId,
) -> Result<Option<Arc<AgentStatus>>, StoreError> {
    let Some(mut status) = store.status(tenant, id).await?.map(|status| status.value) else {
        return Ok(None);
    };
    // An agent that never was connected has no heartbeats.
    if (status.connection.is_some() || status.disconnected_at.is_some())
        && let Some(figures) = store.agent_figures(tenant, id).await?
        && figures.value.last_seen > status.last_seen
    {
        Arc::make_mut(&mut status).last_seen = figures.value.last_seen;
    }
    Ok(Some(status))
}
