//! A session ends before its time: what is under way is taken away, what was done is undone where its workflow says
//! how.

use std::sync::Arc;

use signalbox_wire::id::{SessionId, TaskId};

use super::command::{Command, Commands, SessionEnd};
use crate::Halt;
use crate::definition::Kind;
use crate::engine::unit_of_work::UnitOfWork;
use crate::routing::Route;
use crate::session::{Ending, SessionEvent, SessionState, SessionStatus};
use crate::steps::STEPS_PER_MOVE;
use crate::task::{Task, TaskStatus};

pub(super) fn terminate(
    session: &SessionId,
    status: SessionStatus,
    reason: String,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let state = work.known_session(session)?.clone();
    if state.session.status.is_over() || state.session.ending.is_some() {
        return Ok(());
    }
    let is_wanted = |task: &Task| {
        let has_begun = task.status != TaskStatus::Pending || task.is_under_way();
        !task.status.is_settled() && (has_begun || status == SessionStatus::Cancelled)
    };
    for task in state.tasks.open().filter(|task| is_wanted(task)) {
        work.context.steps.take(STEPS_PER_MOVE)?;
        work.take_away(session, task, &reason)?;
    }
    let tasks = undoing(&state, work);
    if tasks.is_empty() {
        let end = SessionEnd::early(status, reason);
        then.push(Command::FinishSession { session: session.clone(), end });
        return Ok(());
    }
    let ending = Ending { status, reason };
    work.emit(session, &SessionEvent::Undoing { ending, tasks })?;
    then.push(Command::advance(session));
    Ok(())
}

/// The tasks that undo what was done, the last of it first.
fn undoing(state: &SessionState, work: &mut UnitOfWork<'_, '_>) -> Vec<Task> {
    let done = |task: &&Arc<Task>| {
        task.status == TaskStatus::Completed && task.undoes.is_none() && !task.is_expanding()
    };
    let mut done: Vec<&Arc<Task>> =
        state.tasks.iter().filter(done).filter(|task| task.rules.compensate.is_some()).collect();
    done.sort_by_key(|task| std::cmp::Reverse((task.ended_at, task.position)));
    let (now, count) = (work.context.now, state.tasks.len());
    let (retries, search) = (work.context.policy.task_retries, work.context.policy.task_timeout);
    let tasks = done.iter().enumerate().filter_map(|(index, task)| {
        let how = task.rules.compensate.as_deref()?;
        let route = match (&how.agent, &how.capability) {
            (Some(agent), _) => Route::Agent(agent.clone()),
            (None, Some(capability)) => Route::Capability(capability.clone()),
            (None, None) => task.route.clone(),
        };
        let mut undo = Task::new(
            TaskId::new(now, work.context.bits()),
            format!("undo:{}", task.step),
            count + index,
            route,
        );
        undo.kind = match (&how.tool, &task.kind) {
            (Some(tool), _) => Kind::Tool(tool.clone()),
            (None, Kind::Tool(tool)) if how.agent.is_none() && how.capability.is_none() => {
                Kind::Tool(tool.clone())
            }
            (None, _) => Kind::Agent,
        };
        undo.template.clone_from(&how.parameters);
        undo.retries = how.retries.unwrap_or(retries);
        undo.rules.timeout = how.timeout;
        // Where nobody is left to undo it, that is said at the end: the session may not hang on it.
        undo.rules.schedule_timeout = Some(search);
        undo.undoes = Some(task.position);
        Some(undo)
    });
    tasks.collect()
}
