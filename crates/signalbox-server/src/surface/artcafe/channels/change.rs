//! `PATCH` and `DELETE /api/v1/channels/{channel_id}`: what a channel keeps is changed, or it goes.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use signalbox_core::decision::Scope;
use signalbox_core::engine::{ChangeChannel, DeleteChannel};
use signalbox_store::Store;
use signalbox_wire::artcafe::{ChannelPatch, ChannelView};
use signalbox_wire::problem::Problem;

use super::{channel_of, id_of, view};
use crate::engine::Drive;
use crate::http::context::{Acts, Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::live::channels::Channels;

/// Change a channel
///
/// What is not given stays. Messages that a smaller retention lets go of do not come back with a larger one: to change it
/// takes a key with the scope `admin`, or the token of the agent that made the channel.
#[utoipa::path(patch, path = "/api/v1/channels/{channel_id}", operation_id = "change_channel", tag = "Channels",
    params(("channel_id" = String, Path, description = "Which channel: its id, or its name")), request_body = ChannelPatch,
    responses(
        (status = 200, description = "The channel as it is now", body = ChannelView),
        (status = 403, description = "The retention is not the caller's to change", body = Problem),
        (status = 404, description = "No such channel", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn change(
    State(drive): State<Drive>,
    State(store): State<Store>,
    State(channels): State<Channels>,
    context: Context<Acts>,
    Path(id): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let patch: ChannelPatch = input.parse()?;
    if patch.retention.is_some() && context.caller.scope < Scope::Admin {
        let channel = channel_of(&store, context.tenant(), &id).await?;
        let is_own = channel.created_by.is_some() && channel.created_by == context.caller.agent;
        if !is_own {
            let detail = "A smaller retention lets go of messages: it takes a key with the scope 'admin', or the token of \
                          the agent that made the channel.";
            return Err(Problem::forbidden(detail).into());
        }
    }
    let retention = patch.retention.unwrap_or_default();
    let operation = ChangeChannel {
        channel: id_of(&store, context.tenant(), &id).await?,
        description: patch.description,
        max_messages: retention.max_messages,
        max_age: retention.max_age_s.map(Duration::from_secs),
    };
    let channel = drive.run(context.tenant(), &operation).await?;
    channels.changed(context.tenant(), &channel.name);
    Ok(Reply::ok(&view(&channel)))
}

/// Remove a channel
///
/// Its history goes with it. Agents that are subscribed to its subject stay so: what is published on it from now on is
/// live only.
#[utoipa::path(delete, path = "/api/v1/channels/{channel_id}", operation_id = "delete_channel", tag = "Channels",
    params(("channel_id" = String, Path, description = "Which channel: its id, or its name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such channel", body = Problem)))]
pub(crate) async fn delete(
    State(drive): State<Drive>,
    State(store): State<Store>,
    State(channels): State<Channels>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<StatusCode, Refusal> {
    let operation = DeleteChannel { channel: id_of(&store, context.tenant(), &id).await? };
    let channel = drive.run(context.tenant(), &operation).await?;
    channels.changed(context.tenant(), &channel.name);
    Ok(StatusCode::NO_CONTENT)
}
