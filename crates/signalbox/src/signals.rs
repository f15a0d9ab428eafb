//! The signals that end a command in order.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// Ends when this process is asked to: by Ctrl-C, SIGTERM, or as its terminal is gone.
pub(crate) async fn interrupted() -> anyhow::Result<()> {
    let unheard = "signals cannot be listened for";
    let mut terminate = signal(SignalKind::terminate()).context(unheard)?;
    let mut hangup = signal(SignalKind::hangup()).context(unheard)?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.context(unheard),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}
