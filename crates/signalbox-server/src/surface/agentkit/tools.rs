//! `POST` and `GET /v1/tools`, `GET` and `DELETE /v1/tools/{name}`: which tools there are.
//!
//! The built-in ones come first in the list; a position in it says which of the two parts it is in.

use axum::extract::State;
use http::StatusCode;
use serde_json::value::{RawValue, to_raw_value};
use signalbox_core::decision::Tool;
use signalbox_core::{Rejected, engine};
use signalbox_store::{Page, Store};
use signalbox_wire::agentkit::{Success, SuccessList, ToolBody, ToolView};
use signalbox_wire::envelope::Done;
use signalbox_wire::fault::{Fault, Faults};
use signalbox_wire::id::{TenantId, ToolName};
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;

use super::convert;
use super::pages;
use crate::clock;
use crate::egress::Egress;
use crate::engine::Drive;
use crate::engine::schema::Schema;
use crate::http::context::{Administers, Context, Input, Reads};
use crate::http::params::{Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::tools::BuiltIn;

const LIST: &str = "tools";
const IN_BUILT_IN: &str = "built-in/";
const IN_REGISTERED: &str = "registered/";

/// Register a tool
///
/// Its `parameters` are a JSON Schema that the arguments of each call are held against. References must stay
/// within it: nothing is fetched from elsewhere.
#[utoipa::path(post, path = "/v1/tools", tag = "AgentKit", request_body = ToolBody,
    responses(
        (status = 201, description = "Registered", body = Success<ToolView>),
        (status = 409, description = "The name is taken", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(super) async fn create_tool(
    State(drive): State<Drive>,
    State(egress): State<Egress>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body = input.parse()?;
    // To compile a schema can take long.
    let tool = drive.long_work().run(|| tool(&egress, body)).await?;
    if BuiltIn::named(tool.name.as_str()).is_some() {
        return Err(Rejected::ToolTaken(tool.name).into());
    }
    drive
        .answer(context.tenant(), context.claim.as_ref(), &engine::CreateTool { tool }, |tool| {
            let message = format!("Tool '{}' registered successfully.", tool.name);
            Reply::json(StatusCode::CREATED, &Success::new(message, convert::tool(tool)))
        })
        .await
}

/// A tool as it is kept, or everything that stands against it.
fn tool(egress: &Egress, body: ToolBody) -> Result<Tool, Refusal> {
    let mut faults = Faults::default();
    if let Some(message) = egress.fault(&body.endpoint) {
        faults.add("/endpoint", message);
    }
    for fault in Schema::compile(&body.parameters).err().into_iter().flatten() {
        faults.add(format!("/parameters{}", fault.pointer), fault.message);
    }
    if !faults.is_empty() {
        return Err(faults.into_vec().into());
    }
    Ok(Tool {
        name: ToolName::parse(&body.name).map_err(|error| vec![Fault::new("/name", error.to_string())])?,
        description: body.description,
        parameters: body.parameters,
        endpoint: body.endpoint,
        created_at: clock::now(),
    })
}

/// List tools
#[utoipa::path(get, path = "/v1/tools", tag = "AgentKit", params(PageQuery),
    responses(
        (status = 200, description = "A page of the tools, the built-in ones first", body = SuccessList<ToolView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(super) async fn list_tools(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let page = reader.page(LIST, &query);
    reader.finish()?;
    let (skipped, after) = position(page.after).map_err(|fault| vec![fault])?;
    let built_in: Vec<BuiltIn> = BuiltIn::ALL.into_iter().skip(skipped).take(page.limit).collect();
    let given = skipped + built_in.len();
    let rest = Page { limit: page.limit - built_in.len(), after };
    let (registered, next) = if given < BuiltIn::ALL.len() {
        (Vec::new(), Some(format!("{IN_BUILT_IN}{given}")))
    } else {
        registered(&store, context.tenant(), rest).await?
    };
    let mut views = Vec::with_capacity(built_in.len() + registered.len());
    for tool in built_in {
        views.push(to_raw_value(&tool.view()).map_err(|_| Problem::internal())?);
    }
    views.extend(registered);
    let next_cursor = next.map(|next| Cursor::encode(LIST, &next));
    Ok(Reply::ok(&SuccessList::new("Tools retrieved successfully.", views, next_cursor)))
}

/// A page of the registered tools, and the position after it; of no room, only whether there are any.
async fn registered(
    store: &Store,
    tenant: &TenantId,
    page: Page,
) -> Result<(Vec<Box<RawValue>>, Option<String>), Refusal> {
    if page.limit == 0 {
        let first = store.tools(tenant, &Page { limit: 1, ..page }).await?;
        return Ok((Vec::new(), (!first.items.is_empty()).then(|| IN_REGISTERED.to_owned())));
    }
    let list = |page: Page| async move { store.tools(tenant, &page).await };
    let listed = pages::gather(page, list, |tool| Some(convert::tool(tool))).await?;
    Ok((listed.items, listed.next.map(|next| format!("{IN_REGISTERED}{next}"))))
}

/// How many of the built-in tools a position has passed, and where it is among the registered ones.
fn position(after: Option<String>) -> Result<(usize, Option<String>), Fault> {
    let all = BuiltIn::ALL.len();
    let Some(after) = after else { return Ok((0, None)) };
    if let Some(passed) = after.strip_prefix(IN_BUILT_IN)
        && let Some(passed) = passed.parse().ok().filter(|passed| *passed < all)
    {
        return Ok((passed, None));
    }
    match after.strip_prefix(IN_REGISTERED) {
        Some("") => Ok((all, None)),
        Some(registered) => Ok((all, Some(registered.to_owned()))),
        None => Err(Fault::new("/cursor", "must be the next_cursor of an answer of this list")),
    }
}

/// Show a tool
#[utoipa::path(get, path = "/v1/tools/{name}", tag = "AgentKit",
    params(("name" = String, Path, description = "Which tool")),
    responses(
        (status = 200, description = "The tool", body = Success<ToolView>),
        (status = 404, description = "No such tool", body = Problem)))]
pub(super) async fn get_tool(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(name): Path,
) -> Result<Reply, Refusal> {
    let view = match BuiltIn::named(&name) {
        Some(tool) => tool.view(),
        None => {
            let name = convert::tool_name(&name)?;
            let tool = store.tool(context.tenant(), &name).await?;
            let tool = tool.ok_or_else(|| Rejected::UnknownTool(name.to_string()))?;
            convert::tool(&tool.value)
        }
    };
    Ok(Reply::ok(&Success::new("Tool retrieved successfully.", view)))
}

/// Remove a tool
#[utoipa::path(delete, path = "/v1/tools/{name}", tag = "AgentKit",
    params(("name" = String, Path, description = "Which tool")),
    responses(
        (status = 200, description = "It is gone", body = Done),
        (status = 404, description = "No such tool", body = Problem),
        (status = 409, description = "It is built in", body = Problem)))]
pub(super) async fn delete_tool(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(name): Path,
) -> Result<Reply, Refusal> {
    if BuiltIn::named(&name).is_some() {
        let detail = format!("Tool '{name}' is built in and cannot be removed.");
        return Err(Problem::conflict("built-in-tool", detail).into());
    }
    let operation = engine::DeleteTool { name: convert::tool_name(&name)? };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |()| {
            Reply::ok(&Done::new(format!("Tool '{name}' removed successfully.")))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_in_one_of_the_two_parts() {
        let at = |text: &str| position(Some(text.to_owned())).ok();
        assert_eq!(position(None), Ok((0, None)));
        assert_eq!(at("built-in/1"), Some((1, None)));
        assert_eq!(at("registered/"), Some((2, None)));
        assert_eq!(at("registered/a/b"), Some((2, Some("a/b".to_owned()))));
        for foreign in ["", "echo", "built-in/2", "built-in/-1", "built-in/"] {
            assert_eq!(at(foreign), None, "{foreign}");
        }
    }
}
