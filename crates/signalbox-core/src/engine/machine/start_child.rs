//! A session begins that does a task of another: it reports to it, and ends with it.

use std::sync::Arc;

use signalbox_wire::id::{SessionId, WorkflowId};

use super::command::{Command, Commands};
use super::given::given;
use crate::engine::start::{Start, current};
use crate::engine::unit_of_work::UnitOfWork;
use crate::limits::SESSION_DEPTH_MAX;
use crate::session::{Parent, SessionEvent};
use crate::task::{Fault, Task};
use crate::{Halt, Rejected};

pub(super) fn start_child(
    session: &SessionId,
    task: &Arc<Task>,
    workflow: &WorkflowId,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let definition = match current(work, workflow) {
        Ok(definition) => definition,
        Err(Halt::Rejected(reason)) => {
            work.expect_absent(workflow.clone());
            then.push(Command::fail(session, task, reason.to_string()));
            return Ok(());
        }
        Err(need) => return Err(need),
    };
    let state = work.known_session(session)?;
    let depth = state.session.parent.as_ref().map_or(0, |parent| parent.depth) + 1;
    let (agent, trace) = (state.session.agent.clone(), state.session.trace.clone());
    if depth > SESSION_DEPTH_MAX {
        then.push(Command::fail(session, task, Rejected::TooDeep(session.clone()).to_string()));
        return Ok(());
    }
    let Some(parameters) = given(session, task, work, then)? else { return Ok(()) };
    let child = SessionId::new(work.context.now, work.context.bits());
    let attempt = task.attempt + 1;
    if let Some(limit) = task.rules.timeout {
        work.arm_timeout(session, task, attempt, limit);
    }
    // The task is in the child's hands before the child begins: it may be over at once.
    work.emit(
        session,
        &SessionEvent::TaskDispatched {
            task: task.id.clone(),
            step: task.step.clone(),
            attempt,
            agent: None,
            child: Some(child.clone()),
            parameters: parameters.clone(),
        },
    )?;
    work.begun += definition.tasks.len();
    let parent = Parent { session: session.clone(), task: task.id.clone(), attempt, depth };
    let start = Start {
        agent: agent.as_ref(),
        input: parameters,
        input_place: Some(""),
        trace,
        schedule: None,
        parent: Some(parent),
    };
    match start.session(&child, &definition, work, then) {
        Err(Halt::Rejected(reason)) => {
            let Some(task) = work.task(session, &task.id)? else { return Ok(()) };
            // There is no child to end.
            let task = Arc::new(Task { child: None, ..Task::clone(&task) });
            then.push(Command::attempt_failed(session, task, reason.to_string(), Fault::Said(None)));
            Ok(())
        }
        started => started,
    }
}
