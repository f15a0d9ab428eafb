//! Writing JSON for what is written with each request: stored rows, entries of the log, what agents are sent.
//!
//! [`to_string`] writes just what `serde_json::to_string` writes, which a test compares. It is quicker with names and
//! texts, most of a row: names of fields are known to need no escapes, and texts are searched for them eight bytes at
//! a time.

use std::fmt::Display;

use serde::ser::{
    Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::plain::{is_plain, quote};

/// Why a value cannot be written: its own `Serialize` says so, or it has keys that are no text.
pub type Error = serde_json::Error;

/// Bytes that a text has room for at first: about a row.
const BYTES_ESTIMATE: usize = 768;
/// Bytes that come with a name: a comma, two quotes and a colon.
const NAME_MARKS: usize = 4;
/// How `serde_json` marks a text that is JSON already.
const RAW: &str = "$serde_json::private::RawValue";

/// A value as JSON.
///
/// # Errors
/// As `serde_json::to_string`: for none of this project's own types.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    let mut text = String::with_capacity(BYTES_ESTIMATE);
    write(&mut text, value)?;
    Ok(text)
}

/// Appends a value as JSON.
///
/// # Errors
/// As [`to_string`]; a part of the value may be written then.
pub fn write<T: Serialize + ?Sized>(into: &mut String, value: &T) -> Result<(), Error> {
    value.serialize(Writer { into })
}

struct Writer<'w> {
    into: &'w mut String,
}

/// The members of an object or array, and what ends them.
struct Members<'w> {
    into: &'w mut String,
    has_any: bool,
    end: &'static str,
}

/// The fields of a struct, or the one of a raw text.
enum Fields<'w> {
    Named(Members<'w>),
    Raw(&'w mut String),
}

impl<'w> Members<'w> {
    fn begin(into: &'w mut String, begin: char, end: &'static str) -> Self {
        into.push(begin);
        Self { into, has_any: false, end }
    }

    /// Those of an object or array that stands alone in an object under the name of its variant.
    fn of_variant(into: &'w mut String, variant: &str, begin: char, end: &'static str) -> Self {
        debug_assert!(is_plain(variant), "{variant} is a name that has to be escaped");
        into.push_str("{\"");
        into.push_str(variant);
        into.push_str("\":");
        Self::begin(into, begin, end)
    }

    fn next(&mut self) {
        if self.has_any {
            self.into.push(',');
        }
        self.has_any = true;
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.next();
        write(self.into, value)
    }

    /// Names of fields and variants come from Rust or from an attribute, and hold nothing to escape.
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        debug_assert!(is_plain(name), "{name} is a name that has to be escaped");
        // With room for all of it at once, none of the parts looks for room of its own.
        self.into.reserve(name.len() + NAME_MARKS);
        self.next();
        self.into.push('"');
        self.into.push_str(name);
        self.into.push_str("\":");
        write(self.into, value)
    }

    fn finish(self) {
        self.into.push_str(self.end);
    }
}

/// What is written rarely, the general way.
fn generally<T: Serialize>(into: &mut String, value: T) -> Result<(), Error> {
    into.push_str(&serde_json::to_string(&value)?);
    Ok(())
}

macro_rules! whole_numbers {
    ($($name:ident: $type:ty),*) => {$(
        fn $name(self, value: $type) -> Result<(), Error> {
            self.into.push_str(itoa::Buffer::new().format(value));
            Ok(())
        }
    )*};
}

macro_rules! generally {
    ($($name:ident: $type:ty),*) => {$(
        fn $name(self, value: $type) -> Result<(), Error> {
            generally(self.into, value)
        }
    )*};
}

impl<'w> Serializer for Writer<'w> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'w>;
    type SerializeTuple = Members<'w>;
    type SerializeTupleStruct = Members<'w>;
    type SerializeTupleVariant = Members<'w>;
    type SerializeMap = Members<'w>;
    type SerializeStruct = Fields<'w>;
    type SerializeStructVariant = Members<'w>;

    whole_numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128
    }

    generally! { serialize_f32: f32, serialize_f64: f64, serialize_char: char }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.into.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        quote(self.into, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.into.push_str("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let mut members = Members::begin(self.into, '{', "}");
        members.field(variant, value)?;
        members.finish();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'w>, Error> {
        Ok(Members::begin(self.into, '[', "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Members<'w>, Error> {
        Ok(Members::begin(self.into, '[', "]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Members<'w>, Error> {
        Ok(Members::begin(self.into, '[', "]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'w>, Error> {
        Ok(Members::of_variant(self.into, variant, '[', "]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'w>, Error> {
        Ok(Members::begin(self.into, '{', "}"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'w>, Error> {
        Ok(match name {
            RAW => Fields::Raw(self.into),
            _ => Fields::Named(Members::begin(self.into, '{', "}")),
        })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'w>, Error> {
        Ok(Members::of_variant(self.into, variant, '{', "}}"))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.serialize_str(&value.to_string())
    }
}

macro_rules! items {
    ($($trait:ident::$method:ident),*) => {$(
        impl $trait for Members<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.item(value)
            }

            fn end(self) -> Result<(), Error> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

items! {
    SerializeSeq::serialize_element, SerializeTuple::serialize_element, SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.next();
        key.serialize(KeyWriter { into: self.into })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.into.push(':');
        write(self.into, value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

impl SerializeStructVariant for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

impl SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        match self {
            Self::Named(members) => members.field(name, value),
            Self::Raw(into) => value.serialize(RawWriter { into }),
        }
    }

    fn end(self) -> Result<(), Error> {
        if let Self::Named(members) = self {
            members.finish();
        }
        Ok(())
    }
}

/// Methods of a serializer that takes texts and little else.
macro_rules! refuse {
    ($why:expr; $($name:ident: $type:ty),*) => {
        type Ok = ();
        type Error = Error;
        type SerializeSeq = Impossible<(), Error>;
        type SerializeTuple = Impossible<(), Error>;
        type SerializeTupleStruct = Impossible<(), Error>;
        type SerializeTupleVariant = Impossible<(), Error>;
        type SerializeMap = Impossible<(), Error>;
        type SerializeStruct = Impossible<(), Error>;
        type SerializeStructVariant = Impossible<(), Error>;

        $(fn $name(self, _: $type) -> Result<(), Error> {
            Err(Error::custom($why))
        })*

        fn serialize_none(self) -> Result<(), Error> {
            Err(Error::custom($why))
        }

        fn serialize_unit(self) -> Result<(), Error> {
            Err(Error::custom($why))
        }

        fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
            Err(Error::custom($why))
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<(), Error> {
            Err(Error::custom($why))
        }

        fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Error> {
            Err(Error::custom($why))
        }

        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
            Err(Error::custom($why))
        }

        fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
            Err(Error::custom($why))
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Error> {
            Err(Error::custom($why))
        }

        fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
            Err(Error::custom($why))
        }

        fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Error> {
            Err(Error::custom($why))
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Error> {
            Err(Error::custom($why))
        }

        fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
            value.serialize(self)
        }

        fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
            value.serialize(self)
        }
    };
}

/// Writes the key of a map: a text, or a number as one.
struct KeyWriter<'w> {
    into: &'w mut String,
}

macro_rules! number_keys {
    ($($name:ident: $type:ty),*) => {$(
        fn $name(self, value: $type) -> Result<(), Error> {
            quote(self.into, itoa::Buffer::new().format(value));
            Ok(())
        }
    )*};
}

impl Serializer for KeyWriter<'_> {
    refuse! {
        "a key of a JSON object must be a text";
        serialize_bytes: &[u8]
    }

    number_keys! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.serialize_str(if value { "true" } else { "false" })
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.float(value.is_finite(), value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        self.float(value.is_finite(), value)
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        quote(self.into, value);
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }
}

impl KeyWriter<'_> {
    fn float(self, is_finite: bool, value: impl Serialize) -> Result<(), Error> {
        if !is_finite {
            return Err(Error::custom("a key of a JSON object must be a finite number"));
        }
        self.serialize_str(&serde_json::to_string(&value)?)
    }
}

/// Writes a text that is JSON already as it is.
struct RawWriter<'w> {
    into: &'w mut String,
}

impl Serializer for RawWriter<'_> {
    refuse! {
        "a raw JSON value must be a text";
        serialize_bool: bool, serialize_f32: f32, serialize_f64: f64, serialize_bytes: &[u8], serialize_char: char,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.into.push_str(value);
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Error> {
        Err(Error::custom("a raw JSON value must be a text"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::value::RawValue;
    use serde_json::{Map, Value, json};

    use super::*;

    #[derive(Debug, Serialize)]
    enum Kind {
        Unit,
        New(u8),
        Tuple(i64, String),
        Struct { a: Option<f64>, b: char },
    }

    #[derive(Debug, Serialize)]
    #[serde(tag = "type", rename_all = "camelCase")]
    enum Tagged {
        Plain,
        Whole {
            some_field: String,
            #[serde(flatten)]
            rest: BTreeMap<String, u32>,
        },
    }

    #[derive(Debug, Serialize)]
    struct Unit;

    #[derive(Debug, Serialize)]
    struct New(i128);

    #[derive(Debug, Serialize)]
    struct Pair(f32, bool);

    #[derive(Debug, Serialize)]
    struct Everything {
        text: String,
        kinds: Vec<Kind>,
        tagged: Vec<Tagged>,
        numbers: BTreeMap<i32, ()>,
        chars: BTreeMap<char, u64>,
        value: Value,
        raw: Box<RawValue>,
        unit: (Unit, New, Pair),
        #[serde(skip_serializing_if = "Option::is_none")]
        none: Option<()>,
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC*|[\u{0}-\u{7f}]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,12}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_writes_what_the_general_way_writes(
            value in value(),
            text in any::<String>(),
            (whole, float, letter, is) in (any::<i64>(), any::<f64>(), any::<char>(), any::<bool>()),
        ) {
            let everything = Everything {
                kinds: vec![
                    Kind::Unit,
                    Kind::New(7),
                    Kind::Tuple(whole, text.clone()),
                    Kind::Struct { a: is.then_some(float), b: letter },
                ],
                tagged: vec![
                    Tagged::Plain,
                    Tagged::Whole { some_field: text.clone(), rest: BTreeMap::from([(text.clone(), 3)]) },
                ],
                numbers: BTreeMap::from([(whole as i32, ())]),
                chars: BTreeMap::from([(letter, 1)]),
                raw: RawValue::from_string(json!({ "a": [1, "\n", value.clone()] }).to_string()).expect("JSON"),
                value,
                text,
                unit: (Unit, New(i128::from(whole) * 5), Pair(float as f32, is)),
                none: None,
            };
            prop_assert_eq!(
                to_string(&everything).expect("written"),
                serde_json::to_string(&everything).expect("written")
            );
        }
    }

    #[test]
    fn keys_that_are_no_text_are_refused() {
        let pairs = BTreeMap::from([((1, 2), 3)]);
        assert!(to_string(&pairs).is_err() && serde_json::to_string(&pairs).is_err());
    }
}
