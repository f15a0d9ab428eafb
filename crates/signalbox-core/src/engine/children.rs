//! Sessions that do a task of another session: they begin with it, report to it, and end with it.

use signalbox_wire::id::{SessionId, WorkflowId};

use super::triggers::{Start, current};
use super::unit_of_work::UnitOfWork;
use crate::due::{Due, DueJob};
use crate::limits::SESSION_DEPTH_MAX;
use crate::session::{Parent, SessionEvent};
use crate::task::{Fault, Task};
use crate::{Halt, Rejected};

impl UnitOfWork<'_, '_> {
    /// Begins the session that does `task`.
    pub(super) fn begin_child(
        &mut self,
        session: &SessionId,
        task: &Task,
        workflow: &WorkflowId,
    ) -> Result<(), Halt> {
        let definition = match current(self, workflow) {
            Ok(definition) => definition,
            Err(Halt::Rejected(reason)) => {
                self.expect_absent(workflow.clone());
                return self.fail_task(session, task, &reason.to_string());
            }
            Err(need) => return Err(need),
        };
        let state = self.known_session(session)?;
        let depth = state.session.parent.as_ref().map_or(0, |parent| parent.depth) + 1;
        let (agent, trace) = (state.session.agent.clone(), state.session.trace.clone());
        if depth > SESSION_DEPTH_MAX {
            let error = Rejected::TooDeep(session.clone()).to_string();
            return self.fail_task(session, task, &error);
        }
        let Some(parameters) = self.rendered(session, task)? else { return Ok(()) };
        let child = SessionId::new(self.context.now, self.context.bits());
        let attempt = task.attempt + 1;
        if let Some(limit) = task.rules.timeout {
            self.arm_timeout(session, task, attempt, limit);
        }
        // The task is in the child's hands before the child begins: it may be over at once.
        self.emit(
            session,
            &SessionEvent::TaskDispatched {
                task: task.id.clone(),
                step: task.step.clone(),
                attempt,
                agent: None,
                child: Some(child.clone()),
                parameters: parameters.clone(),
            },
        )?;
        self.begun += definition.tasks.len();
        let parent = Parent { session: session.clone(), task: task.id.clone(), attempt, depth };
        let start = Start {
            agent: agent.as_ref(),
            input: parameters,
            input_place: Some(""),
            trace,
            schedule: None,
            parent: Some(parent),
        };
        match start.session_as(&child, self, &definition) {
            Err(Halt::Rejected(reason)) => {
                let Some(task) = self.task(session, &task.id)? else { return Ok(()) };
                // There is no child to end.
                let task = Task { child: None, ..Task::clone(&task) };
                self.fail_attempt(session, &task, &reason.to_string(), Fault::Said(None))
            }
            other => other,
        }
    }

    /// The task of a child is no longer wanted, nor is the child. One that tells of its own end is over already.
    pub(super) fn end_child(&mut self, child: &SessionId, task: &Task) {
        if self.is_known_over(child) {
            return;
        }
        let reason = format!("the task {} that it did is no longer wanted", task.step);
        let work = DueJob::End { session: child.clone(), reason };
        self.decision.arm(Due::new(work, self.context.now));
    }
}
