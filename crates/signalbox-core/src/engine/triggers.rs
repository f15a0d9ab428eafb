//! A workflow is started: one session of it, dispatching its first task in the same decision where it can.

use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, ScheduleId, SessionId, TaskId, WorkflowId};

use super::Operation;
use super::definitions::keep;
use super::work::Work;
use crate::decision::Key;
use crate::definition::Definition;
use crate::session::SessionEvent;
use crate::task::{Task, TaskStatus};
use crate::{Decision, Halt, Rejected, Turn, View};

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
    type Answer = Triggered;

    fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<(Decision, Triggered), Halt> {
        let mut work = Work::new(view, turn);
        let definition = self.definition(&mut work)?;
        let start = Start {
            agent: self.agent.as_ref(),
            input: self.input.clone(),
            trace: self.trace.clone(),
            schedule: None,
        };
        let session = start.session_of(&mut work, &definition)?;
        Ok((work.finish(), Triggered { session, workflow: definition.id }))
    }
}

/// What a session is started with, besides its definition.
pub(super) struct Start<'a> {
    /// The agent of tasks that name neither an agent nor a capability.
    pub(super) agent: Option<&'a AgentId>,
    /// Its input.
    pub(super) input: Map<String, Value>,
    /// The `traceparent` of what started it.
    pub(super) trace: Option<String>,
    /// The schedule that it is started by.
    pub(super) schedule: Option<ScheduleId>,
}

impl Start<'_> {
    /// Starts a session of `definition`. Whatever refuses it does so before anything is changed.
    pub(super) fn session_of(
        self,
        work: &mut Work<'_, '_>,
        definition: &Definition,
    ) -> Result<SessionId, Halt> {
        if let Some(agent) = self.agent {
            work.known_agent(agent)?;
        }
        let session = SessionId::new(work.turn.now, work.turn.bits());
        let started = SessionEvent::Started {
            workflow: definition.id.clone(),
            revision: definition.revision,
            agent: self.agent.cloned(),
            input: self.input,
            trace: self.trace,
            schedule: self.schedule,
            tasks: tasks(work, definition, self.agent),
        };
        work.create_session(&session, &started);
        match definition.first() {
            Some(position) => work.go_on_with(&session, position)?,
            None => work.emit(&session, &SessionEvent::Completed { result: None })?,
        }
        Ok(session)
    }
}

/// The current revision of a kept workflow.
pub(super) fn current(work: &mut Work<'_, '_>, id: &WorkflowId) -> Result<Definition, Halt> {
    let unknown = || Rejected::UnknownWorkflow(id.to_string());
    let current = work.view.workflow(id)?.ok_or_else(unknown)?;
    let kept = work.view.definition(id, current.value.revision)?.ok_or_else(unknown)?;
    work.decision.expects.push((Key::Workflow(id.clone()), Some(current.version)));
    Ok(Definition::clone(&kept.value))
}

impl Trigger {
    fn definition(&self, work: &mut Work<'_, '_>) -> Result<Definition, Halt> {
        match &self.source {
            WorkflowSource::Inline(definition) => keep(work, definition),
            WorkflowSource::Kept(id) => current(work, id),
        }
    }
}

fn tasks(work: &mut Work<'_, '_>, definition: &Definition, agent: Option<&AgentId>) -> Vec<Task> {
    let now = work.turn.now;
    let retries = work.turn.policy.task_retries;
    let made = definition.tasks.iter().enumerate().map(|(position, step)| Task {
        id: TaskId::new(now, work.turn.bits()),
        step: step.id.clone(),
        position,
        name: step.name.clone(),
        route: step.route(agent),
        template: step.parameters.clone(),
        next: definition.after(position),
        status: TaskStatus::Pending,
        attempt: 0,
        retries: step.retries.unwrap_or(retries),
        agent: None,
        message: None,
        parameters: None,
        result: None,
        error: None,
        queued_at: None,
        retry_at: None,
        dispatched_at: None,
        started_at: None,
        ended_at: None,
    });
    made.collect()
}
