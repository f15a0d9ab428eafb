//! `DELETE /v1/tools/{name}`: a registered tool goes.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_wire::envelope::Done;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::engine::Drive;
use crate::http::context::{Administers, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::convert;
use crate::tools::BuiltIn;

/// Remove a tool
#[utoipa::path(delete, path = "/v1/tools/{name}", tag = "Tools",
    params(("name" = String, Path, description = "Which tool")),
    responses(
        (status = 200, description = "It is gone", body = Done),
        (status = 404, description = "No such tool", body = Problem),
        (status = 409, description = "It is built in", body = Problem)))]
pub(crate) async fn delete_tool(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(name): Path,
) -> Result<Reply, Refusal> {
    if BuiltIn::named(&name).is_some() {
        let detail = format!("Tool '{name}' is built in and cannot be removed.");
        return Err(Problem::new(ProblemKind::BuiltInTool, detail).into());
    }
    let operation = engine::DeleteTool { name: convert::tool_name(&name)? };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |()| {
            Reply::ok(&Done::new(format!("Tool '{name}' removed successfully.")))
        })
        .await
}
