//! `POST /api/v1/agents/{agent_id}/commands/{command_id}/cancel`: a command is no longer wanted.

use std::sync::Arc;

use axum::extract::State;
use signalbox_core::command::AgentCommand;
use signalbox_core::engine::CancelCommand;
use signalbox_wire::artcafe::{CancelCommandBody, CommandView};
use signalbox_wire::problem::Problem;

use super::convert;
use crate::engine::Drive;
use crate::http::context::{Acts, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::live::Live;
use crate::surface::artcafe::agents::convert::agent_id;

/// Cancel a command
///
/// An agent that is connected is told. One that the agent has already may be done all the same; what it answers then is
/// kept in the log alone.
#[utoipa::path(post, path = "/api/v1/agents/{agent_id}/commands/{command_id}/cancel", operation_id = "cancel_command",
    tag = "Commands",
    params(("agent_id" = String, Path, description = "Which agent"),
        ("command_id" = String, Path, description = "Which command")),
    request_body = CancelCommandBody,
    responses(
        (status = 200, description = "The command as it is now", body = CommandView),
        (status = 404, description = "No such command", body = Problem),
        (status = 409, description = "It is answered or over already", body = Problem)))]
pub(crate) async fn cancel(
    State(drive): State<Drive>,
    State(live): State<Live>,
    context: Context<Acts>,
    Path((agent, command)): Path<(String, String)>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: CancelCommandBody = input.parse_or_default()?;
    let operation = CancelCommand {
        agent: agent_id(&agent)?,
        command: convert::command_id(&command)?,
        reason: body.reason,
    };
    let tell = |command: &Arc<AgentCommand>| Reply::ok(&convert::command(command));
    let reply = drive.answer(context.tenant(), context.claim.as_ref(), &operation, tell).await?;
    live.tell_cancelled(context.tenant(), operation);
    Ok(reply)
}
