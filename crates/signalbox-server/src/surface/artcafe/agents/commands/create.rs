//! `POST /api/v1/agents/{agent_id}/commands`: a command is accepted, and its answer waited for where that is wanted.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use signalbox_core::engine::CreateCommand;
use signalbox_core::limits::OPEN_COMMANDS_MAX;
use signalbox_store::Store;
use signalbox_wire::artcafe::{COMMAND_TIMEOUT_S, CommandAccepted, CommandBody, CommandView};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use super::{convert, wait};
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Acts, Context, Input};
use crate::http::params::{self, Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::http::streams::Streams;
use crate::quota::Quotas;
use crate::surface::artcafe::agents::convert::agent_id;

/// When an agent with too many open commands may have answered some.
const RETRY_AFTER_S: u32 = 5;

/// What the query may ask for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CreateCommandQuery {
    /// Whether the answer is held until the agent has answered, or the command's time is over.
    #[param(value_type = Option<bool>)]
    wait: Option<String>,
}

/// Send an agent a command
///
/// Accepted means durable. An agent that is offline gets it when it connects, unless its `timeout` is over by then.
#[utoipa::path(post, path = "/api/v1/agents/{agent_id}/commands", operation_id = "create_command", tag = "Commands",
    params(("agent_id" = String, Path, description = "Which agent"), CreateCommandQuery), request_body = CommandBody,
    responses(
        (status = 202, description = "Accepted", body = CommandAccepted),
        (status = 200, description = "With `wait=true`: what the agent answered", body = CommandView),
        (status = 404, description = "No such agent", body = Problem),
        (status = 409, description = "With `wait=true`: it was cancelled meanwhile", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem),
        (status = 429, description = "As many commands of the agent are open as may be, or the tenant has sent as many messages today as it may",
            body = Problem),
        (status = 504, description = "With `wait=true`: the agent did not answer in time", body = Problem)))]
pub(crate) async fn create(
    (State(store), State(quotas)): (State<Store>, State<Quotas>),
    State(drive): State<Drive>,
    State(streams): State<Streams>,
    context: Context<Acts>,
    Path(agent): Path,
    Query(query): Query<CreateCommandQuery>,
    input: Input,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let waits = reader.read("wait", query.wait.as_deref(), params::flag).unwrap_or_default();
    reader.finish()?;
    let body: CommandBody = input.parse()?;
    let (tenant, agent) = (context.tenant(), agent_id(&agent)?);
    if store.open_commands(tenant, &agent, OPEN_COMMANDS_MAX).await? >= OPEN_COMMANDS_MAX {
        let detail = format!(
            "{OPEN_COMMANDS_MAX} commands of agent {agent} are neither answered nor over (open_commands_max); send this \
             one again once some are."
        );
        return Err(Problem::new(ProblemKind::TooManyCommands, detail).retry_after(RETRY_AFTER_S).into());
    }
    let operation = CreateCommand {
        agent,
        command: body.command,
        args: body.args.unwrap_or_default(),
        timeout: Duration::from_secs(body.timeout.unwrap_or(COMMAND_TIMEOUT_S)),
        by: Some(context.caller.name.to_string()),
        trace: context.trace.clone(),
    };
    let taken = quotas.message(tenant, clock::now()).await?;
    let accepted = drive
        .answer(tenant, context.claim.as_ref(), &operation, |command| {
            let accepted = CommandAccepted {
                command_id: command.id.clone(),
                status: convert::status(command.status),
                expires_at: command.expires_at,
            };
            Reply::json(StatusCode::ACCEPTED, &accepted)
        })
        .await?;
    taken.keep();
    if !waits {
        return Ok(accepted);
    }
    // Also of a repeat, whose answer is the one that was kept.
    let Ok(told) = serde_json::from_slice::<CommandAccepted>(&accepted.body) else { return Ok(accepted) };
    wait::answer(&store, drive.wake_ups(), &streams.draining, tenant, &told.command_id).await
}
