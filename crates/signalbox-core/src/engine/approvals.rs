//! Approvals: somebody agrees to the exact parameters of the tasks that follow, or refuses.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use signalbox_wire::id::SessionId;

use super::Operation;
use super::flow::see;
use super::payloads::{KnownPayloads, or_need};
use super::unit_of_work::UnitOfWork;
use crate::definition::Kind;
use crate::expression::{self, Unresolved};
use crate::graph::EdgeKind;
use crate::limits::bounded;
use crate::session::{SessionEvent, SessionState};
use crate::task::{Instance, Subject, Task, TaskStatus};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// Somebody agrees to what a task asks approval for, or refuses.
#[derive(Debug, Clone)]
pub struct Approve {
    /// Which session.
    pub session: SessionId,
    /// The task that asks, by its id in the definition or its own.
    pub task: String,
    /// Whether it is agreed to.
    pub is_approved: bool,
    /// Who says so: the caller, as the key names it.
    pub by: String,
    /// Why.
    pub comment: Option<String>,
    /// The digest of what was seen. Nothing is agreed to without it, and where it is given it must be that of what is
    /// asked for.
    pub digest: Option<String>,
}

impl Operation for Approve {
    type Output = SessionState;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, SessionState), Halt> {
        let mut work = UnitOfWork::new(snapshot, context);
        let state = work.known_session(&self.session)?;
        let asks =
            |task: &Task| task.status == TaskStatus::Waiting && matches!(task.kind, Kind::Approve { .. });
        let named = |task: &Task| task.step == self.task || task.id.as_str() == self.task;
        let Some(task) = state.tasks.iter().find(|task| asks(task) && named(task)).cloned() else {
            let (session, task) = (self.session.clone(), self.task.clone());
            return Err(Rejected::NothingToApprove { session, task }.into());
        };
        let digest = task.subject.as_ref().map(|subject| subject.digest.clone()).unwrap_or_default();
        let is_seen =
            self.digest.as_ref().map_or(!self.is_approved, |seen| seen.eq_ignore_ascii_case(&digest));
        if !is_seen {
            return Err(Rejected::ApprovalChanged { task: task.step.clone(), digest }.into());
        }
        if self.is_approved {
            let result = json!({"approved": true, "by": self.by, "comment": self.comment, "digest": digest});
            work.complete(&self.session, &task, Some(result))?;
        } else {
            let why = self.comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
            work.fail_task(&self.session, &task, &bounded(&format!("refused by {}{why}", self.by)))?;
        }
        let state = work.known_session(&self.session)?.clone();
        Ok((work.finish(), state))
    }
}

impl UnitOfWork<'_, '_> {
    /// Asks for an approval of the tasks that `task` guards, with the parameters that they would be given. Where none
    /// of those that follow can still run, or each is passed over by its own condition, there is nothing to ask.
    pub(super) fn ask(
        &mut self,
        session: &SessionId,
        task: &Task,
        who: Option<&str>,
        what: Option<&str>,
    ) -> Result<(), Halt> {
        let state = self.known_session(session)?;
        let following: Vec<Arc<Task>> =
            following(state, task).filter(|next| state.may_follow(next, task.position)).cloned().collect();
        if following.is_empty() && self::following(state, task).next().is_some() {
            let reason = "nothing that it is asked for can run any longer";
            return self.skip_task(session, task.position, reason, true);
        }
        let approved = as_approved(state, task);
        let mut parameters = Map::new();
        let mut is_asked = following.is_empty();
        for guarded in &following {
            let given = would_be_given(&approved, guarded, &self.payloads());
            match or_need(self.snapshot, given)? {
                Ok(Value::Null) => {}
                Ok(_) if !guarded.kind.takes_room() => is_asked = true,
                Ok(given) => {
                    is_asked |= !is_nothing(&given);
                    let given = self.as_given(given)?;
                    parameters.insert(guarded.step.clone(), given);
                }
                Err(fault) => {
                    let error = format!("The parameters of {} to be approved: {fault}", guarded.step);
                    return self.fail_task(session, task, &error);
                }
            }
        }
        if !is_asked {
            // Those that follow are passed over next, each by its own condition.
            let reason = "the conditions of all that it is asked for are not true";
            return self.skip_task(session, task.position, reason, false);
        }
        let template = Value::String(what.unwrap_or_default().to_owned());
        let what = match self.see(session, task, |scope| expression::render_any(&template, scope))? {
            Ok(Value::String(what)) => bounded(&what),
            Ok(other) => bounded(&other.to_string()),
            Err(fault) => return self.fail_task(session, task, &format!("What is to be approved: {fault}")),
        };
        let by = who.map(|who| format!(" by {who}")).unwrap_or_default();
        let of = if what.is_empty() { String::new() } else { format!(": {what}") };
        let parameters = Value::Object(parameters);
        let subject = Subject { what, digest: digest(&parameters), parameters };
        let until = task.rules.timeout.map(|limit| self.context.now + limit);
        self.begin_waiting(session, task, format!("an approval{by}{of}"), until, Some(subject))
    }

    /// Whether a task is about to be done with other parameters than were approved, or before they are. Then the
    /// approval is asked for again, and the task waits for it.
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
        let approvals: Vec<Arc<Task>> = approvals.cloned().collect();
        let is_asked =
            approvals.iter().any(|approval| approval.subject.is_some() && !approval.status.is_settled());
        let step = step.clone();
        let mut changed = Vec::new();
        for approval in approvals {
            let Some(subject) =
                approval.subject.as_ref().filter(|_| approval.status == TaskStatus::Completed)
            else {
                continue;
            };
            let approved = match subject.parameters.get(&step) {
                Some(approved) => self.opened(approved)?,
                None => Cow::Owned(Value::Null),
            };
            let approved = match &task.instance {
                Some(instance) => approved.get(instance.index).map(|item| self.opened(item)).transpose()?,
                None => Some(approved.clone()),
            };
            if approved.as_deref().and_then(Value::as_object) != Some(parameters) {
                changed.push(Arc::clone(&approval));
            }
        }
        for approval in &changed {
            let event = SessionEvent::TaskReopened {
                task: approval.id.clone(),
                step: approval.step.clone(),
                retries: approval.retries,
            };
            self.emit(session, &event)?;
        }
        Ok(is_asked || !changed.is_empty())
    }
}

impl UnitOfWork<'_, '_> {
    /// What a task, or each task of a list, would be given, as a session keeps it.
    fn as_given(&mut self, given: Value) -> Result<Value, Halt> {
        Ok(match given {
            Value::Object(fields) => Value::Object(self.externalize_fields(fields)?),
            Value::Array(items) => {
                let items = items.into_iter().map(|item| self.as_given(item)).collect::<Result<_, _>>()?;
                self.externalize(Value::Array(items))?
            }
            other => other,
        })
    }
}

/// Whether a task guards the one that an edge of this kind leads to, where it is an approval.
pub(super) fn guards(kind: EdgeKind) -> bool {
    matches!(kind, EdgeKind::Requires | EdgeKind::Arrow)
}

/// The tasks that follow an approval. It guards those of them that somebody does.
fn following<'s>(state: &'s SessionState, approval: &'s Task) -> impl Iterator<Item = &'s Arc<Task>> {
    let is_after =
        |task: &Task| task.after.iter().any(|edge| edge.from == approval.position && guards(edge.kind));
    state.tasks.iter().filter(move |task| task.instance.is_none() && task.undoes.is_none() && is_after(task))
}

/// The session as the tasks that an approval guards will see it: when they run, it has been given.
fn as_approved(state: &SessionState, approval: &Task) -> SessionState {
    let mut state = state.clone();
    if let Some(task) = state.tasks.get_mut(approval.position) {
        let task = Arc::make_mut(task);
        task.status = TaskStatus::Completed;
        task.result = Some(json!({"approved": true}));
    }
    state
}

/// What a task would be given if it began now; for a task for each item of a list, a list of that. `null` where its
/// condition says that it is passed over.
fn would_be_given(
    state: &SessionState,
    task: &Task,
    payloads: &KnownPayloads<'_>,
) -> Result<Value, Unresolved> {
    let given = |task: &Task| {
        // Nobody is given the parameters of a task that nobody does.
        let template = if task.kind.takes_room() { &task.template } else { &Map::new() };
        if let Some(when) = task.rules.when.as_deref() {
            match see(state, Some(task), payloads, |scope| expression::is_true(when, scope)) {
                Ok(false) => return Ok(Value::Null),
                Err(fault) if fault.is_open() => return Err(fault),
                _ => {}
            }
        }
        see(state, Some(task), payloads, |scope| expression::render(template, scope)).map(Value::Object)
    };
    let Some(list) = task.rules.for_each.as_deref() else { return given(task) };
    let items = see(state, Some(task), payloads, |scope| expression::list(list, scope))?;
    let instances = items.into_iter().enumerate().map(|(index, item)| {
        let mut instance = task.clone();
        instance.instance = Some(Instance { of: task.position, index, item });
        given(&instance)
    });
    instances.collect::<Result<Vec<Value>, Unresolved>>().map(Value::Array)
}

/// Whether no item of a list is left to be done.
fn is_nothing(given: &Value) -> bool {
    given.as_array().is_some_and(|items| items.iter().all(Value::is_null))
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
