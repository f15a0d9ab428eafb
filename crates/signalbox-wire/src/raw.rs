//! JSON that is kept as text: [`RawObject`] and the check that lets text be kept.
//!
//! Skipping over a value is not enough to know that it can be read later: [`check`] visits all of it. What it
//! accepts, `serde_json` can read into a [`Value`], and can read again when it is wrapped some levels deeper.

mod check;

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::plain::Plain;

use self::check::is_plain;
pub(crate) use self::check::is_plainly_good;
pub use self::check::{DEPTH_MAX, check};

/// A JSON object as the text that it came in. Clones share the text.
#[derive(Clone)]
pub struct RawObject(Arc<str>);

impl RawObject {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Keeps what a walk has found to be an object.
    pub(crate) fn walked(object: &str) -> Self {
        Self(Arc::from(object))
    }

    /// The strings that some fields hold, where all of the object is plain; of a field that is there twice, the
    /// last. `None` where it is not, and [`fields`](Self::fields) has to be asked.
    pub(crate) fn plain_strings<const N: usize>(&self, names: [&str; N]) -> Option<[Option<&str>; N]> {
        let mut found = [None; N];
        let mut walk = Plain::new(self.as_str());
        walk.members(|key, value| {
            let slot = names.iter().position(|name| *name == key).and_then(|index| found.get_mut(index));
            match slot {
                Some(slot) => *slot = value.string_or_other()?,
                None => value.any()?,
            }
            Some(())
        })?;
        Some(found)
    }

    /// The values of some fields, in the order asked for; of a field that is there twice, the last.
    #[must_use]
    pub fn fields<const N: usize>(&self, names: [&str; N]) -> [Option<&RawValue>; N] {
        let mut deserializer = serde_json::Deserializer::from_str(self.as_str());
        deserializer.deserialize_map(Pick { names }).unwrap_or([None; N])
    }

    /// The value of one field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&RawValue> {
        let [found] = self.fields([name]);
        found
    }

    /// The object as a value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        // Cannot fail on a checked text; an empty answer would still be a JSON value.
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }

    /// Keeps a text.
    ///
    /// # Errors
    /// When it is not a JSON object that [`check`] accepts.
    pub fn parse(text: String) -> Result<Self, serde_json::Error> {
        Self::new(&RawValue::from_string(text)?)
    }

    fn new<E: Error>(raw: &RawValue) -> Result<Self, E> {
        if !raw.get().starts_with('{') {
            return Err(E::custom("must be an object"));
        }
        if !is_plain(raw.get().as_bytes()) {
            check(raw.get().as_bytes()).map_err(E::custom)?;
        }
        Ok(Self(Arc::from(raw.get())))
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&Box::<RawValue>::deserialize(deserializer)?)
    }
}

impl fmt::Debug for RawObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for RawObject {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RawObject {}

struct Pick<'n, const N: usize> {
    names: [&'n str; N],
}

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(index) = map.next_key_seed(IndexOf(&self.names))? {
            let value = map.next_value::<&'de RawValue>()?;
            if let Some(slot) = index.and_then(|index| found.get_mut(index)) {
                *slot = Some(value);
            }
        }
        Ok(found)
    }
}

struct IndexOf<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for IndexOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IndexOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(text: &str) -> Result<RawObject, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn the_text_is_kept_and_its_fields_found() {
        let raw = object(r#"{ "a" : [1.0, 2], "b":null, "\u0061": {"a":3} }"#).unwrap();
        let [b, a, c] = raw.fields(["b", "a", "c"]).map(|found| found.map(RawValue::get));
        assert_eq!((a, b, c), (Some(r#"{"a":3}"#), Some("null"), None));
        assert_eq!(serde_json::to_string(&raw).unwrap(), raw.as_str());
    }

    #[test]
    fn what_could_not_be_read_later_is_refused_now() {
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(object(&deep(DEPTH_MAX)).is_ok());
        for text in [
            deep(DEPTH_MAX + 1).as_str(),
            deep(50_000).as_str(),
            "[]",
            "null",
            r#"{"a":"\ud800"}"#,
            r#"{"a":1e999}"#,
            r#"{"x":{"$serde_json::private::RawValue":"[[["}}"#,
            r#"{"x":{"\u0024serde_json::private::RawValue":"1"}}"#,
        ] {
            assert!(object(text).is_err(), "{text:.60}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_is_accepted(text in r#"\{("[a$\\u0d8]{0,3}":[{}\[\],:"\\au0-9deE.+-]{0,12},?){0,3}\}"#) {
            let well_formed = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert!(!(well_formed && is_plain(text.as_bytes())) || check(text.as_bytes()).is_ok());
            prop_assert_eq!(object(&text).is_ok(), check(text.as_bytes()).is_ok());
        }

        #[test]
        fn what_is_accepted_can_be_read(text in r#"[{}\[\],:"\\au0-9deE.+ -]{0,24}"#) {
            prop_assert_eq!(check(text.as_bytes()).is_ok(), serde_json::from_str::<Value>(&text).is_ok());
        }
    }
}
