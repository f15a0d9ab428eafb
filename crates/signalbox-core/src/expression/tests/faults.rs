//! What is said of an expression that has no value, when it is worked out and before.

use serde_json::json;

use super::{evaluated, rendered};
use crate::expression::{KnownNames, Sight, expression_faults, faults};

#[test]
fn what_leads_nowhere_is_said() {
    for (template, part) in [
        ("${input.missing}", "leads nowhere: the input has no such field"),
        ("${input.absent}", "; it has "),
        ("${input.n.x}", "leads nowhere: the value has no such field"),
        ("${input.list[9]}", "leads nowhere"),
        ("${input[0]}", "leads nowhere"),
        ("${tasks.open.result.x}", "has not settled"),
        ("${tasks.open.status.x}", "leads nowhere"),
        ("${index.x}", "leads nowhere"),
        ("${tasks.absent.result}", "does not have"),
        ("${tasks.open}", "must go on as"),
        ("${tasks[0]}", "must go on as"),
        ("${secrets.x}", "must begin with input"),
        ("${input.n", "no closing brace"),
        ("${input.n + '}", "is not an expression"),
        ("${input..n}", "empty step"),
        ("${input.list[x]}", "names 'x', which it cannot see"),
        ("${input.list[0]x}", "after its bracket"),
        ("${}", "empty step"),
        ("${input.first name}", "no such field"),
    ] {
        let fault = rendered(&json!(template)).expect_err(template);
        assert!(fault.contains(part), "{template}: {fault}");
    }
}

#[test]
fn what_cannot_be_worked_out_is_said() {
    for (text, part) in [
        ("1 / 0", "divides by zero"),
        ("1 % 0", "divides by zero"),
        ("1.0 / 0.0", "JSON has no number for"),
        ("9223372036854775807 + 1", "beyond the range of an int"),
        ("-(-9223372036854775807 - 1)", "beyond the range of an int"),
        ("(-9223372036854775807 - 1) / -1", "beyond the range of an int"),
        ("1u - 2u", "beyond the range of a uint"),
        ("1 + 1.5", "int + double"),
        ("'a' + 1", "string + int"),
        ("input.n * input.half", "int * double"),
        ("'a' < 1", "have no order"),
        ("[1] < [2]", "have no order"),
        ("!input.n", "needs true or false where it has a int"),
        ("input.n ? 1 : 2", "needs true or false"),
        ("input.n && true", "needs true or false"),
        ("input.n.map(x, x)", "neither a list nor a map"),
        ("1 in 'abc'", "neither a list nor a map"),
        ("size(1)", "for its size"),
        ("input.list[-1]", "a list of 2 has no item -1"),
        ("input.list[input.n]", "a list of 2 has no item 3"),
        ("input.list[0.5]", "at a double"),
        ("'abc'[0]", "asks a string"),
        ("{'a': 1}.b", "leads nowhere"),
        ("{1: 2}", "a int for a key"),
        ("{'a': 1, 'a': 2}", "the same key twice"),
        ("int('x')", "makes an int of a string"),
        ("int(1e30)", "makes an int of a double"),
        ("uint(-1)", "makes a uint of a int"),
        ("bool('x')", "cannot make a bool"),
        ("string([1])", "cannot make a string"),
        ("has(input.missing.x)", "leads nowhere"),
        ("has(input.n.x)", "leads nowhere"),
        ("input.name.contains(1)", "both must be a string"),
    ] {
        let fault = evaluated(text).expect_err(text);
        assert!(fault.contains(part), "{text}: {fault}");
    }
}

fn told(text: &str, has_item: bool) -> Vec<String> {
    let task = |id: &str| match id {
        "here" | "read-1" => Sight::Seen,
        "later" => Sight::NotBefore,
        _ => Sight::Unknown,
    };
    let found = expression_faults(text, &KnownNames { task: &task, has_item, has_session: true });
    found.into_iter().map(|fault| fault.reason).collect()
}

#[test]
fn a_definition_is_told_what_its_expressions_cannot_see() {
    for (text, part) in [
        ("tasks.gone.result", "names a task that the definition does not have"),
        ("tasks['gone'].result == 1", "names a task that the definition does not have"),
        ("[1].map(x, tasks.gone.result)", "names a task that the definition does not have"),
        ("has(tasks.gone.result)", "names a task that the definition does not have"),
        ("tasks.later.result", "is not certain to have settled before"),
        ("tasks['later'].result.x > 1", "is not certain to have settled before"),
        ("tasks[input.x].result", "a task cannot be computed"),
        ("tasks[input.x]", "a task cannot be computed"),
        ("tasks.here[input.x]", "a task cannot be computed"),
        ("size(tasks)", "must go on as"),
        ("tasks.exists(t, true)", "must go on as"),
        ("'here' in tasks", "must go on as"),
        ("tasks.here == 1", "must go on as"),
        ("tasks.here.reslt == 1", "must go on as"),
        ("has(tasks.here)", "must go on as"),
        ("has(tasks.here.reslt)", "must go on as"),
        ("item.x", "only a task with forEach has"),
        ("index + 1", "only a task with forEach has"),
        ("secrets.x == 1", "names 'secrets', which it cannot see"),
        ("x", "names 'x', which it cannot see"),
        ("[1].map(x, y)", "names 'y', which it cannot see"),
        ("[1].map(x, x) == x", "names 'x', which it cannot see"),
        ("[1].map(input, input)", "gives the name 'input' again"),
        ("now()", "calls 'now', which there is not"),
        ("timestamp('2026-01-01T00:00:00Z')", "calls 'timestamp', which there is not"),
        ("duration('1s')", "calls 'duration', which there is not"),
        ("'a'.matches('b')", "calls 'matches', which there is not"),
        ("type(1)", "calls 'type', which there is not"),
        ("math.greatest(1, 2)", "calls 'greatest', which there is not"),
        ("contains('a', 'b')", "it is written text.contains(part)"),
        ("size(1, 2)", "it is written size(value)"),
        ("[1].map(x)", "it is written list.map(x, …)"),
        ("has(1)", "is not an expression"),
        ("b'x'", "holds bytes"),
        ("Thing{a: 1}", "makes a 'Thing'"),
        ("1 +", "is not an expression"),
        ("input.x = 1", "is not an expression"),
        ("{'a': 1}.?a", "is not an expression"),
        ("9223372036854775808", "is not an expression"),
    ] {
        let found = told(text, false);
        assert!(found.iter().any(|fault| fault.contains(part)), "{text}: {found:?}");
    }
}

#[test]
fn a_definition_is_not_told_of_what_may_hold() {
    for text in [
        "input.anything.at.all",
        "tasks.here.result.x + tasks['read-1'].result.y",
        "tasks.read-1.status",
        "item.x == index",
        "session.id",
        "input.list.map(x, input.list.filter(y, y == x))",
        "has(tasks.here.result)",
        "${tasks.here.error != null}",
    ] {
        assert_eq!(told(text, true), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_definition_is_told_all_its_faults_at_once() {
    let template = json!({
        "a": "${input.x}",
        "b": ["${tasks.gone.result}", "${nope}"],
        "c": "${tasks.here.result}",
        "d": "${one + two} and ${tasks.away.result}",
        "e": "${open",
    });
    let task = |id: &str| if id == "here" { Sight::Seen } else { Sight::Unknown };
    let found = faults(&template, &KnownNames { task: &task, has_item: false, has_session: true });
    assert_eq!(found.len(), 6, "{found:?}");
}
