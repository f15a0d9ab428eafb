//! Lengths of time as clients write them: `1h30m`, ISO 8601 `PT90M`, or a number of seconds. Written out, always
//! the first of these in its shortest form.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Unit};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use utoipa::openapi::schema::{Object, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The longest length that is taken, in days.
pub const DAYS_MAX: u64 = 366;

const DAY_MS: u64 = 86_400_000;
/// The units of the short form in the order that they stand in, with their milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * DAY_MS), ("d", DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length of time from one millisecond to [`DAYS_MAX`] days, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

/// The longest length that an operator may set, in days: a hundred years.
const SETTING_DAYS_MAX: u64 = 36_525;

/// Why something is not a [`Period`]; read after what it is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a duration from 1ms to {DAYS_MAX}d, such as 500ms, 30s, 1h30m, 2d, PT5M or a number of seconds"
)]
pub struct BadPeriod;

/// Why a setting is not a duration; read after what it is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration, such as 500ms, 30s, 1h30m, 2d, PT5M or a number of seconds")]
pub struct BadSetting;

/// A length of time that an operator sets: any form of a [`Period`], a bare number for seconds, also none at all and
/// up to a hundred years.
///
/// # Errors
/// When it is none of these.
pub fn parse_setting(text: &str) -> Result<Duration, BadSetting> {
    let text = text.trim();
    let is_number = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let millis = if is_number { text.parse().ok().and_then(seconds) } else { lettered(text) };
    let millis = millis.filter(|millis| *millis <= SETTING_DAYS_MAX * DAY_MS).ok_or(BadSetting)?;
    Ok(Duration::from_millis(millis))
}

/// The milliseconds of a number of seconds.
fn seconds(seconds: f64) -> Option<u64> {
    let seconds = Some(seconds).filter(|seconds| (0.0..1e10).contains(seconds))?;
    let millis = Duration::from_secs_f64(seconds).as_micros().saturating_add(500) / 1_000;
    u64::try_from(millis).ok()
}

/// The milliseconds of a text with units.
fn lettered(text: &str) -> Option<u64> {
    match text {
        "" => None,
        _ if text.starts_with(['P', 'p']) => iso(text),
        _ => short(text),
    }
}

impl Period {
    /// Of a number of milliseconds.
    ///
    /// # Errors
    /// When it is zero or too many.
    pub fn from_millis(millis: u64) -> Result<Self, BadPeriod> {
        if (1..=DAYS_MAX * DAY_MS).contains(&millis) { Ok(Self(millis)) } else { Err(BadPeriod) }
    }

    /// The one that a JSON value writes, as a string or as a number of seconds.
    ///
    /// # Errors
    /// When it is neither, or out of range.
    pub fn from_value(value: &Value) -> Result<Self, BadPeriod> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) => {
                number.as_f64().and_then(seconds).ok_or(BadPeriod).and_then(Self::from_millis)
            }
            _ => Err(BadPeriod),
        }
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        Self::from_millis(period.0)
    }
}

impl TryFrom<Duration> for Period {
    type Error = BadPeriod;

    fn try_from(duration: Duration) -> Result<Self, BadPeriod> {
        u64::try_from(duration.as_millis()).map_err(|_| BadPeriod).and_then(Self::from_millis)
    }
}

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        lettered(text.trim()).ok_or(BadPeriod).and_then(Self::from_millis)
    }
}

/// The milliseconds of ISO 8601's form, with days of 24 hours.
fn iso(text: &str) -> Option<u64> {
    let span: Span = text.parse().ok()?;
    let millis = span.total((Unit::Millisecond, SpanRelativeTo::days_are_24_hours())).ok()?;
    let in_range = (0.0..=(SETTING_DAYS_MAX * DAY_MS) as f64).contains(&millis);
    // In range, it fits.
    in_range.then(|| millis.round() as u64)
}

/// The milliseconds of numbers with units, the largest unit first and none twice.
fn short(mut text: &str) -> Option<u64> {
    let mut units = UNITS.iter();
    let mut total = 0_u64;
    while !text.is_empty() {
        let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(end);
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        total = number.parse::<u64>().ok()?.checked_mul(*millis)?.checked_add(total)?;
        text = rest;
    }
    Some(total)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        // Weeks are read only: 7d and 8d would look unlike.
        for (name, millis) in &UNITS[1..] {
            let (count, left) = (rest / millis, rest % millis);
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
            rest = left;
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl PartialSchema for Period {
    fn schema() -> RefOr<Schema> {
        let text = Object::builder().schema_type(Type::String).examples(["1h30m"]).build();
        let seconds = Object::with_type(Type::Number);
        let description =
            "A duration from 1ms to 366d: as 500ms, 30s, 1h30m, 2d, PT5M, or a number of seconds";
        OneOfBuilder::new().item(text).item(seconds).description(Some(description)).into()
    }
}

impl ToSchema for Period {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_is_read_and_shown_in_its_shortest() {
        for (given, shown) in [
            (json!("500ms"), "500ms"),
            (json!("30s"), "30s"),
            (json!("90s"), "1m30s"),
            (json!("1h30m"), "1h30m"),
            (json!("2d"), "2d"),
            (json!("1w"), "7d"),
            (json!("366d"), "366d"),
            (json!(" 5m "), "5m"),
            (json!("PT5M"), "5m"),
            (json!("P1DT0.25S"), "1d250ms"),
            (json!(300), "5m"),
            (json!(0.1), "100ms"),
            (json!(1.0004), "1s"),
        ] {
            assert_eq!(
                Period::from_value(&given).map(|period| period.to_string()),
                Ok(shown.to_owned()),
                "{given}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for given in [
            json!(""),
            json!("0s"),
            json!("5"),
            json!("s"),
            json!("5m1h"),
            json!("1h1h"),
            json!("-5m"),
            json!("1.5h"),
            json!("5M"),
            json!("5 m"),
            json!("367d"),
            json!("366d1ms"),
            json!("99999999999999999999d"),
            json!("P1M"),
            json!("P1Y"),
            json!("PT0S"),
            json!("P999999D"),
            json!("-PT5M"),
            json!("soon"),
            json!("５m"),
            json!(0),
            json!(-1),
            json!(0.0001),
            json!(1e300),
            json!(true),
            json!([5]),
        ] {
            assert_eq!(Period::from_value(&given), Err(BadPeriod), "{given}");
        }
    }

    #[test]
    fn a_setting_may_also_be_none_at_all_or_a_bare_number() {
        for (text, millis) in [
            ("0s", 0),
            ("0", 0),
            ("900", 900_000),
            ("1.5", 1_500),
            ("1h30m", 5_400_000),
            ("PT0S", 0),
            ("3650d", 3_650 * DAY_MS),
        ] {
            assert_eq!(parse_setting(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", " ", "-1", "1.5h", "1e3", "1.2.3", "36526d", "99999999999", "soon", "."] {
            assert_eq!(parse_setting(text), Err(BadSetting), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(millis in 1..=DAYS_MAX * DAY_MS) {
            let period = Period::from_millis(millis).unwrap();
            prop_assert_eq!(period.to_string().parse(), Ok(period));
            prop_assert_eq!(Period::try_from(Duration::from(period)), Ok(period));
            prop_assert_eq!(serde_json::from_value::<Period>(json!(period)).unwrap(), period);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}|[0-9PTwdhms.]{0,24}") {
            if let Ok(period) = text.parse::<Period>() {
                prop_assert!(Duration::from(period) >= Duration::from_millis(1));
            }
        }
    }
}
