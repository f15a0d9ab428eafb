//! `GET /api/v1/channels/{channel_id}/presence`: who is subscribed, on all nodes.

use axum::extract::State;
use signalbox_store::Store;
use signalbox_wire::artcafe::{PresenceView, SubscriberView};
use signalbox_wire::problem::Problem;

use super::channel_of;
use crate::http::context::{Context, Reads};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::live::channels::Channels;

/// Show who is subscribed to a channel
///
/// Agents that are connected and subscribed to its subject, or to a pattern that matches it; on all nodes that answer
/// within a moment.
#[utoipa::path(get, path = "/api/v1/channels/{channel_id}/presence", operation_id = "channel_presence", tag = "Channels",
    params(("channel_id" = String, Path, description = "Which channel: its id, or its name")),
    responses(
        (status = 200, description = "The agents by id", body = PresenceView),
        (status = 404, description = "No such channel", body = Problem)))]
pub(crate) async fn presence(
    State(store): State<Store>,
    State(channels): State<Channels>,
    context: Context<Reads>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let channel = channel_of(&store, context.tenant(), &id).await?;
    let subscribed = channels.subscribed(context.tenant(), &channel.name).await?;
    let agents = subscribed.into_iter().map(|(agent_id, subscribed)| SubscriberView {
        agent_id,
        subject: subscribed.subject,
        since: subscribed.since,
    });
    Ok(Reply::ok(&PresenceView { agents: agents.collect() }))
}
