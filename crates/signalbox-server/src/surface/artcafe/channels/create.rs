//! `POST /api/v1/channels`: a new channel.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine::CreateChannel;
use signalbox_core::quota::Limit;
use signalbox_wire::artcafe::{ChannelBody, ChannelView};
use signalbox_wire::problem::Problem;

use super::{check_name, retention, view};
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Acts, Context, Input};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::live::channels::Channels;
use crate::quota::Quotas;

/// Make a channel
///
/// Its name is its subject: parts with dots between them. What was published on the subject before is not in its history.
#[utoipa::path(post, path = "/api/v1/channels", operation_id = "create_channel", tag = "Channels", request_body = ChannelBody, responses(
    (status = 201, description = "Made", body = ChannelView),
    (status = 409, description = "The name is taken", body = Problem),
    (status = 422, description = "The body does not fit", body = Problem),
    (status = 429, description = "The tenant has as many channels as it may", body = Problem)))]
pub(crate) async fn create(
    State(drive): State<Drive>,
    State(channels): State<Channels>,
    State(quotas): State<Quotas>,
    context: Context<Acts>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: ChannelBody = input.parse()?;
    check_name(context.tenant(), &body.name)?;
    let _permit = quotas.check(context.tenant(), Limit::Channels, clock::now()).await?;
    let operation = CreateChannel {
        name: body.name,
        description: body.description,
        retention: retention(body.retention.as_ref()),
        by: context.caller.agent.clone(),
    };
    let made = |channel: &_| Reply::json(StatusCode::CREATED, &view(channel));
    let reply = drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |channel| made(channel.as_ref()))
        .await?;
    channels.changed(context.tenant(), &operation.name);
    Ok(reply)
}
