//! `POST /api/v1/agents`: an agent is registered; without an endpoint of its own it is reached over its connection.

use axum::extract::State;
use http::StatusCode;
use serde_json::Value;
use signalbox_core::agent::{self, Agent};
use signalbox_core::engine;
use signalbox_wire::artcafe::{AgentView, CreateAgentBody};
use signalbox_wire::fault::Faults;
use signalbox_wire::problem::Problem;

use super::convert;
use crate::egress::Egress;
use crate::engine::Drive;
use crate::http::context::{Acts, Context, Input};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::Quotas;
use crate::surface::registering;

/// The version of an agent that tells none.
const VERSION: &str = "1";

/// Register an agent
///
/// It is the same agent on every surface. Without a `contact_endpoint` it gets messages and tasks once it is connected.
#[utoipa::path(post, path = "/api/v1/agents", operation_id = "create_connectable_agent", tag = "Agents",
    request_body = CreateAgentBody,
    responses(
        (status = 201, description = "Registered", body = AgentView),
        (status = 409, description = "The name or the id is taken", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem),
        (status = 429, description = "The tenant has as many agents as it may", body = Problem)))]
pub(crate) async fn create(
    State(drive): State<Drive>,
    State(egress): State<Egress>,
    State(quotas): State<Quotas>,
    context: Context<Acts>,
    input: Input,
) -> Result<Reply, Refusal> {
    let operation = registration(&egress, input.parse()?, context.trace.clone())?;
    let shown = operation.clone();
    let tell = move |registered: &engine::Registered| {
        let agent = Agent {
            id: registered.agent.clone(),
            name: shown.name.clone(),
            version: shown.version.clone(),
            endpoint: shown.endpoint.clone(),
            capabilities: shown.capabilities.clone(),
            metadata: shown.metadata.clone(),
            registered_at: registered.registered_at,
            generation: 1,
            concurrency: 1,
        };
        Reply::json(StatusCode::CREATED, &convert::agent(&agent, None, None))
    };
    registering::register((&drive, &quotas), &context, &operation, tell).await
}

/// A registration as the engine takes it, or everything that stands against it.
fn registration(
    egress: &Egress,
    body: CreateAgentBody,
    trace: Option<String>,
) -> Result<engine::Register, Refusal> {
    let mut metadata = body.metadata.unwrap_or_default();
    let mut faults = Faults::default();
    if let Some(message) = body.contact_endpoint.as_deref().and_then(|url| egress.fault(url)) {
        faults.add("/contact_endpoint", message);
    }
    for (key, message) in agent::metadata_faults(&metadata) {
        faults.add(format!("/metadata/{key}"), message);
    }
    if !faults.is_empty() {
        return Err(faults.into_vec().into());
    }
    if let Some(kind) = body.r#type {
        metadata.insert(convert::TYPE.to_owned(), Value::String(kind));
    }
    let capabilities = body.capabilities.unwrap_or_default();
    Ok(engine::Register {
        id: body.agent_id,
        name: body.name,
        version: body.version.unwrap_or_else(|| VERSION.to_owned()),
        endpoint: body.contact_endpoint,
        capabilities: capabilities.iter().filter_map(|given| serde_json::to_value(given).ok()).collect(),
        metadata,
        replace: false,
        trace,
    })
}
