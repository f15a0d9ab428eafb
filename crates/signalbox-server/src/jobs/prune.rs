//! Retention: removes what is older than the operator keeps, a little at a time beside the other commits.

use std::time::Duration;

use signalbox_store::Prune;

use crate::app::App;
use crate::clock;

/// Rows removed in one commit, so that nobody waits long behind it.
const ROWS_AT_ONCE: usize = 2_000;
/// Time between rounds when there is nothing left to remove.
const EVERY: Duration = Duration::from_secs(60);
/// Time between commits while there is.
const BREATH: Duration = Duration::from_millis(50);

/// Prunes until the server drains.
pub(super) async fn run(app: App) {
    loop {
        let now = clock::now();
        let prune = Prune {
            events_before: now - app.config.retention_events,
            sessions_before: now - app.config.retention_sessions,
            messages_before: now - app.config.retention_messages,
            now,
            limit: ROWS_AT_ONCE,
        };
        let pause = match app.store.prune(prune).await {
            Ok(removed) if removed >= ROWS_AT_ONCE as u64 => BREATH,
            Ok(_) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "what is over its retention could not be removed");
                EVERY
            }
        };
        tokio::select! {
            () = app.draining.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
