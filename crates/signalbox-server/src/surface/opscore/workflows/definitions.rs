//! Where the workflow language and the engine's definitions meet.
//!
//! A definition is checked in three ways, and told all their faults together: the shape of its body, whether it
//! holds together as a whole, and whether its `input` is a JSON Schema.

#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::Value;
use signalbox_core::definition::{
    Compensation, Concurrency, Definition, Kind, Notify, OnBusy, OnFailure, RetryRule, Rules, Step,
};
use signalbox_core::language;
use signalbox_wire::body::Body;
use signalbox_wire::duration::Period;
use signalbox_wire::fault::{Fault, Faults};
use signalbox_wire::id::{AgentId, ToolName, WorkflowId};
use signalbox_wire::opscore::{
    self as wire, ApproveRule, CompensateBody, ConcurrencyBody, NotifyRule, RetryBody, TriggerBody, WaitRule,
    WorkflowBody, WorkflowTask, WorkflowView,
};
use utoipa::IntoParams;

use crate::engine::schema::Schema;
use crate::http::params::{self, Reader};
use crate::http::problem::Refusal;

/// A definition that is to be kept, checked in every way.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Whole(pub(crate) WorkflowBody);

/// A trigger, which may hold a definition that is checked in every way.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct WholeTrigger(pub(crate) TriggerBody);

/// Where a trigger holds its definition.
pub(crate) const INLINE: &str = "/workflowDefinition";

impl Body for Whole {
    fn check(value: &Value, faults: &mut Faults) {
        WorkflowBody::check(value, faults);
        check_whole(value, "", faults);
    }
}

impl Body for WholeTrigger {
    fn check(value: &Value, faults: &mut Faults) {
        TriggerBody::check(value, faults);
        if let Some(definition) = value.pointer(INLINE) {
            check_whole(definition, INLINE, faults);
        }
    }
}

/// What is wrong with a workflow's definition, apart from fields that are not known.
pub(crate) fn faults(definition: &Value) -> Vec<Fault> {
    let mut faults = Faults::default();
    Whole::check(definition, &mut faults);
    faults.into_vec()
}

/// What is asked of the definition in a request's body.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StrictQuery {
    /// Refuse a body with fields that are not known, with 422 and the place of each, instead of telling them as `warnings`
    #[param(value_type = Option<bool>)]
    strict: Option<String>,
}

impl StrictQuery {
    /// Whether a body with fields that are not known is refused.
    pub(crate) fn is_strict(&self) -> Result<bool, Refusal> {
        let mut reader = Reader::default();
        let strict = reader.read("strict", self.strict.as_deref(), params::flag).unwrap_or_default();
        reader.finish()?;
        Ok(strict)
    }
}

/// Bytes of a definition that are checked in less than what a thread can spare that others wait for.
const QUICK_BYTES_MAX: usize = 16 << 10;

/// Whether it may take long to check a definition in this body: it is large, or may have a pattern to compile.
pub(crate) fn is_long(body: &[u8]) -> bool {
    body.len() > QUICK_BYTES_MAX || body.windows(PATTERN.len()).any(|part| part == PATTERN)
}

/// What the names of keywords begin with that patterns stand under.
const PATTERN: &[u8] = b"pattern";

fn check_whole(definition: &Value, pointer: &str, faults: &mut Faults) {
    for (place, message) in language::faults(definition) {
        faults.add(format!("{pointer}{place}"), message);
    }
    if let Some(Value::Object(schema)) = definition.get("input") {
        for fault in Schema::compile(schema).err().into_iter().flatten() {
            faults.add(format!("{pointer}/input{}", fault.pointer), fault.message);
        }
    }
}

/// A definition as the engine takes it, or the ids in it that are none; the body stood at `pointer`.
pub(crate) fn definition(body: WorkflowBody, pointer: &str) -> Result<Definition, Refusal> {
    let mut faults = Faults::default();
    let id =
        WorkflowId::parse(&body.id).map_err(|error| faults.add(format!("{pointer}/id"), error.to_string()));
    let tasks = body.tasks.into_iter().enumerate();
    let tasks =
        tasks.map(|(index, task)| step(task, &format!("{pointer}/tasks/{index}"), &mut faults)).collect();
    match id {
        Ok(id) if faults.is_empty() => Ok(Definition {
            name: body.name,
            description: body.description,
            version: body.version,
            input: body.input,
            output: body.output,
            timeout: body.timeout.map(Into::into),
            max_parallel: body.max_parallel,
            concurrency: body.concurrency.map(concurrency),
            notify: body.notify.map(|notify| Notify { url: notify.url, on: notify.on }),
            ..Definition::of(id, tasks)
        }),
        _ => Err(faults.into_vec().into()),
    }
}

fn concurrency(body: ConcurrencyBody) -> Concurrency {
    let on_busy = match body.on_busy {
        None | Some(wire::OnBusy::Queue) => OnBusy::Queue,
        Some(wire::OnBusy::Reject) => OnBusy::Reject,
        Some(wire::OnBusy::Replace) => OnBusy::Replace,
    };
    Concurrency { key: body.key, limit: body.limit.unwrap_or(1), on_busy }
}

fn step(task: WorkflowTask, pointer: &str, faults: &mut Faults) -> Step {
    let (kind, own_timeout) = kind(&task, pointer, faults);
    Step {
        agent: read(task.agent_id.as_deref(), AgentId::parse, &format!("{pointer}/agentId"), faults),
        capability: task.agent_capability,
        kind,
        rules: Rules {
            when: task.when,
            for_each: task.for_each,
            max_parallel: task.max_parallel,
            retry: task.retry.map(retry),
            timeout: task.timeout.or(own_timeout).map(Into::into),
            schedule_timeout: task.schedule_timeout.map(Into::into),
            heartbeat_timeout: task.heartbeat_timeout.map(Into::into),
            priority: task.priority.unwrap_or_default(),
            on_failure: match task.on_failure {
                None | Some(wire::OnFailure::Fail) => OnFailure::Fail,
                Some(wire::OnFailure::Continue) => OnFailure::Continue,
                Some(wire::OnFailure::Goto(task)) => OnFailure::Goto(task),
            },
            compensate: task
                .compensate
                .map(|undo| Box::new(compensation(undo, &format!("{pointer}/compensate"), faults))),
        },
        id: task.task_id,
        name: task.name,
        parameters: task.parameters,
        next: task.next_task_id,
        depends_on: task.depends_on,
        retries: task.max_retries,
    }
}

/// Who or what does a task, and the timeout that stands in there.
fn kind(task: &WorkflowTask, pointer: &str, faults: &mut Faults) -> (Kind, Option<Period>) {
    let tool = read(task.tool.as_deref(), ToolName::parse, &format!("{pointer}/tool"), faults);
    let workflow = read(task.workflow.as_deref(), WorkflowId::parse, &format!("{pointer}/workflow"), faults);
    if let Some(wait) = &task.wait {
        return (Kind::Wait { signal: wait.signal.clone() }, wait.timeout);
    }
    if let Some(approve) = &task.approve {
        return (Kind::Approve { who: approve.who.clone(), what: approve.what.clone() }, approve.timeout);
    }
    let kind = match (tool, workflow, &task.sleep) {
        (Some(tool), _, _) => Kind::Tool(tool),
        (None, Some(workflow), _) => Kind::Workflow(workflow),
        (None, None, Some(sleep)) => Kind::Sleep(sleep.clone()),
        (None, None, None) => Kind::Agent,
    };
    (kind, None)
}

fn retry(body: RetryBody) -> RetryRule {
    RetryRule {
        initial: body.initial.map(Into::into),
        factor: body.factor,
        max: body.max.map(Into::into),
        retry_on: body.retry_on,
    }
}

fn compensation(body: CompensateBody, pointer: &str, faults: &mut Faults) -> Compensation {
    Compensation {
        agent: read(body.agent_id.as_deref(), AgentId::parse, &format!("{pointer}/agentId"), faults),
        capability: body.agent_capability,
        tool: read(body.tool.as_deref(), ToolName::parse, &format!("{pointer}/tool"), faults),
        parameters: body.parameters,
        retries: body.max_retries,
        timeout: body.timeout.map(Into::into),
    }
}

/// An id or a name that the check of the body has let through.
fn read<T, E: ToString>(
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
    pointer: &str,
    faults: &mut Faults,
) -> Option<T> {
    parse(text?).map_err(|error| faults.add(pointer, error.to_string())).ok()
}

/// A kept definition as it is shown.
pub(crate) fn shown(kept: &Definition) -> WorkflowView {
    WorkflowView {
        id: kept.id.to_string(),
        name: kept.name.clone(),
        description: kept.description.clone(),
        version: kept.version.clone(),
        revision: kept.revision,
        input: kept.input.clone(),
        output: kept.output.clone(),
        timeout: kept.timeout.and_then(period),
        max_parallel: kept.max_parallel,
        concurrency: kept.concurrency.as_ref().map(shown_concurrency),
        notify: kept
            .notify
            .as_ref()
            .map(|notify| NotifyRule { url: notify.url.clone(), on: notify.on.clone() }),
        tasks: kept.tasks.iter().map(shown_task).collect(),
        created_at: kept.created_at,
        warnings: Vec::new(),
    }
}

fn shown_concurrency(kept: &Concurrency) -> ConcurrencyBody {
    let on_busy = match kept.on_busy {
        OnBusy::Queue => wire::OnBusy::Queue,
        OnBusy::Reject => wire::OnBusy::Reject,
        OnBusy::Replace => wire::OnBusy::Replace,
    };
    ConcurrencyBody { key: kept.key.clone(), limit: Some(kept.limit), on_busy: Some(on_busy) }
}

fn shown_task(step: &Step) -> WorkflowTask {
    let rules = &step.rules;
    let timeout = rules.timeout.and_then(period);
    let mut task = WorkflowTask {
        task_id: step.id.clone(),
        name: step.name.clone(),
        agent_capability: step.capability.clone(),
        agent_id: step.agent.as_ref().map(ToString::to_string),
        parameters: step.parameters.clone(),
        next_task_id: step.next.clone(),
        depends_on: step.depends_on.clone(),
        when: rules.when.clone(),
        for_each: rules.for_each.clone(),
        max_parallel: rules.max_parallel,
        max_retries: step.retries,
        retry: rules.retry.as_ref().map(shown_retry),
        schedule_timeout: rules.schedule_timeout.and_then(period),
        heartbeat_timeout: rules.heartbeat_timeout.and_then(period),
        priority: Some(rules.priority).filter(|priority| *priority != 0),
        on_failure: match &rules.on_failure {
            OnFailure::Fail => None,
            OnFailure::Continue => Some(wire::OnFailure::Continue),
            OnFailure::Goto(task) => Some(wire::OnFailure::Goto(task.clone())),
        },
        compensate: rules.compensate.as_deref().map(shown_compensation),
        ..WorkflowTask::default()
    };
    match &step.kind {
        Kind::Wait { signal } => task.wait = Some(WaitRule { signal: signal.clone(), timeout }),
        Kind::Approve { who, what } => {
            task.approve = Some(ApproveRule { who: who.clone(), what: what.clone(), timeout });
        }
        Kind::Agent => task.timeout = timeout,
        Kind::Tool(tool) => (task.tool, task.timeout) = (Some(tool.to_string()), timeout),
        Kind::Workflow(workflow) => (task.workflow, task.timeout) = (Some(workflow.to_string()), timeout),
        Kind::Sleep(sleep) => task.sleep = Some(sleep.clone()),
    }
    task
}

fn shown_retry(rule: &RetryRule) -> RetryBody {
    RetryBody {
        initial: rule.initial.and_then(period),
        factor: rule.factor,
        max: rule.max.and_then(period),
        retry_on: rule.retry_on.clone(),
    }
}

fn shown_compensation(undo: &Compensation) -> CompensateBody {
    CompensateBody {
        agent_capability: undo.capability.clone(),
        agent_id: undo.agent.as_ref().map(ToString::to_string),
        tool: undo.tool.as_ref().map(ToString::to_string),
        parameters: undo.parameters.clone(),
        max_retries: undo.retries,
        timeout: undo.timeout.and_then(period),
    }
}

/// What was kept came from a [`Period`], so that there is always one.
fn period(duration: std::time::Duration) -> Option<Period> {
    Period::try_from(duration).ok()
}
