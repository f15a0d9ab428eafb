//! The nodes over one database: each says now and then that it is there, and looks for those that do not any more.

use std::time::Duration;

use super::context::Jobs;
use super::presence;
use crate::engine::DriveError;

/// How often a node says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a node may be silent before the others take it for gone.
const SILENT_MAX: Duration = Duration::from_secs(15);

/// Says that this node is there, and sees to those that are gone, until the server drains.
pub(super) async fn run(app: Jobs) {
    loop {
        let round = async {
            if let Err(error) = look(&app).await {
                tracing::warn!(%error, "the nodes could not be looked after; the next round tries again");
            }
            tokio::time::sleep(HEARTBEAT).await;
        };
        tokio::select! {
            () = app.draining.cancelled() => break,
            () = round => {}
        }
    }
    if let Err(error) = app.store.node_left().await {
        tracing::info!(%error, "the other nodes were not told that this one has left; they will see it");
    }
}

/// Several nodes may take over what one that is lost held. The work that it had claimed needs nothing: its leases run out.
async fn look(app: &Jobs) -> Result<(), DriveError> {
    app.store.node_is_here().await?;
    for node in app.store.lost_nodes(SILENT_MAX).await? {
        tracing::warn!(%node, silent_for = ?SILENT_MAX, "a node is gone; what it held is taken over");
        presence::sweep(app, &node).await?;
        // Last, so that whoever is interrupted leaves the rest to the next round.
        app.store.forget_node(&node, SILENT_MAX).await?;
    }
    Ok(())
}
