//! Where this surface's words and the engine's meet.

use serde_json::Value;
use signalbox_core::agent;
use signalbox_core::engine;
use signalbox_wire::agentkit::{CapabilityBody, RegisterBody};
use signalbox_wire::fault::{Fault, Faults};

use crate::app::App;
use crate::problem::Refusal;

/// A registration as the engine takes it, or everything that stands against it.
pub(super) fn registration(app: &App, body: RegisterBody, replace: bool) -> Result<engine::Register, Refusal> {
    let mut faults = Faults::default();
    let metadata = body.metadata.unwrap_or_default();
    if let Err(message) = agent::concurrency(&metadata) {
        faults.add("/metadata/concurrency", message);
    }
    if let Some(message) = body.contact_endpoint.as_deref().and_then(|url| app.egress.fault(url)) {
        faults.add("/contactEndpoint", message);
    }
    let faults: Vec<Fault> = faults.into_vec();
    if !faults.is_empty() {
        return Err(faults.into());
    }
    Ok(engine::Register {
        id: body.agent_id,
        name: body.agent_name,
        version: body.version,
        endpoint: body.contact_endpoint,
        capabilities: capabilities(&body.capabilities),
        metadata,
        replace,
    })
}

/// Capabilities as they are kept: exactly as they were given.
pub(super) fn capabilities(given: &[CapabilityBody]) -> Vec<Value> {
    given.iter().filter_map(|capability| serde_json::to_value(capability).ok()).collect()
}
