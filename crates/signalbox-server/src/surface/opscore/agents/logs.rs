//! `POST /v1/opscore/agent/{agentId}/logs`: an agent adds to the log, one entry or a batch.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine;
use signalbox_wire::opscore::{LogBody, LogsAccepted};
use signalbox_wire::problem::Problem;

use crate::engine::Drive;
use crate::http::context::{Acts, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::convert;
use crate::surface::opscore::lookup;

/// Add to the log
///
/// 202 means durable: all of the entries, or none.
#[utoipa::path(post, path = "/v1/opscore/agent/{agentId}/logs", tag = "Logs",
    params(("agentId" = String, Path, description = "Whose entries")), request_body = LogBody,
    responses(
        (status = 202, description = "Kept", body = LogsAccepted),
        (status = 404, description = "No such agent", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn append_logs(
    State(drive): State<Drive>,
    context: Context<Acts>,
    Path(agent): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: LogBody = input.parse()?;
    let entries = body.entries.into_iter().map(convert::log_entry).collect();
    let operation = engine::AppendLogs { agent: lookup::agent(&agent)?, entries };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, |accepted| {
            Reply::json(StatusCode::ACCEPTED, &LogsAccepted { accepted: *accepted })
        })
        .await
}
