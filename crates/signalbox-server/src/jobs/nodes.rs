//! The nodes over one database: each says now and then that it is there, learns who else is, looks for those that do not say so
//! any more, and ends the connections that nobody holds.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context::Jobs;
use super::presence;
use crate::engine::DriveError;

/// How often a node says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often a node looks who else is there.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// How long a node may be silent before the others take it for gone.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// How long what the store could not take rests.
const REST: Duration = Duration::from_secs(1);

/// Says that this node is there, and ends what an earlier process of it held, before anybody connects to this one. What the
/// store cannot do now, later rounds do.
pub(crate) async fn begin(app: &Jobs) {
    let begun = async {
        app.store.node_is_here().await?;
        presence::sweep(app, app.drive.node()).await
    };
    if let Err(error) = begun.await {
        tracing::warn!(%error, "agents may be shown as connected to an earlier process of this node for a while");
    }
}

/// Says that this node is there until it has left. A drain does not end it: what is in flight is this node's until then.
pub(crate) async fn say_here(app: Jobs, left: CancellationToken) {
    let mut pause = HEARTBEAT;
    loop {
        tokio::select! {
            () = left.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = match app.store.node_is_here().await {
            Ok(()) => HEARTBEAT,
            Err(error) => {
                tracing::warn!(%error, "the other nodes could not be told that this one is there");
                REST
            }
        };
    }
}

/// Sees to nodes that are gone, and to connections that nobody holds, until the server drains.
pub(super) async fn run(app: Jobs) {
    let rounds = async { tokio::join!(look_always(&app), take_over_always(&app), compare_always(&app)) };
    tokio::select! {
        () = app.draining.cancelled() => {}
        _ = rounds => {}
    }
}

/// Follows which nodes are there. Until two know of each other, both choose the same agents.
async fn look_always(app: &Jobs) {
    let mut pause = LOOKED_EVERY;
    loop {
        match app.store.nodes().await {
            Ok(nodes) => {
                // Without any there can be no other, or nobody has said yet that it is there.
                pause = if nodes.is_empty() { HEARTBEAT } else { LOOKED_EVERY };
                app.drive.set_peers(nodes);
            }
            // Whoever was there is taken to be there still.
            Err(error) => tracing::debug!(%error, "the nodes could not be looked up"),
        }
        tokio::time::sleep(pause).await;
    }
}

async fn take_over_always(app: &Jobs) {
    loop {
        if let Err(error) = take_over(app).await {
            tracing::warn!(%error, "the nodes could not be looked after; the next round tries again");
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

/// Takes over what a node held that is lost. The work that it had claimed needs nothing: its leases run out.
async fn take_over(app: &Jobs) -> Result<(), DriveError> {
    for node in app.store.lost_nodes(SILENT_MAX).await? {
        // The one that forgets it sees to it. Where that is interrupted, the next comparison of any node goes on.
        if node != *app.drive.node() && app.store.forget_node(&node, SILENT_MAX).await? {
            tracing::warn!(%node, silent_for = ?SILENT_MAX, "a node is gone; what it held is taken over");
            presence::sweep(app, &node).await?;
        }
    }
    Ok(())
}

async fn compare_always(app: &Jobs) {
    let mut pause = REST;
    loop {
        tokio::time::sleep(pause).await;
        pause = match compare(app).await {
            Ok(()) => app.config.connections_compared_every,
            Err(error) => {
                tracing::warn!(%error, "agents may be shown as connected that are not; the next round tries again");
                REST
            }
        };
    }
}

/// Ends the connections with this node that it does not hold, as their ends were not written down, and those with nodes
/// that are not there.
async fn compare(app: &Jobs) -> Result<(), DriveError> {
    let own = app.drive.node();
    presence::sweep(app, own).await?;
    let connected = app.store.connected_nodes().await?;
    // Read later: a node says that it is there before anybody connects to it.
    let here = app.store.nodes().await?;
    for node in connected.iter().filter(|node| *node != own && !here.contains(node)) {
        presence::sweep(app, node).await?;
    }
    Ok(())
}
