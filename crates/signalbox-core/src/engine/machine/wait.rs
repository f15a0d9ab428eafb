//! A task waits for a signal, unless that has come before.

use std::sync::Arc;

use signalbox_wire::id::SessionId;

use crate::Halt;
use crate::definition::Kind;
use crate::engine::unit_of_work::UnitOfWork;
use crate::session::SessionEvent;
use crate::task::Task;

pub(super) fn wait(session: &SessionId, task: &Arc<Task>, work: &mut UnitOfWork<'_, '_>) -> Result<(), Halt> {
    let Kind::Wait { signal } = &task.kind else { return Ok(()) };
    let until = task.rules.timeout.map(|limit| work.context.now + limit);
    work.begin_waiting(session, task, format!("the signal '{signal}'"), until, None)?;
    let state = work.known_session(session)?;
    let kept = state.session.signals.iter().find(|kept| kept.signal == *signal).cloned();
    let task = state.task(&task.id).cloned();
    if let (Some(kept), Some(task)) = (kept, task) {
        work.release(session, &task)?;
        return work.emit(session, &SessionEvent::completed(&task, kept.payload));
    }
    Ok(())
}
