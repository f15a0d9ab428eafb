//! The shape of a definition: which keys there are, what they hold, and which go together.
//!
//! What a definition must keep as a whole (order, references, expressions) is the engine's to say.

use serde_json::Value;

use crate::body::{Faults, Fields, Text};
use crate::duration::Period;

/// The most tasks that a definition may have.
pub const TASKS_MAX: usize = 1000;
/// The most that a definition may ask for.
const MAX_RETRIES_MAX: u64 = 100;
/// Tasks of one session at once, and sessions of one key, at most.
const PARALLEL_MAX: u64 = 1_000;
/// Words in a list of kinds of failure.
const WORDS_MAX: usize = 100;
/// The furthest priority from 0.
const PRIORITY_MAX: i64 = 100;
/// An expression by itself.
const EXPRESSION: Text = Text::new(1, 4_096, crate::text::anything);

/// Who or what does a task; at most one.
const DOERS: [&str; 7] = ["agentCapability", "agentId", "tool", "workflow", "wait", "approve", "sleep"];
/// What somebody is needed for who does the task.
const NEEDS_A_DOER: [&str; 9] = [
    "parameters",
    "forEach",
    "maxRetries",
    "retry",
    "timeout",
    "scheduleTimeout",
    "heartbeatTimeout",
    "priority",
    "compensate",
];
/// What an agent is needed for.
const NEEDS_AN_AGENT: [&str; 3] = ["scheduleTimeout", "heartbeatTimeout", "priority"];

pub(super) fn workflow(faults: &mut Faults, pointer: &str, value: &Value) {
    let Some(mut fields) = faults.object(pointer, value) else { return };
    fields.required_string("id", Text::SLUG);
    fields.required_string("name", Text::NAME);
    fields.optional_string("description", Text::DESCRIPTION);
    if !matches!(fields.optional("version"), Some(Value::Number(_))) {
        fields.optional_string("version", Text::VERSION);
    }
    fields.optional_object("input");
    period(&mut fields, "timeout");
    fields.optional_integer("maxParallel", 1..=PARALLEL_MAX);
    if let Some(mut concurrency) = fields.optional_object("concurrency") {
        concurrency.optional_string("key", EXPRESSION);
        concurrency.optional_integer("limit", 1..=PARALLEL_MAX);
        one_of(&mut concurrency, "onBusy", &["queue", "reject", "replace"]);
    }
    if let Some(mut notify) = fields.optional_object("notify") {
        notify.required_string("url", Text::ENDPOINT);
        notify.optional_array("on", 3, end);
    }
    fields.required_array("tasks", TASKS_MAX, task);
}

fn end(faults: &mut Faults, pointer: &str, value: &Value) {
    if !["completed", "failed", "cancelled"].iter().any(|word| value.as_str() == Some(word)) {
        faults.add(pointer, "must be completed, failed or cancelled");
    }
}

fn task(faults: &mut Faults, pointer: &str, value: &Value) {
    let Some(mut fields) = faults.object(pointer, value) else { return };
    fields.required_string("taskId", Text::SLUG);
    fields.optional_string("name", Text::NAME);
    doers(&mut fields, &DOERS);
    doer(&mut fields);
    fields.optional_object("parameters");
    fields.optional_string("nextTaskId", Text::SLUG);
    fields.optional_array("dependsOn", TASKS_MAX, |faults, pointer, value| {
        faults.string(pointer, value, Text::SLUG);
    });
    fields.optional_string("when", EXPRESSION);
    fields.optional_string("forEach", EXPRESSION);
    fields.optional_integer("maxParallel", 1..=PARALLEL_MAX);
    fields.optional_integer("maxRetries", 0..=MAX_RETRIES_MAX);
    retry(&mut fields);
    ["timeout", "scheduleTimeout", "heartbeatTimeout"].iter().for_each(|name| period(&mut fields, name));
    priority(&mut fields);
    on_failure(&mut fields);
    compensate(&mut fields);
    what_goes_with_what(&mut fields);
}

/// At most one of these may be given: who comes after another is told.
fn doers(fields: &mut Fields<'_, '_>, names: &[&str]) {
    let mut given = names.iter().filter(|name| fields.optional(name).is_some());
    let Some(first) = given.next() else { return };
    let others: Vec<&&str> = given.collect();
    for other in others {
        fields.fault(other, format!("must not be given together with {first}; name one of the two"));
    }
}

fn doer(fields: &mut Fields<'_, '_>) {
    fields.optional_string("agentCapability", Text::NAME);
    fields.optional_string("agentId", Text::ID);
    fields.optional_string("tool", Text::TOOL);
    match fields.optional("workflow") {
        Some(Value::Object(_)) => {
            if let Some(mut child) = fields.optional_object("workflow") {
                child.required_string("id", Text::SLUG);
            }
        }
        Some(Value::String(_)) => {
            fields.optional_string("workflow", Text::SLUG);
        }
        Some(_) => fields.fault("workflow", "must be the id of a workflow, or an object with it as id"),
        None => {}
    }
    if let Some(mut wait) = fields.optional_object("wait") {
        wait.required_string("signal", Text::NAME);
        period(&mut wait, "timeout");
    }
    if let Some(mut approve) = fields.optional_object("approve") {
        approve.optional_string("who", Text::NAME);
        approve.optional_string("what", Text::DESCRIPTION);
        period(&mut approve, "timeout");
    }
    match fields.optional("sleep") {
        Some(Value::String(text)) if text.contains("${") => {
            fields.optional_string("sleep", EXPRESSION);
        }
        _ => period(fields, "sleep"),
    }
}

fn retry(fields: &mut Fields<'_, '_>) {
    let Some(mut retry) = fields.optional_object("retry") else { return };
    period(&mut retry, "initial");
    let factor = retry.optional("factor");
    if factor.is_some_and(|factor| !factor.as_f64().is_some_and(|factor| (1.0..=100.0).contains(&factor))) {
        retry.fault("factor", "must be a number from 1 to 100");
    }
    period(&mut retry, "max");
    retry.optional_array("retryOn", WORDS_MAX, |faults, pointer, value| {
        faults.string(pointer, value, Text::STATE);
    });
}

fn priority(fields: &mut Fields<'_, '_>) {
    let range = -PRIORITY_MAX..=PRIORITY_MAX;
    let given = fields.optional("priority");
    if given.is_some_and(|value| !value.as_i64().is_some_and(|number| range.contains(&number))) {
        fields.fault("priority", format!("must be a whole number from -{PRIORITY_MAX} to {PRIORITY_MAX}"));
    }
}

fn on_failure(fields: &mut Fields<'_, '_>) {
    match fields.optional("onFailure") {
        None => {}
        Some(Value::Object(map)) if map.contains_key("goto") => {
            if let Some(mut rule) = fields.optional_object("onFailure") {
                rule.required_string("goto", Text::SLUG);
            }
        }
        Some(Value::String(word)) if word == "fail" || word == "continue" => {}
        Some(_) => {
            fields.fault("onFailure", "must be fail, continue, or an object with the task to go to as goto")
        }
    }
}

fn compensate(fields: &mut Fields<'_, '_>) {
    let Some(mut undo) = fields.optional_object("compensate") else { return };
    undo.optional_string("agentCapability", Text::NAME);
    undo.optional_string("agentId", Text::ID);
    undo.optional_string("tool", Text::TOOL);
    doers(&mut undo, &DOERS[..3]);
    undo.optional_object("parameters");
    undo.optional_integer("maxRetries", 0..=MAX_RETRIES_MAX);
    period(&mut undo, "timeout");
}

fn what_goes_with_what(fields: &mut Fields<'_, '_>) {
    let (none, instead): (&[&str], &str) = match DOERS.iter().find(|name| fields.optional(name).is_some()) {
        Some(doer @ (&"wait" | &"approve" | &"sleep")) => (&NEEDS_A_DOER, doer),
        Some(doer @ (&"tool" | &"workflow")) => (&NEEDS_AN_AGENT, doer),
        _ => (&[], ""),
    };
    for name in none {
        if fields.optional(name).is_some() {
            let cure = match (*name, instead) {
                ("timeout", "wait" | "approve") => format!("write it inside {instead}"),
                _ => "leave it out".to_owned(),
            };
            fields.fault(name, format!("does not go with {instead}; {cure}"));
        }
    }
    if fields.optional("maxParallel").is_some() && fields.optional("forEach").is_none() {
        fields.fault("maxParallel", "goes only with forEach; leave it out");
    }
}

fn period(fields: &mut Fields<'_, '_>, name: &str) {
    if let Some(value) = fields.optional(name)
        && let Err(bad) = Period::from_value(value)
    {
        fields.fault(name, bad.to_string());
    }
}

fn one_of(fields: &mut Fields<'_, '_>, name: &str, words: &[&str]) {
    if let Some(value) = fields.optional(name)
        && !words.iter().any(|word| value.as_str() == Some(word))
    {
        fields.fault(name, format!("must be one of {}", words.join(", ")));
    }
}
