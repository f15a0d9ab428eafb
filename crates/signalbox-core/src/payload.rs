//! Payloads: large values, kept once under the hash of their bytes, with references in their places.
//!
//! Whatever a session keeps of values (its input, what tasks are given and what comes of them) is *light*: every part
//! that is longer than [`Policy::payload_inline_max`](crate::limits::Policy::payload_inline_max) as JSON stands apart
//! as a [`Payload`], and in its place stands `{"$payload": {"sha256": …, "bytes": …}}`. Parts are taken from the
//! inside out, so what is small stays readable where it is, and the same part of two values is kept once. A reference
//! is handed on as it is; only an expression that looks into it, and whoever does a task, get the value itself.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The one field of an object that is a reference.
pub const REFERENCE: &str = "$payload";

/// A value that is kept apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// SHA-256 of [`body`](Self::body), in lower-case hex: its name.
    pub sha256: String,
    /// The value as JSON, references in it as they are.
    pub body: String,
    /// The same, read.
    pub value: Arc<Value>,
}

/// What stands in the place of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    /// The payload's name.
    pub sha256: &'a str,
    /// How long the value is as JSON with all that it refers to; only said, and to be checked by whoever relies on
    /// it.
    pub bytes: u64,
}

impl<'a> Reference<'a> {
    /// What `value` refers to, where it is a reference.
    #[must_use]
    pub fn of(value: &'a Value) -> Option<Self> {
        let Value::Object(fields) = value else { return None };
        let said = fields.get(REFERENCE).filter(|_| fields.len() == 1)?.as_object()?;
        let sha256 = said.get("sha256")?.as_str().filter(|name| is_name(name))?;
        Some(Self { sha256, bytes: said.get("bytes")?.as_u64()? }).filter(|_| said.len() == 2)
    }
}

/// Whether a payload can have this name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Payload {
    /// `value` as a payload of its own.
    #[must_use]
    pub fn of(value: Value) -> Self {
        let body = value.to_string();
        let sha256 = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { sha256, body, value: Arc::new(value) }
    }

    /// What stands in its place.
    #[must_use]
    pub fn reference(&self) -> Value {
        json!({REFERENCE: {"sha256": self.sha256, "bytes": bytes(&self.value)}})
    }

    /// The names of the payloads that it refers to itself, each once.
    #[must_use]
    pub fn references(&self) -> Vec<&str> {
        references(&self.value)
    }
}

/// `value` made light, and what of it is kept apart. A value that is light already stays as it is.
#[must_use]
pub fn externalize(value: Value, inline_max: usize) -> (Value, Vec<Arc<Payload>>) {
    if length(&value) <= inline_max as u64 {
        return (value, Vec::new());
    }
    let mut payloads = Vec::new();
    let (value, _) = externalize_value(value, inline_max as u64, &mut payloads);
    (value, payloads)
}

/// The fields of `fields` made light one by one and then together, so that they remain an object: the largest of
/// them stand apart until the rest is short enough.
#[must_use]
pub fn externalize_fields(
    fields: Map<String, Value>,
    inline_max: usize,
) -> (Map<String, Value>, Vec<Arc<Payload>>) {
    if length_of_fields(&fields) <= inline_max as u64 {
        return (fields, Vec::new());
    }
    let mut payloads = Vec::new();
    let parts = fields
        .into_iter()
        .map(|(name, part)| (name, externalize_value(part, inline_max as u64, &mut payloads).0));
    let mut fields: Map<String, Value> = parts.collect();
    let mut total = length_of_fields(&fields);
    while total > inline_max as u64 {
        let largest =
            fields.values_mut().filter(|part| length(part) > REFERENCE_BYTES).max_by_key(|part| length(part));
        let Some(largest) = largest else { break };
        total -= length(largest);
        *largest = keep(largest.take(), &mut payloads);
        total += length(largest);
    }
    (fields, payloads)
}

/// More than any reference takes.
const REFERENCE_BYTES: u64 = 128;

fn externalize_value(value: Value, inline_max: u64, payloads: &mut Vec<Arc<Payload>>) -> (Value, u64) {
    let (value, length) = match value {
        value if Reference::of(&value).is_some() => {
            let length = length(&value);
            return (value, length);
        }
        Value::Array(items) => {
            let mut length = 2;
            let items = items.into_iter().map(|item| {
                let (item, of_item) = externalize_value(item, inline_max, payloads);
                length += of_item + 1;
                item
            });
            (Value::Array(items.collect()), length)
        }
        Value::Object(fields) => {
            let mut length = 2;
            let fields = fields.into_iter().map(|(name, part)| {
                let (part, of_part) = externalize_value(part, inline_max, payloads);
                length += of_part + name.len() as u64 + 4;
                (name, part)
            });
            (Value::Object(fields.collect()), length)
        }
        value => {
            let length = length(&value);
            (value, length)
        }
    };
    if length <= inline_max {
        return (value, length);
    }
    let reference = keep(value, payloads);
    let length = self::length(&reference);
    (reference, length)
}

fn keep(value: Value, payloads: &mut Vec<Arc<Payload>>) -> Value {
    let payload = Payload::of(value);
    let reference = payload.reference();
    if !payloads.iter().any(|kept| kept.sha256 == payload.sha256) {
        payloads.push(Arc::new(payload));
    }
    reference
}

/// About how many bytes `value` takes as JSON, as it is.
pub(crate) fn length(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() as u64 + 2,
        Value::Array(items) => items.iter().map(|item| length(item) + 1).sum::<u64>() + 2,
        Value::Object(fields) => fields.iter().map(field_length).sum::<u64>() + 2,
    }
}

/// [`length`] of the fields of an object together.
pub(crate) fn length_of_fields(fields: &Map<String, Value>) -> u64 {
    fields.iter().map(field_length).sum()
}

fn field_length((name, part): (&String, &Value)) -> u64 {
    name.len() as u64 + 4 + length(part)
}

/// About how many bytes `value` takes as JSON with all that it refers to, as far as its references say.
#[must_use]
pub fn bytes(value: &Value) -> u64 {
    match value {
        Value::Array(items) => {
            items.iter().fold(2, |sum: u64, item| sum.saturating_add(bytes(item)).saturating_add(1))
        }
        Value::Object(fields) => match Reference::of(value) {
            Some(reference) => reference.bytes,
            None => bytes_of_fields(fields),
        },
        other => length(other),
    }
}

/// [`bytes`] of an object with these fields.
#[must_use]
pub fn bytes_of_fields(fields: &Map<String, Value>) -> u64 {
    fields.iter().fold(2, |sum: u64, (name, part)| {
        sum.saturating_add(bytes(part)).saturating_add(name.len() as u64 + 4)
    })
}

/// The names of the payloads that `value` refers to, each once.
#[must_use]
pub fn references(value: &Value) -> Vec<&str> {
    let mut names = Vec::new();
    collect(value, &mut names);
    names.sort_unstable();
    names.dedup();
    names
}

fn collect<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(fields) => match Reference::of(value) {
            Some(reference) => names.push(reference.sha256),
            None => fields.values().for_each(|part| collect(part, names)),
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn inline(value: &Value, kept: &HashMap<String, Arc<Value>>) -> Value {
        if let Some(reference) = Reference::of(value) {
            return inline(&kept[reference.sha256], kept);
        }
        match value {
            Value::Array(items) => items.iter().map(|item| inline(item, kept)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(name, part)| (name.clone(), inline(part, kept))).collect())
            }
            other => other.clone(),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-zé\"]{0,80}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::hash_map("[a-z]{0,9}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_taken_apart_can_be_put_together_and_is_light(value in any_value(), inline_max in 0_usize..400) {
            let (short, payloads) = externalize(value.clone(), inline_max);
            let kept = payloads.iter().map(|payload| (payload.sha256.clone(), Arc::clone(&payload.value))).collect();
            prop_assert_eq!(inline(&short, &kept), value.clone());
            prop_assert!(length(&short) <= inline_max as u64 || Reference::of(&short).is_some());
            prop_assert_eq!(bytes(&short), bytes(&value), "the length with all that it refers to is as before");
            for payload in &payloads {
                prop_assert_eq!(serde_json::from_str::<Value>(&payload.body).expect("JSON"), payload.value.as_ref().clone());
            }
            let (again, nothing) = externalize(short.clone(), inline_max);
            prop_assert!(again == short && (nothing.is_empty() || length(&short) > inline_max as u64));
            if let Value::Object(fields) = value {
                let (short, payloads) = externalize_fields(fields.clone(), inline_max);
                let kept = payloads.iter().map(|payload| (payload.sha256.clone(), Arc::clone(&payload.value))).collect();
                prop_assert_eq!(inline(&Value::Object(short.clone()), &kept), Value::Object(fields));
                prop_assert!(short.values().all(|part| length(part) <= (inline_max as u64).max(REFERENCE_BYTES)));
            }
        }
    }

    #[test]
    fn the_large_part_stands_apart_and_is_kept_once() {
        let large = "x".repeat(1_000);
        let (short, payloads) = externalize(json!({"name": "a", "one": large, "two": [large]}), 400);
        assert_eq!(payloads.len(), 1);
        let reference = payloads[0].reference();
        assert_eq!(short, json!({"name": "a", "one": reference, "two": [reference]}));
        assert_eq!(references(&short), [payloads[0].sha256.as_str()]);
        assert_eq!(Reference::of(&reference).map(|reference| reference.bytes), Some(1_002));
    }

    #[test]
    fn only_the_exact_form_is_a_reference() {
        let name = "0".repeat(64);
        assert!(Reference::of(&json!({"$payload": {"sha256": name, "bytes": 3}})).is_some());
        for other in [
            json!({"$payload": {"sha256": name, "bytes": 3}, "x": 1}),
            json!({"$payload": {"sha256": name, "bytes": 3, "x": 1}}),
            json!({"$payload": {"sha256": "0", "bytes": 3}}),
            json!({"$payload": {"sha256": name.replace('0', "A"), "bytes": 3}}),
            json!({"$payload": {"sha256": name}}),
            json!({"$payload": name}),
            json!([]),
        ] {
            assert_eq!(Reference::of(&other), None, "{other}");
        }
    }
}
