//! One try to send a command to its agent.
//!
//! Run twice, it sends twice under the command's id, which the agent's connection and the agent know.

use signalbox_core::command::{AgentCommand, CommandStatus};
use signalbox_core::delivery::Outcome;
use signalbox_core::engine::{SettleCommand, TimerFired};
use signalbox_store::Claimed;
use signalbox_wire::artcafe::live::{CommandData, Outgoing, Seconds};
use signalbox_wire::id::{CommandId, TenantId};
use signalbox_wire::time::Timestamp;

use super::context::Jobs;
use super::keep::keep;
use super::send::{is_reached, leave_to_holder, wait_for_connection};
use crate::clock;
use crate::engine::DriveError;
use crate::engine::slots::Slot;
use crate::transport::connection::{Delivered, Unsent};

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
        return keep(app, claimed, &settled(id, 0, Tried::not(Outcome::unwanted("")))).await;
    };
    if command.expires_at <= clock::now() {
        return keep(app, claimed, &TimerFired { work: claimed.work.clone() }).await;
    }
    let Some(tried) = send(app, claimed, tenant, &command, slot).await? else { return Ok(()) };
    keep(app, claimed, &settled(id, command.tries + 1, tried)).await
}

/// A try, and what came of it.
struct Tried {
    outcome: Outcome,
    began_at: Timestamp,
    /// Whether it went out, as far as is known.
    is_sent: bool,
}

impl Tried {
    /// It was not sent.
    fn not(outcome: Outcome) -> Self {
        Self { outcome, began_at: clock::now(), is_sent: false }
    }
}

fn settled(id: &CommandId, tries: u32, tried: Tried) -> SettleCommand {
    let Tried { outcome, began_at, is_sent } = tried;
    SettleCommand { command: id.clone(), tries, outcome, began_at, is_sent }
}

/// What came of a try; nothing where the command waits for its agent.
async fn send(
    app: &Jobs,
    claimed: &Claimed,
    tenant: &TenantId,
    command: &AgentCommand,
    slot: &mut Slot,
) -> Result<Option<Tried>, DriveError> {
    let agent = &command.agent;
    if app.store.agent(tenant, agent).await?.is_none() {
        return Ok(Some(Tried::not(Outcome::unwanted("the agent is no longer registered"))));
    }
    let (envelope, began_at) = (envelope(command), clock::now());
    let sending = app.transport.command((tenant, agent), command.id.as_str(), &envelope);
    let delivered = slot.in_turn(sending).await;
    let is_sent = matches!(delivered, Delivered::Had | Delivered::Lost);
    let outcome = match delivered.outcome() {
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
    Ok(Some(Tried { outcome, began_at, is_sent }))
}

/// The command as its agent gets it.
fn envelope(command: &AgentCommand) -> String {
    let data = CommandData {
        command: &command.command,
        args: &command.args,
        timeout: Some(Seconds(command.timeout.as_secs_f64())),
        traceparent: command.trace.as_deref(),
    };
    let (id, timestamp) = (command.id.as_str(), command.created_at);
    Outgoing { r#type: "command", id, data, timestamp }.text()
}
