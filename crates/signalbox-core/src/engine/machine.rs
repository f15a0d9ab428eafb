//! A session's machine: commands wait in a queue, one loop does them, each by a step in a file of its own.
//!
//! The commands, and what follows from what, are listed in [`command`]. A step calls the unit of work and adds commands;
//! only this file calls steps. Operations run commands on a machine and read its unit of work in between.

mod advance;
mod ask_approval;
mod begin;
mod call_tool;
pub(super) mod command;
mod complete_task;
mod conclude;
mod enter_group;
mod expand;
mod fail_task;
mod finish_session;
mod given;
mod match_task;
mod replace_in_group;
mod retry_task;
mod return_task;
mod sleep;
mod start_child;
mod terminate;
mod wait;

use signalbox_wire::id::{SessionId, TaskId};

use self::command::{Command, Commands};
use super::start::Start;
use super::unit_of_work::UnitOfWork;
use crate::definition::Definition;
use crate::limits::TASKS_PER_SESSION_MAX;
use crate::session::SessionStatus;
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// Commands that are done one after the other without anybody asking for more. Each task begins at most a few times in
/// one decision; more would be a defect that never ends.
const COMMANDS_MAX: usize = TASKS_PER_SESSION_MAX * 32;

/// A unit of work, and what is still to be done in it.
pub(super) struct Machine<'w, 'p> {
    pub(super) work: UnitOfWork<'w, 'p>,
    commands: Commands,
}

impl<'w, 'p> Machine<'w, 'p> {
    pub(super) fn new(snapshot: &'w Snapshot, context: &'w mut DecisionContext<'p>) -> Self {
        Self { work: UnitOfWork::new(snapshot, context), commands: Commands::default() }
    }

    /// Does a command, and all that follows from it.
    pub(super) fn run(&mut self, command: Command) -> Result<(), Halt> {
        self.commands.push(command);
        self.drain()
    }

    /// Lets a session go on as far as it can by itself.
    pub(super) fn advance(&mut self, session: &SessionId) -> Result<(), Halt> {
        self.run(Command::advance(session))
    }

    /// The wait before the next attempt of a task is over.
    pub(super) fn try_again(&mut self, session: &SessionId, task: &TaskId) -> Result<(), Halt> {
        let state = self.work.known_session(session)?;
        let is_held_up = state.session.status == SessionStatus::Paused || state.session.waits_for_group;
        match state.task(task).map(|task| task.position).filter(|_| !is_held_up) {
            Some(position) => self.run(Command::Begin { session: session.clone(), position }),
            None => Ok(()),
        }
    }

    /// Starts a session of `definition`, and lets it go on as far as it can. Whatever refuses it does so before
    /// anything is changed.
    pub(super) fn start(&mut self, start: Start<'_>, definition: &Definition) -> Result<SessionId, Halt> {
        let work = &mut self.work;
        if let Some(agent) = start.agent {
            work.known_agent(agent)?;
        }
        let session = SessionId::new(work.context.now, work.context.bits());
        start.session(&session, definition, work, &mut self.commands)?;
        self.drain()?;
        Ok(session)
    }

    /// The decision.
    pub(super) fn finish(self) -> Decision {
        self.work.finish()
    }

    fn drain(&mut self) -> Result<(), Halt> {
        for _ in 0..COMMANDS_MAX {
            let Some((command, waiting)) = self.commands.next() else { return Ok(()) };
            if let Err(halt) = step(command, &mut self.work, &mut self.commands) {
                self.commands.clear();
                return Err(halt);
            }
            self.commands.end_step(waiting);
        }
        Err(Rejected::InvalidTransition("what follows does not come to rest".to_owned()).into())
    }
}

fn step(command: Command, work: &mut UnitOfWork<'_, '_>, then: &mut Commands) -> Result<(), Halt> {
    match command {
        Command::Advance { session } => advance::advance(&session, work, then),
        Command::Begin { session, position } => begin::begin(&session, position, work, then),
        Command::Expand { session, task } => expand::expand(&session, &task, work, then),
        Command::MatchTask { session, task, to } => {
            match_task::match_task(&session, &task, to.as_ref(), work, then)
        }
        Command::CallTool { session, task } => call_tool::call_tool(&session, &task, work, then),
        Command::StartChild { session, task, workflow } => {
            start_child::start_child(&session, &task, &workflow, work, then)
        }
        Command::Wait { session, task } => wait::wait(&session, &task, work),
        Command::Sleep { session, task } => sleep::sleep(&session, &task, work, then),
        Command::AskApproval { session, task } => ask_approval::ask_approval(&session, &task, work, then),
        Command::CompleteTask { session, task, result } => {
            complete_task::complete_task(&session, &task, result, work, then)
        }
        Command::ReturnTask { attempt, reason } => return_task::return_task(&attempt, &reason, work, then),
        Command::RetryTask { session, task, error } => retry_task::retry_task(&session, &task, &error, work),
        Command::FailTask { session, task, error } => {
            fail_task::fail_task(&session, &task, &error, work, then)
        }
        Command::Terminate { session, status, reason } => {
            terminate::terminate(&session, status, reason, work, then)
        }
        Command::Conclude { session } => conclude::conclude(&session, work, then),
        Command::FinishSession { session, end } => finish_session::finish_session(&session, end, work, then),
        Command::EnterGroup { session, claim, admission } => {
            enter_group::enter_group(&session, &claim, admission, work, then)
        }
        Command::ReplaceInGroup { session, group } => {
            replace_in_group::replace_in_group(&session, &group, work, then)
        }
        Command::LeaveGroup { session, group } => work.leave_group(&group, &session),
        Command::AdmitNext { group } => work.admit_next(&group),
    }
}
