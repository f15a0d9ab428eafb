//! Nothing is left to do in a session: it is over.

use serde_json::Value;
use signalbox_wire::id::SessionId;

use super::command::{Command, Commands, SessionEnd};
use crate::Halt;
use crate::engine::known_payloads::or_need;
use crate::engine::seeing::see;
use crate::engine::unit_of_work::UnitOfWork;
use crate::expression;
use crate::limits::bounded;
use crate::session::{SessionState, SessionStatus};
use crate::task::TaskStatus;

pub(super) fn conclude(
    session: &SessionId,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let state = work.known_session(session)?;
    if let Some(ending) = &state.session.ending {
        let reason = bounded(&format!("{}{}", ending.reason, not_undone(state)));
        let end = SessionEnd::early(ending.status, reason);
        then.push(Command::FinishSession { session: session.clone(), end });
        return Ok(());
    }
    let result = match state.session.plan.output.clone() {
        None => Ok(last_result(state)),
        Some(output) => {
            let snapshot = work.snapshot;
            let (state, payloads) = work.session_to_see(session)?;
            let given = see(state, None, &payloads, |scope| expression::render_any(&output, scope));
            or_need(snapshot, given)?.map(Some)
        }
    };
    let session = session.clone();
    then.push(match result {
        Ok(result) => {
            let result = result.map(|result| work.externalize(result)).transpose()?;
            Command::FinishSession { session, end: SessionEnd::Completed(result) }
        }
        Err(fault) => {
            let reason = format!("The workflow's output: {fault}");
            Command::Terminate { session, status: SessionStatus::Failed, reason }
        }
    });
    Ok(())
}

/// What could not be undone.
fn not_undone(state: &SessionState) -> String {
    let is_stuck = |task: &&std::sync::Arc<crate::task::Task>| {
        task.undoes.is_some() && task.status == TaskStatus::Failed
    };
    let stuck = state.tasks.iter().filter(is_stuck);
    stuck
        .map(|task| format!("; {} failed: {}", task.step, task.error.as_deref().unwrap_or_default()))
        .collect()
}

/// What the task that was done last came to.
fn last_result(state: &SessionState) -> Option<Value> {
    let done = state.tasks.defined().filter(|task| task.status == TaskStatus::Completed);
    done.max_by_key(|task| task.ended_at).and_then(|task| task.result.clone())
}
