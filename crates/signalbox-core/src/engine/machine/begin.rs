//! A task begins, unless its own condition passes it over.

use std::sync::Arc;

use signalbox_wire::id::SessionId;

use super::command::{Command, Commands};
use crate::Halt;
use crate::definition::Kind;
use crate::engine::unit_of_work::UnitOfWork;
use crate::expression;
use crate::steps::STEPS_PER_MOVE;

pub(super) fn begin(
    session: &SessionId,
    position: usize,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let Some(task) = work.known_session(session)?.tasks.get(position).cloned() else { return Ok(()) };
    work.begun += 1;
    work.context.steps.take(STEPS_PER_MOVE)?;
    if task.is_expanding() {
        then.push(Command::Expand { session: session.clone(), task });
        return Ok(());
    }
    if let Some(when) = task.rules.when.as_deref().filter(|_| task.attempt == 0) {
        match work.see(session, &task, |scope| expression::is_true(when, scope))? {
            Ok(true) => {}
            Ok(false) => return work.skip_task(session, position, "its condition is not true", false),
            Err(fault) => {
                then.push(Command::fail(session, &task, format!("The task's condition: {fault}")));
                return Ok(());
            }
        }
    }
    let session = session.clone();
    then.push(match &task.kind {
        Kind::Agent => Command::MatchTask { session, task: task.id.clone(), to: None },
        Kind::Tool(_) => Command::CallTool { session, task },
        Kind::Workflow(workflow) => {
            Command::StartChild { session, workflow: workflow.clone(), task: Arc::clone(&task) }
        }
        Kind::Wait { .. } => Command::Wait { session, task },
        Kind::Approve { .. } => Command::AskApproval { session, task },
        Kind::Sleep(_) => Command::Sleep { session, task },
    });
    Ok(())
}
