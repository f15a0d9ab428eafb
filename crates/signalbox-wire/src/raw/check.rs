//! Whether all of a JSON text can be read: visits every value and keeps none.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The deepest nesting of objects and arrays that is accepted in a body. `serde_json` reads 127 levels; the
/// difference is room for what a body is wrapped in when it is stored and answered.
pub const DEPTH_MAX: usize = 100;

/// Keys beginning so mean something to `serde_json` itself: text in a string would be read as JSON.
const RESERVED: &str = "$serde_json::private::";

/// Reads all of a JSON text and keeps nothing.
///
/// # Errors
/// When it is not well-formed, holds a number or an escape that cannot be represented, is nested deeper than
/// [`DEPTH_MAX`], or has a reserved key.
pub fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Checked { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Whether a well-formed text is so short and plain that [`check`] must accept it. It saves the small details
/// of most reports a second parse.
pub(super) fn is_plain(text: &[u8]) -> bool {
    // A level takes two bytes, and a number overflows by more than 300 digits or by an exponent. Every other
    // refusal needs an escape or the `$` of a reserved key.
    let escapes = |byte: &u8| matches!(byte, b'\\' | b'$');
    let exponent = |pair: &[u8]| matches!(pair, [b'0'..=b'9', b'e' | b'E']);
    text.len() <= DEPTH_MAX * 2 && !text.iter().any(escapes) && !text.windows(2).any(exponent)
}

/// Whether a well-formed text of any length is so plain that [`check`] must accept it: as [`is_plain`], told without a parse.
pub(crate) fn is_plainly_good(text: &[u8]) -> bool {
    // None of these stops at the first, so that each looks at many bytes at once.
    let opened = text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    let escapes = text.iter().fold(false, |found, byte| found | matches!(byte, b'\\' | b'$'));
    let exponents = text.iter().zip(text.iter().skip(1));
    let exponents = exponents
        .fold(false, |found, (digit, next)| found | (digit.is_ascii_digit() & matches!(next, b'e' | b'E')));
    // A number that overflows without an exponent fills some of these with its digits.
    let is_long = text.chunks_exact(128).any(|part| part.iter().all(u8::is_ascii_digit));
    opened <= DEPTH_MAX && !escapes && !exponents && !is_long
}

struct Checked {
    depth: usize,
}

impl Checked {
    fn deeper<E: Error>(&self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(Self { depth: inner.depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while map.next_key_seed(Key)?.is_some() {
            map.next_value_seed(Self { depth: inner.depth })?;
        }
        Ok(())
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        if key.starts_with(RESERVED) {
            return Err(E::custom(format_args!("a key must not begin with {RESERVED}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plainly_good_is_accepted() {
        let digits = "9".repeat(400);
        let deep = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        let long = format!("[\"{}\", 1.5, -7, true, null]", "text, ".repeat(100));
        for (text, is_plain) in [
            (r#"{"a": [1, {"b": "c"}]}"#, true),
            (&long, true),
            (r#"{"a": "\u0000"}"#, false),
            (r#"{"$serde_json::private::RawValue": "1"}"#, false),
            ("[1e400]", false),
            ("[1E400]", false),
            (&digits, false),
            (&deep, false),
        ] {
            assert_eq!(is_plainly_good(text.as_bytes()), is_plain, "{text}");
            assert!(!is_plain || check(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
