//! `POST /v1/tools`: a tool with its schema and its endpoint.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::decision::Tool;
use signalbox_core::{Rejected, engine};
use signalbox_wire::agentkit::{Success, ToolBody, ToolView};
use signalbox_wire::fault::{Fault, Faults};
use signalbox_wire::id::ToolName;
use signalbox_wire::problem::Problem;

use crate::clock;
use crate::egress::Egress;
use crate::engine::Drive;
use crate::engine::schema::Schema;
use crate::http::context::{Administers, Context, Input};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::convert;
use crate::tools::BuiltIn;

/// Register a tool
///
/// Its `parameters` are a JSON Schema that the arguments of each call are held against. References must stay
/// within it: nothing is fetched from elsewhere.
#[utoipa::path(post, path = "/v1/tools", tag = "Tools", request_body = ToolBody,
    responses(
        (status = 201, description = "Registered", body = Success<ToolView>),
        (status = 409, description = "The name is taken", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn create_tool(
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
