//! The bounds and defaults that decisions obey, each with a name and a unit.
//!
//! A limit is typed: zero is zero, and there is no value that means "unlimited".

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use signalbox_wire::id::TenantId;

use crate::retry::Backoff;

/// Tasks in one session, at most, with the instances that it expands into.
pub const TASKS_PER_SESSION_MAX: usize = 20_000;
/// Items of one list that a task is done for, at most.
pub const ITEMS_MAX: usize = 10_000;
/// Bytes of a task with all that its definition says of it, times the items of its list, at most.
pub const EXPANSION_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Tasks that begin in one decision, at most; those of sessions that are begun on the way count too.
pub const BEGUN_AT_ONCE_MAX: usize = 256;
/// Bytes of history from which on one decision begins no further task.
pub const HISTORY_AT_ONCE_BYTES: usize = 4 * 1024 * 1024;
/// Rows that operations which are decided together may write; over it the rest is left to another commit.
pub const FOLDED_WRITES_MAX: usize = 2_000;
/// Sessions above a session that does a task of another, at most.
pub const SESSION_DEPTH_MAX: u32 = 8;
/// Sessions that wait for their turn under one key, at most.
pub const CONCURRENCY_QUEUE_MAX: usize = 1_000;
/// Signals that a session keeps for tasks that do not wait yet, at most.
pub const SIGNALS_KEPT_MAX: usize = 100;
/// Waiting tasks that one offer of an agent looks at.
pub const WAITING_LOOKED_AT: usize = 8;
/// Candidates that are loaded for one routing decision, those that are preferred first.
pub const CANDIDATES_LOOKED_AT: usize = 8;
/// How long an agent that was told to stop a task counts as still at it, where it says nothing.
pub const STOPPING_MAX: Duration = Duration::from_secs(60);
/// How long an agent whose connection has ended has to come back, before what it was given and never had is given to
/// others.
pub const RECONNECT_GRACE: Duration = Duration::from_secs(10);
/// How long a failed delivery that is noted with its agent stands for those that follow: many fail together, and one row
/// is not written for each.
pub const FAILURE_STANDS: Duration = Duration::from_secs(10);
/// Commands of one agent that are neither answered nor over, at most.
pub const OPEN_COMMANDS_MAX: usize = 1_000;
/// How often a command is sent, over as many connections of its agent: one that the agent dies of does not come for ever.
pub const COMMAND_SENDS_MAX: u32 = 3;
/// The longest time that a command may be given.
pub const COMMAND_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Heartbeats that one decision keeps the figures of, at most.
pub const FIGURES_AT_ONCE_MAX: usize = 256;
/// Characters of an error text that are kept.
pub const ERROR_TEXT_MAX: usize = 2_000;
/// The most tasks at once that an agent may ask for. What it holds is one row that every report rewrites, and one
/// decision gives it all back: over a thousand, more agents do better than a larger one.
pub const CONCURRENCY_MAX: u32 = 1_000;

/// Defaults that an operator may change; the engine reads them from its context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Attempts of a delivery before it becomes a dead letter.
    pub delivery_attempts: u32,
    /// Wait between attempts of a delivery.
    pub delivery_backoff: Backoff,
    /// Wait between attempts of a task that failed.
    pub task_backoff: Backoff,
    /// How often a task is tried again where its definition does not say.
    pub task_retries: u32,
    /// From dispatch to the report that settles the task; over it the attempt has failed.
    pub task_timeout: Duration,
    /// How long a worker may hold due work before another takes it over.
    pub lease: Duration,
    /// Whether registrations are announced by webhook.
    pub announce: bool,
    /// Whether a registration under a taken name and with the same contact endpoint is that agent, restarted.
    pub restart_by_endpoint: bool,
    /// How long an agent that is there only while it is connected may be away. Agents try again every two minutes at the
    /// least.
    pub ephemeral_grace: Duration,
    /// Bytes of a value that a session keeps where it is; longer ones are kept apart as payloads.
    pub payload_inline_max: usize,
    /// Bytes of what a task is given, with all that it refers to.
    pub payload_max: u64,
}

/// Revisions of one workflow that are kept; the oldest goes when there is one more.
pub const REVISIONS_KEPT_MAX: u32 = 100;

impl Policy {
    /// The longest that the waits between a delivery's attempts come to: what waits this long for a destination that is
    /// left alone has had the time of all its attempts. Never less than the longest pause of a destination.
    #[must_use]
    pub fn delivery_span(&self) -> Duration {
        let waits: Duration =
            (1..self.delivery_attempts).map(|attempt| self.delivery_backoff.ceiling(attempt)).sum();
        // Whatever the backoff is, what waits alone for a destination is tried at the end of each of its pauses.
        waits.max(crate::breaker::PAUSE_MAX)
    }

    /// The policy as it applies to one tenant: the service that registrations are announced to knows agents of
    /// the default tenant only, and would take those of any other for its own.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> Cow<'_, Self> {
        if !self.announce || *tenant == TenantId::default_tenant() {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { announce: false, ..self.clone() })
    }
}

impl Default for Policy {
    fn default() -> Self {
        let backoff = Backoff { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) };
        Self {
            delivery_attempts: 8,
            delivery_backoff: backoff,
            task_backoff: backoff,
            task_retries: 3,
            task_timeout: Duration::from_secs(15 * 60),
            lease: Duration::from_secs(60),
            announce: false,
            restart_by_endpoint: false,
            ephemeral_grace: Duration::from_secs(5 * 60),
            payload_inline_max: 16 * 1024,
            payload_max: 16 * 1024 * 1024,
        }
    }
}

/// `text` cut to [`ERROR_TEXT_MAX`] characters.
#[must_use]
pub fn bounded(text: &str) -> String {
    text.chars().take(ERROR_TEXT_MAX).collect()
}
