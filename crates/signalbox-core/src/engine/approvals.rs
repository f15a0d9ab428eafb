//! Approvals: somebody agrees to the exact parameters of the tasks that follow, or refuses.

use serde_json::json;
use signalbox_wire::id::SessionId;

use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use crate::definition::Kind;
use crate::limits::bounded;
use crate::session::SessionState;
use crate::task::{Task, TaskStatus};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// Somebody agrees to what a task asks approval for, or refuses.
#[derive(Debug, Clone)]
pub struct Approve {
    /// Which session.
    pub session: SessionId,
    /// The task that asks, by its id in the definition or its own.
    pub task: String,
    /// Whether it is agreed to.
    pub is_approved: bool,
    /// Who says so: the caller, as the key names it.
    pub by: String,
    /// Why.
    pub comment: Option<String>,
    /// The digest of what was seen. Nothing is agreed to without it, and where it is given it must be that of what is
    /// asked for.
    pub digest: Option<String>,
}

impl Operation for Approve {
    type Output = SessionState;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, SessionState), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let state = machine.work.known_session(&self.session)?;
        let asks =
            |task: &Task| task.status == TaskStatus::Waiting && matches!(task.kind, Kind::Approve { .. });
        let named = |task: &Task| task.step == self.task || task.id.as_str() == self.task;
        let Some(task) = state.tasks.open().find(|task| asks(task) && named(task)).cloned() else {
            let (session, task) = (self.session.clone(), self.task.clone());
            return Err(Rejected::NothingToApprove { session, task }.into());
        };
        let digest = task.subject.as_ref().map(|subject| subject.digest.clone()).unwrap_or_default();
        let is_seen =
            self.digest.as_ref().map_or(!self.is_approved, |seen| seen.eq_ignore_ascii_case(&digest));
        if !is_seen {
            return Err(Rejected::ApprovalChanged { task: task.step.clone(), digest }.into());
        }
        if self.is_approved {
            let result = json!({"approved": true, "by": self.by, "comment": self.comment, "digest": digest});
            let session = self.session.clone();
            machine.run(Command::CompleteTask { session, task, result: Some(result) })?;
        } else {
            let why = self.comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
            machine.run(Command::fail(
                &self.session,
                &task,
                bounded(&format!("refused by {}{why}", self.by)),
            ))?;
        }
        let state = machine.work.known_session(&self.session)?.clone();
        Ok((machine.finish(), state))
    }
}
