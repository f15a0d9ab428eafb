//! A task is settled as done, and its session goes on with what follows it.

use std::sync::Arc;

use serde_json::Value;
use signalbox_wire::id::SessionId;

use super::command::{Command, Commands};
use crate::Halt;
use crate::engine::unit_of_work::UnitOfWork;
use crate::session::SessionEvent;
use crate::task::Task;

pub(super) fn complete_task(
    session: &SessionId,
    task: &Arc<Task>,
    result: Option<Value>,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    work.release(session, task)?;
    let result = result.map(|result| work.externalize(result)).transpose()?;
    work.foresee_next(session, task)?;
    work.emit(session, &SessionEvent::completed(task, result))?;
    then.push(Command::advance(session));
    Ok(())
}
