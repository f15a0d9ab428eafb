//! Tasks that nobody does: they wait for a signal, for somebody's approval, or for time to pass.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use signalbox_wire::duration::Period;
use signalbox_wire::id::SessionId;
use signalbox_wire::time::Timestamp;

use super::Operation;
use super::flow::completed;
use super::work::Work;
use crate::definition::Kind;
use crate::due::{Due, Work as DueWork};
use crate::expression;
use crate::graph::EdgeKind;
use crate::limits::{SIGNALS_KEPT_MAX, bounded};
use crate::session::{SessionEvent, SessionState};
use crate::task::{Subject, Task, TaskStatus};
use crate::{Decision, Halt, Rejected, Turn, View};

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
    type Answer = SessionState;

    fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<(Decision, SessionState), Halt> {
        let mut work = Work::new(view, turn);
        let state = work.known_session(&self.session)?;
        let means = |task: &Task| matches!(&task.kind, Kind::Wait { signal } if *signal == self.name);
        let waiting =
            state.tasks.iter().find(|task| task.status == TaskStatus::Waiting && means(task)).cloned();
        let will_wait = state.tasks.iter().any(|task| task.status == TaskStatus::Pending && means(task));
        let kept = state.session.signals.len();
        let is_over = state.session.status.is_over() || state.session.ending.is_some();
        match waiting {
            Some(task) if !is_over => work.complete(&self.session, &task, self.payload.clone())?,
            None if will_wait && !is_over && kept < SIGNALS_KEPT_MAX => {
                let event =
                    SessionEvent::SignalKept { signal: self.name.clone(), payload: self.payload.clone() };
                work.emit(&self.session, &event)?;
            }
            None if will_wait && !is_over => return Err(Rejected::SignalsFull(self.session.clone()).into()),
            _ => {
                let (session, signal) = (self.session.clone(), self.name.clone());
                return Err(Rejected::NothingWaits { session, signal }.into());
            }
        }
        let state = work.known_session(&self.session)?.clone();
        Ok((work.finish(), state))
    }
}

/// Somebody agrees to what a task asks approval for, or refuses.
#[derive(Debug, Clone)]
pub struct Approve {
    /// Which session.
    pub session: SessionId,
    /// The task that asks, by its id in the definition or its own.
    pub task: String,
    /// Whether it is agreed to.
    pub is_approved: bool,
    /// Who says so.
    pub by: Option<String>,
    /// Why.
    pub comment: Option<String>,
    /// The digest of what was seen; where it is given it must be that of what is asked for.
    pub digest: Option<String>,
}

impl Operation for Approve {
    type Answer = SessionState;

    fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<(Decision, SessionState), Halt> {
        let mut work = Work::new(view, turn);
        let state = work.known_session(&self.session)?;
        let asks =
            |task: &Task| task.status == TaskStatus::Waiting && matches!(task.kind, Kind::Approve { .. });
        let named = |task: &Task| task.step == self.task || task.id.as_str() == self.task;
        let Some(task) = state.tasks.iter().find(|task| asks(task) && named(task)).cloned() else {
            let (session, task) = (self.session.clone(), self.task.clone());
            return Err(Rejected::NothingToApprove { session, task }.into());
        };
        let digest = task.subject.as_ref().map(|subject| subject.digest.clone()).unwrap_or_default();
        if self.digest.as_ref().is_some_and(|seen| *seen != digest) {
            return Err(Rejected::ApprovalChanged { task: task.step.clone(), digest }.into());
        }
        if self.is_approved {
            let result = json!({"approved": true, "by": self.by, "comment": self.comment, "digest": digest});
            work.complete(&self.session, &task, Some(result))?;
        } else {
            let by = self.by.as_deref().unwrap_or("somebody who did not say who");
            let why = self.comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
            work.fail_task(&self.session, &task, &bounded(&format!("refused by {by}{why}")))?;
        }
        let state = work.known_session(&self.session)?.clone();
        Ok((work.finish(), state))
    }
}

impl Work<'_, '_> {
    pub(super) fn begin_wait(&mut self, session: &SessionId, task: &Task, signal: &str) -> Result<(), Halt> {
        let until = task.rules.timeout.map(|limit| self.turn.now + limit);
        self.begin_waiting(session, task, format!("the signal '{signal}'"), until, None)?;
        let state = self.known_session(session)?;
        let kept = state.session.signals.iter().find(|kept| kept.signal == signal).cloned();
        let task = state.task(&task.id).cloned();
        if let (Some(kept), Some(task)) = (kept, task) {
            self.let_go(session, &task)?;
            return self.emit(session, &completed(&task, kept.payload));
        }
        Ok(())
    }

    pub(super) fn begin_sleep(&mut self, session: &SessionId, task: &Task, text: &str) -> Result<(), Halt> {
        let template = Value::String(text.to_owned());
        let value = self.see(session, task, |scope| expression::render_any(&template, scope))?;
        let until = value.map_err(|fault| fault.to_string()).and_then(|value| moment(&value, self.turn.now));
        match until {
            Ok(until) => self.begin_waiting(session, task, until.to_string(), Some(until), None),
            Err(fault) => self.fail_task(session, task, &format!("The task's sleep: {fault}")),
        }
    }

    /// Asks for an approval of the tasks that `task` guards, with the parameters that they would be given.
    pub(super) fn ask(
        &mut self,
        session: &SessionId,
        task: &Task,
        who: Option<&str>,
        what: Option<&str>,
    ) -> Result<(), Halt> {
        let mut parameters = Map::new();
        for guarded in guarded(self.known_session(session)?, task) {
            match self.would_be_given(session, &guarded)? {
                Ok(given) => parameters.insert(guarded.step.clone(), given),
                Err(fault) => {
                    let error = format!("The parameters of {} to be approved: {fault}", guarded.step);
                    return self.fail_task(session, task, &error);
                }
            };
        }
        let template = Value::String(what.unwrap_or_default().to_owned());
        let what = match self.see(session, task, |scope| expression::render_any(&template, scope))? {
            Ok(Value::String(what)) => what,
            Ok(other) => other.to_string(),
            Err(fault) => return self.fail_task(session, task, &format!("What is to be approved: {fault}")),
        };
        let by = who.map(|who| format!(" by {who}")).unwrap_or_default();
        let of = if what.is_empty() { String::new() } else { format!(": {what}") };
        let parameters = Value::Object(parameters);
        let subject = Subject { digest: digest(&parameters), parameters };
        let until = task.rules.timeout.map(|limit| self.turn.now + limit);
        self.begin_waiting(session, task, format!("an approval{by}{of}"), until, Some(subject))
    }

    /// Whether a task is about to be done with other parameters than were approved. Then the approval is asked for
    /// again, and the task waits for it.
    pub(super) fn ask_again(
        &mut self,
        session: &SessionId,
        task: &Task,
        parameters: &Map<String, Value>,
    ) -> Result<bool, Halt> {
        if task.undoes.is_some() {
            return Ok(false);
        }
        let state = self.known_session(session)?;
        let whole = task.instance.as_ref().and_then(|instance| state.tasks.get(instance.of));
        let (after, step) = whole.map_or((&task.after, &task.step), |whole| (&whole.after, &whole.step));
        let approvals =
            after.iter().filter(|edge| guards(edge.kind)).filter_map(|edge| state.tasks.get(edge.from));
        let changed: Vec<_> = approvals
            .filter(|approval| {
                let Some(subject) = &approval.subject else { return false };
                let approved = match &task.instance {
                    Some(instance) => subject.parameters.get(step).and_then(|list| list.get(instance.index)),
                    None => subject.parameters.get(step),
                };
                approval.status == TaskStatus::Completed
                    && approved.and_then(Value::as_object) != Some(parameters)
            })
            .cloned()
            .collect();
        for approval in &changed {
            let event = SessionEvent::TaskReopened {
                task: approval.id.clone(),
                step: approval.step.clone(),
                retries: approval.retries,
            };
            self.emit(session, &event)?;
        }
        Ok(!changed.is_empty())
    }

    /// What a task would be given if it began now; for a task for each item of a list, a list of that.
    fn would_be_given(
        &mut self,
        session: &SessionId,
        task: &Task,
    ) -> Result<Result<Value, expression::Unresolved>, Halt> {
        if !task.is_expanding() {
            return Ok(self.render(session, task)?.map(Value::Object));
        }
        let items = match self.items(session, task)? {
            Ok(items) => items,
            Err(fault) => return Ok(Err(fault)),
        };
        let mut given = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let mut instance = task.clone();
            instance.instance = Some(crate::task::Instance { of: task.position, index, item });
            match self.render(session, &instance)? {
                Ok(parameters) => given.push(Value::Object(parameters)),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        Ok(Ok(Value::Array(given)))
    }

    fn begin_waiting(
        &mut self,
        session: &SessionId,
        task: &Task,
        waiting_for: String,
        until: Option<Timestamp>,
        subject: Option<Subject>,
    ) -> Result<(), Halt> {
        if let Some(at) = until {
            let work = DueWork::Wake { session: session.clone(), task: task.id.clone() };
            self.decision.arm(Due { work, at });
        }
        let event = SessionEvent::TaskBegun {
            task: task.id.clone(),
            step: task.step.clone(),
            waiting_for,
            until,
            subject,
        };
        self.emit(session, &event)
    }

    /// The time of a task that waits is over: a sleep is done, a wait or an approval has failed.
    pub(super) fn wake(&mut self, session: &SessionId, task: &Task) -> Result<(), Halt> {
        match &task.kind {
            Kind::Sleep(_) => self.complete(session, task, None),
            Kind::Wait { signal } => {
                self.fail_task(session, task, &format!("the signal '{signal}' did not come in time"))
            }
            _ => self.fail_task(session, task, "nobody approved it in time"),
        }
    }
}

fn guards(kind: EdgeKind) -> bool {
    matches!(kind, EdgeKind::Requires | EdgeKind::Arrow)
}

/// The tasks that an approval guards: those that follow it.
fn guarded(state: &SessionState, approval: &Task) -> Vec<Task> {
    let follows = |task: &Task| {
        task.instance.is_none()
            && task.undoes.is_none()
            && task.after.iter().any(|edge| edge.from == approval.position && guards(edge.kind))
    };
    let takes = |task: &Task| task.kind.takes_room();
    state.tasks.iter().filter(|task| follows(task) && takes(task)).map(|task| Task::clone(task)).collect()
}

/// SHA-256 over the parameters with the keys of every object in order, in hex.
fn digest(parameters: &Value) -> String {
    let digest = Sha256::digest(in_order(parameters).to_string());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn in_order(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            Value::Object(sorted.into_iter().map(|(key, value)| (key.clone(), in_order(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(in_order).collect()),
        other => other.clone(),
    }
}

/// When a sleep ends that was given as a duration, a number of seconds or a moment.
fn moment(value: &Value, now: Timestamp) -> Result<Timestamp, String> {
    let fault = || format!("{value} is neither a duration, such as \"5m\", nor a moment in RFC 3339");
    if value.as_f64() == Some(0.0) {
        return Ok(now);
    }
    match (Period::from_value(value), value.as_str()) {
        (Ok(length), _) => Ok(now + length.into()),
        (Err(_), Some(text)) => Timestamp::parse(text).map_err(|_| fault()),
        (Err(_), None) => Err(fault()),
    }
}
