//! `${…}` expressions in a task's parameters.
//!
//! An expression is a path from `input` or `tasks.<taskId>.result|status|error`, in dots and `[index]`. A
//! string that is one expression takes its value with its type; inside a longer string the value is written
//! as text (strings bare, everything else as JSON). `$${` writes a plain `${`. A path that leads nowhere is
//! an error, never a silent null.

use serde_json::{Map, Value};

/// What expressions can see.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// What the session was started with.
    pub input: &'a Map<String, Value>,
    /// Finds a task of the session by its id in the definition.
    pub tasks: &'a [crate::task::Task],
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'${{{expression}}}' {reason}")]
pub struct Unresolved {
    /// The expression, without its braces.
    pub expression: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Nesting of parameters that is rendered, at most.
const DEPTH_MAX: usize = 128;

/// `template` with every expression replaced by its value.
///
/// # Errors
/// The first expression that cannot be resolved.
pub fn render(template: &Map<String, Value>, scope: Scope<'_>) -> Result<Map<String, Value>, Unresolved> {
    template.iter().map(|(key, value)| Ok((key.clone(), render_value(value, scope, 0)?))).collect()
}

/// Every expression in `template`, checked as far as it can be before a session runs: its root, and that
/// the tasks it names exist (`known` tells).
#[must_use]
pub fn faults(template: &Value, known: &dyn Fn(&str) -> bool) -> Vec<Unresolved> {
    let mut found = Vec::new();
    collect_faults(template, known, &mut found);
    found
}

fn render_value(value: &Value, scope: Scope<'_>, depth: usize) -> Result<Value, Unresolved> {
    match value {
        _ if depth > DEPTH_MAX => Err(unresolved("…", "is nested too deeply")),
        Value::String(text) => render_text(text, scope),
        Value::Array(items) => items
            .iter()
            .map(|item| render_value(item, scope, depth + 1))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, item)| Ok((key.clone(), render_value(item, scope, depth + 1)?)))
            .collect::<Result<_, _>>()
            .map(Value::Object),
        _ => Ok(value.clone()),
    }
}

fn render_text(text: &str, scope: Scope<'_>) -> Result<Value, Unresolved> {
    let pieces = pieces(text)?;
    if let [Piece::Expression(path)] = pieces.as_slice() {
        return resolve(path, scope);
    }
    let mut out = String::with_capacity(text.len());
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Expression(path) => match resolve(path, scope)? {
                Value::String(text) => out.push_str(&text),
                other => out.push_str(&other.to_string()),
            },
        }
    }
    Ok(Value::String(out))
}

fn collect_faults(value: &Value, known: &dyn Fn(&str) -> bool, found: &mut Vec<Unresolved>) {
    match value {
        Value::String(text) => match pieces(text) {
            Err(fault) => found.push(fault),
            Ok(pieces) => found.extend(pieces.into_iter().filter_map(|piece| match piece {
                Piece::Text(_) => None,
                Piece::Expression(path) => check(path, known).err(),
            })),
        },
        Value::Array(items) => items.iter().for_each(|item| collect_faults(item, known, found)),
        Value::Object(fields) => fields.values().for_each(|item| collect_faults(item, known, found)),
        _ => {}
    }
}

enum Piece<'a> {
    Text(&'a str),
    Expression(&'a str),
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Unresolved> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            pieces.push(Piece::Text(&rest[..at - 1]));
            pieces.push(Piece::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or_else(|| unresolved(inner, "has no closing brace"))?;
        pieces.push(Piece::Expression(inner[..end].trim()));
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// One step of a path.
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

fn path(expression: &str) -> Result<Vec<Step<'_>>, Unresolved> {
    let mut steps = Vec::new();
    for part in expression.split('.') {
        let (name, mut indices) = part.split_at(part.find('[').unwrap_or(part.len()));
        if name.is_empty() {
            return Err(unresolved(
                expression,
                "has an empty step; write it as input.field or tasks.id.result.field",
            ));
        }
        steps.push(Step::Field(name.trim()));
        while let Some(inner) = indices.strip_prefix('[') {
            let (index, after) =
                inner.split_once(']').ok_or_else(|| unresolved(expression, "has no closing bracket"))?;
            let index = index
                .trim()
                .parse()
                .map_err(|_| unresolved(expression, "has an index that is not a number"))?;
            steps.push(Step::Index(index));
            indices = after;
        }
        if !indices.is_empty() {
            return Err(unresolved(expression, "has something after its bracket"));
        }
    }
    Ok(steps)
}

fn check(expression: &str, known: &dyn Fn(&str) -> bool) -> Result<(), Unresolved> {
    match path(expression)?.as_slice() {
        [Step::Field("input"), ..] => Ok(()),
        [Step::Field("tasks"), Step::Field(task), Step::Field("result" | "status" | "error"), ..] => {
            if known(task) {
                Ok(())
            } else {
                Err(unresolved(expression, "names a task that the definition does not have"))
            }
        }
        [Step::Field("tasks"), ..] => {
            Err(unresolved(expression, "must go on as tasks.<taskId>.result, .status or .error"))
        }
        _ => Err(unresolved(expression, "must begin with input or tasks")),
    }
}

fn resolve(expression: &str, scope: Scope<'_>) -> Result<Value, Unresolved> {
    check(expression, &|id| scope.tasks.iter().any(|task| task.step == id))?;
    let steps = path(expression)?;
    let (root, rest) = match steps.as_slice() {
        [Step::Field("tasks"), Step::Field(id), Step::Field(part), rest @ ..] => {
            let task = scope.tasks.iter().find(|task| task.step == *id);
            let value = task.and_then(|task| match *part {
                "status" => Some(Value::String(task.status.name().to_owned())),
                "error" => Some(task.error.clone().map_or(Value::Null, Value::String)),
                _ if task.status.is_settled() => Some(task.result.clone().unwrap_or(Value::Null)),
                _ => None,
            });
            (
                value.ok_or_else(|| {
                    unresolved(expression, "asks for the result of a task that has not settled")
                })?,
                rest,
            )
        }
        [_, Step::Field(name), rest @ ..] => {
            let value = scope.input.get(*name).cloned();
            (value.ok_or_else(|| unresolved(expression, "leads nowhere: the input has no such field"))?, rest)
        }
        _ => (Value::Object(scope.input.clone()), &[][..]),
    };
    walk(root, rest).ok_or_else(|| unresolved(expression, "leads nowhere: the value has no such field"))
}

fn walk(root: Value, steps: &[Step<'_>]) -> Option<Value> {
    steps.iter().try_fold(root, |value, step| match (value, step) {
        (Value::Object(mut fields), Step::Field(name)) => fields.remove(*name),
        (Value::Array(mut items), Step::Index(index)) if *index < items.len() => {
            Some(items.swap_remove(*index))
        }
        _ => None,
    })
}

fn unresolved(expression: &str, reason: &str) -> Unresolved {
    Unresolved { expression: expression.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::routing::Route;
    use crate::task::{Task, TaskStatus};

    fn task(step: &str, status: TaskStatus, result: Option<Value>) -> Task {
        Task {
            id: signalbox_wire::id::TaskId::parse(step).expect("valid"),
            step: step.into(),
            position: 0,
            name: None,
            route: Route::Any,
            template: Map::new(),
            next: None,
            status,
            attempt: 1,
            retries: 0,
            agent: None,
            message: None,
            parameters: None,
            result,
            error: None,
            queued_at: None,
            retry_at: None,
            dispatched_at: None,
            started_at: None,
            ended_at: None,
        }
    }

    fn rendered(template: &Value) -> Result<Value, String> {
        let input = json!({"n": 3, "name": "Ada", "list": [1, [2, 3]], "deep": {"er": true}});
        let tasks = [
            task("read-1", TaskStatus::Completed, Some(json!({"words": 7, "files": ["a", "b"]}))),
            task("open", TaskStatus::Running, None),
        ];
        let scope = Scope { input: input.as_object().expect("object"), tasks: &tasks };
        render_value(template, scope, 0).map_err(|fault| fault.to_string())
    }

    #[test]
    fn values_keep_their_type_and_texts_take_them_in() {
        let cases = [
            (json!("${input.n}"), json!(3)),
            (json!("${ input.deep.er }"), json!(true)),
            (json!("${input.list[1][0]}"), json!(2)),
            (json!("${tasks.read-1.result.files}"), json!(["a", "b"])),
            (json!("${tasks.read-1.status}"), json!("completed")),
            (json!("${tasks.open.error}"), json!(null)),
            (json!("Hello ${input.name}, ${input.n} of ${input.list}"), json!("Hello Ada, 3 of [1,[2,3]]")),
            (json!("costs $${5}"), json!("costs ${5}")),
            (json!({"a": ["${input.n}", 1, null]}), json!({"a": [3, 1, null]})),
            (json!("no expression"), json!("no expression")),
        ];
        for (template, expected) in cases {
            assert_eq!(rendered(&template), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_said() {
        for (template, part) in [
            ("${input.missing}", "leads nowhere"),
            ("${input.n.x}", "leads nowhere"),
            ("${input.list[9]}", "leads nowhere"),
            ("${tasks.open.result.x}", "has not settled"),
            ("${tasks.absent.result}", "does not have"),
            ("${tasks.open}", "must go on as"),
            ("${secrets.x}", "must begin with"),
            ("${input.n", "no closing brace"),
            ("${input..n}", "empty step"),
            ("${input.list[x]}", "not a number"),
            ("${}", "empty step"),
        ] {
            let fault = rendered(&json!(template)).expect_err(template);
            assert!(fault.contains(part), "{template}: {fault}");
        }
    }

    #[test]
    fn a_definition_is_told_all_its_faults_at_once() {
        let template =
            json!({"a": "${input.x}", "b": ["${tasks.gone.result}", "${nope}"], "c": "${tasks.here.result}"});
        let found = faults(&template, &|id| id == "here");
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
