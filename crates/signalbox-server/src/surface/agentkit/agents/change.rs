//! `PATCH` and `DELETE /v1/agents/{agentId}`: some of a registration changes, or an agent goes for good.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_store::Store;
use signalbox_wire::agentkit::{AgentView, PatchAgentBody, Registered, Success};
use signalbox_wire::problem::Problem;

use crate::egress::Egress;
use crate::engine::Drive;
use crate::http::context::{Acts, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::convert;
use crate::surface::seen;

/// Change an agent's registration
///
/// What the body does not name stays; `contactEndpoint: null` takes the endpoint away.
#[utoipa::path(patch, path = "/v1/agents/{agentId}", tag = "Agents", request_body = PatchAgentBody,
    params(("agentId" = String, Path, description = "Which agent")),
    responses(
        (status = 200, description = "The agent as it is now", body = Success<AgentView>),
        (status = 404, description = "No such agent", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn patch_agent(
    State(store): State<Store>,
    State(drive): State<Drive>,
    State(egress): State<Egress>,
    context: Context<Acts>,
    Path(id): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let id = convert::agent_id(&id)?;
    let operation = convert::patch(&egress, id, input.parse()?)?;
    let status = seen::status(&store, context.tenant(), &operation.agent).await?;
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |agent| {
            Reply::ok(&Success::new(
                format!("Agent '{}' updated successfully.", agent.name),
                convert::agent(agent, status.as_deref()),
            ))
        })
        .await
}

/// Deregister an agent
///
/// The tasks that it holds are routed again.
#[utoipa::path(delete, path = "/v1/agents/{agentId}", tag = "Agents",
    params(("agentId" = String, Path, description = "Which agent")),
    responses(
        (status = 200, description = "It is gone, and its name is free", body = Success<Registered>),
        (status = 404, description = "No such agent", body = Problem)))]
pub(crate) async fn deregister_agent(
    State(drive): State<Drive>,
    context: Context<Acts>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let operation = engine::Deregister { agent: convert::agent_id(&id)?, trace: context.trace.clone() };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |agent| {
            let data = Registered { agent_id: agent.id.clone(), generation: None };
            Reply::ok(&Success::new(format!("Agent {} deregistered successfully.", agent.id), data))
        })
        .await
}
