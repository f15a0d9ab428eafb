//! When a schedule's time comes: cron expressions in a time zone, and plain intervals.
//!
//! A [`Rhythm`] is what is kept, a [`Recurrence`] what it means. Both are pure: the moment to look from is an
//! argument, and the time zones are those that the program was built with.
//!
//! Where a clock is put forward, an expression that names a single time of day (`30 2 * * *`) in the hour that is
//! left out comes at the first moment after it; where it is put back, it comes once, in the first of the two hours.
//! Any other (`*/30 * * * *`, `0 2,14 * * *`) has nothing in an hour that is left out and comes in both hours where
//! one is repeated. An interval does not look at the clock on the wall.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use signalbox_wire::time::Timestamp;

/// The shortest interval; a cron expression cannot ask for less either.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The longest interval.
pub const INTERVAL_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Characters of an expression, at most.
pub const EXPRESSION_MAX: usize = 256;

/// When something recurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rhythm {
    /// Whenever a cron expression of five or six fields, or one of its nicknames, matches.
    Cron(String),
    /// Again and again after this long.
    Every(Duration),
}

/// A rhythm that has been understood.
#[derive(Debug, Clone)]
pub enum Recurrence {
    /// By a cron expression, in a time zone.
    Cron(Box<Cron>, TimeZone),
    /// By an interval, counted from a moment.
    Every(Duration, Timestamp),
}

/// What is wrong with a rhythm; read after the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRhythm {
    /// The expression.
    #[error("{0}")]
    Expression(String),
    /// The interval.
    #[error("must be from 1s to 366d")]
    Interval,
    /// The time zone.
    #[error("must be the name of an IANA time zone, such as Europe/Berlin or UTC")]
    TimeZone,
}

impl Rhythm {
    /// What it means in `time_zone`; an interval is counted from `since`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn understand(&self, time_zone: &str, since: Timestamp) -> Result<Recurrence, Vec<BadRhythm>> {
        let zone = TimeZone::get(time_zone).map_err(|_| BadRhythm::TimeZone);
        match (self, zone) {
            (Self::Cron(expression), zone) => match (parse(expression), zone) {
                (Ok(cron), Ok(zone)) => Ok(Recurrence::Cron(Box::new(cron), zone)),
                (cron, zone) => Err(cron.err().into_iter().chain(zone.err()).collect()),
            },
            (Self::Every(every), zone) => {
                let is_fit = (INTERVAL_MIN..=INTERVAL_MAX).contains(every);
                let faults: Vec<_> =
                    (!is_fit).then_some(BadRhythm::Interval).into_iter().chain(zone.err()).collect();
                if faults.is_empty() { Ok(Recurrence::Every(*every, since)) } else { Err(faults) }
            }
        }
    }
}

fn parse(expression: &str) -> Result<Cron, BadRhythm> {
    let bad = |reason: String| BadRhythm::Expression(format!("must be a cron expression: {reason}"));
    if expression.chars().count() > EXPRESSION_MAX {
        return Err(bad(format!("it has more than {EXPRESSION_MAX} characters")));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(expression).map_err(|_| BadRhythm::Expression(unread(expression, &parser)))?;
    let first = Recurrence::Cron(Box::new(cron.clone()), TimeZone::UTC).after(Timestamp::default());
    if first.is_none() {
        return Err(bad("no day is ever like that".to_owned()));
    }
    Ok(cron)
}

/// What is wrong with an expression that the parser does not read, by its fields.
fn unread(expression: &str, parser: &CronParser) -> String {
    const FIELDS: [&str; 6] = ["second", "minute", "hour", "day of the month", "month", "day of the week"];
    let fields: Vec<&str> = expression.split_whitespace().collect();
    if !(5..=6).contains(&fields.len()) {
        return "must have five fields (minute, hour, day of the month, month, day of the week), or six with the \
                second first"
            .to_owned();
    }
    let names = FIELDS.iter().skip(FIELDS.len() - fields.len());
    let is_bad = |place: usize| {
        let alone: Vec<&str> =
            fields.iter().enumerate().map(|(at, field)| if at == place { *field } else { "*" }).collect();
        parser.parse(&alone.join(" ")).is_err()
    };
    match names.zip(&fields).enumerate().find(|(place, _)| is_bad(*place)) {
        Some((_, (name, field))) => format!("must be a cron expression: its {name} cannot be '{field}'"),
        None => "must be a cron expression: its fields do not go together".to_owned(),
    }
}

impl Recurrence {
    /// The first fire time after `moment`; `None` when there is none within the calendar.
    #[must_use]
    pub fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron, zone) => {
                let mut from = zoned(moment, zone)?;
                loop {
                    let next = cron.find_next_occurrence(&from, false).ok()?;
                    let at = Timestamp::from_micros(next.timestamp().as_microsecond());
                    if at > moment {
                        return Some(at);
                    }
                    // It never goes back; it may stay, where the clock does something odd.
                    from = zoned(
                        Timestamp::from_micros(from.timestamp().as_microsecond()) + INTERVAL_MIN,
                        zone,
                    )?;
                }
            }
            Self::Every(every, since) => {
                let every = i128::try_from(every.as_micros()).ok().filter(|every| *every > 0)?;
                let (since, moment) = (i128::from(since.as_micros()), i128::from(moment.as_micros()));
                let passed = (moment - since).max(0) / every;
                i64::try_from(since + (passed + 1) * every).ok().map(Timestamp::from_micros)
            }
        }
    }

    /// The fire times after `moment`, one after the other.
    pub fn times_after(&self, moment: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.after(moment), |at| self.after(*at))
    }
}

fn zoned(moment: Timestamp, zone: &TimeZone) -> Option<Zoned> {
    let instant = jiff::Timestamp::from_microsecond(moment.as_micros()).ok()?;
    Some(instant.to_zoned(zone.clone()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    fn cron(expression: &str, zone: &str) -> Recurrence {
        Rhythm::Cron(expression.to_owned()).understand(zone, at("2026-01-01")).expect("understood")
    }

    /// The first fire times after `from`, as a clock in the zone shows them with its offset.
    #[track_caller]
    fn check(expression: &str, zone: &str, from: &str, expected: &[&str]) {
        let recurrence = cron(expression, zone);
        let times = recurrence.times_after(at(from)).take(expected.len());
        let shown: Vec<String> = times
            .map(|at| {
                let there = zoned(at, &TimeZone::get(zone).expect("a zone")).expect("in range");
                there.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            })
            .collect();
        assert_eq!(shown, expected, "{expression} in {zone}");
    }

    #[test]
    fn five_and_six_fields_and_nicknames_are_understood() {
        let from = "2026-02-27T12:00:00.5Z";
        check("*/15 * * * *", "UTC", from, &["2026-02-27T12:15:00+00:00", "2026-02-27T12:30:00+00:00"]);
        check("*/20 * * * * *", "UTC", from, &["2026-02-27T12:00:20+00:00", "2026-02-27T12:00:40+00:00"]);
        check("@hourly", "UTC", from, &["2026-02-27T13:00:00+00:00", "2026-02-27T14:00:00+00:00"]);
        check("0 9 * * MON-FRI", "Asia/Tokyo", from, &["2026-03-02T09:00:00+09:00"]);
        check("0 0 29 2 *", "UTC", from, &["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]);
        check("0 12 L * *", "UTC", from, &["2026-02-28T12:00:00+00:00", "2026-03-31T12:00:00+00:00"]);
    }

    #[test]
    fn a_moment_that_matches_is_not_after_itself() {
        check("0 12 * * *", "UTC", "2026-01-01T12:00:00Z", &["2026-01-02T12:00:00+00:00"]);
        check("0 12 * * *", "UTC", "2026-01-01T11:59:59.999999Z", &["2026-01-01T12:00:00+00:00"]);
    }

    #[test]
    fn a_time_of_day_in_an_hour_that_is_left_out_comes_right_after_it() {
        let expected =
            ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"];
        check("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", &expected);
        check("30 2 8 3 *", "America/New_York", "2026-03-01T00:00:00Z", &["2026-03-08T03:00:00-04:00"]);
    }

    #[test]
    fn a_time_of_day_in_an_hour_that_is_repeated_comes_once() {
        let expected =
            ["2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"];
        check("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", &expected);
        // Also when one looks from within the second of the two.
        check("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", &["2026-10-26T02:30:00+01:00"]);
    }

    #[test]
    fn what_names_more_than_one_time_comes_in_every_hour_that_there_is() {
        check(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:45:00Z",
            &["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"],
        );
        check(
            "30 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:45:00Z",
            &["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"],
        );
        check(
            "15 2,14 * * *",
            "Europe/Berlin",
            "2026-03-28T13:30:00Z",
            &["2026-03-29T14:15:00+02:00", "2026-03-30T02:15:00+02:00"],
        );
        // Half an hour is moved here.
        check(
            "0,30 * * * *",
            "Australia/Lord_Howe",
            "2026-10-03T14:59:00Z",
            &["2026-10-04T01:30:00+10:30", "2026-10-04T02:30:00+11:00"],
        );
    }

    #[test]
    fn an_interval_is_counted_from_its_beginning() {
        let every = Rhythm::Every(Duration::from_secs(90)).understand("UTC", at("2026-01-01T00:00:30Z"));
        let every = every.expect("understood");
        let times: Vec<String> =
            every.times_after(at("2026-01-01T00:03:30Z")).take(2).map(|at| at.to_string()).collect();
        assert_eq!(times, ["2026-01-01T00:05:00.000000Z", "2026-01-01T00:06:30.000000Z"]);
        assert_eq!(every.after(at("2025-01-01")), Some(at("2026-01-01T00:02:00Z")), "not before it began");
        assert_eq!(every.after(Timestamp::from_micros(i64::MAX)), None);
    }

    #[test]
    fn what_cannot_be_understood_is_told_all_at_once() {
        let faults = |rhythm: Rhythm, zone: &str| rhythm.understand(zone, at("2026-01-01")).expect_err("bad");
        for expression in [
            "",
            "* * * *",
            "* * * * * * *",
            "60 * * * *",
            "a b c d e",
            "@often",
            "0 0 30 2 *",
            "0 0 31 4,6 *",
        ] {
            let faults = faults(Rhythm::Cron(expression.to_owned()), "UTC");
            assert!(matches!(faults.as_slice(), [BadRhythm::Expression(_)]), "{expression}: {faults:?}");
        }
        let told = |expression: &str| faults(Rhythm::Cron(expression.to_owned()), "UTC")[0].to_string();
        assert!(told("0 3 * *").starts_with("must have five fields (minute, hour,"), "{}", told("0 3 * *"));
        assert_eq!(told("0 99 * * 1"), "must be a cron expression: its hour cannot be '99'");
        assert_eq!(told("0 0 3 * * XYZ"), "must be a cron expression: its day of the week cannot be 'XYZ'");
        assert_eq!(faults(Rhythm::Cron("x".to_owned()), "Mars/Base").len(), 2);
        assert!(Rhythm::Cron("*".repeat(300)).understand("UTC", at("2026-01-01")).is_err());
        for every in [Duration::ZERO, Duration::from_millis(999), INTERVAL_MAX + INTERVAL_MIN] {
            assert_eq!(faults(Rhythm::Every(every), ""), [BadRhythm::Interval, BadRhythm::TimeZone]);
        }
    }

    proptest! {
        #[test]
        fn fire_times_only_go_forward(
            pattern in 0_usize..6, zone in 0_usize..4, from in 0_i64..2_000_000_000
        ) {
            let expression = ["* * * * *", "30 2 * * *", "*/7 1-3 * * *", "0 0 29 2 *", "15 30 1 * * SUN", "@daily"][pattern];
            let zone = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"][zone];
            let mut last = Timestamp::from_seconds(from);
            let recurrence = cron(expression, zone);
            for next in recurrence.times_after(last).take(5) {
                prop_assert!(next > last);
                last = next;
            }
        }

        #[test]
        fn no_expression_panics(text in "[0-9*/,LW#?A-Z@ -]{0,24}") {
            let _ = Rhythm::Cron(text).understand("UTC", Timestamp::default());
        }
    }
}
