//! `PUT /api/v1/agents/{agent_id}/status`: an agent says how it is; on Ops-Core that is a report of its state.

use axum::extract::State;
use signalbox_core::engine::ReportState;
use signalbox_store::Store;
use signalbox_wire::artcafe::{AgentStatusBody, AgentView};
use signalbox_wire::problem::Problem;

use super::{convert, read};
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Acts, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// Say how an agent is
///
/// `online` and `busy` are Ops-Core's `idle` and `active`. An agent that is not connected stays `offline` whatever it says.
#[utoipa::path(put, path = "/api/v1/agents/{agent_id}/status", operation_id = "set_agent_status", tag = "Agent state",
    params(("agent_id" = String, Path, description = "Which agent")), request_body = AgentStatusBody,
    responses(
        (status = 200, description = "The agent as it is now", body = AgentView),
        (status = 404, description = "No such agent", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn set(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Acts>,
    Path(id): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: AgentStatusBody = input.parse()?;
    let operation = ReportState {
        agent: convert::agent_id(&id)?,
        state: body.status.state().to_owned(),
        timestamp: clock::now(),
        details: None,
        task: None,
        session: None,
    };
    drive.run(context.tenant(), &operation).await?;
    Ok(Reply::ok(&read::shown(&store, context.tenant(), &operation.agent).await?))
}
