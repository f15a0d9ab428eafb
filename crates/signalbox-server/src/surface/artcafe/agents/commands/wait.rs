//! Waiting for what comes of a command: woken by the commit that ends it, on whichever node.

use std::time::Duration;

use signalbox_bus::WakeUps;
use signalbox_core::Rejected;
use signalbox_core::command::CommandStatus;
use signalbox_store::Store;
use signalbox_wire::id::{CommandId, TenantId};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use tokio_util::sync::CancellationToken;

use super::convert;
use crate::clock;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// After so long without a word from the bus, the store is asked anyway.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// How much longer than a command's time its end is waited for.
const END_MARGIN: Duration = Duration::from_millis(50);
/// When a client that waited at a server that stops may ask another.
const RETRY_AFTER_S: u32 = 1;

/// Answers what came of a command once nothing more comes of it.
pub(super) async fn answer(
    store: &Store,
    wake_ups: &WakeUps,
    draining: &CancellationToken,
    tenant: &TenantId,
    id: &CommandId,
) -> Result<Reply, Refusal> {
    // What ends it from here on wakes: the look comes after.
    let mut ended = wake_ups.ended_command(tenant, id).await;
    loop {
        let read = store.command(tenant, id).await?;
        let command = read.ok_or_else(|| Rejected::UnknownCommand(id.to_string()))?.value;
        let status = command.status;
        match status {
            CommandStatus::Success | CommandStatus::Error => {
                return Ok(Reply::ok(&convert::command(&command)));
            }
            CommandStatus::Cancelled => {
                return Err(Rejected::CommandOver { command: id.clone(), status: status.name() }.into());
            }
            CommandStatus::Expired => {
                let why = command.error.as_ref().and_then(|error| error.as_str()).unwrap_or("it expired");
                let detail = format!("Command {id} was not answered in time: {why}.");
                return Err(Problem::new(ProblemKind::CommandTimeout, detail).into());
            }
            CommandStatus::Queued | CommandStatus::Sent => {}
        }
        let left = command.expires_at.since(clock::now()) + END_MARGIN;
        tokio::select! {
            _ = ended.next() => {}
            () = tokio::time::sleep(left.min(POLL_EVERY)) => {}
            () = draining.cancelled() => {
                let detail = format!(
                    "The server is stopping; the command goes on, and GET /api/v1/agents/{{agent_id}}/commands/{id} \
                     tells what comes of it."
                );
                return Err(Problem::new(ProblemKind::NotReady, detail).retry_after(RETRY_AFTER_S).into());
            }
        }
    }
}
