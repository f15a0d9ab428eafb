//! A dead letter is told in the log with all that finds its cause, and counted.

use signalbox_core::delivery::Message;
use signalbox_core::due::Lane;
use signalbox_store::Store;
use signalbox_wire::id::TenantId;

use super::metrics::Metrics;

/// Tells of a message that is given up: whose it is, where it went (host and port alone), and why.
pub(crate) async fn tell(metrics: &Metrics, store: &Store, tenant: &TenantId, message: &Message) {
    metrics.dead_letter();
    let known = match &message.agent {
        Some(agent) => store.agent(tenant, agent).await.ok().flatten(),
        None => None,
    };
    let endpoint = known.as_ref().and_then(|known| known.value.endpoint.as_deref());
    let destination = message.url.as_deref().or(endpoint).map_or(message.lane.clone(), Lane::endpoint);
    tracing::warn!(
        tenant = %tenant,
        message_id = %message.id,
        agent_id = message.agent.as_ref().map(tracing::field::display),
        agent_name = known.as_ref().map(|known| known.value.name.as_str()),
        destination = destination.without_path(),
        attempts = message.attempts,
        error = message.last_error.as_deref(),
        "a message is given up: see GET /v1/dead-letters"
    );
}
