//! A moment has come that a task was waiting for. Coming late, early or twice changes nothing.

use super::Operation;
use super::work::Work;
use crate::delivery::TaskAttempt;
use crate::due::{Due, Work as DueWork};
use crate::task::TaskStatus;
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
                let meant = TaskAttempt { session: session.clone(), task: task.clone(), attempt: *attempt };
                if let Some(task) = work.held_task(&meant)? {
                    let limit = work.turn.policy.task_timeout;
                    let due = task.dispatched_at.map(|at| at + limit);
                    match due.filter(|due| work.turn.now < *due) {
                        Some(at) => work.decision.due.push(Due { work: self.work.clone(), at }),
                        None => {
                            let error = format!("no report settled the task within {} s", limit.as_secs());
                            let backoff = work.turn.policy.task_backoff;
                            work.fail_attempt(session, &task, &error, backoff)?;
                        }
                    }
                }
            }
            DueWork::Retry { session, task, attempt } => {
                let current = work.task(session, task)?;
                let waits = current.filter(|task| {
                    task.status == TaskStatus::Pending && task.attempt == *attempt && task.retry_at.is_some()
                });
                match waits.and_then(|task| task.retry_at) {
                    Some(at) if work.turn.now < at => {
                        work.decision.due.push(Due { work: self.work.clone(), at });
                    }
                    Some(_) => work.place(session, task)?,
                    None => {}
                }
            }
            // A delivery is no timer: it stays due until it is made.
            DueWork::Deliver { .. } => return Ok((Decision::default(), ())),
        }
        let mut decision = work.finish();
        if !decision.due.iter().any(|due| due.work == self.work) {
            decision.done.push(self.work.id());
        }
        Ok((decision, ()))
    }
}
