//! Waiting tasks and available agents meet. Both are only looked up here; a meeting that is missed is found
//! again by the sweep, and one that is tried twice changes nothing.

use signalbox_wire::id::{AgentId, SessionId, TaskId};

use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use crate::routing::{self, Route};
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// Tries again to give a waiting task to an agent. Answers whether it no longer waits.
#[derive(Debug, Clone)]
pub struct MatchTask {
    /// The session.
    pub session: SessionId,
    /// The task.
    pub task: TaskId,
}

impl Operation for MatchTask {
    type Output = bool;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, bool), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let is_waiting = |machine: &mut Machine<'_, '_>| -> Result<bool, Halt> {
            Ok(machine.work.task(&self.session, &self.task)?.is_some_and(|task| task.queued_at.is_some()))
        };
        if !is_waiting(&mut machine)? {
            return Ok((Decision::default(), true));
        }
        let (session, task) = (self.session.clone(), self.task.clone());
        machine.run(Command::MatchTask { session, task })?;
        let is_placed = !is_waiting(&mut machine)?;
        Ok((machine.finish(), is_placed))
    }
}

/// Offers an agent that may have become available to the tasks that wait for it, the longest waiting first. Where it
/// is gone, what waits for it alone learns so.
/// Answers whether it took one, and might take another.
#[derive(Debug, Clone)]
pub struct MatchAgent {
    /// The agent.
    pub agent: AgentId,
}

impl Operation for MatchAgent {
    type Output = bool;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, bool), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let keys = match machine.work.agent(&self.agent)?.map(|current| routing::keys_of(&current.agent)) {
            Some(_) if !machine.work.is_available(&self.agent)? => return Ok((Decision::default(), false)),
            Some(keys) => keys,
            None => vec![Route::Agent(self.agent.clone()).key()],
        };
        for waiting in machine.work.snapshot.waiting(&keys)?.to_vec() {
            let before = machine.work.decision.events.len();
            machine.run(Command::MatchTask { session: waiting.session, task: waiting.task })?;
            if machine.work.decision.events.len() > before {
                return Ok((machine.finish(), true));
            }
        }
        Ok((machine.finish(), false))
    }
}
