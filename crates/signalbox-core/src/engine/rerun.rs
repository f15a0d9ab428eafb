//! A session is run again: a new one on the same revision, with the same input and agent.

use serde_json::json;
use signalbox_wire::id::SessionId;

use super::machine::Machine;
use super::operation::Operation;
use super::start::Start;
use super::triggers::Triggered;
use crate::decision::Key;
use crate::event::{Level, NewEvent};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// A session is to be run again, whatever became of it.
#[derive(Debug, Clone)]
pub struct Rerun {
    /// Which.
    pub session: SessionId,
    /// The `traceparent` of the request.
    pub trace: Option<String>,
}

impl Operation for Rerun {
    type Output = Triggered;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Session(self.session.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Triggered), Halt> {
        let unknown = || Rejected::UnknownSession(self.session.to_string());
        let read = snapshot.session(&self.session)?.ok_or_else(unknown)?;
        let before = read.value;
        let (workflow, revision) = (before.session.workflow.clone(), before.session.revision);
        let gone = || Rejected::UnknownRevision { workflow: workflow.clone(), revision };
        let kept = snapshot.definition(&workflow, revision)?.ok_or_else(gone)?;
        let mut machine = Machine::new(snapshot, context);
        // Neither a session nor a revision that is removed meanwhile is run any more.
        machine.work.decision.expects.push((Key::Session(self.session.clone()), Some(read.version)));
        machine.work.decision.expects.push((Key::Definition(workflow.clone(), revision), Some(kept.version)));
        let start = Start {
            agent: before.session.agent.as_ref(),
            input: before.session.input.clone(),
            input_place: None,
            trace: self.trace.clone(),
            schedule: None,
            parent: None,
        };
        let session = machine.start(start, &kept.value)?;
        let data = json!({"sessionId": self.session, "newSessionId": session});
        let mut entry = NewEvent::new("session.rerun", Level::Info, machine.work.context.now, &data);
        entry.session = Some((self.session.clone(), 0));
        machine.work.log(entry);
        Ok((machine.finish(), Triggered { session, workflow }))
    }
}
