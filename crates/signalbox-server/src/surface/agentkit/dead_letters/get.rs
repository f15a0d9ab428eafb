//! `GET /v1/dead-letters/{messageId}`: one dead letter.

use axum::extract::State;
use signalbox_core::Rejected;
use signalbox_core::delivery::MessageStatus;
use signalbox_store::Store;
use signalbox_wire::agentkit::{DeadLetterView, Success};
use signalbox_wire::problem::Problem;

use crate::http::context::{Context, Reads};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::convert;

/// Show a dead letter
#[utoipa::path(get, path = "/v1/dead-letters/{messageId}", tag = "Messages",
    params(("messageId" = String, Path, description = "Which message")),
    responses(
        (status = 200, description = "The dead letter", body = Success<DeadLetterView>),
        (status = 404, description = "No such dead letter", body = Problem)))]
pub(crate) async fn get_dead_letter(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let id = convert::dead_letter_id(&id)?;
    let message = store.message(context.tenant(), &id).await?.map(|read| read.value);
    let message = message.filter(|message| message.status == MessageStatus::Dead);
    let message = message.ok_or_else(|| Rejected::UnknownDeadLetter(id.to_string()))?;
    let view = convert::dead_letter(&message).ok_or_else(Problem::internal)?;
    Ok(Reply::ok(&Success::new("Dead letter retrieved successfully.", view)))
}
