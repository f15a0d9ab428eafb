//! Points in time on the command line: `--since 2h`, and how long ago something was. Pure.

use std::time::Duration;

use signalbox_client::Timestamp;
use signalbox_wire::duration::parse_setting;

/// Seconds of the units that an age is told in, the largest first.
const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
/// From how many of a unit on an age is told in it: `90s` says more than `1m`.
const LEAST: u64 = 2;

/// A moment as it is given: RFC 3339, or a length of time before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// Reads either form.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // A bare number may be meant as anything.
        let has_unit = text.chars().any(char::is_alphabetic);
        if let Some(length) = parse_setting(text).ok().filter(|_| has_unit) {
            return Ok(Self::Ago(length));
        }
        Timestamp::parse(text).map(Self::At).map_err(|_| {
            "give how long ago with its unit (s, m, h, d or w), such as 30m, 2h or 7d, or a moment, such as \
             2026-01-31T12:00:00Z"
                .to_owned()
        })
    }

    /// The moment, as the server reads it.
    pub(crate) fn at(self, now: Timestamp) -> String {
        self.moment(now).to_string()
    }

    /// The moment itself.
    pub(crate) fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Ago(length) => {
                let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
                Timestamp::from_micros(now.as_micros().saturating_sub(micros))
            }
        }
    }
}

/// How long ago a moment was, or in how long it will be: `3m ago`, `in 2h`.
pub(crate) fn age(moment: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_seconds().saturating_sub(moment.as_seconds());
    let length = length(Duration::from_secs(seconds.unsigned_abs()));
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("{length} ago"),
        _ => format!("in {length}"),
    }
}

/// A length of time in its largest unit that is at least two of them.
pub(crate) fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    let (size, name) = UNITS.into_iter().find(|(size, _)| seconds >= size * LEAST).unwrap_or((1, "s"));
    format!("{}{name}", seconds / size)
}

/// A length of time that is left, to the nearest of its unit; what is a whole number of the next unit is told in that.
pub(crate) fn left(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    let place =
        UNITS.iter().position(|(size, _)| seconds >= (size * LEAST) as f64).unwrap_or(UNITS.len() - 1);
    let count = |place: usize| (seconds / UNITS[place].0 as f64).round() as u64;
    // Nearly a whole number of a larger unit is that number: `1d`, not `24h`.
    let larger = (0..place).find(|larger| {
        let (size, whole) = (UNITS[place].0, count(*larger) * UNITS[*larger].0);
        whole > 0 && whole == count(place) * size
    });
    let place = larger.unwrap_or(place);
    format!("{}{}", count(place).max(1), UNITS[place].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_one_unit() {
        let now = Timestamp::from_seconds(1_000_000);
        for (seconds, expected) in [
            (1_000_000, "now"),
            (999_999, "1s ago"),
            (999_890, "110s ago"),
            (999_000, "16m ago"),
            (990_000, "2h ago"),
            (0, "11d ago"),
            (1_000_300, "in 5m"),
        ] {
            assert_eq!(age(Timestamp::from_seconds(seconds), now), expected);
        }
    }

    #[test]
    fn what_is_left_is_told_to_the_nearest() {
        for (seconds, expected) in [
            (86_399.0, "1d"),
            (86_400.0, "1d"),
            (10_799.2, "3h"),
            (7_199.0, "2h"),
            (5_400.0, "90m"),
            (3_599.0, "1h"),
            (3_599.9, "1h"),
            (59.7, "1m"),
            (29.6, "30s"),
            (0.2, "1s"),
            (200_000.0, "2d"),
        ] {
            assert_eq!(left(Duration::from_secs_f64(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_a_length_before_now() {
        let now = Timestamp::from_seconds(7_200);
        assert_eq!(Moment::parse("2h").unwrap().at(now), "1970-01-01T00:00:00.000000Z");
        let given = "2026-01-31T14:00:00+02:00";
        assert_eq!(Moment::parse(given).unwrap().at(now), "2026-01-31T12:00:00.000000Z");
        for wrong in ["yesterday", "5", "0", "1.5", ""] {
            assert!(Moment::parse(wrong).unwrap_err().contains("with its unit (s, m, h, d or w)"), "{wrong}");
        }
    }
}
