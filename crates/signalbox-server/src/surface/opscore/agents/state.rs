//! `/v1/opscore/agent/{agentId}/state` and `…/history`: what an agent says of itself, durable once it is
//! acknowledged, and what it said last. Reporting is the hottest path of the server, reading the next.

use axum::extract::{FromRef as _, State};
use signalbox_core::agent::AgentStatus;
use signalbox_core::{Rejected, engine, reach};
use signalbox_store::{EventFilter, Store};
use signalbox_wire::id::AgentId;
use signalbox_wire::opscore::{Done, HistoryEntry, Page, StateBody, StateView};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use super::reports::{HistoryAnswer, StateAnswer};
use super::unknown_words;
use crate::engine::Drive;
use crate::http::context::{Acts, Context, Input, Reads};
use crate::http::fast_path::FastRoute;
use crate::http::params::{Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup::{self, Gathering};
use crate::surface::seen;
use crate::surface::state::AppState;

const ACCEPTED: &str = r#"{"status":"success","message":"State update accepted"}"#;
/// Where reports and states are.
const STATE: &str = "/v1/opscore/agent/{agentId}/state";
const HISTORY: &str = "history";

/// Report an agent's state
///
/// 202 means durable. A report settles the task that its details name in `opscore_task_id`, else the only one
/// that the agent has in flight. Named as it was given, with its attempt, the task is settled however late the
/// report comes; named by its step or without the attempt, only if the report is newer than what the agent said
/// before; not named at all, only if the agent has taken the task and can mean it: an `idle` without a `result`
/// settles only what was `active`. A report that is sent again settles nothing. A word without a meaning settles nothing
/// either, and the log says so.
#[utoipa::path(post, path = "/v1/opscore/agent/{agentId}/state", tag = "Agent state",
    params(("agentId" = String, Path, description = "Who reports")), request_body = StateBody,
    responses(
        (status = 202, description = "Kept", body = Done),
        (status = 400, description = "Not JSON, or path and body name different agents", body = Problem),
        (status = 401, description = "No key, or a bad one", body = Problem),
        (status = 404, description = "No such agent", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn report_state(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Acts>,
    Path(agent): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    report(&store, &drive, &context, &agent, &input.unlooked()).await
}

/// Keeps a report of `agent`.
async fn report(
    store: &Store,
    drive: &Drive,
    context: &Context<Acts>,
    agent: &str,
    input: &Input,
) -> Result<Reply, Refusal> {
    let body: StateBody = input.parse()?;
    if body.agent_id.as_str() != agent {
        let detail = format!(
            "The path names agent '{agent}', the body agent '{}'; they must be the same.",
            body.agent_id
        );
        return Err(Problem::new(ProblemKind::AgentMismatch, detail).into());
    }
    let (task, session) = body.task_and_session();
    let operation = engine::ReportState {
        agent: body.agent_id,
        state: body.state,
        timestamp: body.timestamp,
        details: body.details,
        task,
        session,
    };
    let tenant = context.tenant();
    let warning = unknown_words::warning(store, tenant, &operation.agent, &operation.state).await?;
    let reply =
        drive.answer(tenant, context.claim.as_ref(), &operation, |()| Reply::accepted(ACCEPTED)).await?;
    if let Some(warning) = warning
        && let Err(error) = drive.run(tenant, &warning).await
    {
        // The report is kept, whatever became of the remark about it.
        tracing::warn!(%error, agent = %warning.agent, "a report's unknown word was not told in the log");
    }
    Ok(reply)
}

/// What an agent reported last
///
/// `unknown` before its first report, with the time of its registration.
#[utoipa::path(get, path = "/v1/opscore/agent/{agentId}/state", tag = "Agent state",
    params(("agentId" = String, Path, description = "Whose state")),
    responses(
        (status = 200, description = "The newest report by its own timestamp", body = StateView),
        (status = 404, description = "No such agent", body = Problem)))]
pub(crate) async fn agent_state(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(agent): Path,
) -> Result<Reply, Refusal> {
    state(&store, &context, &agent).await
}

/// Answers what `agent` reported last.
async fn state(store: &Store, context: &Context<Reads>, agent: &str) -> Result<Reply, Refusal> {
    let id = lookup::agent(agent)?;
    let status = seen::status(store, context.tenant(), &id).await?;
    let report = status.as_ref().and_then(|status| status.report.as_ref());
    let was_connected =
        |status: &AgentStatus| status.connection.is_some() || status.disconnected_at.is_some();
    // How an agent is reached that never was connected and has reported is not looked up: states are read often.
    if let Some(report) = report
        && !status.as_deref().is_some_and(was_connected)
    {
        return Ok(Reply::written(StateAnswer::of(&id, report).written()));
    }
    let agent = store.agent(context.tenant(), &id).await?.ok_or_else(|| unknown(&id))?.value;
    let answer = match report {
        Some(report) => StateAnswer::of(&id, report),
        None => StateAnswer::before_any(&id, agent.registered_at),
    };
    let last_seen = status.as_ref().map(|status| status.last_seen);
    Ok(Reply::written(answer.with(reach::presence(&agent, status.as_deref()), last_seen).written()))
}

/// Reports and states without the router.
pub(crate) fn fast_routes(app: &AppState) -> Vec<FastRoute> {
    let report = FastRoute::new("POST", STATE, app, |app, mut request| async move {
        let (context, input) = (request.context(&app).await?, request.input(&app).await?);
        let (store, drive) = (Store::from_ref(&app), Drive::from_ref(&app));
        report(&store, &drive, &context, request.parameter(), &input).await
    });
    let state = FastRoute::new("GET", STATE, app, |app, request| async move {
        state(&Store::from_ref(&app), &request.context(&app).await?, request.parameter()).await
    });
    vec![report, state]
}

/// Everything that an agent reported, newest first
#[utoipa::path(get, path = "/v1/opscore/agent/{agentId}/history", tag = "Agent state",
    params(("agentId" = String, Path, description = "Whose history"), PageQuery),
    responses(
        (status = 200, description = "A page of the reports in the order they came in", body = Page<HistoryEntry>),
        (status = 404, description = "No such agent", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn agent_history(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(agent): Path,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let page = reader.page(HISTORY, &query);
    reader.finish()?;
    let id = lookup::agent(&agent)?;
    store.agent(context.tenant(), &id).await?.ok_or_else(|| unknown(&id))?;
    let filter = EventFilter {
        agent: Some(id),
        kind: Some("agent.reported".to_owned()),
        newest_first: true,
        ..EventFilter::default()
    };
    let mut gathering = Gathering::new(page);
    let events = lookup::events(&store, context.tenant(), &filter, &mut gathering).await?;
    let data: Vec<HistoryAnswer<'_>> = events.iter().filter_map(HistoryAnswer::of).collect();
    Ok(Reply::ok(&Page { data, next_cursor: gathering.next_cursor(HISTORY) }))
}

fn unknown(agent: &AgentId) -> Rejected {
    Rejected::UnknownAgent(agent.to_string())
}
