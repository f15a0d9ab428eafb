//! Giving tasks to agents, taking them back, and what follows when one is settled.
//!
//! These are the steps that several operations share; each keeps the session and the agent in agreement: a
//! task is held by exactly the agent that its session says.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use signalbox_wire::id::{AgentId, MessageId, SessionId, TaskId};
use signalbox_wire::time::Timestamp;

use super::work::Work;
use crate::agent::Held;
use crate::decision::Row;
use crate::delivery::{Message, MessageKind, MessageStatus, TaskAttempt};
use crate::due::{Due, Work as DueWork};
use crate::expression::{self, Scope};
use crate::limits::bounded;
use crate::routing::{self, Route};
use crate::session::{SessionEvent, SessionState, SessionStatus};
use crate::task::{Task, TaskStatus};
use crate::{Halt, retry::Backoff};

impl Work<'_, '_> {
    /// Tries to give a pending task to an agent; where none is available the task waits.
    pub(super) fn place(&mut self, session: &SessionId, task: &TaskId) -> Result<(), Halt> {
        let state = self.known_session(session)?;
        let is_open = matches!(state.session.status, SessionStatus::Started | SessionStatus::Running);
        let Some(task) = state.task(task).filter(|task| task.status == TaskStatus::Pending).cloned() else {
            return Ok(());
        };
        if !is_open {
            return Ok(());
        }
        if let Route::Agent(agent) = &task.route
            && self.agent(agent)?.is_none()
        {
            return self.fail_task(
                session,
                &task,
                &format!("Agent not found: {agent}; the task asks for it by id"),
            );
        }
        let parameters = match self.render(session, &task)? {
            Ok(parameters) => parameters,
            Err(fault) => return self.fail_task(session, &task, &format!("The task's parameters: {fault}")),
        };
        match self.choose(&task.route)? {
            Some(agent) => self.dispatch(session, &task, &agent, parameters),
            None if task.queued_at.is_some() => Ok(()),
            None => self.emit(
                session,
                &SessionEvent::TaskWaiting {
                    task: task.id.clone(),
                    step: task.step.clone(),
                    waiting_for: task.route.waiting_for(),
                },
            ),
        }
    }

    /// Settles a task as done and goes on with what follows it.
    pub(super) fn complete(
        &mut self,
        session: &SessionId,
        task: &Task,
        result: Option<Value>,
    ) -> Result<(), Halt> {
        self.let_go(session, task)?;
        let Some(agent) = task.agent.clone() else { return Ok(()) };
        let event = SessionEvent::TaskCompleted {
            task: task.id.clone(),
            step: task.step.clone(),
            attempt: task.attempt,
            agent,
            result: result.clone(),
        };
        self.emit(session, &event)?;
        match task.next {
            Some(next) => self.go_on_with(session, next),
            None => self.emit(session, &SessionEvent::Completed { result }),
        }
    }

    /// An attempt failed: another follows after a wait, or the task and with it the session fails.
    pub(super) fn fail_attempt(
        &mut self,
        session: &SessionId,
        task: &Task,
        error: &str,
        backoff: Backoff,
    ) -> Result<(), Halt> {
        if !task.may_retry() {
            return self.fail_task(session, task, error);
        }
        self.let_go(session, task)?;
        let retry_at = self.turn.now + backoff.wait(task.attempt, self.turn);
        self.decision.due.push(Due { work: retry_timer(session, task), at: retry_at });
        self.emit(
            session,
            &SessionEvent::TaskRetrying {
                task: task.id.clone(),
                step: task.step.clone(),
                attempt: task.attempt,
                error: bounded(error),
                retry_at,
            },
        )
    }

    /// An agent went away with a task in its hands: the task is routed again at once, or fails.
    pub(super) fn give_back(&mut self, held: &Held, reason: &str) -> Result<(), Halt> {
        let Some(task) = self.held_task(&held.attempt_of())? else { return Ok(()) };
        if !task.may_retry() {
            return self.fail_task(&held.session, &task, reason);
        }
        self.let_go(&held.session, &task)?;
        self.emit(
            &held.session,
            &SessionEvent::TaskReturned {
                task: task.id.clone(),
                step: task.step.clone(),
                attempt: task.attempt,
                agent: task.agent.clone(),
                reason: bounded(reason),
            },
        )?;
        self.place(&held.session, &held.task)
    }

    /// A task fails for good, and its session with it.
    pub(super) fn fail_task(&mut self, session: &SessionId, task: &Task, error: &str) -> Result<(), Halt> {
        self.let_go(session, task)?;
        self.emit(
            session,
            &SessionEvent::TaskFailed {
                task: task.id.clone(),
                step: task.step.clone(),
                attempt: task.attempt,
                error: bounded(error),
            },
        )?;
        self.emit(
            session,
            &SessionEvent::Failed { error: bounded(&format!("Task {} failed: {error}", task.step)) },
        )
    }

    /// Takes a task out of its agent's hands and off the clock, where it is.
    pub(super) fn let_go(&mut self, session: &SessionId, task: &Task) -> Result<(), Halt> {
        if task.retry_at.is_some() {
            self.decision.done.push(retry_timer(session, task).id());
        }
        if !task.status.is_held() {
            return Ok(());
        }
        let work =
            DueWork::Timeout { session: session.clone(), task: task.id.clone(), attempt: task.attempt };
        self.decision.done.push(work.id());
        if let Some(agent) = &task.agent
            && let Some(work) = self.agent(agent)?
        {
            // Written even where the task is not found in it: then it was read too early, and conflicts.
            work.status_mut().held.retain(|held| held.task != task.id);
        }
        Ok(())
    }

    /// The task that is meant, if its session agrees that it is held in that attempt.
    pub(super) fn held_task(&mut self, meant: &TaskAttempt) -> Result<Option<Task>, Halt> {
        let task = self.task(&meant.session, &meant.task)?;
        Ok(task.filter(|task| task.status.is_held() && task.attempt == meant.attempt))
    }

    /// Goes on with the task at `position`, or ends the session where there is none.
    pub(super) fn go_on_with(&mut self, session: &SessionId, position: usize) -> Result<(), Halt> {
        let next = self.known_session(session)?.tasks.get(position).map(|task| task.id.clone());
        match next {
            Some(task) => self.place(session, &task),
            None => self.emit(session, &SessionEvent::Completed { result: None }),
        }
    }

    fn render(
        &mut self,
        session: &SessionId,
        task: &Task,
    ) -> Result<Result<Map<String, Value>, expression::Unresolved>, Halt> {
        let state: &SessionState = self.known_session(session)?;
        let run = state.session.seen();
        let scope = Scope {
            input: &state.session.input,
            tasks: &state.tasks,
            item: None,
            index: None,
            session: Some(&run),
        };
        let is_first = !state.tasks.iter().any(|other| other.next == Some(task.position));
        Ok(expression::render(&task.template, scope).map(|mut parameters| {
            if is_first {
                parameters.extend(state.session.input.clone());
            }
            parameters
        }))
    }

    /// The available agent for `route` that was used least recently. An agent that this decision itself has
    /// freed is taken only when no other task waits for it.
    fn choose(&mut self, route: &Route) -> Result<Option<AgentId>, Halt> {
        let listed = match route {
            Route::Agent(agent) => vec![agent.clone()],
            _ => self.view.candidates(&route.key())?.to_vec(),
        };
        let mut candidates = listed.clone();
        candidates.extend(self.touched_available(route).into_iter().filter(|agent| !listed.contains(agent)));
        let mut best: Option<(Timestamp, AgentId)> = None;
        for agent in candidates {
            if !self.is_available(&agent)? || self.others_wait_for(&agent)? {
                continue;
            }
            let Some(work) = self.agent(&agent)?.filter(|work| route.admits(&work.agent)) else { continue };
            let key = (work.status.last_used, agent);
            if best.as_ref().is_none_or(|best| key < *best) {
                best = Some(key);
            }
        }
        Ok(best.map(|(_, agent)| agent))
    }

    /// Whether tasks wait for an agent that has only become available by this very decision.
    fn others_wait_for(&mut self, agent: &AgentId) -> Result<bool, Halt> {
        if self.was_available(agent)? {
            return Ok(false);
        }
        let Some(keys) = self.agent(agent)?.map(|work| routing::keys_of(&work.agent)) else {
            return Ok(false);
        };
        Ok(!self.view.waiting(&keys)?.is_empty())
    }

    fn was_available(&self, agent: &AgentId) -> Result<bool, Halt> {
        let (Some(agent), Some(status)) = (self.view.agent(agent)?, self.view.status(agent)?) else {
            return Ok(false);
        };
        Ok(status.value.is_available(&agent.value))
    }

    fn dispatch(
        &mut self,
        session: &SessionId,
        task: &Task,
        agent: &AgentId,
        parameters: Map<String, Value>,
    ) -> Result<(), Halt> {
        let now = self.turn.now;
        let attempt = task.attempt + 1;
        let message = MessageId::new(now, self.turn.bits());
        let state = self.known_session(session)?;
        let trace = state.session.trace.clone();
        let body = json!({
            "senderId": "opscore",
            "messageType": "workflow_task",
            "payload": parameters,
            "timestamp": now,
            "task_name": task.name.as_deref().unwrap_or(&task.step),
            "opscore_session_id": session,
            "opscore_task_id": task.id.attempt_name(attempt),
            "sessionContext": {
                "sessionId": session,
                "workflowId": state.session.workflow,
                "taskId": task.step,
            },
        });
        if let Some(work) = self.agent(agent)? {
            let status = work.status_mut();
            status.last_used = now;
            status.held.push(Held {
                session: session.clone(),
                task: task.id.clone(),
                step: task.step.clone(),
                attempt,
            });
        }
        let timeout = DueWork::Timeout { session: session.clone(), task: task.id.clone(), attempt };
        self.decision.due.push(Due { work: timeout, at: now + self.turn.policy.task_timeout });
        let carried = TaskAttempt { session: session.clone(), task: task.id.clone(), attempt };
        self.send(NewMessage {
            id: message.clone(),
            kind: MessageKind::Task,
            agent: Some(agent.clone()),
            task: Some(carried),
            body: body.to_string(),
            trace,
        });
        self.emit(
            session,
            &SessionEvent::TaskDispatched {
                task: task.id.clone(),
                step: task.step.clone(),
                attempt,
                agent: agent.clone(),
                message,
                parameters,
            },
        )
    }

    /// Accepts a message for delivery: durable with this decision, sent after it.
    pub(super) fn send(&mut self, new: NewMessage) {
        let now = self.turn.now;
        self.decision.due.push(Due { work: DueWork::Deliver { message: new.id.clone() }, at: now });
        let message = Message {
            id: new.id,
            kind: new.kind,
            agent: new.agent,
            task: new.task,
            body: new.body,
            trace: new.trace,
            status: MessageStatus::Scheduled,
            attempts: 0,
            attempts_max: self.turn.policy.delivery_attempts,
            created_at: now,
            next_at: Some(now),
            settled_at: None,
            last_status: None,
            last_error: None,
        };
        let version = self.turn.version_after(None);
        self.decision.create(Row::Message(Arc::new(message)), version);
    }
}

/// A message to accept.
pub(super) struct NewMessage {
    pub(super) id: MessageId,
    pub(super) kind: MessageKind,
    pub(super) agent: Option<AgentId>,
    pub(super) task: Option<TaskAttempt>,
    pub(super) body: String,
    pub(super) trace: Option<String>,
}

/// What ends the wait after the task's present attempt.
pub(super) fn retry_timer(session: &SessionId, task: &Task) -> DueWork {
    DueWork::Retry { session: session.clone(), task: task.id.clone(), attempt: task.attempt }
}
