//! `/v1/opscore/workflows`: definitions are kept, listed, shown and removed. A change makes a new revision;
//! sessions stay on the one that they started with.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use signalbox_core::Rejected;
use signalbox_core::engine;
use signalbox_store::Store;
use signalbox_wire::opscore::{Done, Page, WorkflowBody, WorkflowView};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;

use super::definitions::{self, StrictQuery, Whole};
use super::starters;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Formats, Input, Reads};
use crate::http::params::{self, Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::absent;
use crate::surface::opscore::lookup::{self, Gathering};

const LIST: &str = "workflows";

/// Keep a workflow's definition
///
/// In JSON or YAML. One that is known already becomes a new revision where it differs, and nothing where not. Fields that
/// are not known are ignored and told as `warnings`, or refused with `strict=true`.
#[utoipa::path(post, path = "/v1/opscore/workflows", tag = "Workflows", params(StrictQuery),
    request_body(content((WorkflowBody = "application/json"), (WorkflowBody = "application/yaml"))),
    responses(
        (status = 201, description = "Kept under a new id", body = WorkflowView),
        (status = 200, description = "Changed, or the same as before", body = WorkflowView),
        (status = 422, description = "The definition does not hold together, or has unknown fields and is sent with strict=true", body = Problem)))]
pub(crate) async fn apply_workflow(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Query(query): Query<StrictQuery>,
    input: Input,
) -> Result<Reply, Refusal> {
    let strict = query.is_strict()?;
    let read = || {
        let (Whole(body), warnings) = input.parse_definition(Formats::JsonOrYaml, strict)?;
        Ok::<_, Refusal>((definitions::definition(body, "")?, warnings))
    };
    let (definition, warnings) = drive.long_work().run_if(definitions::is_long(&input.bytes), read).await?;
    let operation = engine::ApplyDefinition { definition: Box::new(definition) };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |(kept, is_new)| {
            let status = if *is_new { StatusCode::CREATED } else { StatusCode::OK };
            let warnings = warnings.clone();
            Reply::json(status, &WorkflowView { warnings, ..definitions::shown(kept) })
        })
        .await
}

/// List the workflows
#[utoipa::path(get, path = "/v1/opscore/workflows", tag = "Workflows", params(PageQuery),
    responses(
        (status = 200, description = "A page of the current definitions, by id", body = Page<WorkflowView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_workflows(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let page = reader.page(LIST, &query);
    reader.finish()?;
    let (mut gathering, mut data) = (Gathering::new(page), Vec::new());
    while let Some(go) = gathering.go() {
        let listed = store.workflows(context.tenant(), &go).await?;
        let entries = listed.items.iter().map(|kept| lookup::written(&definitions::shown(kept)));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        gathering.took(entries.len(), entries.iter().map(|entry| entry.get().len()).sum(), listed.next);
        data.extend(entries);
    }
    Ok(Reply::ok(&Page { data, next_cursor: gathering.next_cursor(LIST) }))
}

/// Show a workflow's current definition
#[utoipa::path(get, path = "/v1/opscore/workflows/{id}", tag = "Workflows",
    params(("id" = String, Path, description = "Which workflow")),
    responses(
        (status = 200, description = "Its current definition", body = WorkflowView),
        (status = 404, description = "No such workflow", body = Problem)))]
pub(crate) async fn get_workflow(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(workflow): Path,
) -> Result<Reply, Refusal> {
    let id = lookup::workflow(&workflow)?;
    let kept = store.definition(context.tenant(), &id, None).await?;
    let kept = kept.ok_or_else(|| Rejected::UnknownWorkflow(id.to_string()).into());
    let kept = absent::hinted(&store, context.tenant(), id.as_str(), kept).await?;
    Ok(Reply::ok(&definitions::shown(&kept.value)))
}

/// What is asked of the removal of a workflow.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteWorkflowQuery {
    /// Whether it goes also where schedules or hooks start it: true or false. They stay, and start nothing from then on.
    #[param(value_type = Option<bool>)]
    force: Option<String>,
}

/// Remove a workflow's definition
#[utoipa::path(delete, path = "/v1/opscore/workflows/{id}", tag = "Workflows",
    params(("id" = String, Path, description = "Which workflow"), DeleteWorkflowQuery),
    responses(
        (status = 200, description = "Removed, with all its revisions", body = Done),
        (status = 404, description = "No such workflow", body = Problem),
        (status = 409, description = "It has sessions that are not over, or schedules or hooks that start it", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn delete_workflow(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(workflow): Path,
    Query(query): Query<DeleteWorkflowQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let force = reader.read("force", query.force.as_deref(), params::flag).unwrap_or_default();
    reader.finish()?;
    let id = lookup::workflow(&workflow)?;
    if !force {
        starters::none(&store, context.tenant(), &id).await?;
    }
    // A session that starts between the look and the removal carries its own tasks and is not harmed.
    if store.open_session_of_workflow(context.tenant(), &id, None).await? {
        return Err(Rejected::WorkflowInUse(id).into());
    }
    let operation = engine::DeleteDefinition { workflow: id };
    drive.run(context.tenant(), &operation).await?;
    Ok(Reply::ok(&Done::new(format!("Workflow {workflow} deleted successfully."))))
}
