//! One call of the tool that does a task.
//!
//! Run twice, it calls twice; the second outcome finds the attempt over and changes nothing. A process that dies
//! here leaves a lease that runs out.

use signalbox_core::engine::SettleCall;
use signalbox_store::Claimed;
use signalbox_wire::id::{SessionId, TaskId};

use super::slots::Slots;
use crate::app::App;

/// Calls the tool of a claimed task.
pub(super) async fn run(
    app: &App,
    claimed: &Claimed,
    session: &SessionId,
    task: &TaskId,
    attempt: u32,
    _slot: Option<Slots>,
) {
    let outcome = Err(("TOOL_NOT_FOUND".to_owned(), "there is no such tool".to_owned()));
    let operation = SettleCall { session: session.clone(), task: task.clone(), attempt, outcome };
    if let Err(error) = app.drive.run(&claimed.tenant, &operation).await {
        // The lease runs out and the tool is called again.
        tracing::warn!(%error, task = %task, "what came of calling a tool could not be kept");
    }
}
