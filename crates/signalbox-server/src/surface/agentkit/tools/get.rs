//! `GET /v1/tools/{name}`: one tool, built in or registered.

use axum::extract::State;
use signalbox_core::Rejected;
use signalbox_store::Store;
use signalbox_wire::agentkit::{Success, ToolView};
use signalbox_wire::problem::Problem;

use crate::http::context::{Context, Reads};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::convert;
use crate::tools::BuiltIn;

/// Show a tool
#[utoipa::path(get, path = "/v1/tools/{name}", tag = "Tools",
    params(("name" = String, Path, description = "Which tool")),
    responses(
        (status = 200, description = "The tool", body = Success<ToolView>),
        (status = 404, description = "No such tool", body = Problem)))]
pub(crate) async fn get_tool(
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
