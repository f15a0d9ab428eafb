//! The values that expressions compute with, and how they compare.
//!
//! What comes from a session is borrowed and never copied while an expression is worked out; what an expression
//! makes itself is shared. So a copy of a value costs the same whatever its size, and only what an expression
//! gives in the end is written out, within a bound.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::budget::{Budget, DEPTH_MAX, Fault};
use super::fields::{NO_FIELD, no_field};
use crate::payload::Reference;

/// Payloads that are asked for at once, where a macro goes over a list of them.
const ASKED_FOR_MAX: usize = 64;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(&'a str),
    /// A text that an expression made.
    Made(Rc<str>),
    /// A list or an object of the session's; made by `from`, which takes in everything else by its kind.
    Json(&'a Value),
    /// The input of the session, which is an object.
    Fields(&'a Map<String, Value>),
    /// A list that an expression made.
    List(Rc<Vec<Self>>),
    /// An object that an expression made.
    Object(Rc<BTreeMap<Rc<str>, Self>>),
}

/// The same fault where a macro goes over `items`: it will need them all.
pub(super) fn over(mut fault: Fault, items: &[Val<'_>]) -> Fault {
    if !fault.needs.is_empty() {
        let others = items.iter().filter_map(Val::reference).map(|reference| reference.sha256.to_owned());
        fault.needs.extend(others.take(ASKED_FOR_MAX));
    }
    fault
}

impl<'a> From<&'a Value> for Val<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(number) => Self::from(number),
            Value::String(text) => Self::Text(text),
            Value::Array(_) | Value::Object(_) => Self::Json(value),
        }
    }
}

impl From<&Number> for Val<'_> {
    fn from(number: &Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Self::Int(int),
            (None, Some(uint)) => Self::Uint(uint),
            (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
        }
    }
}

impl<'a> Val<'a> {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            _ => None,
        }
    }

    /// The value itself where it is a reference to one.
    pub(super) fn open(self, budget: &Budget<'a>) -> Result<Self, Fault> {
        match self {
            Self::Json(value) => budget.look_into(value).map(Self::from),
            value => Ok(value),
        }
    }

    /// The kind of the value, in the words of the language.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) | Self::Made(_) => "string",
            Self::Json(Value::Array(_)) | Self::List(_) => "list",
            Self::Json(Value::Object(_)) | Self::Fields(_) | Self::Object(_) => "map",
            Self::Null | Self::Json(_) => "null",
        }
    }

    /// How many items or fields there are; nothing for what has none.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Json(Value::Array(items)) => Some(items.len()),
            Self::Json(Value::Object(fields)) => Some(fields.len()),
            Self::Fields(fields) => Some(fields.len()),
            Self::List(items) => Some(items.len()),
            Self::Object(fields) => Some(fields.len()),
            _ => None,
        }
    }

    /// What the value refers to, where it is a reference.
    pub(super) fn reference(&self) -> Option<Reference<'a>> {
        match self {
            Self::Json(value) => Reference::of(value),
            _ => None,
        }
    }

    pub(super) fn is_list(&self) -> bool {
        self.kind() == "list"
    }

    /// The field `name`; nothing where there is none, or where this is no object.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        match self {
            Self::Json(Value::Object(fields)) => fields.get(name).map(Self::from),
            Self::Fields(fields) => fields.get(name).map(Self::from),
            Self::Object(fields) => fields.get(name).cloned(),
            _ => None,
        }
    }

    /// What is said where it has no field of a name.
    pub(super) fn no_field(&self) -> Fault {
        Fault::of(match self {
            Self::Json(Value::Object(fields)) => no_field("the value", fields.keys().map(String::as_str)),
            Self::Fields(fields) => no_field("the value", fields.keys().map(String::as_str)),
            Self::Object(fields) => no_field("the value", fields.keys().map(|name| &**name)),
            _ => NO_FIELD.to_owned(),
        })
    }

    pub(super) fn item(&self, index: usize) -> Option<Self> {
        match self {
            Self::Json(Value::Array(items)) => items.get(index).map(Self::from),
            Self::List(items) => items.get(index).cloned(),
            _ => None,
        }
    }

    /// What a macro goes over: the items of a list, or the names of an object's fields.
    pub(super) fn items(&self, budget: &Budget<'_>) -> Result<Vec<Self>, Fault> {
        budget.spend(self.len().unwrap_or(1))?;
        match self {
            Self::Json(Value::Array(items)) => Ok(items.iter().map(Self::from).collect()),
            Self::List(items) => Ok(items.to_vec()),
            Self::Json(Value::Object(fields)) => Ok(fields.keys().map(|key| Self::Text(key)).collect()),
            Self::Fields(fields) => Ok(fields.keys().map(|key| Self::Text(key)).collect()),
            Self::Object(fields) => Ok(fields.keys().map(|key| Self::Made(Rc::clone(key))).collect()),
            _ => Err(Fault::of(format!("goes over a {}, which is neither a list nor a map", self.kind()))),
        }
    }

    /// Whether two values are the same. Numbers are compared by what they count, whatever their kind; values of
    /// different kinds are never the same.
    pub(super) fn equals(&self, other: &Self, budget: &Budget<'a>) -> Result<bool, Fault> {
        budget.spend(1)?;
        match (self.reference(), other.reference()) {
            (None, None) => {}
            (Some(left), Some(right)) if left.sha256 == right.sha256 => return Ok(true),
            _ => return self.clone().open(budget)?.equals(&other.clone().open(budget)?, budget),
        }
        match (self, other) {
            (Self::Null, Self::Null) => Ok(true),
            (Self::Bool(left), Self::Bool(right)) => Ok(left == right),
            _ => match (self.text(), other.text()) {
                (Some(left), Some(right)) => {
                    budget.spend_text(left)?;
                    Ok(left == right)
                }
                _ if self.is_list() && other.is_list() => self.equals_list(other, budget),
                _ if self.kind() == "map" && other.kind() == "map" => self.equals_fields(other, budget),
                _ => Ok(self.compare_numbers(other) == Some(Ordering::Equal)),
            },
        }
    }

    fn equals_list(&self, other: &Self, budget: &Budget<'a>) -> Result<bool, Fault> {
        if self.len() != other.len() {
            return Ok(false);
        }
        let items = self.items(budget)?;
        for (left, right) in items.iter().zip(other.items(budget)?) {
            if !left.equals(&right, budget).map_err(|fault| over(fault, &items))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn equals_fields(&self, other: &Self, budget: &Budget<'a>) -> Result<bool, Fault> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for name in self.items(budget)? {
            let name = name.text().unwrap_or_default();
            let (Some(left), Some(right)) = (self.field(name), other.field(name)) else { return Ok(false) };
            if !left.equals(&right, budget)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Which of two values comes first; nothing where they have no order.
    pub(super) fn order(&self, other: &Self, budget: &Budget<'_>) -> Result<Option<Ordering>, Fault> {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Ok(Some(left.cmp(right))),
            _ => match (self.text(), other.text()) {
                (Some(left), Some(right)) => {
                    budget.spend_text(left)?;
                    Ok(Some(left.cmp(right)))
                }
                _ => Ok(self.compare_numbers(other)),
            },
        }
    }

    /// Whole numbers are compared exactly, and with a double as a double, as others do who speak CEL.
    fn compare_numbers(&self, other: &Self) -> Option<Ordering> {
        match (self.integer(), other.integer()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => self.double()?.partial_cmp(&other.double()?),
        }
    }

    pub(super) fn integer(&self) -> Option<i128> {
        match self {
            Self::Int(int) => Some(i128::from(*int)),
            Self::Uint(uint) => Some(i128::from(*uint)),
            _ => None,
        }
    }

    fn double(&self) -> Option<f64> {
        match self {
            Self::Double(double) => Some(*double),
            _ => self.integer().map(|int| int as f64),
        }
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// It is larger than what may be rendered, nested too deeply, or a number that JSON does not have.
    pub(super) fn to_json(&self, budget: &Budget<'_>, depth: usize) -> Result<Value, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::of("gives a value that is nested too deeply"));
        }
        budget.write(8)?;
        match self {
            Self::Null => Ok(Value::Null),
            Self::Bool(truth) => Ok(Value::Bool(*truth)),
            Self::Int(int) => Ok(Value::from(*int)),
            Self::Uint(uint) => Ok(Value::from(*uint)),
            Self::Double(double) => Number::from_f64(*double)
                .map(Value::Number)
                .ok_or_else(|| Fault::of(format!("gives {double}, which JSON has no number for"))),
            Self::Text(text) => written(text, budget).map(Value::String),
            Self::Made(text) => written(text, budget).map(Value::String),
            Self::Json(value) => {
                measure(value, budget)?;
                Ok((*value).clone())
            }
            Self::Fields(fields) => {
                fields.iter().try_for_each(|(key, value)| {
                    budget.write(key.len())?;
                    measure(value, budget)
                })?;
                Ok(Value::Object((*fields).clone()))
            }
            Self::List(items) => items
                .iter()
                .map(|item| item.to_json(budget, depth + 1))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Self::Object(fields) => fields
                .iter()
                .map(|(key, value)| Ok((written(key, budget)?, value.to_json(budget, depth + 1)?)))
                .collect::<Result<_, _>>()
                .map(Value::Object),
        }
    }
}

fn written(text: &str, budget: &Budget<'_>) -> Result<String, Fault> {
    budget.write(text.len())?;
    Ok(text.to_owned())
}

/// Counts what a copy of `value` would take, before it is made.
pub(super) fn measure(value: &Value, budget: &Budget<'_>) -> Result<(), Fault> {
    budget.write(8)?;
    match value {
        Value::String(text) => budget.write(text.len()),
        Value::Array(items) => items.iter().try_for_each(|item| measure(item, budget)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, item)| {
            budget.write(key.len())?;
            measure(item, budget)
        }),
        _ => Ok(()),
    }
}
