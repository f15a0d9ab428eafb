//! Where the words of this surface for commands and the engine's meet.

use signalbox_core::Rejected;
use signalbox_core::command::{self, AgentCommand};
use signalbox_core::limits::bounded;
use signalbox_wire::artcafe::{CommandStatus, CommandView};
use signalbox_wire::id::CommandId;

/// The command that a path names.
pub(super) fn command_id(text: &str) -> Result<CommandId, Rejected> {
    CommandId::parse(text).map_err(|_| Rejected::UnknownCommand(bounded(text)))
}

pub(super) fn status(status: command::CommandStatus) -> CommandStatus {
    match status {
        command::CommandStatus::Queued => CommandStatus::Queued,
        command::CommandStatus::Sent => CommandStatus::Sent,
        command::CommandStatus::Success => CommandStatus::Success,
        command::CommandStatus::Error => CommandStatus::Error,
        command::CommandStatus::Expired => CommandStatus::Expired,
        command::CommandStatus::Cancelled => CommandStatus::Cancelled,
    }
}

/// A command as it is shown.
pub(super) fn command(command: &AgentCommand) -> CommandView {
    CommandView {
        command_id: command.id.clone(),
        agent_id: command.agent.clone(),
        command: command.command.clone(),
        args: command.args.clone(),
        timeout: command.timeout.as_secs(),
        status: status(command.status),
        progress: command.progress.clone(),
        result: command.result.clone(),
        error: command.error.clone(),
        by: command.by.clone(),
        attempts: command.tries,
        created_at: command.created_at,
        expires_at: command.expires_at,
        sent_at: command.sent_at,
        ended_at: command.ended_at,
    }
}
