//! Asks for an approval of the tasks that a task guards, with the parameters that they would be given. Where none of those
//! that follow can still run, or each is passed over by its own condition, there is nothing to ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use signalbox_wire::id::SessionId;

use super::command::{Command, Commands};
use crate::Halt;
use crate::definition::Kind;
use crate::engine::guards::guards;
use crate::engine::known_payloads::{KnownPayloads, or_need};
use crate::engine::seeing::see;
use crate::engine::unit_of_work::UnitOfWork;
use crate::expression::{self, Unresolved};
use crate::limits::bounded;
use crate::session::SessionState;
use crate::task::{Instance, Subject, Task, TaskStatus};

pub(super) fn ask_approval(
    session: &SessionId,
    task: &Arc<Task>,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let Kind::Approve { who, what } = &task.kind else { return Ok(()) };
    let state = work.known_session(session)?;
    let following: Vec<Arc<Task>> =
        following_all(state, task).filter(|next| state.may_follow(next, task.position)).cloned().collect();
    if following.is_empty() && following_all(state, task).next().is_some() {
        let reason = "nothing that it is asked for can run any longer";
        return work.skip_task(session, task.position, reason, true);
    }
    let approved = as_approved(state, task);
    let mut parameters = Map::new();
    let mut is_asked = following.is_empty();
    for guarded in &following {
        let given = would_be_given(&approved, guarded, &work.payloads());
        match or_need(work.snapshot, given)? {
            Ok(Value::Null) => {}
            Ok(_) if !guarded.kind.takes_room() => is_asked = true,
            Ok(given) => {
                is_asked |= !is_nothing(&given);
                let given = as_given(given, work)?;
                parameters.insert(guarded.step.clone(), given);
            }
            Err(fault) => {
                let error = format!("The parameters of {} to be approved: {fault}", guarded.step);
                then.push(Command::fail(session, task, error));
                return Ok(());
            }
        }
    }
    if !is_asked {
        // Those that follow are passed over next, each by its own condition.
        let reason = "the conditions of all that it is asked for are not true";
        return work.skip_task(session, task.position, reason, false);
    }
    let template = Value::String(what.clone().unwrap_or_default());
    let what = match work.see(session, task, |scope| expression::render_any(&template, scope))? {
        Ok(Value::String(what)) => bounded(&what),
        Ok(other) => bounded(&other.to_string()),
        Err(fault) => {
            then.push(Command::fail(session, task, format!("What is to be approved: {fault}")));
            return Ok(());
        }
    };
    let by = who.as_deref().map(|who| format!(" by {who}")).unwrap_or_default();
    let of = if what.is_empty() { String::new() } else { format!(": {what}") };
    let parameters = Value::Object(parameters);
    let subject = Subject { what, digest: digest(&parameters), parameters };
    let until = task.rules.timeout.map(|limit| work.context.now + limit);
    work.begin_waiting(session, task, format!("an approval{by}{of}"), until, Some(subject))
}

/// What a task, or each task of a list, would be given, as a session keeps it.
fn as_given(given: Value, work: &mut UnitOfWork<'_, '_>) -> Result<Value, Halt> {
    Ok(match given {
        Value::Object(fields) => Value::Object(work.externalize_fields(fields)?),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| as_given(item, work)).collect::<Result<_, _>>()?;
            work.externalize(Value::Array(items))?
        }
        other => other,
    })
}

/// The tasks that follow an approval. It guards those of them that somebody does.
fn following_all<'s>(state: &'s SessionState, approval: &'s Task) -> impl Iterator<Item = &'s Arc<Task>> {
    let is_after =
        |task: &Task| task.after.iter().any(|edge| edge.from == approval.position && guards(edge.kind));
    state.tasks.defined().filter(move |task| is_after(task))
}

/// The session as the tasks that an approval guards will see it: when they run, it has been given.
fn as_approved(state: &SessionState, approval: &Task) -> SessionState {
    let mut state = state.clone();
    state.tasks.change(approval.position, |task| {
        task.status = TaskStatus::Completed;
        task.result = Some(json!({"approved": true}));
    });
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
