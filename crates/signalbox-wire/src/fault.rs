//! Collecting every fault of a JSON value, each with the JSON pointer (RFC 6901) of its place.
//!
//! [`Faults`] is the list; [`Fields`] looks at one object and adds what it finds. A missing field and `null`
//! are the same thing. The list is bounded: over [`SHOWN_MAX`] faults only their number is kept.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::text::Text;

/// The most faults that are listed for one body; the rest is counted.
pub const SHOWN_MAX: usize = 100;

/// One thing that does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Where: a JSON pointer into the body, or `/<name>` of a query parameter; empty for the whole.
    #[schema(example = "/contactEndpoint")]
    pub pointer: String,
    /// What is wrong and what would be right, to be read after the pointer.
    #[schema(example = "must be an http or https URL")]
    pub message: String,
}

impl Fault {
    /// A fault at a pointer.
    #[must_use]
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "the body" } else { &self.pointer };
        write!(f, "{place} {}", self.message)
    }
}

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Faults {
    shown: Vec<Fault>,
    hidden: usize,
}

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(Fault::new(pointer, message));
        } else {
            self.hidden += 1;
        }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// The whole list; a last entry counts what is not listed.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<Fault> {
        if self.hidden > 0 {
            self.shown.push(Fault::new("", format!("has {} more faults", self.hidden)));
        }
        self.shown
    }

    /// The fields of `value`, which stands at `pointer` and must be an object.
    pub fn object<'v>(&mut self, pointer: &str, value: &'v Value) -> Option<Fields<'v, '_>> {
        match value {
            Value::Object(map) => Some(Fields { map, base: pointer.to_owned(), faults: self }),
            other => {
                self.add(pointer, must_be("an object", other));
                None
            }
        }
    }

    /// The text of `value`, which stands at `pointer` and must be a string that fits `rule`.
    pub fn string<'v>(&mut self, pointer: &str, value: &'v Value, rule: impl Into<Text>) -> Option<&'v str> {
        let Value::String(text) = value else {
            self.add(pointer, must_be("a string", value));
            return None;
        };
        match rule.into().check(text) {
            Ok(()) => Some(text),
            Err(message) => {
                self.add(pointer, message);
                None
            }
        }
    }
}

/// The fields of one object; each look-up adds the faults that it finds.
#[derive(Debug)]
pub struct Fields<'v, 'f> {
    map: &'v Map<String, Value>,
    base: String,
    faults: &'f mut Faults,
}

impl<'v> Fields<'v, '_> {
    /// The pointer of a field of this object.
    #[must_use]
    pub fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.base, name.replace('~', "~0").replace('/', "~1"))
    }

    /// Adds a fault at a field, or at the object itself where `name` is empty.
    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        let pointer = if name.is_empty() { self.base.clone() } else { self.pointer(name) };
        self.faults.add(pointer, message);
    }

    /// A field's value; `None` where it is absent or null.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A field's value; absent or null is a fault.
    pub fn required(&mut self, name: &str) -> Option<&'v Value> {
        let found = self.optional(name);
        if found.is_none() {
            self.fault(name, "is required");
        }
        found
    }

    /// A string that must be there and fit.
    pub fn required_string(&mut self, name: &str, rule: impl Into<Text>) -> Option<&'v str> {
        let value = self.required(name)?;
        self.faults.string(&self.pointer(name), value, rule)
    }

    /// A string that must fit where it is there.
    pub fn optional_string(&mut self, name: &str, rule: impl Into<Text>) -> Option<&'v str> {
        let value = self.optional(name)?;
        self.faults.string(&self.pointer(name), value, rule)
    }

    /// An object that must be there, to look into.
    pub fn required_object(&mut self, name: &str) -> Option<Fields<'v, '_>> {
        let value = self.required(name)?;
        let pointer = self.pointer(name);
        self.faults.object(&pointer, value)
    }

    /// An object to look into where it is there.
    pub fn optional_object(&mut self, name: &str) -> Option<Fields<'v, '_>> {
        let value = self.optional(name)?;
        let pointer = self.pointer(name);
        self.faults.object(&pointer, value)
    }

    /// A whole number within a range, where it is there.
    pub fn optional_integer(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.optional(name)?;
        let found = value.as_u64().filter(|number| range.contains(number));
        if found.is_none() {
            self.fault(name, format!("must be a whole number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// An array that must be there, with at most `items_max` items, each checked at its own pointer.
    pub fn required_array(
        &mut self,
        name: &str,
        items_max: usize,
        check: impl FnMut(&mut Faults, &str, &'v Value),
    ) -> Option<&'v [Value]> {
        let value = self.required(name)?;
        let pointer = self.pointer(name);
        self.faults.array(&pointer, value, items_max, check)
    }

    /// The same, where it is there.
    pub fn optional_array(
        &mut self,
        name: &str,
        items_max: usize,
        check: impl FnMut(&mut Faults, &str, &'v Value),
    ) -> Option<&'v [Value]> {
        let value = self.optional(name)?;
        let pointer = self.pointer(name);
        self.faults.array(&pointer, value, items_max, check)
    }

    /// The list, for a check that is not of one field.
    pub fn faults(&mut self) -> &mut Faults {
        self.faults
    }
}

impl Faults {
    /// The items of `value`, which stands at `pointer` and must be an array of at most `items_max`.
    pub fn array<'v>(
        &mut self,
        pointer: &str,
        value: &'v Value,
        items_max: usize,
        mut check: impl FnMut(&mut Self, &str, &'v Value),
    ) -> Option<&'v [Value]> {
        let Value::Array(items) = value else {
            self.add(pointer, must_be("an array", value));
            return None;
        };
        if items.len() > items_max {
            self.add(pointer, format!("must have at most {items_max} items, not {}", items.len()));
            return None;
        }
        for (index, item) in items.iter().enumerate() {
            check(self, &format!("{pointer}/{index}"), item);
        }
        Some(items)
    }
}

fn must_be(wanted: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("must be {wanted}, not {found}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_are_escaped_and_nested() {
        let value = json!({"a/b": {"c~d": 5}});
        let mut faults = Faults::default();
        if let Some(mut outer) = faults.object("", &value)
            && let Some(mut inner) = outer.required_object("a/b")
        {
            inner.required_string("c~d", 1..=3);
        }
        let expected = Fault::new("/a~1b/c~0d", "must be a string, not a number");
        assert_eq!(faults.into_vec(), [expected]);
    }

    #[test]
    fn null_is_absent() {
        let value = json!({"a": null});
        let mut faults = Faults::default();
        let mut fields = faults.object("", &value).unwrap();
        assert_eq!(fields.optional_string("a", 1..=3), None);
        assert_eq!(fields.required_string("a", 1..=3), None);
        assert_eq!(faults.into_vec(), [Fault::new("/a", "is required")]);
    }

    #[test]
    fn the_list_is_bounded_and_says_so() {
        let mut faults = Faults::default();
        for index in 0..SHOWN_MAX + 7 {
            faults.add(format!("/{index}"), "is wrong");
        }
        let listed = faults.into_vec();
        assert_eq!(listed.len(), SHOWN_MAX + 1);
        assert_eq!(listed.last().unwrap().message, "has 7 more faults");
    }
}
