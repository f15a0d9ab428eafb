//! A moment has come that a task or a session was waiting for. Coming late, early or twice changes nothing.

use std::sync::Arc;

use signalbox_wire::id::{SessionId, TaskId};
use signalbox_wire::time::Timestamp;

use super::Operation;
use super::schedules;
use super::unit_of_work::UnitOfWork;
use crate::delivery::TaskAttempt;
use crate::due::{Due, DueJob};
use crate::session::SessionStatus;
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

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let mut work = UnitOfWork::new(snapshot, context);
        match &self.work {
            DueJob::Timeout { session, task, attempt }
            | DueJob::Dispatch { session, task, attempt }
            | DueJob::Call { session, task, attempt } => {
                let Some(task) = work.held(session, task, *attempt)? else { return self.over(work) };
                let limit = task.rules.timeout.unwrap_or(work.context.policy.task_timeout);
                let ends = task.times_out_at(limit);
                if !matches!(self.work, DueJob::Timeout { .. })
                    && ends.is_some_and(|ends| work.context.now < ends)
                {
                    // It stays due until it is sent or called.
                    return Ok((Decision::default(), ()));
                }
                if work.has_come(&self.work, ends) {
                    let error = format!("no report settled the task within {} s", limit.as_secs_f64());
                    work.fail_attempt(session, &task, &error, Fault::TimedOut)?;
                }
            }
            DueJob::Heartbeat { session, task, attempt } => {
                let Some(task) = work.held(session, task, *attempt)? else { return self.over(work) };
                let Some(limit) = task.rules.heartbeat_timeout else { return self.over(work) };
                let heard = task.last_report_at.or(task.started_at).or(task.dispatched_at);
                if work.has_come(&self.work, heard.map(|at| at + limit)) {
                    let error = format!("its agent was not heard for {} s", limit.as_secs_f64());
                    work.fail_attempt(session, &task, &error, Fault::Silent)?;
                }
            }
            DueJob::Schedule { session, task, attempt } => {
                let Some(task) = work.pending(session, task, *attempt)? else { return self.over(work) };
                let Some(limit) = task.rules.schedule_timeout else { return self.over(work) };
                let Some(queued_at) = task.queued_at else { return self.over(work) };
                if work.has_come(&self.work, Some(queued_at + limit)) {
                    let (route, seconds) = (task.route.waiting_for(), limit.as_secs_f64());
                    work.fail_task(session, &task, &format!("waited {seconds} s for {route}, in vain"))?;
                }
            }
            DueJob::Retry { session, task, attempt } => {
                let Some(task) = work.pending(session, task, *attempt)? else { return self.over(work) };
                if task.retry_at.is_some() && work.has_come(&self.work, task.retry_at) {
                    work.try_again(session, &task.id)?;
                    work.advance(session)?;
                }
            }
            DueJob::Stop { agent, task, attempt } => {
                work.stopped(agent, |stopping| stopping.task == *task && stopping.attempt == *attempt)?;
            }
            DueJob::Wake { session, task } => {
                let task = work.task(session, task)?.filter(|task| task.status == TaskStatus::Waiting);
                let Some(task) = task.filter(|task| task.until.is_some()) else { return self.over(work) };
                if work.has_come(&self.work, task.until) {
                    work.wake(session, &task)?;
                }
            }
            DueJob::Begin { session } => work.admit(session)?,
            DueJob::Deadline { session } => {
                let deadline = work.session(session)?.filter(|state| !state.session.status.is_over());
                let Some(deadline) = deadline.and_then(|state| state.session.deadline) else {
                    return self.over(work);
                };
                if work.has_come(&self.work, Some(deadline)) {
                    work.terminate(session, SessionStatus::Failed, "the session took longer than it may")?;
                }
            }
            DueJob::End { session, reason } => {
                if work.session(session)?.is_some() {
                    work.terminate(session, SessionStatus::Cancelled, reason)?;
                }
            }
            DueJob::Fire { schedule } => schedules::fire(&mut work, schedule)?,
            // It is no timer: it stays due until it is done.
            DueJob::Deliver { .. } => return Ok((Decision::default(), ())),
        }
        self.over(work)
    }
}

impl TimerFired {
    /// The decision; the timer is used up unless it was set anew.
    fn over(&self, work: UnitOfWork<'_, '_>) -> Result<(Decision, ()), Halt> {
        let mut decision = work.finish();
        if !decision.due.iter().any(|due| due.work.id() == self.work.id()) {
            decision.disarm(self.work.id());
        }
        Ok((decision, ()))
    }
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
