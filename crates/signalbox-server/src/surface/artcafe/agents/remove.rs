//! `DELETE /api/v1/agents/{agent_id}`: an agent goes for good.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine;
use signalbox_wire::problem::Problem;

use super::convert;
use crate::engine::Drive;
use crate::http::context::{Acts, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;

/// Deregister an agent
///
/// Its connection is closed, and the tasks that it holds are routed again.
#[utoipa::path(delete, path = "/api/v1/agents/{agent_id}", operation_id = "remove_connectable_agent", tag = "Agents",
    params(("agent_id" = String, Path, description = "Which agent")),
    responses(
        (status = 204, description = "It is gone, and its name is free"),
        (status = 404, description = "No such agent", body = Problem)))]
pub(crate) async fn remove(
    State(drive): State<Drive>,
    context: Context<Acts>,
    Path(id): Path,
) -> Result<StatusCode, Refusal> {
    let operation = engine::Deregister { agent: convert::agent_id(&id)?, trace: context.trace.clone() };
    drive.run(context.tenant(), &operation).await?;
    Ok(StatusCode::NO_CONTENT)
}
