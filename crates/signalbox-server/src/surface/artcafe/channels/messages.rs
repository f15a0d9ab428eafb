//! `POST` and `GET /api/v1/channels/{channel_id}/messages`: a message is published, and the history is read.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use signalbox_store::Store;
use signalbox_wire::artcafe::{ChannelMessageList, PublishAccepted, PublishBody};
use signalbox_wire::id::MessageId;
use signalbox_wire::keys;
use signalbox_wire::problem::Problem;

use super::{channel_of, history, id_of};
use crate::clock;
use crate::http::context::{Acts, Context, Input, Reads};
use crate::http::params::{Path, Query};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::live::channels::{Channels, PAYLOAD_BYTES_MAX, publication};
use crate::quota::Quotas;

/// Publish a message to a channel
///
/// Of a channel that keeps its messages, this one is durable when the answer comes. The same `message_id` with the same
/// payload again is the same message, as long as that is kept.
#[utoipa::path(post, path = "/api/v1/channels/{channel_id}/messages", operation_id = "publish_message", tag = "Channels",
    params(("channel_id" = String, Path, description = "Which channel: its id, or its name")), request_body = PublishBody,
    responses(
        (status = 202, description = "Published", body = PublishAccepted),
        (status = 404, description = "No such channel", body = Problem),
        (status = 409, description = "The message id came with another payload before", body = Problem),
        (status = 413, description = "The payload is too large", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem),
        (status = 429, description = "The tenant has sent as many messages today as it may", body = Problem)))]
pub(crate) async fn publish(
    State(store): State<Store>,
    State(channels): State<Channels>,
    State(quotas): State<Quotas>,
    context: Context<Acts>,
    Path(id): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: PublishBody = input.parse()?;
    if body.payload.get().len() > PAYLOAD_BYTES_MAX {
        let detail =
            format!("The payload has {} bytes; {PAYLOAD_BYTES_MAX} are the most.", body.payload.get().len());
        return Err(Problem::too_large(detail).into());
    }
    // Under an Idempotency-Key the message has an id that follows from it: a repeat after a crash is known by that.
    let of_claim = || {
        let claim = context.claim.as_ref()?;
        MessageId::parse(&format!("{}{:.32}", MessageId::PREFIX, keys::hash_hex(&claim.key))).ok()
    };
    let message = body.message_id.or_else(of_claim);
    let channel = id_of(&store, context.tenant(), &id).await?;
    let operation = publication(&channel, context.caller.agent.as_ref(), message, body.payload);
    let taken = quotas.message(context.tenant(), clock::now()).await?;
    let outcomes = channels.publish(context.tenant(), operation).await?;
    let published =
        outcomes.into_iter().next().ok_or_else(|| Refusal::failed("a message came to nothing"))??;
    if !published.is_repeat {
        taken.keep();
    }
    let message = &published.message;
    Ok(Reply::json(
        StatusCode::ACCEPTED,
        &PublishAccepted {
            message_id: message.id.clone(),
            sequence: (message.sequence > 0).then_some(message.sequence),
        },
    ))
}

/// Which part of a history.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Only what comes after this sequence.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// How many at most, 1 to 1000; 100 where absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next_token` of the page before.
    next_token: Option<String>,
}

/// Read the history of a channel
///
/// Oldest first. A page may be shorter than asked for where its messages are large. Sequences have no gaps but where
/// retention has let go of messages.
#[utoipa::path(get, path = "/api/v1/channels/{channel_id}/messages", operation_id = "list_channel_messages", tag = "Channels",
    params(("channel_id" = String, Path, description = "Which channel: its id, or its name"), HistoryQuery),
    responses(
        (status = 200, description = "A page of the history", body = ChannelMessageList),
        (status = 404, description = "No such channel", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(id): Path,
    Query(query): Query<HistoryQuery>,
) -> Result<Reply, Refusal> {
    let page = history::page(query.after.as_deref(), query.limit, query.next_token)?;
    let channel = channel_of(&store, context.tenant(), &id).await?;
    history::read(&store, context.tenant(), &channel, page).await
}
