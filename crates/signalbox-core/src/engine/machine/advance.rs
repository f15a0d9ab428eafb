//! A session goes on by one move. Each move changes the session so that it is not made again. Where one decision would
//! become too large the session goes on in another, by a timer that is due at once.

use serde_json::Value;
use signalbox_wire::id::SessionId;

use super::command::{Command, Commands};
use crate::Halt;
use crate::due::{Due, DueJob};
use crate::engine::unit_of_work::UnitOfWork;
use crate::session::{Move, SessionEvent};
use crate::steps::{STEPS_PER_ITEM_GATHERED, TASKS_PER_STEP};
use crate::task::{Task, TaskStatus};

pub(super) fn advance(
    session: &SessionId,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let looks = work.known_session(session)?.tasks.looks() as u64;
    work.context.steps.take(looks / TASKS_PER_STEP)?;
    let Some(next) = work.known_session(session)?.next_move() else { return Ok(()) };
    match next {
        Move::Begin(position) if is_left(session, position, work)? => return Ok(()),
        Move::Begin(_) if work.is_large() => {
            let job = DueJob::Begin { session: session.clone() };
            work.decision.arm(Due::new(job, work.context.now));
            return Ok(());
        }
        Move::Begin(position) => then.push(Command::Begin { session: session.clone(), position }),
        Move::PassOver(position) => {
            work.skip_task(session, position, "nothing that happened leads to it", true)?;
        }
        Move::Gather(position) => gather(session, position, work)?,
        Move::End => then.push(Command::Conclude { session: session.clone() }),
    }
    then.push(Command::advance(session));
    Ok(())
}

/// Whether the task at `position` is one of the items of a list that a timer begins, which is due: many tasks that settle at
/// once would each begin all of them, and all but one in vain.
fn is_left(session: &SessionId, position: usize, work: &mut UnitOfWork<'_, '_>) -> Result<bool, Halt> {
    let task = work.known_session(session)?.tasks.get(position);
    let is_item = task.is_some_and(|task| task.instance.is_some());
    Ok(is_item && !work.is_going_on && work.could_go_on(session)?)
}

/// All instances of a task have settled: their results are its own, in the order of the list.
fn gather(session: &SessionId, position: usize, work: &mut UnitOfWork<'_, '_>) -> Result<(), Halt> {
    let state = work.known_session(session)?;
    let Some(task) = state.tasks.get(position).cloned() else { return Ok(()) };
    let items = state.instances(&task).count() as u64;
    work.context.steps.take(items * STEPS_PER_ITEM_GATHERED)?;
    let state = work.known_session(session)?;
    let done = |task: &Task| task.status == TaskStatus::Completed;
    let results = state.instances(&task).map(|instance| match &instance.result {
        Some(result) if done(instance) => result.clone(),
        _ => Value::Null,
    });
    let result = Value::Array(results.collect());
    let result = Some(work.externalize(result)?);
    work.emit(session, &SessionEvent::completed(&task, result))
}
