//! Waiting tasks and available agents meet. Both are only looked up here; a meeting that is missed is found
//! again by the sweep, and one that is tried twice changes nothing.

use signalbox_wire::id::{AgentId, SessionId, TaskId};

use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use crate::routing::{self, Route};
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// Tries again to give a waiting task to an agent, or the one that waits longest for the same agent. Answers whether it
/// was another that got it: then this one is to be tried again.
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
        let waiting = machine.work.task(&self.session, &self.task)?;
        let Some(task) = waiting.filter(|task| task.queued_at.is_some()) else {
            return Ok((Decision::default(), false));
        };
        if let Some(agent) = machine.work.choose(&task.route)?
            && let Some(keys) = machine.work.agent(&agent)?.map(|current| routing::keys_of(&current.agent))
            && serve_first(&mut machine, &keys, Some(&self.task))?
        {
            return Ok((machine.finish(), true));
        }
        let (session, task) = (self.session.clone(), self.task.clone());
        machine.run(Command::MatchTask { session, task })?;
        Ok((machine.finish(), false))
    }
}

/// Serves the one that waits longest of those that wait under one of `keys` before `until`; whether one was served.
fn serve_first(machine: &mut Machine<'_, '_>, keys: &[String], until: Option<&TaskId>) -> Result<bool, Halt> {
    for waiting in machine.work.snapshot.waiting(keys)?.to_vec() {
        if until == Some(&waiting.task) {
            break;
        }
        let before = machine.work.decision.events.len();
        machine.run(Command::MatchTask { session: waiting.session, task: waiting.task })?;
        if machine.work.decision.events.len() > before {
            return Ok(true);
        }
    }
    Ok(false)
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
        let is_served = serve_first(&mut machine, &keys, None)?;
        Ok((machine.finish(), is_served))
    }
}
