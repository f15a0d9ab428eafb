//! What a decision is made with: the moment, the randomness and the policy.
//!
//! The clock is read once at the edge; every row written by a decision shares its stamp. A context can be used
//! again from the same seed and gives the same decision.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use signalbox_wire::time::Timestamp;

use crate::limits::Policy;
use crate::steps::{Steps, TooLong};

/// Tells whether an input fits the JSON Schema that its workflow has for it. A pure function, and too large a one to
/// be the engine's own.
pub trait Inputs: std::fmt::Debug + Sync {
    /// Everything that does not fit: where in the input, and why not.
    ///
    /// # Errors
    /// It takes more than these steps to tell.
    fn faults(&self, schema: &Value, input: &Value, steps: &Steps) -> Result<Vec<(String, String)>, TooLong>;
}

/// What a decision may know besides the stored state.
#[derive(Debug, Clone)]
pub struct DecisionContext<'a> {
    /// The moment of the decision.
    pub now: Timestamp,
    /// Defaults and bounds set by the operator.
    pub policy: &'a Policy,
    /// What holds inputs against schemas; without it, whatever comes fits.
    pub inputs: Option<&'a dyn Inputs>,
    /// How long the decision may take here. One that would take longer stops with [`crate::Halt::Long`].
    pub steps: Steps,
    random: SmallRng,
}

impl<'a> DecisionContext<'a> {
    /// A context at `now` whose randomness follows from `seed` alone.
    #[must_use]
    pub fn new(now: Timestamp, seed: u64, policy: &'a Policy) -> Self {
        Self { now, policy, inputs: None, steps: Steps::unbounded(), random: SmallRng::seed_from_u64(seed) }
    }

    /// The same context, in which sessions that other sessions and schedules start are held to their workflow's schema.
    #[must_use]
    pub fn holding(self, inputs: &'a dyn Inputs) -> Self {
        Self { inputs: Some(inputs), ..self }
    }

    /// The same, in which a decision may take no more than these steps.
    #[must_use]
    pub fn within(self, steps: Steps) -> Self {
        Self { steps, ..self }
    }

    /// 128 random bits, for an id.
    pub fn bits(&mut self) -> u128 {
        self.random.random()
    }

    /// A number from 0 to 1, 1 excluded, for jitter.
    pub fn fraction(&mut self) -> f64 {
        self.random.random()
    }

    /// A version for a row written now that was last seen at `previous`: it always grows, also over a
    /// removal and a new start, so that a decision on the old row can never pass for one on the new.
    #[must_use]
    pub fn version_after(&self, previous: Option<i64>) -> i64 {
        self.now.as_micros().max(previous.unwrap_or(0) + 1)
    }
}
