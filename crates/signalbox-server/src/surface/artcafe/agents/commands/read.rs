//! `GET /api/v1/agents/{agent_id}/commands` and `…/{command_id}`.

use axum::extract::State;
use signalbox_core::Rejected;
use signalbox_store::Store;
use signalbox_wire::artcafe::{CommandList, CommandView};
use signalbox_wire::paging::Cursor;
use signalbox_wire::problem::Problem;

use super::convert;
use crate::http::context::{Context, Reads};
use crate::http::params::{Path, Query};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::artcafe::agents::convert::agent_id;
use crate::surface::artcafe::pages::TokenQuery;

const LIST: &str = "commands";

/// List an agent's commands, newest first
#[utoipa::path(get, path = "/api/v1/agents/{agent_id}/commands", operation_id = "list_commands", tag = "Commands",
    params(("agent_id" = String, Path, description = "Which agent"), TokenQuery),
    responses(
        (status = 200, description = "A page of the commands", body = CommandList),
        (status = 404, description = "No such agent", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(agent): Path,
    Query(page): Query<TokenQuery>,
) -> Result<Reply, Refusal> {
    let (tenant, agent) = (context.tenant(), agent_id(&agent)?);
    let page = page.read(LIST)?;
    store.agent(tenant, &agent).await?.ok_or_else(|| Rejected::UnknownAgent(agent.to_string()))?;
    let listed = store.commands(tenant, &agent, &page).await?;
    Ok(Reply::ok(&CommandList {
        commands: listed.items.iter().map(|command| convert::command(command)).collect(),
        next_token: listed.next.map(|next| Cursor::encode(LIST, &next)),
    }))
}

/// Show a command
#[utoipa::path(get, path = "/api/v1/agents/{agent_id}/commands/{command_id}", operation_id = "get_command",
    tag = "Commands",
    params(("agent_id" = String, Path, description = "Which agent"),
        ("command_id" = String, Path, description = "Which command")),
    responses(
        (status = 200, description = "The command", body = CommandView),
        (status = 404, description = "No such command", body = Problem)))]
pub(crate) async fn get(
    State(store): State<Store>,
    context: Context<Reads>,
    Path((agent, command)): Path<(String, String)>,
) -> Result<Reply, Refusal> {
    let (agent, id) = (agent_id(&agent)?, convert::command_id(&command)?);
    let read = store.command(context.tenant(), &id).await?.filter(|read| read.value.agent == agent);
    let command = read.ok_or_else(|| Rejected::UnknownCommand(id.to_string()))?;
    Ok(Reply::ok(&convert::command(&command.value)))
}
