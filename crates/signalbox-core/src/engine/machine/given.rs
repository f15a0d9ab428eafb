//! What whoever does a task is given.

use std::sync::Arc;

use serde_json::{Map, Value};
use signalbox_wire::id::SessionId;

use super::command::{Command, Commands};
use crate::Halt;
use crate::engine::dispatch::retry_timer;
use crate::engine::unit_of_work::UnitOfWork;
use crate::task::Task;

/// What whoever does the task is given; `None` when that cannot be said, and the task fails, or when it is not what was
/// approved, and has to be approved anew.
pub(super) fn given(
    session: &SessionId,
    task: &Arc<Task>,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<Option<Map<String, Value>>, Halt> {
    let parameters = match work.render(session, task)? {
        Ok(parameters) => parameters,
        Err(fault) => {
            then.push(Command::fail(session, task, format!("The task's parameters: {fault}")));
            return Ok(None);
        }
    };
    if work.ask_again(session, task, &parameters)? {
        return Ok(None);
    }
    // It begins now: whatever else brought it here, its wait is over.
    if task.retry_at.is_some() {
        work.decision.disarm(retry_timer(session, task).id());
    }
    Ok(Some(parameters))
}
