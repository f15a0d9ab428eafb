//! A workflow is started: one session of it, dispatching its first tasks in the same decision where it can.

use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, SessionId, WorkflowId};

use super::definitions::keep;
use super::machine::Machine;
use super::operation::Operation;
use super::start::{Start, current};
use crate::decision::Key;
use crate::definition::Definition;
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// A session is asked for.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// What to run.
    pub source: WorkflowSource,
    /// The agent of tasks that name neither an agent nor a capability.
    pub agent: Option<AgentId>,
    /// What it is started with.
    pub input: Map<String, Value>,
    /// The `traceparent` of the request.
    pub trace: Option<String>,
}

/// Where the definition comes from.
#[derive(Debug, Clone)]
pub enum WorkflowSource {
    /// The current revision of a kept one.
    Kept(WorkflowId),
    /// The request itself; it is kept under its id.
    Inline(Box<Definition>),
}

/// The session that came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triggered {
    /// The session.
    pub session: SessionId,
    /// The workflow it runs.
    pub workflow: WorkflowId,
}

impl Operation for Trigger {
    type Output = Triggered;

    fn keys(&self) -> Vec<Key> {
        match &self.source {
            WorkflowSource::Kept(id) => vec![Key::Workflow(id.clone())],
            WorkflowSource::Inline(definition) => vec![Key::Workflow(definition.id.clone())],
        }
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Triggered), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let definition = match &self.source {
            WorkflowSource::Inline(definition) => keep(&mut machine.work, definition)?,
            WorkflowSource::Kept(id) => current(&mut machine.work, id)?,
        };
        let start = Start {
            agent: self.agent.as_ref(),
            input: self.input.clone(),
            input_place: Some("/initialPayload"),
            trace: self.trace.clone(),
            schedule: None,
            parent: None,
        };
        let session = machine.start(start, &definition)?;
        Ok((machine.finish(), Triggered { session, workflow: definition.id.clone() }))
    }
}
