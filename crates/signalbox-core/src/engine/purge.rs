//! A session that is over is removed with its tasks. What its history holds goes after it, outside of any decision.

use serde_json::json;
use signalbox_wire::id::SessionId;

use super::operation::Operation;
use crate::decision::Key;
use crate::event::{Level, NewEvent};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// A session is to be removed.
#[derive(Debug, Clone)]
pub struct PurgeSession {
    /// Which.
    pub session: SessionId,
}

impl Operation for PurgeSession {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        vec![Key::Session(self.session.clone())]
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let unknown = || Rejected::UnknownSession(self.session.to_string());
        let read = snapshot.session(&self.session)?.ok_or_else(unknown)?;
        let (session, tasks) = (&read.value.session, &read.value.tasks);
        if !session.status.is_over() {
            let (session, status) = (self.session.clone(), session.status.name());
            let allowed = "completed, failed or cancelled".to_owned();
            return Err(Rejected::WrongStatus { session, status, wanted: "removed", allowed }.into());
        }
        let mut decision = Decision::default();
        decision.remove(Key::Session(self.session.clone()), read.version);
        for task in tasks {
            decision.remove_guarded(Key::Task(task.id.clone()));
        }
        // In the log of the tenant, not in the history that goes.
        let data =
            json!({"sessionId": self.session, "workflowId": session.workflow, "status": session.status});
        decision.events.push(NewEvent::new("session.purged", Level::Info, context.now, &data));
        Ok((decision, ()))
    }
}
