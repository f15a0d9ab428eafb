//! Waiting tasks and available agents meet. Both are only looked up here; a meeting that is missed is found
//! again by the sweep, and one that is tried twice changes nothing.

use signalbox_wire::id::{AgentId, SessionId, TaskId};

use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use super::unit_of_work::{AgentWork, UnitOfWork};
use crate::decision::Key;
use crate::routing::{self, Route};
use crate::snapshot::WaitingTask;
use crate::task::Task;
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// Tries again to give a waiting task to an agent. Those that wait longer for the same agents are served before it, several of
/// one session at once. Answers whether some were and it still waits: then it is to be tried again.
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
        let Some(agent) = machine.work.choose(&task.route)? else { return self.serve(machine, false) };
        let mut queue =
            MatchQueue::new(snapshot, routing::keys_of(&machine.work.known_agent(&agent)?.agent))?;
        if queue.is_of_one_session() {
            queue = MatchQueue::new(snapshot, keys_of_candidates(&machine.work, &task.route)?)?;
        }
        loop {
            match queue.serve_next(&mut machine, None, Some(&self.task))? {
                Next::Served => {}
                Next::Others => return Ok((machine.finish(), true)),
                // A decision gives away tasks of one session alone.
                Next::Nobody if queue.served.as_ref().is_some_and(|served| *served != self.session) => {
                    return Ok((machine.finish(), true));
                }
                Next::Nobody => return self.serve(machine, queue.served.is_some()),
            }
        }
    }
}

impl MatchTask {
    /// It is its turn, unless what was served before it has ended its session.
    fn serve(&self, mut machine: Machine<'_, '_>, has_served: bool) -> Result<(Decision, bool), Halt> {
        let mut waits = self.waits(&mut machine)?;
        if waits {
            let (session, task) = (self.session.clone(), self.task.clone());
            machine.run(Command::MatchTask { session, task, to: None })?;
            waits = has_served && self.waits(&mut machine)?;
        }
        Ok((machine.finish(), waits && has_served))
    }

    fn waits(&self, machine: &mut Machine<'_, '_>) -> Result<bool, Halt> {
        let task = machine.work.task(&self.session, &self.task)?;
        Ok(task.is_some_and(|task| task.queued_at.is_some()))
    }
}

/// The tasks that wait for an agent, or for one of several, in the order in which they are served.
struct MatchQueue {
    ahead: std::vec::IntoIter<WaitingTask>,
    /// The session of those that have been served. A decision serves those of one alone: sessions that have nothing to do
    /// with one another do not conflict.
    served: Option<SessionId>,
}

/// What came of the next in a queue.
enum Next {
    /// It was served.
    Served,
    /// Nobody is left before the one that is tried.
    Nobody,
    /// Another decision goes on.
    Others,
}

impl MatchQueue {
    /// Those that wait under these routing keys.
    fn new(snapshot: &Snapshot, keys: Vec<String>) -> Result<Self, Halt> {
        Ok(Self { ahead: snapshot.waiting(&keys)?.to_vec().into_iter(), served: None })
    }

    /// Whether the first that are served are several of one session.
    fn is_of_one_session(&self) -> bool {
        matches!(self.ahead.as_slice(), [first, second, ..] if first.session == second.session)
    }

    /// Serves the first of those before `until` that can be: by `to`, where it is given.
    fn serve_next(
        &mut self,
        machine: &mut Machine<'_, '_>,
        to: Option<&AgentId>,
        until: Option<&TaskId>,
    ) -> Result<Next, Halt> {
        for WaitingTask { session, task } in self.ahead.by_ref() {
            if until == Some(&task) {
                return Ok(Next::Nobody);
            }
            if self.served.as_ref().is_some_and(|served| *served != session) {
                return Ok(Next::Others);
            }
            if is_moved(machine, Command::MatchTask { session: session.clone(), task, to: to.cloned() })? {
                self.served = Some(session);
                return Ok(Next::Served);
            }
        }
        // There may be more than are looked at.
        Ok(if self.served.is_some() { Next::Others } else { Next::Nobody })
    }
}

/// Whether anything has happened by a command.
fn is_moved(machine: &mut Machine<'_, '_>, command: Command) -> Result<bool, Halt> {
    let before = machine.work.decision.events.len();
    machine.run(command)?;
    Ok(machine.work.decision.events.len() > before)
}

/// Asks who waits for an agent that an item of a list is about to free, before much is done that would have to be done again.
pub(super) fn foresee_freed(work: &mut UnitOfWork<'_, '_>, agent: &AgentId, task: &Task) -> Result<(), Halt> {
    if task.instance.is_some()
        && let Some(keys) = keys_where(work, agent, |agent| !agent.is_available())?
    {
        work.snapshot.waiting(&keys)?;
    }
    Ok(())
}

/// Gives an agent that an item of a list has just freed the next one, where that has waited longest for it: in the same
/// commit, and nobody has to look for either. Whatever else waits is found by the hint that the agent is free.
pub(super) fn serve_freed(
    machine: &mut Machine<'_, '_>,
    agent: &AgentId,
    session: &SessionId,
) -> Result<(), Halt> {
    // One that could not be reached is for whoever knows whether it can be again.
    let is_freed = |agent: &AgentWork| {
        agent.is_available() && !agent.was_available() && agent.status.delivery_failure.is_none()
    };
    let Some(keys) = keys_where(&mut machine.work, agent, is_freed)? else { return Ok(()) };
    let mut queue = MatchQueue::new(machine.work.snapshot, keys)?;
    queue.served = Some(session.clone());
    queue.serve_next(machine, Some(agent), None)?;
    Ok(())
}

/// The keys that tasks wait under for any of the agents that one of this route may be given to.
fn keys_of_candidates(work: &UnitOfWork<'_, '_>, route: &Route) -> Result<Vec<String>, Halt> {
    let agents = match route {
        Route::Agent(agent) => vec![agent.clone()],
        _ => work.snapshot.candidates(&route.key())?.to_vec(),
    };
    let rows = agents.iter().flat_map(|agent| [Key::Agent(agent.clone()), Key::Status(agent.clone())]);
    work.snapshot.require(rows)?;
    let mut keys = Vec::new();
    for agent in agents {
        let read = work.snapshot.agent(&agent)?;
        for key in read.iter().flat_map(|agent| routing::keys_of(&agent.value)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    Ok(keys)
}

/// What waits for an agent waits under these keys, where the agent is as asked for.
fn keys_where(
    work: &mut UnitOfWork<'_, '_>,
    agent: &AgentId,
    is_asked: impl Fn(&AgentWork) -> bool,
) -> Result<Option<Vec<String>>, Halt> {
    let agent = work.agent(agent)?.filter(|agent| is_asked(agent));
    Ok(agent.map(|agent| routing::keys_of(&agent.agent)))
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
        let mut queue = MatchQueue::new(snapshot, keys)?;
        while let Next::Served = queue.serve_next(&mut machine, Some(&self.agent), None)? {
            if machine.work.agent(&self.agent)?.is_some_and(|current| !current.is_available()) {
                break;
            }
        }
        Ok((machine.finish(), queue.served.is_some()))
    }
}
