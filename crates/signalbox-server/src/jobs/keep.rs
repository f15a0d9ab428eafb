//! Keeping what came of a job: a store that cannot answer for a moment must not cost the whole lease.

use std::time::Duration;

use signalbox_store::Claimed;

use super::context::Jobs;
use super::postpone::postpone;
use crate::clock;
use crate::engine::{DriveError, Driven};

/// The first wait before an outcome is stored again; it doubles.
const WAIT_INITIAL: Duration = Duration::from_millis(100);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Runs an operation that tells what came of claimed work, again and again while the store cannot answer and the
/// lease lasts. Operations on outcomes change nothing when they are repeated.
pub(super) async fn keep<O: Driven>(
    app: &Jobs,
    claimed: &Claimed,
    operation: &O,
) -> Result<O::Output, DriveError> {
    let mut wait = WAIT_INITIAL;
    loop {
        let error = match app.drive.run(&claimed.tenant, operation).await {
            Err(DriveError::Store(error)) if error.is_passing() => error,
            other => return other,
        };
        if !claimed.lease.covers(clock::now(), wait) {
            return Err(error.into());
        }
        tracing::info!(%error, work = %claimed.work.id(), "what came of a job is stored again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// What could not be done because the store did not answer is due again soon, not only when its lease is over.
pub(super) async fn retry_soon(app: &Jobs, claimed: &Claimed) {
    if let Err(error) = postpone(app, claimed, clock::now() + WAIT_MAX).await {
        tracing::info!(%error, work = %claimed.work.id(), "it is due again when its lease is over");
    }
}
