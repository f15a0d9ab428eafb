//! Approvals guard the tasks that follow them: none is done with other parameters than were approved.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};
use signalbox_wire::id::SessionId;

use super::unit_of_work::UnitOfWork;
use crate::Halt;
use crate::graph::EdgeKind;
use crate::session::SessionEvent;
use crate::task::{Task, TaskStatus};

impl UnitOfWork<'_, '_> {
    /// Whether a task is about to be done with other parameters than were approved, or before they are. Then the
    /// approval is asked for again, and the task waits for it.
    pub(super) fn ask_again(
        &mut self,
        session: &SessionId,
        task: &Task,
        parameters: &Map<String, Value>,
    ) -> Result<bool, Halt> {
        if task.undoes.is_some() {
            return Ok(false);
        }
        let state = self.known_session(session)?;
        let whole = task.instance.as_ref().and_then(|instance| state.tasks.get(instance.of));
        let (after, step) = whole.map_or((&task.after, &task.step), |whole| (&whole.after, &whole.step));
        let approvals =
            after.iter().filter(|edge| guards(edge.kind)).filter_map(|edge| state.tasks.get(edge.from));
        let approvals: Vec<Arc<Task>> = approvals.cloned().collect();
        let is_asked =
            approvals.iter().any(|approval| approval.subject.is_some() && !approval.status.is_settled());
        let step = step.clone();
        let mut changed = Vec::new();
        for approval in approvals {
            let Some(subject) =
                approval.subject.as_ref().filter(|_| approval.status == TaskStatus::Completed)
            else {
                continue;
            };
            let approved = match subject.parameters.get(&step) {
                Some(approved) => self.opened(approved)?,
                None => Cow::Owned(Value::Null),
            };
            let approved = match &task.instance {
                Some(instance) => approved.get(instance.index).map(|item| self.opened(item)).transpose()?,
                None => Some(approved.clone()),
            };
            if approved.as_deref().and_then(Value::as_object) != Some(parameters) {
                changed.push(Arc::clone(&approval));
            }
        }
        for approval in &changed {
            let event = SessionEvent::TaskReopened {
                task: approval.id.clone(),
                step: approval.step.clone(),
                retries: approval.retries,
            };
            self.emit(session, &event)?;
        }
        Ok(is_asked || !changed.is_empty())
    }
}

/// Whether a task guards the one that an edge of this kind leads to, where it is an approval.
pub(super) fn guards(kind: EdgeKind) -> bool {
    matches!(kind, EdgeKind::Requires | EdgeKind::Arrow)
}
