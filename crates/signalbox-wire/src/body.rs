//! The one way a JSON body is read: [`parse`].
//!
//! Not well-formed is [`BodyError::NotJson`] (400); well-formed but not fitting is [`BodyError::Invalid`] (422)
//! with every fault at once. A type states its rules once, in [`Body::check`]; a type on a hot path adds
//! [`Body::quick`], which may only accept what `check` accepts and otherwise leaves the body to it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, de};
use serde_json::Value;

pub use crate::fault::{Fault, Faults, Fields};
use crate::raw::{self, DEPTH_MAX};
pub use crate::text::Text;

/// A type that is read from the body of a request.
pub trait Body: DeserializeOwned {
    /// Adds all faults of a JSON value. A value without faults can be read.
    fn check(value: &Value, faults: &mut Faults);

    /// Reads a body without looking for faults; `None` when it is anything but sure that there are none.
    fn quick(bytes: &[u8]) -> Option<Self> {
        let _ = bytes;
        None
    }

    /// Adds all faults of a body that was made in code.
    fn validate(&self, faults: &mut Faults)
    where
        Self: Serialize,
    {
        match serde_json::to_value(self) {
            Ok(value) => Self::check(&value, faults),
            Err(error) => faults.add("", error.to_string()),
        }
    }
}

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is not well-formed.
    #[error("{detail}")]
    NotJson {
        /// What is wrong, and where.
        detail: String,
    },
    /// It is well-formed and does not fit.
    #[error("the body has {} faults", .0.len())]
    Invalid(
        /// All of them.
        Vec<Fault>,
    ),
}

/// Reads a body.
///
/// # Errors
/// [`BodyError`]: not JSON, or all that does not fit.
pub fn parse<T: Body>(bytes: &[u8]) -> Result<T, BodyError> {
    match T::quick(bytes) {
        Some(body) => Ok(body),
        None => read(parse_value(bytes)?),
    }
}

/// Reads a body that may be left out.
///
/// # Errors
/// As [`parse`].
pub fn parse_or_default<T: Body + Default>(bytes: &[u8]) -> Result<T, BodyError> {
    if bytes.trim_ascii().is_empty() { Ok(T::default()) } else { parse(bytes) }
}

/// Reads a body that came in another format than JSON.
///
/// # Errors
/// [`BodyError::Invalid`] with all that does not fit; [`BodyError::NotJson`] when it is nested too deep.
pub fn from_value<T: Body>(value: Value) -> Result<T, BodyError> {
    if !is_shallow(&value, DEPTH_MAX) {
        return Err(BodyError::NotJson {
            detail: format!("The body is nested deeper than {DEPTH_MAX} levels."),
        });
    }
    read(value)
}

/// Reads a body of any shape.
///
/// # Errors
/// [`BodyError::NotJson`].
pub fn parse_value(bytes: &[u8]) -> Result<Value, BodyError> {
    raw::check(bytes).and_then(|()| serde_json::from_slice(bytes)).map_err(|error| not_json(bytes, &error))
}

pub(crate) fn not_json(bytes: &[u8], error: &serde_json::Error) -> BodyError {
    let detail = if bytes.trim_ascii().is_empty() {
        "The body is empty; send JSON.".to_owned()
    } else if error.is_data() {
        format!("The body cannot be taken: {error}.")
    } else {
        format!("The body is not JSON: {error}.")
    };
    BodyError::NotJson { detail }
}

fn read<T: Body>(value: Value) -> Result<T, BodyError> {
    let mut faults = Faults::default();
    T::check(&value, &mut faults);
    if !faults.is_empty() {
        return Err(BodyError::Invalid(faults.into_vec()));
    }
    // Also the way of a body that names a field twice: as a value, it has only the last.
    serde_json::from_value(value)
        .map_err(|error: serde_json::Error| BodyError::Invalid(vec![Fault::new("", error.to_string())]))
}

fn is_shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_shallow(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|item| is_shallow(item, levels - 1)),
        _ => true,
    }
}

/// Reads a field where being absent and being `null` differ: `Some(None)` is `null`.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: de::Deserializer<'de>,
{
    Deserialize::deserialize(deserializer).map(Some)
}

/// Reads a field whose being absent or `null` means empty.
pub(crate) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: de::Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What `T` finds wrong with a body, as `pointer message` lines; empty when it is taken.
    pub(crate) fn faults_of<T: Body>(body: &str) -> Vec<String> {
        match parse::<T>(body.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(BodyError::Invalid(faults)) => {
                faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.message)).collect()
            }
            Err(BodyError::NotJson { detail }) => vec![detail],
        }
    }

    #[derive(Debug, Serialize, Deserialize, Default, PartialEq)]
    struct Sample {
        name: String,
        #[serde(default)]
        odd: Option<u8>,
    }

    impl Body for Sample {
        fn check(value: &Value, faults: &mut Faults) {
            if let Some(mut fields) = faults.object("", value) {
                fields.required_string("name", 1..=3);
            }
        }

        fn quick(bytes: &[u8]) -> Option<Self> {
            serde_json::from_slice::<Self>(bytes).ok().filter(|body| Text::from(1..=3).fits(&body.name))
        }
    }

    #[test]
    fn not_json_says_where() {
        let detail = |body: &[u8]| match parse::<Sample>(body) {
            Err(BodyError::NotJson { detail }) => detail,
            other => panic!("{other:?}"),
        };
        assert_eq!(detail(b" "), "The body is empty; send JSON.");
        assert!(detail(b"{\"name\":\n}").contains("line 2 column 1"));
        assert!(detail(b"{} {}").contains("trailing characters"));
        assert!(detail(b"{\"name\":\"\xff\"}").contains("not JSON"));
        let deep = "[".repeat(5_000) + &"]".repeat(5_000);
        assert!(
            detail(deep.as_bytes()).contains("nested deeper than 100 levels"),
            "{}",
            detail(deep.as_bytes())
        );
    }

    #[test]
    fn a_field_given_twice_counts_once_and_unknown_ones_not_at_all() {
        let body = parse::<Sample>(br#"{"name":"a","name":"b","x":[1]}"#).unwrap();
        assert_eq!(body.name, "b");
    }

    #[test]
    fn what_no_rule_caught_is_told_in_serde_s_words() {
        let found = faults_of::<Sample>(r#"{"name":"a","odd":999}"#);
        assert_eq!(found, [" invalid value: integer `999`, expected u8"]);
        assert_eq!(faults_of::<Sample>("[]"), [" must be an object, not an array"]);
    }

    #[test]
    fn a_body_made_in_code_or_left_out_is_checked_alike() {
        let mut faults = Faults::default();
        Sample::default().validate(&mut faults);
        assert_eq!(faults.into_vec(), [Fault::new("/name", "must not be empty")]);
        assert_eq!(parse_or_default::<Sample>(b" \n").unwrap(), Sample::default());
        let deep = (0..200).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        assert!(matches!(from_value::<Sample>(deep), Err(BodyError::NotJson { .. })));
    }
}
