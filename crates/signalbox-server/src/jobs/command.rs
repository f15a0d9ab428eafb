//! One try to send a command to its agent.
//!
//! Run twice, it sends twice under the command's id, which the agent's connection and the agent know.

use signalbox_core::command::{AgentCommand, CommandStatus};
use signalbox_core::delivery::Outcome;
use signalbox_core::engine::{SettleCommand, TimerFired};
use signalbox_store::Claimed;
use signalbox_wire::artcafe::live::{CommandData, Outgoing};
use signalbox_wire::id::{CommandId, TenantId};

use super::context::Jobs;
use super::keep::keep;
use super::send::{is_reached, leave_to_holder, wait_for_connection};
use crate::clock;
use crate::engine::DriveError;
use crate::engine::slots::Slot;
use crate::transport::connection::Unsent;

/// Sends a claimed command to its agent.
pub(super) async fn run(
    app: &Jobs,
    claimed: &Claimed,
    id: &CommandId,
    slot: &mut Slot,
) -> Result<(), DriveError> {
    let tenant = &claimed.tenant;
    let read = app.store.command(tenant, id).await?.map(|read| read.value);
    let Some(command) = read.filter(|command| command.status == CommandStatus::Queued) else {
        // It is over, or its agent has it.
        let settled = SettleCommand { command: id.clone(), tries: 0, outcome: Outcome::unwanted("") };
        return keep(app, claimed, &settled).await;
    };
    if command.expires_at <= clock::now() {
        return keep(app, claimed, &TimerFired { work: claimed.work.clone() }).await;
    }
    let Some(outcome) = send(app, claimed, tenant, &command, slot).await? else { return Ok(()) };
    let settled = SettleCommand { command: id.clone(), tries: command.tries + 1, outcome };
    keep(app, claimed, &settled).await
}

/// What came of a try; nothing where the command waits for its agent.
async fn send(
    app: &Jobs,
    claimed: &Claimed,
    tenant: &TenantId,
    command: &AgentCommand,
    slot: &mut Slot,
) -> Result<Option<Outcome>, DriveError> {
    let agent = &command.agent;
    if app.store.agent(tenant, agent).await?.is_none() {
        return Ok(Some(Outcome::unwanted("the agent is no longer registered")));
    }
    let delivered = app.transport.command((tenant, agent), command.id.as_str(), &envelope(command)).await;
    let outcome = match delivered {
        Ok(outcome) => outcome,
        Err(Unsent::Elsewhere(reason)) => {
            leave_to_holder(app, claimed, Some(agent), &reason).await?;
            return Ok(None);
        }
        Err(Unsent::NotConnected) => {
            if wait_for_connection(app, claimed, Some(agent)).await? {
                return Ok(None);
            }
            Outcome::failed(format!("agent {agent} is not connected"), true)
        }
    };
    slot.leave(is_reached(&outcome), clock::now());
    Ok(Some(outcome))
}

/// The command as its agent gets it.
fn envelope(command: &AgentCommand) -> String {
    let data = CommandData {
        command: &command.command,
        args: &command.args,
        timeout: Some(command.timeout.as_secs_f64()),
        traceparent: command.trace.as_deref(),
    };
    let (id, timestamp) = (command.id.as_str(), command.created_at);
    Outgoing { r#type: "command", id, data, timestamp }.text()
}
