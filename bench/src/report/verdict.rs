//! A value, its goal, and how it stands: the median over the rounds decides.

use std::fmt;

use serde::{Serialize, Serializer};

use super::figure::Figure;
use crate::stats::median;

/// What a value should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Within this much of 1.
    NearOne(f64),
}

impl Goal {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::NearOne(by) => (value - 1.0).abs() <= by,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::NearOne(by) => write!(f, "1 ± {by}"),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How a value stands to its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    Met,
    Missed,
    NoGoal,
    /// A figure below it has faults, or there is no value.
    Invalid,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NoGoal => "no goal",
            Self::Invalid => "invalid",
        })
    }
}

/// A claim, or its failure.
#[derive(Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// The median of the rounds.
    pub(crate) value: f64,
    pub(crate) rounds: Vec<f64>,
    pub(crate) goal: Option<Goal>,
    pub(crate) standing: Standing,
}

impl Verdict {
    pub(crate) fn new(
        name: &str,
        unit: &'static str,
        rounds: Vec<f64>,
        goal: Option<Goal>,
        valid: bool,
    ) -> Self {
        let value = median(&rounds);
        let standing = match goal {
            _ if !valid || !value.is_finite() => Standing::Invalid,
            None => Standing::NoGoal,
            Some(goal) if goal.holds(value) => Standing::Met,
            Some(_) => Standing::Missed,
        };
        Self { name: name.to_owned(), unit, value, rounds, goal, standing }
    }

    /// One side's metric over another's, round by round.
    pub(crate) fn ratio(
        name: &str,
        rounds: &[Vec<Figure>],
        sides: (usize, usize),
        metric: &str,
        goal: Option<Goal>,
    ) -> Self {
        let pairs: Vec<_> =
            rounds.iter().filter_map(|round| Some((round.get(sides.0)?, round.get(sides.1)?))).collect();
        let valid = pairs.iter().all(|(over, under)| over.faults.is_empty() && under.faults.is_empty());
        let ratios = pairs.iter().map(|(over, under)| over.metric(metric) / under.metric(metric)).collect();
        Self::new(name, "×", ratios, goal, valid)
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::PER_S;
    use super::*;

    fn round(a: f64, b: f64) -> Vec<Figure> {
        vec![Figure::new("g", "a", 1, &[(PER_S, a)]), Figure::new("g", "b", 1, &[(PER_S, b)])]
    }

    #[test]
    fn the_median_of_the_rounds_decides() {
        let rounds = [round(50.0, 100.0), round(90.0, 100.0), round(70.0, 100.0)];
        let goal = |bound| Some(Goal::AtLeast(bound));
        let verdict = Verdict::ratio("x", &rounds, (0, 1), PER_S, goal(0.65));
        assert_eq!((verdict.value, verdict.standing), (0.7, Standing::Met));
        assert_eq!(Verdict::ratio("x", &rounds, (0, 1), PER_S, goal(0.75)).standing, Standing::Missed);
        assert_eq!(Verdict::ratio("x", &rounds, (0, 1), PER_S, None).standing, Standing::NoGoal);
    }

    #[test]
    fn a_fault_on_either_side_makes_it_invalid() {
        let mut rounds = [round(99.0, 100.0)];
        rounds[0][1].faults.push("3 × status 500".to_owned());
        let verdict = Verdict::ratio("x", &rounds, (0, 1), PER_S, Some(Goal::AtLeast(0.1)));
        assert_eq!(verdict.standing, Standing::Invalid);
        assert_eq!(Verdict::ratio("x", &[], (0, 1), PER_S, None).standing, Standing::Invalid);
    }

    #[test]
    fn goals_are_bounds_that_include_themselves() {
        assert!(Goal::AtLeast(0.8).holds(0.8) && !Goal::AtLeast(0.8).holds(0.79));
        assert!(Goal::AtMost(2.0).holds(2.0) && !Goal::AtMost(2.0).holds(2.1));
        assert!(Goal::NearOne(0.1).holds(0.95) && !Goal::NearOne(0.1).holds(1.2));
    }
}
