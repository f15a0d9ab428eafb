//! Where the standard of CEL says what an expression gives, it gives that: compared with the evaluation of the
//! `cel` crate, which is held to the conformance tests of the language.

use std::collections::BTreeMap;

use cel::{Context, Program};
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

use super::evaluated;

/// What the crate gives; nothing for an error.
fn theirs(text: &str) -> Option<Value> {
    json(&Program::compile(text).ok()?.execute(&Context::default()).ok()?)
}

fn json(value: &cel::Value) -> Option<Value> {
    Some(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(truth) => Value::Bool(*truth),
        cel::Value::Int(int) => Value::from(*int),
        cel::Value::UInt(uint) => Value::from(*uint),
        cel::Value::Float(double) => Value::Number(Number::from_f64(*double)?),
        cel::Value::String(text) => Value::from(text.as_str()),
        cel::Value::List(items) => Value::Array(items.iter().map(json).collect::<Option<_>>()?),
        cel::Value::Map(map) => {
            let fields: BTreeMap<String, Value> = map
                .map
                .iter()
                .map(|(key, value)| match key {
                    cel::objects::Key::String(key) => Some((key.to_string(), json(value)?)),
                    _ => None,
                })
                .collect::<Option<_>>()?;
            Value::Object(Map::from_iter(fields))
        }
        _ => return None,
    })
}

#[test]
fn known_expressions_give_the_same() {
    for text in [
        "1 + 2 * 3 - 4 / 2 % 3",
        "-7 / 2",
        "-7 % 3",
        "7u / 2u",
        "1.5 * 2.0",
        "0x10",
        "1e3",
        "1.0",
        "-0.0",
        "1 == 1.0",
        "1 == 1u",
        "1u < 2.5",
        "9007199254740993 == 9007199254740992.0",
        "1 < 1.5",
        "2 > 1.5",
        "18446744073709551615u > 9223372036854775807",
        "-1 < 0u",
        "'a' == 1",
        "null == false",
        "[1, 2] == [1.0, 2u]",
        "{'a': 1} == {'a': 1.0}",
        "{'a': 1} == {'b': 1}",
        "[1] + [2, 'a']",
        "'a' + 'é'",
        "size('é')",
        "'abc'.size()",
        "size([1, 2])",
        "size({'a': 1})",
        "'abc'.contains('b')",
        "'abc'.startsWith('ab')",
        "'abc'.endsWith('bc')",
        "'a' < 'b'",
        "'B' < 'a'",
        "false < true",
        "1 in [1.0]",
        "'a' in {'a': 1}",
        "1 in {'a': 1}",
        "string(1.5)",
        "string(1.0)",
        "string(true)",
        "string(1u)",
        "int(1.9)",
        "int(-1.9)",
        "int('12')",
        "int(5u)",
        "uint(3.7)",
        "uint('7')",
        "double(3)",
        "double('1.5')",
        "bool('true')",
        "bool('F')",
        "dyn(1)",
        "true ? 1 : 'a'",
        "1 / 0 == 1 || true",
        "true && 'a' == 'a'",
        "!false",
        "--1",
        "[1, 2, 3].map(x, x * 2)",
        "[1, 2, 3].map(x, x > 1, x * 2)",
        "[1, 2, 3].filter(x, x > 1)",
        "[1, 2].exists(x, x == 2)",
        "[1, 2].exists_one(x, x > 0)",
        "[1, 2].all(x, x > 0)",
        "has({'a': 1}.b)",
        "{'a': {'b': 1}}.a.b",
        "{'a': 1}['a']",
        "[1, 2][1u]",
        "'\\u00e9\\n\\x41\\101'",
        "r'\\n'",
        "'''a'b'''",
        "1 / 0",
        "1 + 'a'",
        "[1][1]",
        "{'a': 1}.b",
        "'a'[0]",
        "1 ? 2 : 3",
        "!1",
        "-'a'",
        "int('a')",
        "bool('yes')",
        "1 < 'a'",
        "[1, 'a'].all(x, x > 0)",
        "['a', 0].all(x, x > 0)",
        "9223372036854775807 + 1",
        "-9223372036854775808",
        "5 % 0",
        "'a'.contains(1)",
    ] {
        assert_eq!(evaluated(text).ok(), theirs(text), "{text}");
    }
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(
            &[
                "true",
                "false",
                "null",
                "0",
                "1",
                "-3",
                "9223372036854775807",
                "2u",
                "18446744073709551615u",
                "0.5",
                "-2.0",
                "1e300",
                "''",
                "'a'",
                "'é7'",
                "'12'",
                "[]",
                "[1, 'a']",
                "[[true], 2.0]",
                "{}",
                "{'a': 1}",
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let operators = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"];
        let functions = ["size", "string", "int", "uint", "double", "bool", "!", "-"];
        let macros = [".all(x, ", ".exists(x, ", ".exists_one(x, ", ".map(x, x == ", ".filter(x, x != "];
        prop_oneof![
            (inner.clone(), prop::sample::select(operators.to_vec()), inner.clone())
                // The crate also adds the keys of a map to a list, which the standard has not.
                .prop_filter("a sum with a map", |(_, operator, right)| *operator != "+"
                    || !right.contains('{'))
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            (prop::sample::select(functions.to_vec()), inner.clone())
                .prop_map(|(f, of)| format!("{f}({of})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), prop::sample::select(macros.to_vec()), inner.clone())
                .prop_map(|(of, each, what)| format!("{of}{each}{what})")),
            (inner.clone(), inner.clone()).prop_map(|(of, at)| format!("{of}[{at}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            inner.prop_map(|of| format!("{{'k': {of}}}.k")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn generated_expressions_give_the_same(text in expression()) {
        prop_assert_eq!(evaluated(&text).ok(), theirs(&text), "{}", text);
    }
}
