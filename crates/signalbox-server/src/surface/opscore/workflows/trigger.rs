//! A workflow is started: `POST /v1/opscore/agent/{agentId}/workflow` by or with its definition, and
//! `POST /v1/opscore/workflows/{id}/trigger`.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine::{self, WorkflowSource};
use signalbox_store::Store;
use signalbox_wire::fault::Fault;
use signalbox_wire::opscore::{StartBody, TriggerAnswer, TriggerBody};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use super::definitions::{self, INLINE, StrictQuery, WholeTrigger};
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Formats, Input};
use crate::http::params::{Path, Query};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::absent;
use crate::surface::opscore::lookup;

/// Start a workflow with an agent for what names nobody
///
/// Exactly one of `workflowDefinitionId` and `workflowDefinition`; an inline definition is kept under its id.
/// Fields that are not known are ignored and told as `warnings`, or refused with `strict=true`.
#[utoipa::path(post, path = "/v1/opscore/agent/{agentId}/workflow", tag = "Workflows",
    params(("agentId" = String, Path, description = "The agent of tasks that name neither an agent nor a capability"), StrictQuery),
    request_body = TriggerBody,
    responses(
        (status = 202, description = "Started", body = TriggerAnswer),
        (status = 404, description = "No such agent or definition", body = Problem),
        (status = 422, description = "The body does not fit, or the input not the workflow's schema", body = Problem)))]
pub(crate) async fn trigger_agent_workflow(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(agent): Path,
    Query(query): Query<StrictQuery>,
    input: Input,
) -> Result<Reply, Refusal> {
    let strict = query.is_strict()?;
    let read = || input.parse_definition(Formats::Json, strict);
    let (WholeTrigger(body), warnings) =
        drive.long_work().run_if(definitions::is_long(&input.bytes), read).await?;
    let source = match body.workflow_definition {
        Some(definition) => WorkflowSource::Inline(Box::new(definitions::definition(definition, INLINE)?)),
        // The body's own check has seen that there is exactly one of the two.
        None => WorkflowSource::Kept(body.workflow_definition_id.ok_or_else(|| {
            vec![Fault::new("", "must have exactly one of workflowDefinitionId and workflowDefinition")]
        })?),
    };
    let named = match &source {
        WorkflowSource::Kept(id) => Some(id.to_string()),
        WorkflowSource::Inline(_) => None,
    };
    let by_id = lookup::agent(&agent)?;
    let trigger = engine::Trigger {
        source,
        agent: Some(by_id),
        input: body.initial_payload,
        trace: context.trace.clone(),
    };
    let started = start(&drive, &context, trigger, warnings).await;
    let is_of_agent = started.as_ref().is_err_and(|refusal| refusal.0.kind == ProblemKind::UnknownAgent);
    let named = named.filter(|_| !is_of_agent).unwrap_or(agent);
    absent::hinted(&store, context.tenant(), &named, started).await
}

/// Start a workflow
#[utoipa::path(post, path = "/v1/opscore/workflows/{id}/trigger", tag = "Workflows",
    params(("id" = String, Path, description = "Which workflow")), request_body = StartBody,
    responses(
        (status = 202, description = "Started", body = TriggerAnswer),
        (status = 404, description = "No such workflow or agent", body = Problem),
        (status = 422, description = "The body does not fit, or the input not the workflow's schema", body = Problem)))]
pub(crate) async fn trigger_workflow(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(workflow): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: StartBody = input.parse_or_default()?;
    let trigger = engine::Trigger {
        source: WorkflowSource::Kept(lookup::workflow(&workflow)?),
        agent: body.agent_id,
        input: body.initial_payload,
        trace: context.trace.clone(),
    };
    let started = start(&drive, &context, trigger, Vec::new()).await;
    absent::hinted(&store, context.tenant(), &workflow, started).await
}

async fn start(
    drive: &Drive,
    context: &Context<Administers>,
    trigger: engine::Trigger,
    warnings: Vec<Fault>,
) -> Result<Reply, Refusal> {
    drive
        .answer(context.tenant(), context.claim.as_ref(), &trigger, move |started| {
            let answer = TriggerAnswer::new(started.session.clone(), started.workflow.clone());
            let warnings = warnings.clone();
            Reply::json(StatusCode::ACCEPTED, &TriggerAnswer { warnings, ..answer })
        })
        .await
}
