//! A pending task is given to an agent; where none is available it waits.

use signalbox_wire::id::{AgentId, SessionId, TaskId};

use super::command::{Command, Commands};
use super::given::given;
use crate::Halt;
use crate::engine::unit_of_work::UnitOfWork;
use crate::routing::Route;
use crate::session::SessionStatus;
use crate::task::TaskStatus;

/// `to`: the agent that it is offered to before any other.
pub(super) fn match_task(
    session: &SessionId,
    task: &TaskId,
    to: Option<&AgentId>,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let state = work.known_session(session)?;
    let is_open = matches!(state.session.status, SessionStatus::Started | SessionStatus::Running);
    let task = state.task(task).filter(|task| task.status == TaskStatus::Pending).cloned();
    let Some(task) = task.filter(|_| is_open && !state.session.waits_for_group) else { return Ok(()) };
    if let Route::Agent(agent) = &task.route
        && work.agent(agent)?.is_none()
    {
        let error = format!("Agent not found: {agent}; the task asks for it by id");
        then.push(Command::fail(session, &task, error));
        return Ok(());
    }
    let Some(parameters) = given(session, &task, work, then)? else { return Ok(()) };
    if let Some(agent) = to
        && let Some(offered) = work.agent(agent)?
        && offered.is_available()
        && task.route.admits(&offered.agent)
    {
        return work.dispatch(session, &task, agent, parameters);
    }
    match work.choose(&task.route)? {
        Some(agent) => work.dispatch(session, &task, &agent, parameters),
        None if task.queued_at.is_some() => Ok(()),
        None => work.queue(session, &task),
    }
}
