//! Points in time as the wire writes them: RFC 3339 in UTC out; RFC 3339, ISO 8601 with an offset, or a
//! naive date and time (taken as UTC) in. Inside, whole microseconds since 1970.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time in whole microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Why a text is not a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a timestamp is RFC 3339 or ISO 8601, such as 2026-01-31T12:00:00Z, 2026-01-31T14:00:00+02:00 or 2026-01-31T12:00:00"
)]
pub struct BadTimestamp;

impl Timestamp {
    /// From microseconds since 1970.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since 1970, saturating.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Seconds since 1970, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// Reads a timestamp in any of the accepted forms.
    ///
    /// # Errors
    /// [`BadTimestamp`] when the text is none of them or outside the years -9999 to 9999.
    pub fn parse(text: &str) -> Result<Self, BadTimestamp> {
        if let Some(moment) = Self::parse_common(text.as_bytes()) {
            return Ok(moment);
        }
        let text = text.trim();
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(instant.as_microsecond()));
        }
        let naive: jiff::civil::DateTime = text.parse().map_err(|_| BadTimestamp)?;
        let zoned = naive.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| BadTimestamp)?;
        Ok(Self(zoned.timestamp().as_microsecond()))
    }
}

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// 9999-12-30T22:00:00.999999Z, the last moment that is read.
const COMMON_MAX: i64 = 253_402_207_200_999_999;
/// Bytes of a moment as it is written.
const LENGTH: usize = 27;

impl Timestamp {
    /// A moment of the years 1970 to 9999 as text. Every row and event has several of them, and this takes a
    /// fraction of the time of the general way; `None` is for that one.
    ///
    /// Days to a date as in H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    fn common(self) -> Option<[u8; LENGTH]> {
        if !(0..=COMMON_MAX).contains(&self.0) {
            return None;
        }
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        // All of these are small and positive from here on.
        let days = u32::try_from(seconds / DAY_SECONDS).ok()? + 719_468;
        let (second, micros) = (u32::try_from(seconds % DAY_SECONDS).ok()?, u32::try_from(micros).ok()?);
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u32::from(month <= 2);
        let ([y1, y2], [y3, y4]) = (digits(year / 100), digits(year % 100));
        let ([m1, m2], [d1, d2]) = (digits(month), digits(day));
        let ([h1, h2], [i1, i2]) = (digits(second / 3_600), digits(second / 60 % 60));
        let ([s1, s2], [f1, f2]) = (digits(second % 60), digits(micros / 10_000));
        let ([f3, f4], [f5, f6]) = (digits(micros / 100 % 100), digits(micros % 100));
        Some([
            y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2, b'.', f1,
            f2, f3, f4, f5, f6, b'Z',
        ])
    }
}

/// Reading and writing without the cost of the general way.
impl Timestamp {
    /// Appends it as a JSON string.
    pub fn quote(self, into: &mut String) {
        into.push('"');
        match self.common() {
            Some(text) => into.push_str(std::str::from_utf8(&text).unwrap_or_default()),
            None => into.push_str(&self.to_string()),
        }
        into.push('"');
    }

    /// Reads a moment of the years 1970 to 9998 in UTC as nearly everybody writes it; `None` is for the general
    /// way. Date to days as in H. Hinnant's `days_from_civil`.
    fn parse_common(text: &[u8]) -> Option<Self> {
        let (moment, rest) = text.split_first_chunk::<19>()?;
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2] = *moment
        else {
            return None;
        };
        let two = |high: u8, low: u8| {
            let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
            (high < 10 && low < 10).then(|| i64::from(high) * 10 + i64::from(low))
        };
        let (year, month, day) = (two(y1, y2)? * 100 + two(y3, y4)?, two(m1, m2)?, two(d1, d2)?);
        let (hour, minute, second) = (two(h1, h2)?, two(i1, i2)?, two(s1, s2)?);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last_day = match month {
            2 => 28 + i64::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1970..=9998).contains(&year)
            || !(1..=last_day).contains(&day)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, year_of_era) = (year / 400, year % 400);
        let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let micros = match rest {
            b"Z" | b"+00:00" => 0,
            [b'.', rest @ ..] => fraction(rest.strip_suffix(b"Z").or_else(|| rest.strip_suffix(b"+00:00"))?)?,
            _ => return None,
        };
        let seconds = days * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
        Some(Self(seconds * 1_000_000 + micros))
    }
}

/// Microseconds of the digits behind a decimal point.
fn fraction(digits: &[u8]) -> Option<i64> {
    if !(1..=6).contains(&digits.len()) {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        let digit = digits.get(place).map_or(0, |digit| digit.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        micros = micros * 10 + i64::from(digit);
    }
    Some(micros)
}

/// A number below 100 in two digits.
fn digits(number: u32) -> [u8; 2] {
    let digit = |number: u32| b'0' + (number % 10) as u8;
    [digit(number / 10), digit(number)]
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(after.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(before.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.common() {
            return f.write_str(std::str::from_utf8(&text).unwrap_or_default());
        }
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => write!(f, "{instant:.6}"),
            Err(_) => f.write_str("9999-12-31T23:59:59.999999Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.common() {
            Some(text) => serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default()),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form_means_the_same_instant() {
        let expected = Timestamp::from_seconds(1_704_110_400);
        for text in [
            "2024-01-01T12:00:00Z",
            "2024-01-01T12:00:00.000000+00:00",
            "2024-01-01T14:00:00+02:00",
            "2024-01-01T12:00:00",
            "2024-01-01 12:00:00",
        ] {
            assert_eq!(Timestamp::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), "2024-01-01T12:00:00.000000Z");
    }

    proptest::proptest! {
        #[test]
        fn every_moment_is_written_as_the_library_writes_it(micros in -1_000_000_i64..=COMMON_MAX + 1_000) {
            let general = jiff::Timestamp::from_microsecond(micros).map(|instant| format!("{instant:.6}"));
            let written = Timestamp::from_micros(micros).to_string();
            proptest::prop_assert_eq!(written, general.unwrap_or("9999-12-31T23:59:59.999999Z".to_owned()));
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_quickly_is_what_the_library_reads(
            text in r"(19[67]|20[0-3]|99[89])[0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,8})?(Z|\+00:00|)",
        ) {
            if let Some(quick) = Timestamp::parse_common(text.as_bytes()) {
                let general = text.parse::<jiff::Timestamp>().map(|instant| Timestamp(instant.as_microsecond()));
                proptest::prop_assert_eq!(Some(quick), general.ok(), "{}", text);
            }
        }

        #[test]
        fn what_is_written_is_read_quickly(micros in 0_i64..COMMON_MAX) {
            let (moment, mut quoted) = (Timestamp::from_micros(micros), String::new());
            moment.quote(&mut quoted);
            proptest::prop_assert_eq!(&quoted, &serde_json::to_string(&moment).unwrap());
            let read = Timestamp::parse_common(quoted.trim_matches('"').as_bytes());
            proptest::prop_assert!(read == Some(moment) || quoted.starts_with("\"9999"));
        }
    }

    #[test]
    fn the_ends_of_years_and_months_are_written_right() {
        for text in [
            "1970-01-01T00:00:00.000000Z",
            "2000-02-29T23:59:59.999999Z",
            "2024-12-31T23:59:59.000001Z",
            "2100-03-01T00:00:00.000000Z",
            "9999-12-30T22:00:00.999999Z",
        ] {
            assert_eq!(Timestamp::parse(text).map(|at| at.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in ["", "yesterday", "2024-13-01T00:00:00Z", "12:00", "99999999999999999999"] {
            assert_eq!(Timestamp::parse(text), Err(BadTimestamp), "{text}");
        }
    }
}
