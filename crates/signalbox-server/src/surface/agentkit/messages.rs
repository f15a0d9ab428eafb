//! `GET /v1/messages/{messageId}`: where a message is.

use axum::extract::State;
use signalbox_core::Rejected;
use signalbox_core::limits::bounded;
use signalbox_store::Store;
use signalbox_wire::agentkit::{MessageView, Success};
use signalbox_wire::id::MessageId;
use signalbox_wire::problem::Problem;

use super::convert;
use crate::http::context::{Context, Reads};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// Show where a message is
#[utoipa::path(get, path = "/v1/messages/{messageId}", tag = "AgentKit",
    params(("messageId" = String, Path, description = "Which message")),
    responses(
        (status = 200, description = "The message", body = Success<MessageView>),
        (status = 404, description = "No such message, or it was delivered so long ago that it is forgotten", body = Problem)))]
pub(super) async fn get_message(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let unknown = || Rejected::UnknownMessage(bounded(&id));
    let known = MessageId::parse(&id).map_err(|_| unknown())?;
    let message = store.message(context.tenant(), &known).await?.ok_or_else(unknown)?;
    let view = convert::message(&message.value);
    Ok(Reply::ok(&Success::new("Message retrieved successfully.", view)))
}
