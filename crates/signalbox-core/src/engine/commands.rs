//! Commands: requests to agents over their connections.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use signalbox_wire::id::{AgentId, CommandId};
use signalbox_wire::time::Timestamp;

use super::operation::Operation;
use crate::command::{AgentCommand, CommandStatus};
use crate::decision::{Key, MatchHint, Row};
use crate::delivery::Outcome;
use crate::due::{Due, DueJob, Lane};
use crate::event::{Level, NewEvent};
use crate::limits::bounded;
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot, Versioned};

/// A command is accepted for an agent, whether it is connected now or not.
#[derive(Debug, Clone)]
pub struct CreateCommand {
    /// Who is to do it.
    pub agent: AgentId,
    /// What is to be done.
    pub command: String,
    /// With what.
    pub args: Map<String, Value>,
    /// How long it may take.
    pub timeout: Duration,
    /// Who wants it.
    pub by: Option<String>,
    /// The `traceparent` of the request.
    pub trace: Option<String>,
}

impl Operation for CreateCommand {
    type Output = Arc<AgentCommand>;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Agent(self.agent.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        let agent =
            snapshot.agent(&self.agent)?.ok_or_else(|| Rejected::UnknownAgent(self.agent.to_string()))?;
        let now = context.now;
        let command = Arc::new(AgentCommand {
            id: CommandId::new(now, context.bits()),
            agent: self.agent.clone(),
            command: self.command.clone(),
            args: self.args.clone(),
            timeout: self.timeout,
            status: CommandStatus::Queued,
            by: self.by.clone(),
            trace: self.trace.clone(),
            progress: None,
            result: None,
            error: None,
            tries: 0,
            sends: 0,
            is_acknowledged: false,
            created_at: now,
            expires_at: now + self.timeout,
            sent_at: None,
            ended_at: None,
            is_answered_late: false,
        });
        let mut decision = Decision::default();
        decision.expects.push((Key::Agent(self.agent.clone()), Some(agent.version)));
        decision.arm(send(&command, now));
        let data = json!({"commandId": command.id, "command": self.command, "by": self.by});
        decision.events.push(NewEvent::new("command.created", Level::Debug, now, &data).about(&self.agent));
        decision.create(Row::Command(Arc::clone(&command)), context.version_after(None));
        Ok((decision, command))
    }
}

/// A try to send a command to its agent has ended.
#[derive(Debug, Clone)]
pub struct SettleCommand {
    /// The command.
    pub command: CommandId,
    /// Which try it was, from 1: a repeat of an older one changes nothing.
    pub tries: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub began_at: Timestamp,
    /// Whether it went out over a connection, as far as is known.
    pub is_sent: bool,
}

impl SettleCommand {
    /// Whether the agent has connected anew since the try began: what had the command may be gone.
    fn is_of_earlier_connection(
        &self,
        snapshot: &Snapshot,
        agent: &AgentId,
        decision: &mut Decision,
    ) -> Result<bool, Halt> {
        let status = snapshot.status(agent)?;
        decision.expects.push((Key::Status(agent.clone()), status.as_ref().map(|status| status.version)));
        Ok(status.is_some_and(|status| status.value.is_connected_anew_since(self.began_at)))
    }
}

impl Operation for SettleCommand {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        vec![Key::Command(self.command.clone())]
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let now = context.now;
        let Some(read) = snapshot.command(&self.command)? else {
            return Ok((struck_out(&self.command, None), ()));
        };
        if read.value.status != CommandStatus::Queued || read.value.tries + 1 != self.tries {
            let is_due = read.value.status == CommandStatus::Queued;
            return Ok((if is_due { Decision::default() } else { settled(&read) }, ()));
        }
        let mut command = AgentCommand::clone(&read.value);
        command.tries = self.tries;
        command.sends += u32::from(self.is_sent);
        let mut decision = Decision::default();
        match &self.outcome {
            Outcome::Delivered { .. }
                if self.is_of_earlier_connection(snapshot, &command.agent, &mut decision)?
                    && command.comes_again(now) =>
            {
                decision.arm(send_in_order(&command));
            }
            Outcome::Delivered { .. } => {
                command.sent(now);
                decision.arm(timeout(&command));
                // The agent is about to answer; lost, it is sent again, and known by its id.
                decision.may_wait = true;
                log(&mut decision, &command, "command.sent", Level::Debug, now);
            }
            Outcome::Failed { error, may_retry: true, .. } if self.is_sent => {
                command.error = Some(Value::String(bounded(error)));
                if command.comes_again(now) {
                    decision.arm(send_in_order(&command));
                    log(&mut decision, &command, "command.retrying", Level::Warning, now);
                } else {
                    // It may be at work on it all the same: its answer counts until the command's time is over.
                    command.sent(now);
                    decision.arm(timeout(&command));
                    log(&mut decision, &command, "command.sent", Level::Warning, now);
                }
            }
            Outcome::Failed { error, may_retry: true, .. } => {
                let wait = context.policy.delivery_backoff.wait(self.tries, context.fraction());
                command.error = Some(Value::String(bounded(error)));
                decision.arm(send(&command, now + wait));
                log(&mut decision, &command, "command.retrying", Level::Warning, now);
            }
            Outcome::Failed { error, .. } => {
                command.end(CommandStatus::Error, Some(Value::String(bounded(error))), now);
            }
            Outcome::Unwanted { reason } => {
                command.end(CommandStatus::Cancelled, Some(Value::String(bounded(reason))), now);
            }
        }
        keep(&mut decision, &read, command, context);
        Ok((decision, ()))
    }
}

/// The command of an agent that connects anew: where the one that had it may be gone, it is sent again.
pub(super) fn connected_anew(
    decision: &mut Decision,
    read: &Versioned<AgentCommand>,
    context: &DecisionContext<'_>,
) {
    let now = context.now;
    match read.value.status {
        // A try that is under way goes over the earlier connection, or over this one.
        CommandStatus::Queued => {
            decision.expects.push((Key::Command(read.value.id.clone()), Some(read.version)));
            if read.value.tries > 0 {
                decision.arm(send_in_order(&read.value));
            }
        }
        CommandStatus::Sent if read.value.comes_again(now) => {
            let command = AgentCommand { status: CommandStatus::Queued, ..AgentCommand::clone(&read.value) };
            decision.arm(send_in_order(&command));
            log(decision, &command, "command.sent_again", Level::Info, now);
            keep(decision, read, command, context);
        }
        _ => {}
    }
}

/// An agent says that it has a command, and will see to it.
#[derive(Debug, Clone)]
pub struct AcknowledgeCommand {
    /// Who says so.
    pub agent: AgentId,
    /// Of what.
    pub command: CommandId,
}

impl Operation for AcknowledgeCommand {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        vec![Key::Command(self.command.clone())]
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let read = snapshot.command(&self.command)?.filter(|read| read.value.agent == self.agent);
        let is_open = |command: &AgentCommand| !command.status.is_over() && !command.is_acknowledged;
        let Some(read) = read.filter(|read| is_open(&read.value)) else {
            return Ok((Decision::default(), ()));
        };
        let mut command = AgentCommand::clone(&read.value);
        command.is_acknowledged = true;
        command.sent(context.now);
        let mut decision = Decision::default();
        decision.arm(timeout(&command));
        keep(&mut decision, &read, command, context);
        Ok((decision, ()))
    }
}

/// An agent answers a command.
#[derive(Debug, Clone)]
pub struct AnswerCommand {
    /// Who answers.
    pub agent: AgentId,
    /// What.
    pub command: CommandId,
    /// What came of it, or what went wrong.
    pub answer: Result<Value, Value>,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandAnswered {
    /// It was taken.
    Taken,
    /// It came after the command had ended so: it is in the log, and changes nothing.
    TooLate(CommandStatus),
}

impl Operation for AnswerCommand {
    type Output = CommandAnswered;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Command(self.command.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, CommandAnswered), Halt> {
        let read = of_agent(snapshot, &self.agent, &self.command)?;
        let now = context.now;
        let mut decision = Decision::default();
        let status = if self.answer.is_ok() { CommandStatus::Success } else { CommandStatus::Error };
        if read.value.status.is_over() {
            // Once, however often the agent repeats it.
            if !read.value.is_answered_late {
                let data = json!({"commandId": self.command, "command": read.value.command,
                    "status": read.value.status, "answer": status});
                let event = NewEvent::new("command.answered_late", Level::Info, now, &data);
                decision.events.push(event.about(&self.agent));
                let late = AgentCommand { is_answered_late: true, ..AgentCommand::clone(&read.value) };
                let version = context.version_after(Some(read.version));
                decision.put(Row::Command(Arc::new(late)), Some(read.version), version);
            }
            return Ok((decision, CommandAnswered::TooLate(read.value.status)));
        }
        let mut command = AgentCommand::clone(&read.value);
        command.sent_at.get_or_insert(now);
        // It was sent, whether that is written down by now or not.
        command.tries = command.tries.max(1);
        command.sends = command.sends.max(1);
        command.error = None;
        match &self.answer {
            Ok(result) => command.result = Some(result.clone()),
            Err(error) => command.error = Some(error.clone()),
        }
        command.end(status, None, now);
        keep(&mut decision, &read, command, context);
        Ok((decision, CommandAnswered::Taken))
    }
}

/// An agent says how far it is with a command.
#[derive(Debug, Clone)]
pub struct ProgressCommand {
    /// Who says so.
    pub agent: AgentId,
    /// Of what.
    pub command: CommandId,
    /// How far it is.
    pub progress: Value,
}

impl Operation for ProgressCommand {
    /// Whether the command is still open.
    type Output = bool;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Command(self.command.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, bool), Halt> {
        let read = of_agent(snapshot, &self.agent, &self.command)?;
        if read.value.status.is_over() {
            return Ok((Decision::default(), false));
        }
        let mut command = AgentCommand::clone(&read.value);
        command.sent(context.now);
        command.progress = Some(self.progress.clone());
        let mut decision = Decision::default();
        decision.arm(timeout(&command));
        keep(&mut decision, &read, command, context);
        Ok((decision, true))
    }
}

/// A command is no longer wanted.
#[derive(Debug, Clone)]
pub struct CancelCommand {
    /// Whose it is.
    pub agent: AgentId,
    /// The command.
    pub command: CommandId,
    /// Why.
    pub reason: Option<String>,
}

impl Operation for CancelCommand {
    type Output = Arc<AgentCommand>;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Command(self.command.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        let read = of_agent(snapshot, &self.agent, &self.command)?;
        if read.value.status.is_over() {
            let (command, status) = (self.command.clone(), read.value.status.name());
            return Err(Rejected::CommandOver { command, status }.into());
        }
        let mut command = AgentCommand::clone(&read.value);
        let reason = self.reason.as_deref().unwrap_or("it was cancelled");
        command.end(CommandStatus::Cancelled, Some(Value::String(bounded(reason))), context.now);
        let mut decision = Decision::default();
        let command = keep(&mut decision, &read, command, context);
        Ok((decision, command))
    }
}

/// A command's time has come: to end, if it is not over. Answers when to look again, where it is too early.
pub(super) fn expire(
    snapshot: &Snapshot,
    context: &mut DecisionContext<'_>,
    work: &DueJob,
    id: &CommandId,
) -> Result<Decision, Halt> {
    let now = context.now;
    let Some(read) = snapshot.command(id)? else { return Ok(struck_out(id, None)) };
    if read.value.status.is_over() {
        return Ok(settled(&read));
    }
    let mut decision = Decision::default();
    if now < read.value.expires_at {
        if matches!(work, DueJob::CommandTimeout { .. }) {
            decision.expects.push((Key::Command(id.clone()), Some(read.version)));
            decision.arm(timeout(&read.value));
        }
        return Ok(decision);
    }
    let mut command = AgentCommand::clone(&read.value);
    let seconds = command.timeout.as_secs_f64();
    let reason = match command.status {
        CommandStatus::Queued => format!("the agent was not reached within {seconds} s"),
        _ if command.sends > 1 => {
            format!("the agent did not answer within {seconds} s; it was sent {} times", command.sends)
        }
        _ => format!("the agent did not answer within {seconds} s"),
    };
    command.end(CommandStatus::Expired, Some(Value::String(reason)), now);
    keep(&mut decision, &read, command, context);
    Ok(decision)
}

/// Writes a command that was read. What is over is no longer due, and whoever waits for it is told.
fn keep(
    decision: &mut Decision,
    read: &Versioned<AgentCommand>,
    command: AgentCommand,
    context: &DecisionContext<'_>,
) -> Arc<AgentCommand> {
    if command.status.is_over() {
        decision.disarm(DueJob::Command { command: command.id.clone() }.id());
        decision.hints.push(MatchHint::Ended(command.id.clone()));
        let (kind, level) = match command.status {
            CommandStatus::Success => ("command.succeeded", Level::Info),
            CommandStatus::Expired => ("command.expired", Level::Warning),
            CommandStatus::Cancelled => ("command.cancelled", Level::Info),
            _ => ("command.failed", Level::Warning),
        };
        log(decision, &command, kind, level, context.now);
    }
    let command = Arc::new(command);
    let version = context.version_after(Some(read.version));
    decision.put(Row::Command(Arc::clone(&command)), Some(read.version), version);
    command
}

fn log(decision: &mut Decision, command: &AgentCommand, kind: &str, level: Level, now: Timestamp) {
    let data = json!({
        "commandId": command.id,
        "command": command.command,
        "attempt": command.tries,
        "error": command.error,
    });
    decision.events.push(NewEvent::new(kind, level, now, &data).about(&command.agent));
}

/// A command that this agent was given.
fn of_agent(snapshot: &Snapshot, agent: &AgentId, id: &CommandId) -> Result<Versioned<AgentCommand>, Halt> {
    let read = snapshot.command(id)?.filter(|read| read.value.agent == *agent);
    read.ok_or_else(|| Rejected::UnknownCommand(id.to_string()).into())
}

/// The due work of sending it, over at its end.
fn send(command: &AgentCommand, at: Timestamp) -> Due {
    let job = DueJob::Command { command: command.id.clone() };
    Due::new(job, at).by(Lane::commands(&command.agent)).until(command.expires_at)
}

/// The same at once, before what was accepted after it.
fn send_in_order(command: &AgentCommand) -> Due {
    send(command, command.created_at)
}

/// What is due once the agent has it.
fn timeout(command: &AgentCommand) -> Due {
    Due::new(DueJob::CommandTimeout { command: command.id.clone() }, command.expires_at)
}

/// What is left to do where the agent has it, or it is over.
fn settled(read: &Versioned<AgentCommand>) -> Decision {
    if read.value.status.is_over() {
        return struck_out(&read.value.id, Some(read.version));
    }
    let mut decision = Decision::default();
    decision.expects.push((Key::Command(read.value.id.clone()), Some(read.version)));
    decision.arm(timeout(&read.value));
    decision
}

/// A command that is gone, or over, is no longer due.
fn struck_out(id: &CommandId, read: Option<i64>) -> Decision {
    let mut decision = Decision::default();
    decision.expects.push((Key::Command(id.clone()), read));
    decision.disarm(DueJob::Command { command: id.clone() }.id());
    decision
}
