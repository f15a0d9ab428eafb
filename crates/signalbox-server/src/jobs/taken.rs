//! Writes down what agents have taken and are still at, once that has been in memory for long enough.

use std::time::Duration;

use tokio::task::JoinSet;

use super::context::Jobs;
use super::dispatch;
use crate::clock;

/// Written at once, at most, so that they share commits.
const AT_ONCE: usize = 256;
/// The longest rest between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until the server drains; then what is in memory is written as it is.
pub(super) async fn run(app: Jobs) {
    let taken = app.drive.taken();
    let mut writing = JoinSet::new();
    loop {
        let is_last = app.draining.is_cancelled();
        loop {
            while writing.try_join_next().is_some() {}
            if writing.len() >= AT_ONCE {
                writing.join_next().await;
            }
            let room = AT_ONCE.saturating_sub(writing.len());
            let due = if is_last { taken.take_any(room) } else { taken.take_due(clock::now(), room) };
            if due.is_empty() {
                break;
            }
            for kept in due {
                let app = app.clone();
                writing.spawn(async move {
                    if let Err(error) = dispatch::write(&app, &kept.claimed, &kept.settled).await {
                        // The lease runs out, and the agent gets the same message again.
                        let task = &kept.settled.attempt.task;
                        tracing::warn!(%error, task = %task, "that a task was taken could not be kept");
                    }
                });
            }
        }
        if is_last {
            while writing.join_next().await.is_some() {}
            return;
        }
        tokio::select! {
            () = app.draining.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = taken.rung() => {}
        }
    }
}
