//! `GET /api/v1/channels` and `GET /api/v1/channels/{channel_id}`: the channels, page by page, and one of them.

use axum::extract::State;
use serde::Deserialize;
use signalbox_store::{Page, Store};
use signalbox_wire::artcafe::{ChannelList, ChannelView};
use signalbox_wire::paging::Cursor;
use signalbox_wire::problem::Problem;

use super::{channel_of, view};
use crate::http::context::{Context, Reads};
use crate::http::params::{Path, Query};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::artcafe::pages;

/// What the list is called in its cursors.
const LIST: &str = "channels";

/// Which page of the channels.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChannelQuery {
    /// How many at most, 1 to 1000; 100 where absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next_token` of the page before.
    next_token: Option<String>,
}

/// List the channels
#[utoipa::path(get, path = "/api/v1/channels", operation_id = "list_channels", tag = "Channels", params(ChannelQuery), responses(
    (status = 200, description = "The channels by name", body = ChannelList),
    (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<ChannelQuery>,
) -> Result<Reply, Refusal> {
    let page = pages::read(LIST, query.limit, query.next_token)?;
    let listed = store.channels(context.tenant(), &Page { limit: page.limit, after: page.after }).await?;
    Ok(Reply::ok(&ChannelList {
        channels: listed.items.iter().map(|channel| view(channel)).collect(),
        next_token: listed.next.map(|next| Cursor::encode(LIST, &next)),
    }))
}

/// Show a channel
#[utoipa::path(get, path = "/api/v1/channels/{channel_id}", operation_id = "get_channel", tag = "Channels",
    params(("channel_id" = String, Path, description = "Which channel: its id, or its name")),
    responses(
        (status = 200, description = "The channel", body = ChannelView),
        (status = 404, description = "No such channel", body = Problem)))]
pub(crate) async fn get(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    Ok(Reply::ok(&view(channel_of(&store, context.tenant(), &id).await?.as_ref())))
}
