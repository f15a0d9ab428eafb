//! Signals: something comes from outside that a task waits for.

use serde_json::Value;
use signalbox_wire::id::SessionId;

use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use crate::definition::Kind;
use crate::limits::SIGNALS_KEPT_MAX;
use crate::session::{SessionEvent, SessionState};
use crate::task::{Task, TaskStatus};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// Something from outside that a task waits for, or will. One that comes before the task waits is kept for it.
#[derive(Debug, Clone)]
pub struct Signal {
    /// Which session.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// What it carries; it becomes the result of the task that waited.
    pub payload: Option<Value>,
}

impl Operation for Signal {
    type Output = SessionState;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, SessionState), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let state = machine.work.known_session(&self.session)?;
        let means = |task: &Task| matches!(&task.kind, Kind::Wait { signal } if *signal == self.name);
        let waiting =
            state.tasks.open().find(|task| task.status == TaskStatus::Waiting && means(task)).cloned();
        let will_wait = waiting.is_none()
            && state.tasks.open().any(|task| task.status == TaskStatus::Pending && means(task));
        let kept = state.session.signals.len();
        let is_over = state.session.status.is_over() || state.session.ending.is_some();
        match waiting {
            Some(task) if !is_over => {
                let (session, result) = (self.session.clone(), self.payload.clone());
                machine.run(Command::CompleteTask { session, task, result })?;
            }
            None if will_wait && !is_over && kept < SIGNALS_KEPT_MAX => {
                let payload =
                    self.payload.clone().map(|payload| machine.work.externalize(payload)).transpose()?;
                let event = SessionEvent::SignalKept { signal: self.name.clone(), payload };
                machine.work.emit(&self.session, &event)?;
            }
            None if will_wait && !is_over => return Err(Rejected::SignalsFull(self.session.clone()).into()),
            _ => {
                let (session, signal) = (self.session.clone(), self.name.clone());
                return Err(Rejected::NothingWaits { session, signal }.into());
            }
        }
        let state = machine.work.known_session(&self.session)?.clone();
        Ok((machine.finish(), state))
    }
}
