//! The expressions of workflows: `${…}` in what a task is given, and keys such as `when` that are one.
//!
//! An expression is a path (`input.x`, `tasks.<taskId>.result.files[0]`) or CEL (`input.n > 3 ? 'a' : 'b'`); a
//! string that is one expression takes its value with its type, and inside a longer string the value is written
//! as text (strings bare, everything else as JSON). `$${` writes a plain `${`. What leads nowhere is an error,
//! never a silent null. Every expression has an end: its length, its nesting, its work and what it gives are
//! bounded. `docs/reference/expressions.md` is the language as its users see it.

mod budget;
mod convert;
mod eval;
mod fields;
mod functions;
mod parse;
mod path;
mod scope;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod value;

use serde_json::{Map, Value};

use self::budget::{Budget, DEPTH_MAX, Fault};
use self::eval::Machine;
pub(crate) use self::path::TASK_NOT_BEFORE;
pub use self::scope::{KnownNames, Payloads, Scope, SessionFacts, Sight, TaskFacts, Tasks};
use self::template::{Piece, pieces};

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'${{{expression}}}' {reason}")]
pub struct Unresolved {
    /// The expression, without its braces; its beginning where it is long.
    pub expression: String,
    /// What is wrong with it.
    pub reason: String,
    /// The payloads that have to be loaded before it can be told; nothing is wrong then.
    pub needs: Vec<String>,
    /// It takes longer to tell than it may here; nothing is wrong then.
    pub is_long: bool,
}

impl Unresolved {
    /// Whether it cannot be told yet what the expression gives: nothing is wrong then.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_long || !self.needs.is_empty()
    }

    fn of(expression: &str, fault: Fault) -> Self {
        let Fault { reason, needs, is_long, .. } = fault;
        Self { needs, is_long, ..unresolved(expression, reason) }
    }
}

/// Characters of an expression that are repeated in a fault.
const QUOTED_MAX: usize = 200;

/// `template` with every expression replaced by its value.
///
/// # Errors
/// The first expression that has no value, or that together with those before it goes beyond the bounds of one
/// rendering.
pub fn render(template: &Map<String, Value>, scope: Scope<'_>) -> Result<Map<String, Value>, Unresolved> {
    let budget = Budget::new(scope.payloads);
    let machine = Machine { scope, budget: &budget };
    template.iter().map(|(key, value)| Ok((key.clone(), render_value(value, machine, 0)?))).collect()
}

/// `template`, of any form, with every expression replaced by its value.
///
/// # Errors
/// Those of [`render`].
pub fn render_any(template: &Value, scope: Scope<'_>) -> Result<Value, Unresolved> {
    render_value(template, Machine { scope, budget: &Budget::new(scope.payloads) }, 0)
}

/// `value` with all that it refers to in its place.
///
/// # Errors
/// A payload is not kept, or not loaded yet; or there is more of them than one rendering may look into.
pub fn inline(value: &Value, payloads: &dyn Payloads) -> Result<Value, Unresolved> {
    Budget::new(payloads).inline(value, 0).map_err(|fault| Unresolved::of("…", fault))
}

/// The value of an expression key, which holds an expression: bare, or as one `${…}`. It is whole: what it refers to
/// stands in its place.
///
/// # Errors
/// It has no value.
pub fn evaluate(text: &str, scope: Scope<'_>) -> Result<Value, Unresolved> {
    resolve(bare(text)?, Machine { scope, budget: &Budget::new(scope.payloads) }, Form::Whole)
}

/// Whether the expression of a key such as `when` is true.
///
/// # Errors
/// It has no value, or one that is neither true nor false.
pub fn is_true(text: &str, scope: Scope<'_>) -> Result<bool, Unresolved> {
    match evaluate(text, scope)? {
        Value::Bool(truth) => Ok(truth),
        other => Err(unresolved(text, format!("must give true or false, and gives {}", kind(&other)))),
    }
}

/// The list that the expression of a key such as `forEach` gives.
///
/// # Errors
/// It has no value, or one that is not a list.
pub fn list(text: &str, scope: Scope<'_>) -> Result<Vec<Value>, Unresolved> {
    let machine = Machine { scope, budget: &Budget::new(scope.payloads) };
    match resolve(bare(text)?, machine, Form::Opened)? {
        Value::Array(items) => Ok(items),
        other => Err(unresolved(text, format!("must give a list, and gives {}", kind(&other)))),
    }
}

/// Everything that is wrong with the expressions in `template`, as far as it can be told before a session runs.
#[must_use]
pub fn faults(template: &Value, known: &KnownNames<'_>) -> Vec<Unresolved> {
    let mut found = Vec::new();
    collect_faults(template, known, &mut found);
    found
}

/// Everything that is wrong with the expression of a key, as far as it can be told before a session runs.
#[must_use]
pub fn expression_faults(text: &str, known: &KnownNames<'_>) -> Vec<Unresolved> {
    bare(text).map_or_else(|fault| vec![fault], |expression| faults_of(expression, known))
}

fn render_value(value: &Value, machine: Machine<'_, '_>, depth: usize) -> Result<Value, Unresolved> {
    match value {
        _ if depth > DEPTH_MAX => Err(unresolved("…", "is nested too deeply")),
        Value::String(text) => render_text(text, machine),
        Value::Array(items) => items
            .iter()
            .map(|item| render_value(item, machine, depth + 1))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, item)| Ok((key.clone(), render_value(item, machine, depth + 1)?)))
            .collect::<Result<_, _>>()
            .map(Value::Object),
        _ => Ok(value.clone()),
    }
}

fn render_text(text: &str, machine: Machine<'_, '_>) -> Result<Value, Unresolved> {
    let pieces = parts(text)?;
    if let [Piece::Expression(expression)] = pieces.as_slice() {
        return resolve(expression, machine, Form::Light);
    }
    let mut out = String::with_capacity(text.len());
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Expression(expression) => match resolve(expression, machine, Form::Whole)? {
                Value::String(text) => out.push_str(&text),
                other => out.push_str(&other.to_string()),
            },
        }
    }
    Ok(Value::String(out))
}

/// How much of a value is wanted where it refers to payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is, with its references.
    Light,
    /// Itself, with the references in it.
    Opened,
    /// With all that it refers to.
    Whole,
}

fn resolve(expression: &str, machine: Machine<'_, '_>, form: Form) -> Result<Value, Unresolved> {
    machine.budget.take_text(expression).map_err(|fault| Unresolved::of(expression, fault))?;
    let node = syntax::read(expression, None)
        .map_err(|reasons| unresolved(expression, reasons.into_iter().next().unwrap_or_default()))?;
    value_of(&node, machine, form).map_err(|fault| Unresolved::of(expression, fault))
}

fn value_of<'a>(node: &'a syntax::Node, machine: Machine<'a, '_>, form: Form) -> Result<Value, Fault> {
    let budget = machine.budget;
    let value = machine.value(node)?;
    match form {
        Form::Light => value.to_json(budget, 0),
        Form::Opened => value.open(budget)?.to_json(budget, 0),
        Form::Whole => {
            let external = value.to_json(budget, 0)?;
            if crate::payload::references(&external).is_empty() {
                return Ok(external);
            }
            let whole = Budget::new(machine.scope.payloads).inline(&external, 0)?;
            value::measure(&whole, budget)?;
            Ok(whole)
        }
    }
}

fn collect_faults(value: &Value, known: &KnownNames<'_>, found: &mut Vec<Unresolved>) {
    match value {
        Value::String(text) => match parts(text) {
            Err(fault) => found.push(fault),
            Ok(pieces) => found.extend(pieces.into_iter().flat_map(|piece| match piece {
                Piece::Text(_) => Vec::new(),
                Piece::Expression(expression) => faults_of(expression, known),
            })),
        },
        Value::Array(items) => items.iter().for_each(|item| collect_faults(item, known, found)),
        Value::Object(fields) => fields.values().for_each(|item| collect_faults(item, known, found)),
        _ => {}
    }
}

fn faults_of(expression: &str, known: &KnownNames<'_>) -> Vec<Unresolved> {
    let reasons = syntax::read(expression, Some(known)).err().unwrap_or_default();
    reasons.into_iter().map(|reason| unresolved(expression, reason)).collect()
}

/// The expression of a key, without the `${…}` that may be around it.
fn bare(text: &str) -> Result<&str, Unresolved> {
    let text = text.trim();
    if !text.starts_with("${") {
        return Ok(text);
    }
    match parts(text)?.as_slice() {
        [Piece::Expression(expression)] => Ok(expression),
        _ => Err(unresolved(text, "must be one expression; write it bare, without ${ and }")),
    }
}

fn parts(text: &str) -> Result<Vec<Piece<'_>>, Unresolved> {
    pieces(text).map_err(|rest| unresolved(rest, "has no closing brace"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn unresolved(expression: &str, reason: impl Into<String>) -> Unresolved {
    let mut quoted: String = expression.chars().take(QUOTED_MAX).collect();
    if quoted.len() < expression.len() {
        quoted.push('…');
    }
    Unresolved { expression: quoted, reason: reason.into(), needs: Vec::new(), is_long: false }
}
