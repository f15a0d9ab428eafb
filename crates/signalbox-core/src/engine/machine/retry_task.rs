//! An attempt failed, and another follows after a wait.

use std::sync::Arc;

use signalbox_wire::id::SessionId;

use crate::Halt;
use crate::due::Due;
use crate::engine::dispatch::retry_timer;
use crate::engine::unit_of_work::UnitOfWork;
use crate::limits::bounded;
use crate::retry::Backoff;
use crate::session::SessionEvent;
use crate::task::Task;

pub(super) fn retry_task(
    session: &SessionId,
    task: &Arc<Task>,
    error: &str,
    work: &mut UnitOfWork<'_, '_>,
) -> Result<(), Halt> {
    work.release(session, task)?;
    let backoff = backoff(task, work.context.policy.task_backoff);
    let retry_at = work.context.now + backoff.wait(task.attempt, work.context.fraction());
    work.decision.arm(Due::new(retry_timer(session, task), retry_at));
    // It counts as under way while it waits, so nothing else has room now that had none before.
    work.emit(
        session,
        &SessionEvent::TaskRetrying {
            task: task.id.clone(),
            step: task.step.clone(),
            attempt: task.attempt,
            error: bounded(error),
            retry_at,
        },
    )
}

/// How the waits between the attempts of `task` grow.
fn backoff(task: &Task, default: Backoff) -> Backoff {
    let Some(rule) = &task.rules.retry else { return default };
    Backoff {
        initial: rule.initial.unwrap_or(default.initial),
        factor: rule.factor.unwrap_or(default.factor),
        max: rule.max.unwrap_or(default.max.max(rule.initial.unwrap_or_default())),
    }
}
