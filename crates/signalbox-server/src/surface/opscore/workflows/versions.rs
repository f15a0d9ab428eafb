//! `/v1/opscore/workflows/{id}/versions`: the revisions of a definition, what differs between them, and going back
//! to one.

use axum::extract::State;
use serde_json::Value;
use signalbox_core::definition::Definition;
use signalbox_core::{Rejected, engine};
use signalbox_store::Store;
use signalbox_wire::id::{TenantId, WorkflowId};
use signalbox_wire::opscore::{Comparison, Done, Page, WorkflowVersion, WorkflowView};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;

use super::compare;
use super::definitions;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Reads};
use crate::http::params::{Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup::{self, Gathering};

const LIST: &str = "versions";

/// List the revisions of a workflow's definition, newest first
#[utoipa::path(get, path = "/v1/opscore/workflows/{id}/versions", tag = "Workflows",
    params(("id" = String, Path, description = "Which workflow"), PageQuery),
    responses(
        (status = 200, description = "A page of the revisions that are kept", body = Page<WorkflowVersion>),
        (status = 404, description = "No such workflow", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_versions(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(workflow): Path,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let id = lookup::workflow(&workflow)?;
    let mut reader = Reader::default();
    let page = reader.page(LIST, &query);
    reader.finish()?;
    let current = store.workflow(context.tenant(), &id).await?.filter(|row| !row.value.is_deleted);
    let current = current.ok_or_else(|| Rejected::UnknownWorkflow(id.to_string()))?.value.revision;
    let (mut gathering, mut data) = (Gathering::new(page), Vec::new());
    while let Some(go) = gathering.go() {
        let listed = store.revisions(context.tenant(), &id, &go).await?;
        let entries = listed.items.iter().map(|kept| lookup::written(&version(kept, current)));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        gathering.took(entries.len(), entries.iter().map(|entry| entry.get().len()).sum(), listed.next);
        data.extend(entries);
    }
    Ok(Reply::ok(&Page { data, next_cursor: gathering.next_cursor(LIST) }))
}

/// Show a revision of a workflow's definition
#[utoipa::path(get, path = "/v1/opscore/workflows/{id}/versions/{revision}", tag = "Workflows",
    params(("id" = String, Path, description = "Which workflow"),
        ("revision" = u32, Path, description = "Which revision")),
    responses(
        (status = 200, description = "The definition as it was then", body = WorkflowView),
        (status = 404, description = "No such workflow or revision", body = Problem)))]
pub(crate) async fn get_version(
    State(store): State<Store>,
    context: Context<Reads>,
    Path((workflow, revision)): Path<(String, String)>,
) -> Result<Reply, Refusal> {
    let id = lookup::workflow(&workflow)?;
    Ok(Reply::ok(&view(&store, context.tenant(), &id, &revision).await?))
}

/// Tell what differs between two revisions of a workflow's definition
///
/// A list of what has to be done to the first to get the second, each place as a JSON pointer. Tasks that stand in the
/// same order are compared by their id.
#[utoipa::path(get, path = "/v1/opscore/workflows/{id}/versions/{a}/compare/{b}", tag = "Workflows",
    params(("id" = String, Path, description = "Which workflow"),
        ("a" = u32, Path, description = "The revision to start from"),
        ("b" = u32, Path, description = "The revision to come to")),
    responses(
        (status = 200, description = "What differs", body = Comparison),
        (status = 404, description = "No such workflow or revision", body = Problem)))]
pub(crate) async fn compare_versions(
    State(store): State<Store>,
    context: Context<Reads>,
    Path((workflow, a, b)): Path<(String, String, String)>,
) -> Result<Reply, Refusal> {
    let id = lookup::workflow(&workflow)?;
    let from = view(&store, context.tenant(), &id, &a).await?;
    let to = view(&store, context.tenant(), &id, &b).await?;
    let (differences, more) = compare::differences(&content(&from)?, &content(&to)?);
    let (from, to) = (from.revision, to.revision);
    Ok(Reply::ok(&Comparison { workflow_id: id.to_string(), from, to, differences, more }))
}

/// Go back to a revision of a workflow's definition
///
/// What it says is kept as a new revision, with which new sessions start; sessions that run stay on theirs. Where the
/// current revision says the same, nothing changes.
#[utoipa::path(post, path = "/v1/opscore/workflows/{id}/versions/{revision}/rollback", tag = "Workflows",
    params(("id" = String, Path, description = "Which workflow"),
        ("revision" = u32, Path, description = "Which revision")),
    responses(
        (status = 200, description = "The current definition from now on", body = WorkflowView),
        (status = 404, description = "No such workflow or revision", body = Problem)))]
pub(crate) async fn roll_back(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path((workflow, revision)): Path<(String, String)>,
) -> Result<Reply, Refusal> {
    let workflow = lookup::workflow(&workflow)?;
    let revision = number(&workflow, &revision)?;
    let operation = engine::RollBack { workflow, revision };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, |kept| {
            Reply::ok(&definitions::shown(kept))
        })
        .await
}

/// Remove a revision of a workflow's definition
#[utoipa::path(delete, path = "/v1/opscore/workflows/{id}/versions/{revision}", tag = "Workflows",
    params(("id" = String, Path, description = "Which workflow"),
        ("revision" = u32, Path, description = "Which revision")),
    responses(
        (status = 200, description = "Removed", body = Done),
        (status = 404, description = "No such workflow or revision", body = Problem),
        (status = 409, description = "It is the current one, or a session that is not over runs on it", body = Problem)))]
pub(crate) async fn delete_version(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path((workflow, revision)): Path<(String, String)>,
) -> Result<Reply, Refusal> {
    let workflow = lookup::workflow(&workflow)?;
    let revision = number(&workflow, &revision)?;
    // A session that is run again between the look and the removal carries its own tasks and is not harmed.
    if store.open_session_of_workflow(context.tenant(), &workflow, Some(revision)).await? {
        return Err(Rejected::RevisionInUse { workflow, revision }.into());
    }
    let told = format!("Revision {revision} of workflow {workflow} deleted successfully.");
    drive.run(context.tenant(), &engine::DeleteRevision { workflow, revision }).await?;
    Ok(Reply::ok(&Done::new(told)))
}

async fn view(
    store: &Store,
    tenant: &TenantId,
    id: &WorkflowId,
    revision: &str,
) -> Result<WorkflowView, Refusal> {
    if store.workflow(tenant, id).await?.is_none_or(|row| row.value.is_deleted) {
        return Err(Rejected::UnknownWorkflow(id.to_string()).into());
    }
    let revision = number(id, revision)?;
    let kept = store.definition(tenant, id, Some(revision)).await?;
    let kept = kept.ok_or_else(|| Rejected::UnknownRevision { workflow: id.clone(), revision })?;
    Ok(definitions::shown(&kept.value))
}

/// What a revision says, without what every one has of its own.
fn content(view: &WorkflowView) -> Result<Value, Refusal> {
    let mut value = serde_json::to_value(view).map_err(Refusal::failed)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("revision");
        fields.remove("createdAt");
    }
    Ok(value)
}

/// The revision that a path names; a text that is none is one that is not there.
fn number(workflow: &WorkflowId, text: &str) -> Result<u32, Refusal> {
    let unknown = |_| Rejected::UnknownRevision { workflow: workflow.clone(), revision: 0 };
    Ok(text.parse().map_err(unknown)?)
}

fn version(kept: &Definition, current: u32) -> WorkflowVersion {
    WorkflowVersion {
        revision: kept.revision,
        is_current: kept.revision == current,
        name: kept.name.clone(),
        version: kept.version.clone(),
        tasks: kept.tasks.len(),
        created_at: kept.created_at,
    }
}
