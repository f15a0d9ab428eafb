//! `POST /v1/agents/{agentId}/run`: a message or a task for an agent, or the call of a tool.
//!
//! A message is durable before the 202 and is then delivered or ends as a dead letter; a tool answers at once.

use axum::extract::{FromRef as _, State};
use http::StatusCode;
use signalbox_core::{Rejected, engine};
use signalbox_store::Store;
use signalbox_wire::agentkit::{RunAccepted, RunBody, RunMessage, Scheduled, Success, ToolAnswer, ToolCall};
use signalbox_wire::id::{AgentId, MessageId, TenantId};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::clock;
use crate::engine::{Admission, Drive};
use crate::http::body::Format;
use crate::http::context::{Acts, Context, Input};
use crate::http::fast_path::FastRoute;
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::{QuotaError, Taken};
use crate::surface::absent;
use crate::surface::agentkit::convert;
use crate::surface::state::AppState;
use crate::tools::{Origin, Tools};

/// Seconds after which to come again where too many messages wait.
const RETRY_AFTER_S: u32 = 5;
/// Where the arguments of a call are in its body.
const ARGUMENTS: &str = "/payload/arguments";

/// Send an agent a message or a task, or call a tool
///
/// A message of type `tool_invocation` calls the tool that its payload names and answers with the tool's answer.
/// Everything else is accepted at once, and delivered to the agent's contact endpoint with all its fields kept.
///
/// With an agent's token, `senderId` is that agent's id, and tasks and other messages of workflows are refused.
///
/// A body may bring its own `messageId`. The same id and body to the same agent again is the same message and is
/// delivered once; an id that was used for another body or another agent is refused, and a new one is the cure.
#[utoipa::path(post, path = "/v1/agents/{agentId}/run", tag = "Messages", request_body = RunBody,
    params(("agentId" = String, Path, description = "Which agent")),
    responses(
        (status = 202, description = "Accepted: it will be delivered, or become a dead letter", body = Success<RunAccepted>),
        (status = 200, description = "The tool's answer", body = ToolAnswer),
        (status = 400, description = "The agent cannot be reached, or no tool is named", body = Problem),
        (status = 403, description = "An agent's token in whose name another would speak, or a workflow", body = Problem),
        (status = 404, description = "No such agent, or no such tool", body = Problem),
        (status = 409, description = "The messageId was used for another body or another agent", body = Problem),
        (status = 422, description = "The body does not fit, or the arguments not the tool's schema", body = Problem),
        (status = 429, description = "Too many messages wait for the agent's address already, or the tenant has sent as many today as it may", body = Problem),
        (status = 502, description = "The tool answered badly", body = Problem),
        (status = 503, description = "The tool could not be reached", body = Problem),
        (status = 504, description = "The tool was too slow", body = Problem)))]
pub(crate) async fn run_agent(
    State(store): State<Store>,
    State(drive): State<Drive>,
    State(admission): State<Admission>,
    State(tools): State<Tools>,
    context: Context<Acts>,
    Path(agent): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    run(&store, (&drive, &admission), &tools, &context, &agent, &input).await
}

/// The same without the router.
pub(crate) fn fast_route(state: &AppState) -> FastRoute {
    FastRoute::new("POST", "/v1/agents/{agentId}/run", state, |state, mut request| async move {
        let (context, input) = (request.context(&state).await?, request.input(&state).await?);
        let (store, drive) = (Store::from_ref(&state), Drive::from_ref(&state));
        let (admission, tools) = (Admission::from_ref(&state), Tools::from_ref(&state));
        run(&store, (&drive, &admission), &tools, &context, request.parameter(), &input).await
    })
}

/// Takes a message for `agent`, or calls a tool in its name.
async fn run(
    store: &Store,
    ways: (&Drive, &Admission),
    tools: &Tools,
    context: &Context<Acts>,
    agent: &str,
    input: &Input,
) -> Result<Reply, Refusal> {
    let answered = send(store, ways, tools, context, agent, input).await;
    if answered.is_ok() {
        return answered;
    }
    Box::pin(absent::hinted(store, context.tenant(), agent, answered)).await
}

async fn send(
    store: &Store,
    (drive, admission): (&Drive, &Admission),
    tools: &Tools,
    context: &Context<Acts>,
    agent: &str,
    input: &Input,
) -> Result<Reply, Refusal> {
    if input.format != Format::Json {
        let detail = "The body is YAML; here it must be application/json.";
        return Err(Problem::unsupported_media(detail).into());
    }
    let message = RunMessage::parse(&input.bytes)?;
    if let Some(own) = &context.caller.agent {
        speaks_for_itself(own, &message)?;
    }
    let agent = convert::agent_id(agent)?;
    if let Some(tool_call) = message.tool {
        // Boxed, so that the usual message does not carry the room that a call needs.
        return Box::pin(call_tool(store, tools, context, &agent, tool_call)).await;
    }
    let id = message.message_id.and_then(|id| MessageId::parse(&id).ok());
    admit(admission, context.tenant(), &agent, id.as_ref()).await?;
    let taken = count(store, admission, context.tenant(), id.as_ref()).await?;
    let operation = engine::Accept { agent, id, body: message.body, trace: context.trace.clone() };
    let to = operation.agent.clone();
    let answered = drive
        .answer(&context.caller.tenant, context.claim.as_ref(), &operation, move |id| accepted(&to, id))
        .await?;
    taken.keep();
    Ok(answered)
}

/// Refuses a token that would speak as somebody else: what is delivered says by itself who sends it, and work comes from
/// the engine alone.
fn speaks_for_itself(own: &AgentId, message: &RunMessage) -> Result<(), Problem> {
    let detail = if message.is_of_a_workflow() {
        "This token is an agent's, and what belongs to a workflow is sent by this server alone; send a message of another \
         messageType, or a command (POST /api/v1/agents/{agent_id}/commands)."
            .to_owned()
    } else if message.sender_id != own.as_str() {
        format!(
            "This token speaks for agent {own}, and senderId names another sender; set senderId to {own}."
        )
    } else {
        return Ok(());
    };
    Err(Problem::forbidden(detail))
}

/// Counts a message, where the tenant may send one more today; one that was accepted before is let through uncounted.
async fn count(
    store: &Store,
    admission: &Admission,
    tenant: &TenantId,
    id: Option<&MessageId>,
) -> Result<Taken, Refusal> {
    match (admission.count(tenant, clock::now()).await, id) {
        (Err(QuotaError::Over(_)), Some(id)) if store.message(tenant, id).await?.is_some() => {
            Ok(Taken::uncounted())
        }
        (counted, _) => Ok(counted?),
    }
}

/// Refuses a message where too many wait already for where its agent is, unless it is one that was accepted before.
async fn admit(
    admission: &Admission,
    tenant: &TenantId,
    agent: &AgentId,
    id: Option<&MessageId>,
) -> Result<(), Refusal> {
    if admission.has_room(tenant, agent, id, clock::now()).await? {
        return Ok(());
    }
    let detail = admission.too_many(agent);
    Err(Problem::new(ProblemKind::TooManyWaiting, detail).retry_after(RETRY_AFTER_S).into())
}

/// Calls a tool for an agent.
async fn call_tool(
    store: &Store,
    tools: &Tools,
    context: &Context<Acts>,
    agent: &AgentId,
    call: ToolCall,
) -> Result<Reply, Refusal> {
    let tenant = context.tenant();
    if store.agent(tenant, agent).await?.is_none() {
        return Err(Rejected::UnknownAgent(agent.to_string()).into());
    }
    let Some(name) = call.tool_name else {
        let detail = "The call names no tool; name it in payload.tool_name.";
        return Err(Problem::new(ProblemKind::NoTool, detail).into());
    };
    let arguments = (&call.arguments, ARGUMENTS);
    let origin = Origin { trace: context.trace.as_deref(), attempt: None };
    let called = tools.call(tenant, &name, arguments, origin).await;
    Ok(Reply::ok(&absent::hinted(store, tenant, &name, called).await?))
}

fn accepted(agent: &AgentId, message: &MessageId) -> Reply {
    let data = RunAccepted {
        agent_id: agent.clone(),
        dispatch_status: Scheduled::Scheduled,
        message_id: message.clone(),
    };
    let told = format!("Task accepted for agent {agent}. Dispatch scheduled.");
    Reply::json(StatusCode::ACCEPTED, &Success::new(told, data))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_accepted_message_answers_as_its_senders_expect() {
        let agent = AgentId::parse("agt_1").expect("valid");
        let answer = accepted(&agent, &MessageId::parse("msg_1").expect("valid"));
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let expected = json!({
            "status": "success",
            "message": "Task accepted for agent agt_1. Dispatch scheduled.",
            "data": {"agentId": "agt_1", "dispatch_status": "scheduled", "messageId": "msg_1"},
        });
        assert_eq!(serde_json::from_slice::<Value>(&answer.body).expect("JSON"), expected);
    }
}
