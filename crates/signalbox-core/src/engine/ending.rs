//! Tasks and sessions end: what failed is tried again or brings its session down, what was done is undone, and
//! whoever waits for the end hears of it.

use std::sync::Arc;

use serde_json::json;
use signalbox_wire::id::{AgentId, MessageId, SessionId, TaskId};

use super::dispatch::NewMessage;
use super::unit_of_work::UnitOfWork;
use crate::Halt;
use crate::definition::{Kind, OnFailure};
use crate::delivery::{MessageKind, TaskAttempt};
use crate::due::{Due, DueJob};
use crate::limits::{STOPPING_MAX, bounded};
use crate::retry::Backoff;
use crate::routing::Route;
use crate::session::{Ending, SessionEvent, SessionState, SessionStatus};
use crate::task::{Fault, Task, TaskStatus};

impl UnitOfWork<'_, '_> {
    /// An attempt failed: another follows after a wait, or the task fails.
    pub(super) fn fail_attempt(
        &mut self,
        session: &SessionId,
        task: &Task,
        error: &str,
        fault: Fault<'_>,
    ) -> Result<(), Halt> {
        if !task.may_retry(Some(fault)) {
            return self.fail_task(session, task, error);
        }
        self.release(session, task)?;
        let backoff = backoff(task, self.context.policy.task_backoff);
        let retry_at = self.context.now + backoff.wait(task.attempt, self.context);
        self.decision.arm(Due::new(super::dispatch::retry_timer(session, task), retry_at));
        self.emit(
            session,
            &SessionEvent::TaskRetrying {
                task: task.id.clone(),
                step: task.step.clone(),
                attempt: task.attempt,
                error: bounded(error),
                retry_at,
            },
        )?;
        // It counts as under way while it waits, so nothing else has room now that had none before.
        Ok(())
    }

    /// A task fails for good.
    pub(super) fn fail_task(&mut self, session: &SessionId, task: &Task, error: &str) -> Result<(), Halt> {
        self.release(session, task)?;
        self.emit(session, &failed(task, error))?;
        if task.undoes.is_some() {
            // What cannot be undone is said at the end, and holds up nothing else.
            return self.advance(session);
        }
        let Some(instance) = &task.instance else { return self.after_failure(session, task, error) };
        let (of, index) = (instance.of, instance.index);
        let Some(whole) = self.known_session(session)?.tasks.get(of).cloned() else { return Ok(()) };
        if whole.rules.on_failure == OnFailure::Continue {
            return self.advance(session);
        }
        let others: Vec<Arc<Task>> = self.known_session(session)?.instances(&whole).cloned().collect();
        for other in others.iter().filter(|other| !other.status.is_settled()) {
            self.take_away(session, other, "another item of the same list failed")?;
        }
        let error = format!("item {index}: {error}");
        self.emit(session, &failed(&whole, &error))?;
        self.after_failure(session, &whole, &error)
    }

    fn after_failure(&mut self, session: &SessionId, task: &Task, error: &str) -> Result<(), Halt> {
        match task.rules.on_failure {
            OnFailure::Fail => {
                let reason = bounded(&format!("Task {} failed: {error}", task.step));
                self.terminate(session, SessionStatus::Failed, &reason)
            }
            OnFailure::Continue | OnFailure::Goto(_) => self.advance(session),
        }
    }

    /// A session ends before its time: what is under way is taken away, what was done is undone where its
    /// workflow says how.
    pub(super) fn terminate(
        &mut self,
        session: &SessionId,
        status: SessionStatus,
        reason: &str,
    ) -> Result<(), Halt> {
        let state = self.known_session(session)?.clone();
        if state.session.status.is_over() || state.session.ending.is_some() {
            return Ok(());
        }
        let is_wanted = |task: &Task| {
            let has_begun = task.status != TaskStatus::Pending || task.is_under_way();
            !task.status.is_settled() && (has_begun || status == SessionStatus::Cancelled)
        };
        for task in state.tasks.iter().filter(|task| is_wanted(task)) {
            self.take_away(session, task, reason)?;
        }
        let tasks = self.undoing(&state);
        if tasks.is_empty() {
            let reason = reason.to_owned();
            return self.finish_session(
                session,
                &match status {
                    SessionStatus::Cancelled => SessionEvent::Cancelled { reason },
                    _ => SessionEvent::Failed { error: reason },
                },
            );
        }
        let ending = Ending { status, reason: reason.to_owned() };
        self.emit(session, &SessionEvent::Undoing { ending, tasks })?;
        self.advance(session)
    }

    /// A task is no longer wanted: whoever has it in hand is told.
    fn take_away(&mut self, session: &SessionId, task: &Task, reason: &str) -> Result<(), Halt> {
        let attempt = TaskAttempt { session: session.clone(), task: task.id.clone(), attempt: task.attempt };
        let is_new = self.dispatches_now(&attempt);
        if task.status.is_held() && task.agent.is_some() && !is_new {
            self.tell_to_stop(session, task, reason)?;
            self.count_as_stopping(session, task)?;
        }
        let may_be_unsent = !is_new && self.may_be_unsent(&attempt, task)?;
        self.release(session, task)?;
        if may_be_unsent {
            // Whoever comes to send it finds that it never was, and that there is nothing to stop.
            self.keep_dispatch(&attempt);
        }
        let event = SessionEvent::TaskCancelled {
            task: task.id.clone(),
            step: task.step.clone(),
            attempt: task.attempt,
        };
        self.emit(session, &event)
    }

    pub(super) fn tell_to_stop(
        &mut self,
        session: &SessionId,
        task: &Task,
        reason: &str,
    ) -> Result<(), Halt> {
        let id = MessageId::new(self.context.now, self.context.bits());
        let state = self.known_session(session)?;
        let trace = state.session.trace.clone();
        let body = json!({
            "senderId": "opscore",
            "messageType": "workflow_cancel",
            "payload": {"reason": reason},
            "messageId": id,
            "timestamp": state.session.updated_at,
            "opscore_session_id": session,
            "opscore_task_id": task.id.attempt_name(task.attempt),
            "sessionContext": {
                "sessionId": session,
                "workflowId": state.session.workflow,
                "taskId": task.step,
            },
        });
        self.send(NewMessage {
            id,
            kind: MessageKind::Task,
            agent: task.agent.clone(),
            task: None,
            url: None,
            body: body.to_string(),
            trace,
        });
        Ok(())
    }

    /// An agent that is told to stop is at it until it says otherwise, or has had its time to.
    fn count_as_stopping(&mut self, session: &SessionId, task: &Task) -> Result<(), Halt> {
        let Some(agent) = &task.agent else { return Ok(()) };
        let Some(work) = self.agent(agent)? else { return Ok(()) };
        let (session, attempt) = (session.clone(), task.attempt);
        work.status_mut().stopping.push(TaskAttempt { session, task: task.id.clone(), attempt });
        let stop = DueJob::Stop { agent: agent.clone(), task: task.id.clone(), attempt };
        self.decision.arm(Due::new(stop, self.context.now + STOPPING_MAX));
        Ok(())
    }

    /// Some of the attempts that an agent was told to stop are over.
    pub(super) fn stopped(
        &mut self,
        agent: &AgentId,
        is_over: impl Fn(&TaskAttempt) -> bool,
    ) -> Result<(), Halt> {
        let Some(work) = self.agent(agent)? else { return Ok(()) };
        let over: Vec<TaskAttempt> =
            work.status.stopping.iter().filter(|stopping| is_over(stopping)).cloned().collect();
        if over.is_empty() {
            return Ok(());
        }
        work.status_mut().stopping.retain(|stopping| !over.contains(stopping));
        for TaskAttempt { task, attempt, .. } in over {
            self.decision.disarm(DueJob::Stop { agent: agent.clone(), task, attempt }.id());
        }
        Ok(())
    }

    /// The tasks that undo what was done, the last of it first.
    fn undoing(&mut self, state: &SessionState) -> Vec<Task> {
        let done = |task: &&Arc<Task>| {
            task.status == TaskStatus::Completed && task.undoes.is_none() && !task.is_expanding()
        };
        let mut done: Vec<&Arc<Task>> =
            state.tasks.iter().filter(done).filter(|task| task.rules.compensate.is_some()).collect();
        done.sort_by_key(|task| std::cmp::Reverse((task.ended_at, task.position)));
        let (now, count) = (self.context.now, state.tasks.len());
        let (retries, search) = (self.context.policy.task_retries, self.context.policy.task_timeout);
        let tasks = done.iter().enumerate().filter_map(|(index, task)| {
            let how = task.rules.compensate.as_deref()?;
            let route = match (&how.agent, &how.capability) {
                (Some(agent), _) => Route::Agent(agent.clone()),
                (None, Some(capability)) => Route::Capability(capability.clone()),
                (None, None) => task.route.clone(),
            };
            let mut undo = Task::new(
                TaskId::new(now, self.context.bits()),
                format!("undo:{}", task.step),
                count + index,
                route,
            );
            undo.kind = match (&how.tool, &task.kind) {
                (Some(tool), _) => Kind::Tool(tool.clone()),
                (None, Kind::Tool(tool)) if how.agent.is_none() && how.capability.is_none() => {
                    Kind::Tool(tool.clone())
                }
                (None, _) => Kind::Agent,
            };
            undo.template.clone_from(&how.parameters);
            undo.retries = how.retries.unwrap_or(retries);
            undo.rules.timeout = how.timeout;
            // Where nobody is left to undo it, that is said at the end: the session may not hang on it.
            undo.rules.schedule_timeout = Some(search);
            undo.undoes = Some(task.position);
            Some(undo)
        });
        tasks.collect()
    }

    /// A session is over: everybody who waits for that hears of it.
    pub(super) fn finish_session(&mut self, session: &SessionId, event: &SessionEvent) -> Result<(), Halt> {
        self.emit(session, event)?;
        let ended = self.known_session(session)?.session.clone();
        if ended.deadline.is_some() {
            self.decision.disarm(DueJob::Deadline { session: session.clone() }.id());
        }
        if let Some(pass) = &ended.plan.group {
            self.decision.disarm(DueJob::Begin { session: session.clone() }.id());
            self.leave_group(&pass.group, session)?;
        }
        self.notify_of_end(&ended);
        let Some(parent) = &ended.parent else { return Ok(()) };
        let meant = TaskAttempt {
            session: parent.session.clone(),
            task: parent.task.clone(),
            attempt: parent.attempt,
        };
        let Some(task) = self.held_task(&meant)? else { return Ok(()) };
        let reason = ended.error.as_deref().unwrap_or_default();
        match ended.status {
            SessionStatus::Completed => self.complete(&parent.session, &task, ended.result.clone()),
            SessionStatus::Cancelled => {
                let error = format!("session {session} was cancelled: {reason}");
                self.fail_task(&parent.session, &task, &error)
            }
            _ => {
                let error = format!("session {session} failed: {reason}");
                self.fail_attempt(&parent.session, &task, &error, Fault::Said(None))
            }
        }
    }

    fn notify_of_end(&mut self, ended: &crate::session::Session) {
        let Some(notify) = &ended.plan.notify else { return };
        let status = ended.status.name();
        if !notify.on.is_empty() && !notify.on.iter().any(|named| named == status) {
            return;
        }
        let body = json!({
            "type": format!("session.{status}"),
            "timestamp": self.context.now,
            "data": {
                "sessionId": ended.id,
                "workflowId": ended.workflow,
                "workflowRevision": ended.revision,
                "status": status,
                "result": ended.result,
                "error": ended.error,
                "createdAt": ended.created_at,
                "endedAt": ended.ended_at,
            },
        });
        let id = MessageId::new(self.context.now, self.context.bits());
        self.send(NewMessage {
            id,
            kind: MessageKind::SessionWebhook,
            agent: None,
            task: None,
            url: Some(notify.url.clone()),
            body: body.to_string(),
            trace: ended.trace.clone(),
        });
    }
}

fn failed(task: &Task, error: &str) -> SessionEvent {
    SessionEvent::TaskFailed {
        task: task.id.clone(),
        step: task.step.clone(),
        attempt: task.attempt,
        error: bounded(error),
    }
}

/// How the waits between the attempts of `task` grow.
fn backoff(task: &Task, default: Backoff) -> Backoff {
    let Some(rule) = &task.rules.retry else { return default };
    Backoff {
        initial: rule.initial.unwrap_or(default.initial),
        factor: rule.factor.unwrap_or(default.factor),
        max: rule.max.unwrap_or(default.max.max(rule.initial.unwrap_or_default())),
    }
}
