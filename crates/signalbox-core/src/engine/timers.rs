//! A moment has come that a task or a session was waiting for. Coming late, early or twice changes nothing.

use std::sync::Arc;

use signalbox_wire::id::{SessionId, TaskId};
use signalbox_wire::time::Timestamp;

use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use super::unit_of_work::UnitOfWork;
use super::{commands, connections, schedules};
use crate::decision::Key;
use crate::definition::Kind;
use crate::delivery::TaskAttempt;
use crate::due::{Due, DueJob};
use crate::session::{SessionEvent, SessionStatus};
use crate::task::{Fault, Task, TaskStatus};
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// Timed due work is due.
#[derive(Debug, Clone)]
pub struct TimerFired {
    /// What was due.
    pub work: DueJob,
}

impl Operation for TimerFired {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        self.work.session().cloned().map(Key::Session).into_iter().collect()
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let mut machine = Machine::new(snapshot, context);
        match &self.work {
            DueJob::Timeout { session, task, attempt }
            | DueJob::Dispatch { session, task, attempt }
            | DueJob::Call { session, task, attempt } => {
                let Some(task) = machine.work.held(session, task, *attempt)? else {
                    return self.over(machine);
                };
                let limit = task.rules.timeout.unwrap_or(machine.work.context.policy.task_timeout);
                let ends = task.times_out_at(limit);
                if !matches!(self.work, DueJob::Timeout { .. })
                    && ends.is_some_and(|ends| machine.work.context.now < ends)
                {
                    // It was given less time than it is given now: it stays due until it is sent or called.
                    return Ok((Decision::default(), ()));
                }
                if machine.work.has_come(&self.work, ends) {
                    let error = format!("no report settled the task within {} s", limit.as_secs_f64());
                    machine.run(Command::attempt_failed(session, task, error, Fault::TimedOut))?;
                }
            }
            DueJob::Heartbeat { session, task, attempt } => {
                let Some(task) = machine.work.held(session, task, *attempt)? else {
                    return self.over(machine);
                };
                let Some(limit) = task.rules.heartbeat_timeout else { return self.over(machine) };
                let heard = task.last_report_at.or(task.started_at).or(task.dispatched_at);
                if machine.work.has_come(&self.work, heard.map(|at| at + limit)) {
                    let error = format!("its agent was not heard for {} s", limit.as_secs_f64());
                    machine.run(Command::attempt_failed(session, task, error, Fault::Silent))?;
                }
            }
            DueJob::Schedule { session, task, attempt } => {
                let Some(task) = machine.work.pending(session, task, *attempt)? else {
                    return self.over(machine);
                };
                let Some(limit) = task.rules.schedule_timeout else { return self.over(machine) };
                let Some(queued_at) = task.queued_at else { return self.over(machine) };
                if machine.work.has_come(&self.work, Some(queued_at + limit)) {
                    let (route, seconds) = (task.route.waiting_for(), limit.as_secs_f64());
                    let error = format!("waited {seconds} s for {route}, in vain");
                    machine.run(Command::fail(session, &task, error))?;
                }
            }
            DueJob::Retry { session, task, attempt } => {
                let Some(task) = machine.work.pending(session, task, *attempt)? else {
                    return self.over(machine);
                };
                if task.retry_at.is_some() && machine.work.has_come(&self.work, task.retry_at) {
                    machine.try_again(session, &task.id)?;
                    machine.advance(session)?;
                }
            }
            DueJob::Stop { agent, task, attempt } => {
                machine
                    .work
                    .stopped(agent, |stopping| stopping.task == *task && stopping.attempt == *attempt)?;
            }
            DueJob::Absence { agent } => {
                if let Some(at) = connections::absence(&mut machine, agent)? {
                    machine.work.decision.arm(Due::new(self.work.clone(), at));
                }
            }
            DueJob::Wake { session, task } => {
                let task =
                    machine.work.task(session, task)?.filter(|task| task.status == TaskStatus::Waiting);
                let Some(task) = task.filter(|task| task.until.is_some()) else { return self.over(machine) };
                if machine.work.has_come(&self.work, task.until) {
                    machine.run(woken(session, task))?;
                }
            }
            DueJob::Begin { session } => admit(&mut machine, session)?,
            DueJob::Deadline { session } => {
                let deadline = machine.work.session(session)?.filter(|state| !state.session.status.is_over());
                let Some(deadline) = deadline.and_then(|state| state.session.deadline) else {
                    return self.over(machine);
                };
                if machine.work.has_come(&self.work, Some(deadline)) {
                    let reason = "the session took longer than it may".to_owned();
                    let (session, status) = (session.clone(), SessionStatus::Failed);
                    machine.run(Command::Terminate { session, status, reason })?;
                }
            }
            DueJob::End { session, reason } => {
                if machine.work.session(session)?.is_some() {
                    let (session, reason) = (session.clone(), reason.clone());
                    machine.run(Command::Terminate { session, status: SessionStatus::Cancelled, reason })?;
                }
            }
            DueJob::Fire { schedule } => schedules::fire(&mut machine, schedule)?,
            DueJob::Command { command } | DueJob::CommandTimeout { command } => {
                let decision = commands::expire(snapshot, machine.work.context, &self.work, command)?;
                return Ok((decision, ()));
            }
            // It is no timer: it stays due until it is done.
            DueJob::Deliver { .. } => return Ok((Decision::default(), ())),
        }
        self.over(machine)
    }
}

impl TimerFired {
    /// The decision; the timer is used up unless it was set anew.
    fn over(&self, machine: Machine<'_, '_>) -> Result<(Decision, ()), Halt> {
        let mut decision = machine.finish();
        if !decision.due.iter().any(|due| due.work.id() == self.work.id()) {
            decision.disarm(self.work.id());
        }
        Ok((decision, ()))
    }
}

/// The time of a task that waits is over: a sleep is done, a wait or an approval has failed.
fn woken(session: &SessionId, task: Arc<Task>) -> Command {
    match &task.kind {
        Kind::Sleep(_) => Command::CompleteTask { session: session.clone(), task, result: None },
        Kind::Wait { signal } => {
            Command::fail(session, &task, format!("the signal '{signal}' did not come in time"))
        }
        _ => Command::fail(session, &task, "nobody approved it in time".to_owned()),
    }
}

/// The turn of a session has come: one that waited at its group begins, one that had too much to do at once goes on.
fn admit(machine: &mut Machine<'_, '_>, session: &SessionId) -> Result<(), Halt> {
    let Some(state) = machine.work.session(session)? else { return Ok(()) };
    if state.session.waits_for_group {
        // A timer from before it came to wait is not its turn.
        if let Some(claim) = state.session.plan.group.clone()
            && !machine.work.group_mut(&claim.group)?.holders.contains(session)
        {
            return Ok(());
        }
        machine.work.emit(session, &SessionEvent::Admitted)?;
    }
    machine.work.is_going_on = true;
    machine.advance(session)
}

impl UnitOfWork<'_, '_> {
    /// Whether the moment at which a timer is due has come; where it has not, the timer is set for it.
    fn has_come(&mut self, timer: &DueJob, at: Option<Timestamp>) -> bool {
        match at.filter(|at| self.context.now < *at) {
            Some(at) => {
                self.decision.arm(Due::new(timer.clone(), at));
                false
            }
            None => true,
        }
    }

    fn held(&mut self, session: &SessionId, task: &TaskId, attempt: u32) -> Result<Option<Arc<Task>>, Halt> {
        self.held_task(&TaskAttempt { session: session.clone(), task: task.clone(), attempt })
    }

    fn pending(
        &mut self,
        session: &SessionId,
        task: &TaskId,
        attempt: u32,
    ) -> Result<Option<Arc<Task>>, Halt> {
        let task = self.task(session, task)?;
        Ok(task.filter(|task| task.status == TaskStatus::Pending && task.attempt == attempt))
    }
}
