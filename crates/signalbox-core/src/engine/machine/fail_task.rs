//! A task fails for good: it brings its session down, unless its definition says that its failure does not matter.

use std::sync::Arc;

use signalbox_wire::id::SessionId;

use super::command::{Command, Commands};
use crate::Halt;
use crate::definition::OnFailure;
use crate::engine::unit_of_work::UnitOfWork;
use crate::limits::bounded;
use crate::session::{SessionEvent, SessionStatus};
use crate::steps::STEPS_PER_MOVE;
use crate::task::Task;

pub(super) fn fail_task(
    session: &SessionId,
    task: &Arc<Task>,
    error: &str,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    work.release(session, task)?;
    work.emit(session, &SessionEvent::failed(task, error))?;
    if task.undoes.is_some() {
        // What cannot be undone is said at the end, and holds up nothing else.
        then.push(Command::advance(session));
        return Ok(());
    }
    let Some(instance) = &task.instance else {
        then.push(after_failure(session, task, error));
        return Ok(());
    };
    let (of, index) = (instance.of, instance.index);
    let Some(whole) = work.known_session(session)?.tasks.get(of).cloned() else { return Ok(()) };
    if whole.rules.on_failure == OnFailure::Continue {
        then.push(Command::advance(session));
        return Ok(());
    }
    let state = work.known_session(session)?;
    let others = state.instances(&whole).filter(|other| !other.status.is_settled());
    for other in &others.cloned().collect::<Vec<Arc<Task>>>() {
        work.context.steps.take(STEPS_PER_MOVE)?;
        work.take_away(session, other, "another item of the same list failed")?;
    }
    let error = format!("item {index}: {error}");
    work.emit(session, &SessionEvent::failed(&whole, &error))?;
    then.push(after_failure(session, &whole, &error));
    Ok(())
}

fn after_failure(session: &SessionId, task: &Task, error: &str) -> Command {
    match task.rules.on_failure {
        OnFailure::Fail => Command::Terminate {
            session: session.clone(),
            status: SessionStatus::Failed,
            reason: bounded(&format!("Task {} failed: {error}", task.step)),
        },
        OnFailure::Continue | OnFailure::Goto(_) => Command::advance(session),
    }
}
