//! What expressions give, what they refuse, and where they end.

mod bounds;
mod faults;
mod same;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::payload::{self, Payload};
use crate::routing::Route;
use crate::task::{Task, TaskStatus};

impl Tasks for Vec<Task> {
    fn facts(&self, step: &str) -> Option<TaskFacts<'_>> {
        self.iter().find(|task| task.step == step).map(|task| TaskFacts {
            status: task.status.name(),
            is_settled: task.status.is_settled(),
            result: task.result.as_ref(),
            error: task.error.as_deref(),
        })
    }

    fn steps(&self) -> Vec<&str> {
        self.iter().map(|task| &*task.step).collect()
    }
}

fn task(step: &str, status: TaskStatus, result: Option<Value>) -> Task {
    let id = signalbox_wire::id::TaskId::parse(&step.replace(' ', "-")).expect("valid");
    let error = (status == TaskStatus::Failed).then(|| "no paper".to_owned());
    Task { status, attempt: 1, result, error, ..Task::new(id, step.into(), 0, Route::Any) }
}

/// Payloads by their names.
#[derive(Default)]
struct Kept(HashMap<String, Arc<Payload>>);

impl Payloads for Kept {
    fn payload(&self, sha256: &str) -> Option<Option<&Payload>> {
        Some(self.0.get(sha256).map(AsRef::as_ref))
    }
}

impl Kept {
    fn externalize(&mut self, value: Value, inline_max: usize) -> Value {
        let (value, payloads) = payload::externalize(value, inline_max);
        self.0.extend(payloads.into_iter().map(|payload| (payload.sha256.clone(), payload)));
        value
    }
}

/// Calls `ask` with a session in which there is something of everything.
fn with_scope<T>(ask: impl FnOnce(Scope<'_>) -> T) -> T {
    with_scope_of(usize::MAX, ask)
}

/// The same, where whatever is longer than so many bytes is kept apart.
fn with_scope_of<T>(inline_max: usize, ask: impl FnOnce(Scope<'_>) -> T) -> T {
    let mut kept = Kept::default();
    let input = json!({
        "n": 3, "half": 0.5, "big": u64::MAX, "name": "Ada", "none": null, "yes": true,
        "list": [1, [2, 3]], "words": ["a", "bc", ""], "deep": {"er": true, "a-b": 1},
        "people": [{"name": "Ada", "age": 36}, {"name": "Bob", "age": 17}, {"name": "Cy"}],
    });
    let tasks = vec![
        task("read-1", TaskStatus::Completed, Some(json!({"words": 7, "files": ["a", "b"]}))),
        task("step 2", TaskStatus::Completed, Some(json!({"ok": true}))),
        task("open", TaskStatus::Running, None),
        task("broken", TaskStatus::Failed, None),
    ];
    let input: Map<String, Value> = input.as_object().expect("object").clone();
    let input = input.into_iter().map(|(name, part)| (name, kept.externalize(part, inline_max))).collect();
    let external =
        |task: Task| Task { result: task.result.map(|result| kept.externalize(result, inline_max)), ..task };
    let tasks: Vec<Task> = tasks.into_iter().map(external).collect();
    let session = json!({"id": "ses_1", "workflowId": "w", "startedAt": "2026-01-01T00:00:00Z"});
    ask(Scope {
        input: &input,
        tasks: &tasks,
        item: Some(&json!({"id": "x", "n": 2})),
        index: Some(4),
        session: Some(&session),
        payloads: &kept,
    })
}

fn rendered(template: &Value) -> Result<Value, String> {
    with_scope(|scope| render_any(template, scope).map_err(|fault| fault.to_string()))
}

/// What an expression gives, which is the same however much of what it sees is kept apart.
fn evaluated(text: &str) -> Result<Value, String> {
    let of = |inline_max| {
        with_scope_of(inline_max, |scope| evaluate(text, scope).map_err(|fault| fault.to_string()))
    };
    let whole = of(usize::MAX);
    for inline_max in [0, 8, 20] {
        assert_eq!(of(inline_max), whole, "{text} with what is longer than {inline_max} bytes kept payloads");
    }
    whole
}

fn check(cases: &[(&str, Value)]) {
    for (text, expected) in cases {
        assert_eq!(evaluated(text).as_ref(), Ok(expected), "{text}");
    }
}

impl SessionFacts for Value {
    fn seen(&self) -> &Value {
        self
    }
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
        (json!("${{'a': {'b': input.n}}}"), json!({"a": {"b": 3}})),
        (json!("<${'}' + \"{\"}> and ${'\\'}'}"), json!("<}{> and '}")),
        (json!("${r'\\'}${'''it's }'''}"), json!("\\it's }")),
        (json!("${input.n > 2 ? 'many' : 'few'} words"), json!("many words")),
        (json!("${{}}"), json!({})),
        (json!("${'http://'}${input.n // three}"), json!("http://3")),
    ];
    for (template, expected) in cases {
        assert_eq!(rendered(&template), Ok(expected), "{template}");
    }
}

#[test]
fn a_path_may_be_written_plainly_or_as_cel() {
    check(&[
        ("input.n", json!(3)),
        ("${input.n}", json!(3)),
        ("input.deep.a-b", json!(1)),
        ("input.deep['a-b']", json!(1)),
        ("input['deep'].er", json!(true)),
        ("tasks['read-1'].result.words + 1", json!(8)),
        ("tasks['read-1']['status']", json!("completed")),
        ("tasks.step 2.result.ok", json!(true)),
        ("tasks.broken.error", json!("no paper")),
        ("tasks.broken.result == null", json!(true)),
        ("item.id", json!("x")),
        ("index", json!(4)),
        ("input.list[index - 4]", json!(1)),
        ("session.workflowId + '/' + session.id", json!("w/ses_1")),
        ("input.big", json!(u64::MAX)),
        ("input.big > 5", json!(true)),
        ("input.n - 1", json!(2)),
    ]);
    assert_eq!(with_scope(|scope| evaluate("input", scope).map(|input| input["n"].clone())), Ok(json!(3)));
}

#[test]
fn macros_go_over_lists_and_the_names_of_maps() {
    check(&[
        ("input.people.filter(p, has(p.age) && p.age >= 18).map(p, p.name)", json!(["Ada"])),
        ("input.people.map(p, has(p.age), p.age)", json!([36, 17])),
        ("input.people.all(p, p.name != '')", json!(true)),
        ("input.people.exists(p, p.age < 18)", json!(true)),
        ("input.people.exists_one(p, p.name == 'Cy')", json!(true)),
        ("input.deep.map(k, k)", json!(["a-b", "er"])),
        ("input.deep.exists(k, input.deep[k] == 1)", json!(true)),
        ("[1, 2].map(x, [3, 4].map(y, x * y))", json!([[3, 4], [6, 8]])),
        ("[1].map(x, [2].map(x, x))", json!([[2]])),
        ("[].all(x, false)", json!(true)),
        ("[].exists(x, true)", json!(false)),
        ("{'a': 1, 'b': 2}.filter(k, k > 'a')", json!(["b"])),
    ]);
}

#[test]
fn what_is_there_can_be_asked_about() {
    check(&[
        ("has(input.n)", json!(true)),
        ("has(input.m)", json!(false)),
        ("has(input.deep.er) && !has(input.deep.x)", json!(true)),
        ("has(tasks.open.result)", json!(false)),
        ("has(tasks['read-1'].result)", json!(true)),
        ("has(tasks['read-1'].result.words)", json!(true)),
        ("has(tasks['read-1'].error)", json!(false)),
        ("has(tasks.broken.error)", json!(true)),
        ("has({'a': 1}.a)", json!(true)),
        ("has(tasks.open.result) ? tasks.open.result.x : 'none'", json!("none")),
        ("'n' in input", json!(true)),
        ("2 in input.list[1]", json!(true)),
        ("input.none == null", json!(true)),
    ]);
}

#[test]
fn truth_does_not_hang_on_the_order_of_what_is_asked() {
    check(&[
        ("input.missing == 1 || true", json!(true)),
        ("true || input.missing == 1", json!(true)),
        ("input.missing && false", json!(false)),
        ("[1, 'a'].exists(x, x > 0)", json!(true)),
        ("['a', 1].exists(x, x > 0)", json!(true)),
        ("['a', 1].all(x, x > 1)", json!(false)),
    ]);
    assert!(evaluated("input.missing == 1 || false").is_err());
    assert!(evaluated("['a', 1].all(x, x > 0)").is_err());
}

#[test]
fn a_key_takes_only_what_it_can_use() {
    with_scope(|scope| {
        assert_eq!(is_true("${input.n > 2}", scope), Ok(true));
        assert_eq!(is_true(" input.yes ", scope), Ok(true));
        assert_eq!(list("input.words.filter(w, w != '')", scope), Ok(vec![json!("a"), json!("bc")]));
        let fault = is_true("input.n", scope).expect_err("a number").to_string();
        assert_eq!(fault, "'${input.n}' must give true or false, and gives a number");
        let fault = list("input.deep", scope).expect_err("an object").to_string();
        assert_eq!(fault, "'${input.deep}' must give a list, and gives an object");
        let fault = is_true("${input.yes} && ${input.yes}", scope).expect_err("two").to_string();
        assert!(fault.contains("must be one expression"), "{fault}");
    });
}

#[test]
fn tasks_are_found_by_their_step() {
    let tasks = vec![task("a", TaskStatus::Completed, Some(json!(1))), task("b", TaskStatus::Pending, None)];
    assert_eq!(tasks.steps(), ["a", "b"]);
    assert!(tasks.facts("a").is_some_and(|facts| facts.is_settled && facts.result == Some(&json!(1))));
    assert!(tasks.facts("b").is_some_and(|facts| !facts.is_settled && facts.status == "pending"));
    assert!(tasks.facts("c").is_none());
}
