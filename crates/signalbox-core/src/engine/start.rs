//! Starting a session, whatever asks for it.

use std::sync::Arc;

use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, ScheduleId, SessionId, TaskId, WorkflowId};

use super::concurrency::group_of;
use super::machine::command::{Command, Commands};
use super::unit_of_work::UnitOfWork;
use crate::decision::Key;
use crate::definition::{Definition, Kind};
use crate::due::{Due, DueJob};
use crate::graph::Graph;
use crate::routing::Route;
use crate::session::{ConcurrencyClaim, Parent, Plan, SessionEvent};
use crate::steps::STEPS_PER_TASK_MADE;
use crate::task::Task;
use crate::{Halt, Rejected};

/// What a session is started with, besides its definition.
pub(super) struct Start<'a> {
    /// The agent of tasks that name neither an agent nor a capability.
    pub(super) agent: Option<&'a AgentId>,
    /// Its input.
    pub(super) input: Map<String, Value>,
    /// Where a request holds the input, as a JSON pointer. Without it the input is known to fit.
    pub(super) input_place: Option<&'static str>,
    /// The `traceparent` of what started it.
    pub(super) trace: Option<String>,
    /// The schedule that it is started by.
    pub(super) schedule: Option<ScheduleId>,
    /// The task that it does, where it does one of another session.
    pub(super) parent: Option<Parent>,
}

impl Start<'_> {
    /// Adds a session of `definition` that goes on as far as it can next. Whatever refuses it does so before anything
    /// is changed.
    pub(super) fn session(
        self,
        session: &SessionId,
        definition: &Definition,
        work: &mut UnitOfWork<'_, '_>,
        then: &mut Commands,
    ) -> Result<(), Halt> {
        let mut plan = Plan {
            output: definition.output.clone(),
            timeout: definition.timeout,
            max_parallel: definition.max_parallel,
            group: None,
            notify: definition.notify.clone(),
        };
        let input = work.externalize_fields(self.input)?;
        if let Some(place) = self.input_place {
            work.fits(definition, &input, place)?;
        }
        let admission = match &definition.concurrency {
            Some(concurrency) => {
                let group = group_of(definition, concurrency, &input, work)?;
                let pass = plan.group.insert(ConcurrencyClaim { group, limit: concurrency.limit });
                let pass = pass.clone();
                let admission = work.admission(&pass, concurrency.on_busy)?;
                work.refuse_circle(&pass, &admission, self.parent.as_ref())?;
                Some((pass, admission))
            }
            None => None,
        };
        work.context.steps.take(definition.tasks.len() as u64 * STEPS_PER_TASK_MADE)?;
        let graph = Graph::of(&definition.tasks);
        if admission.is_none() {
            work.foresee(&first_routes(definition, &graph, self.agent))?;
        }
        let started = SessionEvent::Started {
            workflow: definition.id.clone(),
            revision: definition.revision,
            tasks: work.tasks(definition, &graph, self.agent),
            agent: self.agent.cloned(),
            input,
            trace: self.trace,
            schedule: self.schedule,
            parent: self.parent,
            plan,
        };
        work.create_session(session, &started);
        if let Some(limit) = definition.timeout {
            let timer = DueJob::Deadline { session: session.clone() };
            work.decision.arm(Due::new(timer, work.context.now + limit));
        }
        then.push(match admission {
            Some((claim, admission)) => Command::EnterGroup { session: session.clone(), claim, admission },
            None => Command::advance(session),
        });
        Ok(())
    }
}

/// The routes of the tasks that begin with the session and are given to agents.
fn first_routes(definition: &Definition, graph: &Graph, agent: Option<&AgentId>) -> Vec<Route> {
    let first = definition.tasks.iter().enumerate().filter(|(position, step)| {
        let is_plain = step.rules.when.is_none() && step.rules.for_each.is_none();
        is_plain && step.kind.is_agent() && graph.incoming(*position).is_empty()
    });
    let mut routes: Vec<Route> = Vec::new();
    for route in first.map(|(_, step)| step.route(agent)) {
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    routes
}

/// The current revision of a kept workflow: the one that this decision keeps, where it keeps one.
pub(super) fn current(work: &mut UnitOfWork<'_, '_>, id: &WorkflowId) -> Result<Arc<Definition>, Halt> {
    if let Some(kept) = work.kept.iter().find(|kept| kept.id == *id) {
        return Ok(Arc::clone(kept));
    }
    let unknown = || Rejected::UnknownWorkflow(id.to_string());
    let current = work.snapshot.kept_workflow(id)?.ok_or_else(unknown)?;
    let kept = work.snapshot.definition(id, current.value.revision)?.ok_or_else(unknown)?;
    work.decision.expects.push((Key::Workflow(id.clone()), Some(current.version)));
    Ok(kept.value)
}

impl UnitOfWork<'_, '_> {
    /// The decision rests on a workflow's not being there: neither ever kept, nor kept again since it was deleted.
    pub(super) fn expect_absent(&mut self, workflow: WorkflowId) {
        let deleted = self.snapshot.workflow(&workflow).ok().flatten().map(|row| row.version);
        self.decision.expects.push((Key::Workflow(workflow), deleted));
    }

    fn tasks(&mut self, definition: &Definition, graph: &Graph, agent: Option<&AgentId>) -> Vec<Arc<Task>> {
        let now = self.context.now;
        let retries = self.context.policy.task_retries;
        let made = definition.tasks.iter().enumerate().map(|(position, step)| Task {
            name: step.name.clone(),
            kind: step.kind.clone(),
            rules: step.rules.clone(),
            template: step.parameters.clone(),
            after: graph.incoming(position).to_vec(),
            retries: step.retries.unwrap_or(match step.kind {
                // Its own tasks are tried again already: again at each level would multiply.
                Kind::Workflow(_) => 0,
                _ => retries,
            }),
            ..Task::new(TaskId::new(now, self.context.bits()), step.id.clone(), position, step.route(agent))
        });
        made.map(Arc::new).collect()
    }
}
