//! A session is over: everybody who waits for that hears of it.

use signalbox_wire::id::{MessageId, SessionId};
use signalbox_wire::outbound::{self, EndedSession, SessionNotice};

use super::command::{Command, Commands, SessionEnd};
use crate::Halt;
use crate::delivery::{MessageKind, TaskAttempt};
use crate::due::DueJob;
use crate::engine::dispatch::NewMessage;
use crate::engine::unit_of_work::UnitOfWork;
use crate::session::{Session, SessionEvent, SessionStatus};
use crate::task::Fault;

pub(super) fn finish_session(
    session: &SessionId,
    end: SessionEnd,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let event = match end {
        SessionEnd::Completed(result) => SessionEvent::Completed { result },
        SessionEnd::Failed(error) => SessionEvent::Failed { error },
        SessionEnd::Cancelled(reason) => SessionEvent::Cancelled { reason },
    };
    work.emit(session, &event)?;
    let ended = work.known_session(session)?.session.clone();
    if ended.deadline.is_some() {
        work.decision.disarm(DueJob::Deadline { session: session.clone() }.id());
    }
    if let Some(claim) = &ended.plan.group {
        work.decision.disarm(DueJob::Begin { session: session.clone() }.id());
        work.leave_group(&claim.group, session)?;
    }
    notify_of_end(&ended, work);
    settle_task_above(&ended, work, then)
}

/// Settles the task that the session did, where it did one of another.
fn settle_task_above(
    ended: &Session,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let Some(parent) = &ended.parent else { return Ok(()) };
    let meant =
        TaskAttempt { session: parent.session.clone(), task: parent.task.clone(), attempt: parent.attempt };
    let Some(task) = work.held_task(&meant)? else { return Ok(()) };
    let (above, session) = (&parent.session, &ended.id);
    let reason = ended.error.as_deref().unwrap_or_default();
    then.push(match ended.status {
        SessionStatus::Completed => {
            Command::CompleteTask { session: above.clone(), task, result: ended.result.clone() }
        }
        SessionStatus::Cancelled => {
            Command::fail(above, &task, format!("session {session} was cancelled: {reason}"))
        }
        _ => {
            let error = format!("session {session} failed: {reason}");
            Command::attempt_failed(above, task, error, Fault::Said(None))
        }
    });
    Ok(())
}

/// Tells whoever wanted to be told that the session is over.
fn notify_of_end(ended: &Session, work: &mut UnitOfWork<'_, '_>) {
    let Some(notify) = &ended.plan.notify else { return };
    let status = ended.status.name();
    if !notify.on.is_empty() && !notify.on.iter().any(|named| named == status) {
        return;
    }
    let body = outbound::text(&SessionNotice {
        kind: format!("session.{status}"),
        timestamp: work.context.now,
        data: EndedSession {
            session_id: &ended.id,
            workflow_id: &ended.workflow,
            workflow_revision: ended.revision,
            status,
            result: ended.result.as_ref(),
            error: ended.error.as_deref(),
            created_at: ended.created_at,
            ended_at: ended.ended_at,
        },
    });
    let id = MessageId::new(work.context.now, work.context.bits());
    work.send(NewMessage {
        id,
        kind: MessageKind::SessionWebhook,
        agent: None,
        url: Some(notify.url.clone()),
        body,
        trace: ended.trace.clone(),
    });
}
