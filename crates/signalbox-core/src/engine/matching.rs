//! Waiting tasks and available agents meet. Both are only looked up here; a meeting that is missed is found
//! again by the sweep, and one that is tried twice changes nothing.

use signalbox_wire::id::{AgentId, SessionId, TaskId};

use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use super::unit_of_work::UnitOfWork;
use crate::limits::CANDIDATES_LOOKED_AT;
use crate::routing::{self, Route};
use crate::snapshot::WaitingTask;
use crate::steps::STEPS_PER_MOVE;
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// Tries again to give a waiting task to an agent, or the one that waits longest for the same agent. Where it waits no
/// more, those that wait for the same agents are tried. Answers whether one was served: then it is to be tried again.
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
        let Some(task) = machine.work.task(&self.session, &self.task)? else {
            return Ok((Decision::default(), false));
        };
        let waits = task.queued_at.is_some();
        let chosen = machine.work.choose(&task.route, CANDIDATES_LOOKED_AT)?;
        let mut is_served = false;
        if let Some(agent) = &chosen
            && let Some(keys) = machine.work.agent(agent)?.map(|current| routing::keys_of(&current.agent))
        {
            is_served = serve_first(&mut machine, &keys, Some(&self.task).filter(|_| waits))?;
        }
        // Nobody is there: it waits on, unless it is for an agent that is gone.
        if !is_served && waits && (chosen.is_some() || matches!(task.route, Route::Agent(_))) {
            let before = machine.work.decision.events.len();
            let (session, task) = (self.session.clone(), self.task.clone());
            machine.run(Command::MatchTask { session, task, to: None })?;
            is_served = machine.work.decision.events.len() > before;
        }
        Ok((machine.finish(), is_served))
    }
}

/// Serves the one that waits longest of those that wait under one of `keys` before `until`; whether one was served.
fn serve_first(machine: &mut Machine<'_, '_>, keys: &[String], until: Option<&TaskId>) -> Result<bool, Halt> {
    for waiting in machine.work.snapshot.waiting(keys)?.to_vec() {
        if until == Some(&waiting.task) {
            break;
        }
        let before = machine.work.decision.events.len();
        machine.run(Command::MatchTask { session: waiting.session, task: waiting.task, to: None })?;
        if machine.work.decision.events.len() > before {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an agent may become available by an operation about a task of this session while others of the session
/// wait: what [`serve_freed`] will look for is asked for before anything is done that would have to be done again.
pub(super) fn foresee_freed(
    work: &mut UnitOfWork<'_, '_>,
    agent: &AgentId,
    session: &SessionId,
) -> Result<(), Halt> {
    let are_queued = work.session(session)?.is_some_and(|state| state.tasks.are_queued());
    if are_queued && !work.is_available(agent)? {
        waiting_for(work, agent)?;
    }
    Ok(())
}

/// The tasks that wait longest for an agent. What waits for it alone is looked for apart: nearly always nothing does, and
/// what waits for any of several agents is the same list for all that are decided about as one.
fn waiting_for(work: &mut UnitOfWork<'_, '_>, agent: &AgentId) -> Result<Vec<WaitingTask>, Halt> {
    let Some(current) = work.agent(agent)? else { return Ok(Vec::new()) };
    let (own, shared) = ([Route::Agent(agent.clone()).key()], routing::listing_of(&current.agent));
    let snapshot = work.snapshot;
    let waiting = match snapshot.waiting(&own)?.is_empty() {
        true => snapshot.waiting(&shared)?,
        false => snapshot.waiting(&[&own[..], &shared].concat())?,
    };
    Ok(waiting.to_vec())
}

/// An agent that has become available by this decision takes the tasks that wait longest for it, as far as they are
/// of the session that the decision is about. Others are left to a decision of their own, which changes their session.
pub(super) fn serve_freed(
    machine: &mut Machine<'_, '_>,
    agent: &AgentId,
    session: &SessionId,
) -> Result<(), Halt> {
    let work = &mut machine.work;
    let are_queued = work.session(session)?.is_some_and(|state| state.tasks.are_queued());
    if !are_queued || work.was_available(agent)? || !work.is_available(agent)? {
        return Ok(());
    }
    for waiting in waiting_for(work, agent)? {
        let work = &mut machine.work;
        if waiting.session != *session || !work.is_available(agent)? {
            break;
        }
        let task = work.task(session, &waiting.task)?.filter(|task| task.queued_at.is_some());
        let Some(task) = task else { continue };
        // One that has only begun to wait stands in no list yet, and may come before it.
        if work.newcomers().is_some_and(|priority| priority > task.rules.priority) {
            break;
        }
        work.context.steps.take(STEPS_PER_MOVE)?;
        let (session, task) = (waiting.session, waiting.task);
        machine.run(Command::MatchTask { session, task, to: Some(agent.clone()) })?;
    }
    Ok(())
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
