//! A task is given to the tool that does it.

use std::sync::Arc;

use signalbox_wire::id::SessionId;

use super::command::Commands;
use super::given::given;
use crate::Halt;
use crate::due::{Due, DueJob};
use crate::engine::unit_of_work::UnitOfWork;
use crate::session::SessionEvent;
use crate::task::Task;

pub(super) fn call_tool(
    session: &SessionId,
    task: &Arc<Task>,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let Some(parameters) = given(session, task, work, then)? else { return Ok(()) };
    let attempt = task.attempt + 1;
    let call = DueJob::Call { session: session.clone(), task: task.id.clone(), attempt };
    let lane = work.lane_of_attempt(task)?;
    let ends = work.context.now + task.rules.timeout.unwrap_or(work.context.policy.task_timeout);
    work.decision.arm(Due::new(call, work.context.now).by(lane).until(ends));
    work.emit(
        session,
        &SessionEvent::TaskDispatched {
            task: task.id.clone(),
            step: task.step.clone(),
            attempt,
            agent: None,
            child: None,
            parameters,
        },
    )
}
