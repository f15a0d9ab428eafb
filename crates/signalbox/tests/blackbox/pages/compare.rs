//! What a page says a command prints, against what it printed.
//!
//! JSON is compared by shape: the same keys with values of the same kinds, in lists each entry like one of those shown.
//! `"…"` is any value, as a key any further keys. Text is compared by lines: `…` in a line is any text, a line of it alone
//! any lines.

use serde_json::{Deserializer, Value};

const ANY: &str = "…";

/// What differs, or nothing.
pub(super) fn compare(language: &str, expected: &str, printed: &str) -> Option<String> {
    let fault = if language == "json" { json(expected, printed) } else { text(expected, printed) };
    fault.map(|fault| format!("{fault}\nthe page says:\n{expected}it printed:\n{printed}"))
}

/// The values of a block; a bare `…` is read as any value.
pub(super) fn values(text: &str) -> Result<Vec<Value>, String> {
    let quoted = quote_bare(text);
    Deserializer::from_str(&quoted).into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn quote_bare(text: &str) -> String {
    let (mut out, mut is_inside, mut is_escaped) = (String::new(), false, false);
    for character in text.chars() {
        match character {
            '"' if !is_escaped => is_inside = !is_inside,
            '…' if !is_inside => {
                out.push_str("\"…\"");
                continue;
            }
            _ => {}
        }
        is_escaped = character == '\\' && !is_escaped;
        out.push(character);
    }
    out
}

fn json(expected: &str, printed: &str) -> Option<String> {
    let (expected, printed) = match (values(expected), values(printed)) {
        (Ok(expected), Ok(printed)) => (expected, printed),
        (Err(error), _) => return Some(format!("the page's block is not JSON: {error}")),
        (_, Err(error)) => return Some(format!("what came is not JSON: {error}")),
    };
    let Some(skipped) = printed.len().checked_sub(expected.len()) else {
        return Some(format!("{} values on the page, {} came", expected.len(), printed.len()));
    };
    expected.iter().zip(&printed[skipped..]).find_map(|(expected, got)| shape("", expected, got))
}

/// Where two values are of different shapes.
pub(crate) fn shape(at: &str, expected: &Value, got: &Value) -> Option<String> {
    match (expected, got) {
        (Value::String(any), _) if any == ANY => None,
        (Value::Object(expected), Value::Object(got)) => {
            let is_open = expected.contains_key(ANY);
            for (key, value) in expected.iter().filter(|(key, _)| *key != ANY) {
                match got.get(key) {
                    Some(got) => {
                        if let Some(fault) = shape(&format!("{at}/{key}"), value, got) {
                            return Some(fault);
                        }
                    }
                    None => return Some(format!("{at}/{key} is on the page and did not come")),
                }
            }
            let unknown = got.keys().find(|key| !is_open && !expected.contains_key(*key));
            unknown.map(|key| format!("{at}/{key} came and is not on the page"))
        }
        (Value::Array(expected), Value::Array(got)) => list(at, expected, got),
        (Value::String(expected), Value::String(got)) => {
            let differs = expected.contains(ANY) && !matches(expected, got);
            differs.then(|| format!("{at} is {got:?}, not {expected:?}"))
        }
        _ if kind(expected) == kind(got) => None,
        _ => Some(format!("{at} is {} on the page, and came as {got}", kind(expected))),
    }
}

fn list(at: &str, expected: &[Value], got: &[Value]) -> Option<String> {
    if expected.is_empty() {
        return (!got.is_empty()).then(|| format!("{at} is empty on the page, and has entries"));
    }
    if expected.iter().all(|value| value == ANY) {
        return None;
    }
    if got.is_empty() {
        return Some(format!("{at} has entries on the page, and came empty"));
    }
    let named: Vec<&Value> = expected.iter().filter(|value| *value != ANY).collect();
    got.iter().enumerate().find_map(|(number, got)| {
        let faults: Vec<String> =
            named.iter().map_while(|expected| shape(&format!("{at}/{number}"), expected, got)).collect();
        (faults.len() == named.len()).then(|| faults.into_iter().next()).flatten()
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn text(expected: &str, printed: &str) -> Option<String> {
    let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    let (expected, printed) = (lines(expected.trim_end()), lines(printed.trim_end()));
    (!all_match(&expected, &printed)).then(|| "the lines differ".to_owned())
}

fn all_match(expected: &[String], got: &[String]) -> bool {
    match (expected.split_first(), got.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first.trim() == ANY => {
            (0..=got.len()).any(|skipped| all_match(rest, &got[skipped..]))
        }
        (Some((first, rest)), Some((line, others))) => matches(first, line) && all_match(rest, others),
        _ => false,
    }
}

/// Whether a text is as the pattern has it, in which `…` is anything. Runs of spaces count as one: columns are as wide as
/// what stands in them.
fn matches(pattern: &str, text: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, text) = (squeeze(pattern), squeeze(text));
    let mut parts = pattern.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn json_is_compared_by_shape() {
    let differs = |expected: &str, got: &str| compare("json", expected, got);
    for (expected, got) in [
        (r#"{"a": 1, "b": "x_…"}"#, r#"{"b": "x_12", "a": 7}"#),
        (r#"{"a": …}"#, r#"{"a": [1]}"#),
        (r#"{"a": 1, "…": "…"}"#, r#"{"a": 1, "c": 2}"#),
        (r#"[{"a": 1}, {"b": 1}]"#, r#"[{"b": 3}, {"a": 4}, {"a": 5}]"#),
        (r#"{"b": 1}"#, r#"{"a": 1} {"b": 2}"#),
    ] {
        assert_eq!(differs(expected, got), None);
    }
    for (expected, got) in [
        (r#"{"a": 1}"#, r#"{"a": "1"}"#),
        (r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#),
        (r#"{"a": 1, "b": 2}"#, r#"{"a": 1}"#),
        (r#"{"a": "x_…"}"#, r#"{"a": "y_1"}"#),
        (r#"[{"a": 1}]"#, "[]"),
        ("[]", "[1]"),
        (r#"[{"a": 1}]"#, r#"[{"b": 1}]"#),
    ] {
        assert!(differs(expected, got).is_some(), "{expected} {got}");
    }
}

#[test]
fn text_is_compared_by_lines() {
    let same = |expected: &str, got: &str| compare("text", expected, got).is_none();
    assert!(same("a\n…\nz\n", "a\nb\nc\nz\n") && same("a\n…\nz\n", "a\nz\n"));
    assert!(same("id agt_… is 1\n", "id   agt_5  is 1\n") && same("…end", "the end"));
    assert!(!same("a\n", "a\nb\n") && !same("x … y\n", "x 1 z\n") && !same("a\nb\n", "a\n"));
}
