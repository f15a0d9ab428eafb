//! Dead letters that carried an attempt of a task, which are not sent again: what is told instead.

use signalbox_core::session::SessionStatus;
use signalbox_store::Store;
use signalbox_wire::id::{MessageId, TenantId};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::http::problem::Refusal;

/// Refuses to send a task's dead letter again, and says what to do instead.
pub(super) async fn refuse(store: &Store, tenant: &TenantId, id: &MessageId) -> Result<(), Refusal> {
    let Some(message) = store.message(tenant, id).await? else { return Ok(()) };
    let Some(task) = &message.value.task else { return Ok(()) };
    let read = store.session(tenant, &task.session).await?;
    let status = read.as_ref().map(|read| read.value.session.status);
    let step = read.as_ref().and_then(|read| read.value.task(&task.task)).map(|task| task.step.as_str());
    let session = &task.session;
    let instead = match status {
        None => format!("the session is gone, and DELETE /v1/dead-letters/{id} drops the dead letter"),
        Some(SessionStatus::Started | SessionStatus::Running | SessionStatus::Paused) => {
            "the session goes on without it, and gives the task out again as its retries allow".to_owned()
        }
        Some(SessionStatus::Failed) => format!(
            "the session has failed: POST /v1/opscore/sessions/{session}/retry lets it go on from the tasks that failed"
        ),
        Some(SessionStatus::Completed | SessionStatus::Cancelled) => {
            format!(
                "the session is over: POST /v1/opscore/sessions/{session}/rerun runs it again as a new one"
            )
        }
    };
    let detail = format!(
        "Dead letter {id} carried attempt {} of task '{}' of session {session}, which failed with it; {instead}.",
        task.attempt,
        step.unwrap_or_else(|| task.task.as_str()),
    );
    Err(Problem::new(ProblemKind::DeadLetterOfTask, detail).into())
}
