//! What may go wrong in one world, and how often; drawn from its seed. Fair weather is what follows a storm.

use std::time::Duration;

use signalbox_core::limits::{CANDIDATES_LOOKED_AT, Policy, WAITING_LOOKED_AT};
use signalbox_core::retry::Backoff;

use crate::dice::Dice;

/// What goes wrong, mostly in percent.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// Processes that share the store.
    pub(crate) planes: usize,
    /// How far a clock is off, at most, in microseconds.
    pub(crate) skew: i64,
    /// Between two steps of an operation others come in between.
    pub(crate) interleave: u32,
    /// And when they do, it is for long.
    pub(crate) stall: u32,
    /// An operation stands in line with one that has not begun, and is decided with it.
    pub(crate) folds: u32,
    /// Whether each process holds rows that it has seen, and never hears that another has changed them.
    pub(crate) caches: bool,
    /// A hint is lost.
    pub(crate) hints_lost: u32,
    /// Due work that was just committed wakes nobody.
    pub(crate) wakes_lost: u32,
    /// Due work is held by its committer from the start.
    pub(crate) born_leased: u32,
    /// Whether waiting tasks are swept up now and then.
    pub(crate) sweeps: bool,
    /// Whether processes crash.
    pub(crate) crashes: bool,
    /// A delivery meets with trouble.
    pub(crate) network: u32,
    /// An agent does a thing wrong.
    pub(crate) faults: u32,
    /// Whether agents lie.
    pub(crate) lies: bool,
    /// Whether agents die.
    pub(crate) deaths: bool,
    /// Whether operators interfere.
    pub(crate) operators: bool,
    /// Agents of another service, announced by it.
    pub(crate) foreign: u32,
    /// Agents that are reached over connections.
    pub(crate) connecting: u32,
    /// Candidates and waiting tasks that the store shows at once.
    pub(crate) looks: (usize, usize),
}

impl Weather {
    /// A storm, of one kind or another.
    pub(crate) fn storm(dice: &mut Dice) -> Self {
        // Where no hint is lost and nothing crashes, hints alone must do: there the sweep stays away.
        let relies_on_hints = dice.chance(15);
        let planes = dice.below(3) + 1;
        Self {
            planes,
            skew: if dice.chance(30) { 2_000_000 } else { 0 },
            interleave: dice.weighted(&[(1, 5), (2, 25), (2, 60)]),
            stall: dice.weighted(&[(2, 0), (2, 3), (1, 10)]),
            folds: dice.weighted(&[(2, 0), (1, 30), (1, 100)]),
            caches: dice.chance(40),
            hints_lost: if relies_on_hints { 0 } else { dice.weighted(&[(2, 0), (2, 20), (1, 100)]) },
            wakes_lost: dice.weighted(&[(2, 0), (1, 30)]),
            born_leased: dice.weighted(&[(1, 0), (1, 50), (1, 100)]),
            sweeps: !relies_on_hints,
            crashes: !relies_on_hints && dice.chance(50),
            network: dice.weighted(&[(1, 0), (2, 10), (2, 35)]),
            faults: dice.weighted(&[(1, 0), (2, 10), (2, 30)]),
            lies: dice.chance(50),
            deaths: dice.chance(60),
            operators: dice.chance(70),
            foreign: dice.weighted(&[(2, 0), (1, 40)]),
            connecting: dice.weighted(&[(2, 0), (2, 50), (1, 100)]),
            looks: if relies_on_hints {
                (CANDIDATES_LOOKED_AT, WAITING_LOOKED_AT)
            } else {
                dice.weighted(&[(1, (1, 1)), (1, (2, 2)), (2, (CANDIDATES_LOOKED_AT, WAITING_LOOKED_AT))])
            },
        }
    }

    /// The calm after this storm: faults stop, what is slow stays slow.
    pub(crate) fn calm(&self) -> Self {
        Self {
            stall: 0,
            wakes_lost: 0,
            crashes: false,
            network: 0,
            faults: 0,
            lies: false,
            deaths: false,
            operators: false,
            ..self.clone()
        }
    }
}

/// An operator's settings.
pub(crate) fn policy(dice: &mut Dice) -> Policy {
    let backoff = Backoff { initial: dice.millis(200, 2_000), factor: 2.0, max: dice.millis(2_000, 10_000) };
    Policy {
        delivery_attempts: dice.below(4) as u32 + 1,
        delivery_backoff: backoff,
        task_backoff: Backoff { initial: dice.millis(0, 4_000), ..backoff },
        task_retries: dice.below(5) as u32,
        task_timeout: dice.millis(10_000, 40_000),
        lease: Duration::from_secs(15),
        announce: dice.chance(30),
        restart_by_endpoint: false,
        ephemeral_grace: Policy::default().ephemeral_grace,
        // So short in some worlds that nearly every value is kept apart, but for numbers.
        payload_inline_max: if dice.chance(40) { dice.below(60) + 16 } else { 16 * 1024 },
        payload_max: 16 * 1024 * 1024,
    }
}
