//! A task for each item of a list gets its instances.

use std::sync::Arc;

use serde_json::Value;
use signalbox_wire::id::{SessionId, TaskId};

use super::command::{Command, Commands};
use crate::Halt;
use crate::engine::unit_of_work::UnitOfWork;
use crate::expression;
use crate::limits::{EXPANSION_BYTES_MAX, ITEMS_MAX, TASKS_PER_SESSION_MAX};
use crate::session::SessionEvent;
use crate::steps::STEPS_PER_TASK_MADE;
use crate::task::{Instance, Task};

/// Random bits of an instance's id: one fewer than an id has, so that counting on from them stays within it.
const INSTANCE_BITS: u32 = 79;

pub(super) fn expand(
    session: &SessionId,
    task: &Arc<Task>,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let mut fail = |error: String| {
        then.push(Command::fail(session, task, error));
        Ok(())
    };
    let items = match &task.rules.for_each {
        Some(text) => work.see(session, task, |scope| expression::list(text, scope))?,
        None => Ok(Vec::new()),
    };
    let items: Vec<Value> = match items {
        Ok(items) => items.into_iter().map(|item| work.externalize(item)).collect::<Result<_, _>>()?,
        Err(fault) => return fail(format!("The task's list: {fault}")),
    };
    let count = work.known_session(session)?.tasks.len();
    if items.len() > ITEMS_MAX || count + items.len() > TASKS_PER_SESSION_MAX {
        return fail(format!(
            "The task's list has {} items, and the session {count} tasks; at most {ITEMS_MAX} items and {TASKS_PER_SESSION_MAX} tasks \
             are taken, so give it a part of the list and the rest to another session",
            items.len()
        ));
    }
    // Each item is a task with everything that the definition says of it.
    let bytes = serde_json::to_string(task).map_or(0, |text| text.len()) * items.len();
    if bytes > EXPANSION_BYTES_MAX {
        return fail(format!(
            "The task is {bytes} bytes long for the {} items of its list; {EXPANSION_BYTES_MAX} are the most, so give it shorter parameters or fewer items",
            items.len()
        ));
    }
    work.context.steps.take(items.len() as u64 * STEPS_PER_TASK_MADE)?;
    work.context.steps.take_bytes(bytes as u64)?;
    let tasks = instances(task, items, count, work);
    let event = SessionEvent::TaskExpanded { task: task.id.clone(), step: task.step.clone(), tasks };
    work.emit(session, &event)
}

/// A task for each of the items, behind the `count` that there are.
fn instances(task: &Task, items: Vec<Value>, count: usize, work: &mut UnitOfWork<'_, '_>) -> Vec<Arc<Task>> {
    let now = work.context.now;
    // Ids that rise with the list, so that those that wait equally long are served in its order.
    let base = work.context.bits() >> (u128::BITS - INSTANCE_BITS);
    let instances = items.into_iter().enumerate().map(|(index, item)| {
        let mut instance = Task {
            id: TaskId::new(now, base + index as u128),
            step: format!("{}[{index}]", task.step),
            position: count + index,
            after: Vec::new(),
            next: None,
            instance: Some(Instance { of: task.position, index, item }),
            ..task.clone()
        };
        instance.rules.for_each = None;
        Arc::new(instance)
    });
    instances.collect()
}
