//! What came of calling the tool that does a task.

use serde_json::Value;
use signalbox_wire::id::{SessionId, TaskId};

use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use crate::decision::Key;
use crate::delivery::TaskAttempt;
use crate::due::DueJob;
use crate::task::Fault;
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// A tool has been called for a task. A call whose attempt is over changes nothing.
#[derive(Debug, Clone)]
pub struct SettleCall {
    /// The task's session.
    pub session: SessionId,
    /// The task.
    pub task: TaskId,
    /// The attempt that the call made.
    pub attempt: u32,
    /// What the tool answered, or why it did not, with the code of the failure.
    pub outcome: Result<Value, (String, String)>,
}

impl Operation for SettleCall {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        vec![Key::Session(self.session.clone())]
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let (session, task, attempt) = (self.session.clone(), self.task.clone(), self.attempt);
        let call = DueJob::Call { session, task, attempt };
        let meant =
            TaskAttempt { session: self.session.clone(), task: self.task.clone(), attempt: self.attempt };
        if let Some(task) = machine.work.held_task(&meant)? {
            let session = self.session.clone();
            machine.run(match &self.outcome {
                Ok(answer) => Command::CompleteTask { session, task, result: Some(answer.clone()) },
                Err((code, error)) => {
                    Command::attempt_failed(&session, task, error.clone(), Fault::Said(Some(code)))
                }
            })?;
        }
        let mut decision = machine.finish();
        decision.disarm(call.id());
        Ok((decision, ()))
    }
}
