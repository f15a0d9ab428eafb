//! A moment has come that a task or a session was waiting for. Coming late, early or twice changes nothing.

use std::sync::Arc;

use signalbox_wire::id::{SessionId, TaskId};
use signalbox_wire::time::Timestamp;

use super::Operation;
use super::schedules;
use super::work::Work;
use crate::delivery::TaskAttempt;
use crate::due::{Due, Work as DueWork};
use crate::session::SessionStatus;
use crate::task::{Fault, Task, TaskStatus};
use crate::{Decision, Halt, Turn, View};

/// Timed due work is due.
#[derive(Debug, Clone)]
pub struct TimerFired {
    /// What was due.
    pub work: DueWork,
}

impl Operation for TimerFired {
    type Answer = ();

    fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<(Decision, ()), Halt> {
        let mut work = Work::new(view, turn);
        match &self.work {
            DueWork::Timeout { session, task, attempt } => {
                let Some(task) = work.held(session, task, *attempt)? else { return self.over(work) };
                let limit = task.rules.timeout.unwrap_or(work.turn.policy.task_timeout);
                if work.has_come(&self.work, task.dispatched_at.map(|at| at + limit)) {
                    let error = format!("no report settled the task within {} s", limit.as_secs_f64());
                    work.fail_attempt(session, &task, &error, Fault::TimedOut)?;
                }
            }
            DueWork::Heartbeat { session, task, attempt } => {
                let Some(task) = work.held(session, task, *attempt)? else { return self.over(work) };
                let Some(limit) = task.rules.heartbeat_timeout else { return self.over(work) };
                let heard = task.heard_at.or(task.started_at).or(task.dispatched_at);
                if work.has_come(&self.work, heard.map(|at| at + limit)) {
                    let error = format!("its agent was not heard for {} s", limit.as_secs_f64());
                    work.fail_attempt(session, &task, &error, Fault::Silent)?;
                }
            }
            DueWork::Schedule { session, task, attempt } => {
                let Some(task) = work.pending(session, task, *attempt)? else { return self.over(work) };
                let Some(limit) = task.rules.schedule_timeout else { return self.over(work) };
                let Some(queued_at) = task.queued_at else { return self.over(work) };
                if work.has_come(&self.work, Some(queued_at + limit)) {
                    let (route, seconds) = (task.route.waiting_for(), limit.as_secs_f64());
                    work.fail_task(session, &task, &format!("waited {seconds} s for {route}, in vain"))?;
                }
            }
            DueWork::Retry { session, task, attempt } => {
                let Some(task) = work.pending(session, task, *attempt)? else { return self.over(work) };
                if task.retry_at.is_some() && work.has_come(&self.work, task.retry_at) {
                    work.try_again(session, &task.id)?;
                    work.advance(session)?;
                }
            }
            DueWork::Wake { session, task } => {
                let task = work.task(session, task)?.filter(|task| task.status == TaskStatus::Waiting);
                let Some(task) = task.filter(|task| task.until.is_some()) else { return self.over(work) };
                if work.has_come(&self.work, task.until) {
                    work.wake(session, &task)?;
                }
            }
            DueWork::Begin { session } => work.admit(session)?,
            DueWork::Deadline { session } => {
                let deadline = work.session(session)?.filter(|state| !state.session.status.is_over());
                let Some(deadline) = deadline.and_then(|state| state.session.deadline) else {
                    return self.over(work);
                };
                if work.has_come(&self.work, Some(deadline)) {
                    work.wind_up(session, SessionStatus::Failed, "the session took longer than it may")?;
                }
            }
            DueWork::End { session, reason } => {
                if work.session(session)?.is_some() {
                    work.wind_up(session, SessionStatus::Cancelled, reason)?;
                }
            }
            DueWork::Fire { schedule } => schedules::fire(&mut work, schedule)?,
            // Neither is a timer: it stays due until it is done.
            DueWork::Deliver { .. } | DueWork::Call { .. } => return Ok((Decision::default(), ())),
        }
        self.over(work)
    }
}

impl TimerFired {
    /// The decision; the timer is used up unless it was set anew.
    fn over(&self, work: Work<'_, '_>) -> Result<(Decision, ()), Halt> {
        let mut decision = work.finish();
        if !decision.due.iter().any(|due| due.work == self.work) {
            decision.disarm(self.work.id());
        }
        Ok((decision, ()))
    }
}

impl Work<'_, '_> {
    /// Whether the moment at which a timer is due has come; where it has not, the timer is set for it.
    fn has_come(&mut self, timer: &DueWork, at: Option<Timestamp>) -> bool {
        match at.filter(|at| self.turn.now < *at) {
            Some(at) => {
                self.decision.arm(Due { work: timer.clone(), at });
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
