//! An agent went away with a task in its hands: the task is routed again at once, or fails.

use super::command::{Command, Commands};
use crate::Halt;
use crate::delivery::TaskAttempt;
use crate::engine::unit_of_work::UnitOfWork;
use crate::limits::bounded;
use crate::session::SessionEvent;

pub(super) fn return_task(
    held: &TaskAttempt,
    reason: &str,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let Some(task) = work.held_task(held)? else { return Ok(()) };
    if !task.may_retry(None) {
        then.push(Command::fail(&held.session, &task, reason.to_owned()));
        return Ok(());
    }
    work.release(&held.session, &task)?;
    let event = SessionEvent::TaskReturned {
        task: task.id.clone(),
        step: task.step.clone(),
        attempt: task.attempt,
        agent: task.agent.clone(),
        reason: bounded(reason),
    };
    work.emit(&held.session, &event)?;
    then.push(Command::advance(&held.session));
    Ok(())
}
