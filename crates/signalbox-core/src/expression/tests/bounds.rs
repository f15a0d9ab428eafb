//! Every expression ends, whatever it says and whatever it is given.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{evaluated, with_scope};
use crate::expression::syntax::{self, LENGTH_MAX};
use crate::expression::{Scope, Tasks, evaluate, render_any};
use crate::task::Task;

/// Works out `text` with a stack much smaller than that of any thread of the server.
fn on_a_small_stack(text: &str) -> Result<Value, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(640 << 10);
        thread.spawn_scoped(scope, || evaluated(text)).expect("a thread").join().expect("no panic")
    })
}

fn filled(before: &str, each: &str, after: &str) -> String {
    format!("{before}{}{after}", each.repeat((LENGTH_MAX - before.len() - after.len()) / each.len()))
}

#[test]
fn depth_is_bounded() {
    for (before, each, after) in [
        ("1", "+1", ""),
        ("input", ".a", "+1"),
        ("[1]", "[0]", ""),
        ("true", "&&true", ""),
        ("true", "||true", ""),
        ("", "!", "true"),
        ("", "!(", "true"),
        ("", "-", "1"),
        ("", "-(", "1"),
        ("", "true?1:", "1"),
        ("", "true?", "1"),
        ("", "(", ""),
        ("", "[", ""),
        ("", "{", ""),
        ("", "{'a':", ""),
        ("", "size(", ""),
        ("", "[1].map(x,", ""),
        ("[1]", ".map(x,[x])", ""),
        ("''", ".size()", ""),
        ("1", "<1", ""),
        ("", "?:", ""),
        ("", "'", ""),
        ("", "\\", ""),
        ("", "${", ""),
    ] {
        // That it comes back is what is tested; a balanced text may also have a value.
        let _ = on_a_small_stack(&filled(before, each, after));
        let half = each.repeat(1000);
        let _ = on_a_small_stack(&format!("{half}1{}{after}", half.replace(['(', '['], ")")));
    }
    let fault = on_a_small_stack(&filled("1", "+1", "")).expect_err("2,000 levels");
    assert!(fault.contains("has more than 500 operators"), "{fault}");
    let fault = on_a_small_stack(&format!("1{}", "+1".repeat(500))).expect_err("500 levels");
    assert!(fault.contains("levels deep"), "{fault}");
    let fault = on_a_small_stack(&format!("1{}", " in 1".repeat(800))).expect_err("800 levels");
    assert!(fault.contains("levels deep"), "{fault}");
    for hidden in ["// '\n1", "'\n1", "r'\\'+1", "'''\n''' + 1", "'a\\'' + 1"] {
        let fault = on_a_small_stack(&filled(hidden, "+1", "+'x'")).expect_err("2,000 levels");
        assert!(fault.contains("has more than 500 operators"), "{hidden}: {fault}");
    }
    let sum = vec!["1"; 60].join(" + ");
    assert_eq!(on_a_small_stack(&sum), Ok(json!(60)));
    let nested = format!("{}1{}", "[1].map(x, ".repeat(30), ")".repeat(30));
    assert!(on_a_small_stack(&nested).is_ok());
}

#[test]
fn length_is_bounded() {
    let long = format!("'{}'", "é".repeat(LENGTH_MAX));
    let fault = evaluated(&long).expect_err("too long");
    assert!(fault.contains("is longer than 4096 characters") && fault.len() < 600, "{fault}");
    assert!(evaluated(&format!("'{}'", "é".repeat(LENGTH_MAX - 2))).is_ok());
}

fn with_list(count: usize, ask: impl FnOnce(Scope<'_>)) {
    let items: Vec<Value> = (0..count).map(|n| json!({"n": n, "name": format!("item {n}")})).collect();
    let mut input = Map::new();
    input.insert("list".to_owned(), items.into());
    let tasks: Vec<Task> = Vec::new();
    ask(Scope {
        input: &input,
        tasks: &tasks as &dyn Tasks,
        item: None,
        index: None,
        session: None,
        payloads: &super::Kept::default(),
    });
}

#[test]
fn a_long_list_may_be_gone_over_and_its_square_may_not() {
    with_list(20_000, |scope| {
        let some = evaluate("input.list.filter(x, x.n < 10 && x.name != 'item 3').map(x, x.n)", scope);
        assert_eq!(some, Ok(json!([0, 1, 2, 4, 5, 6, 7, 8, 9])));
        for text in [
            "input.list.map(x, input.list.map(y, x))",
            "input.list.all(x, input.list.all(y, input.list.all(z, true)))",
            "input.list.exists(x, input.list.exists(y, y.missing == 1))",
            "input.list.exists(x, x.missing || input.list.exists(y, y.n == -1))",
            "input.list.map(x, input.list == input.list)",
            "input.list.filter(x, x in input.list)",
            "input.list.map(x, input.list + input.list)",
        ] {
            let fault = evaluate(text, scope).expect_err(text).to_string();
            assert!(fault.contains("too much budget"), "{text}: {fault}");
        }
    });
}

#[test]
fn what_is_made_cannot_grow_without_end() {
    let doubled = format!("['x']{}", ".map(x, [x, x])".repeat(40));
    let fault = evaluated(&doubled).expect_err("2^40 values");
    assert!(fault.contains("larger than 16 MiB"), "{fault}");
    let text = format!("['0123456789']{}[0]", ".map(x, x + x)".repeat(40));
    let fault = evaluated(&text).expect_err("2^40 texts");
    assert!(fault.contains("too much budget"), "{fault}");
    let same = format!("{doubled} == {doubled}");
    let fault = evaluated(&same).expect_err("2^40 comparisons");
    assert!(fault.contains("too much budget") || fault.contains("levels deep"), "{fault}");
    with_list(10_000, |scope| {
        let template = Value::from("${input.list} ".repeat(1000));
        let fault = render_any(&template, scope).expect_err("a thousand lists").to_string();
        assert!(fault.contains("larger than 16 MiB"), "{fault}");
    });
}

const WHOLE: [&str; 12] = [
    "input.people.filter(p, has(p.age) && p.age >= 18).map(p, p.name)",
    "tasks['read-1'].result.files[0] + '/' + string(input.n)",
    "tasks.read-1.result.files[1]",
    "has(tasks.open.result) ? tasks.open.result.x : {'none': [1, 2.5, 3u, null]}",
    "input.list.exists_one(x, x == 1) || !(index in [1, 2]) && size(input.words) > 1",
    "r'raw' + \"\\u00e9\\n\\x41\\101\" + '''triple'''",
    "-input.n * 2 % 3 - 0x1F / 7 <= 1e3 - -.5",
    "input.words.all(w, w.startsWith('a') || w.endsWith('c') || w.contains(''))",
    "{'a': {'b': [1][0]}}.a['b'] != int('7')",
    "b'bytes' == b'\\377'",
    "a.b.C{d: 1}.e",
    "`quoted`.?x[?0] // a comment",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9.\\[\\](){}'\"+*/%<>=!&|?:,_ \\\\-]{0,40}",
        "(input|tasks|item|[0-9]|'|\"|\\.|\\[|\\]|\\(|\\)|,|x|é|\\\\|r|b|u|\\{|\\}|:|\\?|-|!|=|`|\\$|map|has){0,30}",
    ]
}

/// One of [`WHOLE`] with pieces of itself and of others in wrong places.
fn broken() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), text());
    (prop::sample::select(&WHOLE[..]), prop::collection::vec(edit, 1..4)).prop_map(|(whole, edits)| {
        let mut chars: Vec<char> = whole.chars().collect();
        for (at, until, put) in edits {
            let (at, until) = (at.index(chars.len() + 1), until.index(chars.len() + 1));
            chars.splice(at.min(until)..at.max(until), put.chars().take(6));
        }
        chars.into_iter().collect()
    })
}

fn comes_back(text: &str) -> Result<(), TestCaseError> {
    // The bare reason is what a panic of the parser becomes: none may be hidden by that.
    let reasons = syntax::read(text, None).err().unwrap_or_default();
    prop_assert!(
        reasons.iter().all(|reason| reason != "is not an expression"),
        "the parser panics at {text:?}"
    );
    with_scope(|scope| {
        let _ = evaluate(text, scope);
        let _ = render_any(&Value::from(format!("a ${{{text}}} b")), scope);
    });
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_text_comes_back(text in text()) {
        comes_back(&text)?;
    }

    #[test]
    fn a_broken_expression_comes_back(text in broken()) {
        comes_back(&text)?;
    }
}
