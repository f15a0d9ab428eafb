//! A schedule: a workflow that is started again and again, and what becomes of each of its fire times.
//!
//! | status | a fire time comes | started by hand, filled in | pause    | resume   |
//! |--------|-------------------|----------------------------|----------|----------|
//! | active | by its overlap    | by its overlap             | → paused | –        |
//! | paused | passed over       | by its overlap             | –        | → active |
//!
//! | overlap     | nothing open | a session open         | open, and fire times wait     |
//! |-------------|--------------|------------------------|-------------------------------|
//! | skip        | start        | skip                   | skip                          |
//! | bufferOne   | start        | wait                   | skip                          |
//! | bufferAll   | start        | wait                   | wait ([`WAITING_MAX`] at most) |
//! | cancelOther | start        | cancel, then wait      | cancel, then wait in their place |
//! | allowAll    | start        | start                  | start                         |
//!
//! What waits starts in order once nothing is open. A fire time makes one session or none: the row says which
//! moment comes next, and moves on in the commit that starts the session.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, ScheduleId, SessionId, WorkflowId};
use signalbox_wire::time::Timestamp;

use crate::cron::{BadRhythm, Recurrence, Rhythm};

/// Fire times that may wait; over it they are passed over.
pub const WAITING_MAX: usize = 1_000;
/// Fire times that one request may fill in.
pub const BACKFILL_MAX: usize = 1_000;
/// Fire times of which a schedule remembers what came of them.
pub const RUNS_KEPT: usize = 100;
/// Open sessions that a schedule remembers; only `allowAll` can have more.
pub const OPEN_KEPT: usize = 100;
/// Bytes of a schedule's input as JSON: the row that has it is written at every fire time.
pub const INPUT_BYTES_MAX: usize = 64 << 10;
/// What stands in an input for the fire time.
pub const SCHEDULED_AT: &str = "${scheduledAt}";
/// How far ahead of the clock the last fire time may lie and still be taken for one that has been. It is so where
/// two processes' clocks differ; after a clock that was wrong by more, it says nothing.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(60);

/// A schedule as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its author's id for it, unique in the tenant.
    pub id: ScheduleId,
    /// What it does and when.
    pub plan: Plan,
    /// Where it stands.
    pub status: ScheduleStatus,
    /// What intervals are counted from.
    pub since: Timestamp,
    /// The fire time that comes next; none while it is paused.
    pub next_at: Option<Timestamp>,
    /// The newest fire time that has come.
    pub last_at: Option<Timestamp>,
    /// How many fire times there have been, each with its number from 1.
    pub fires: u64,
    /// Those of its sessions that may not be over, oldest first.
    pub open: Vec<SessionId>,
    /// Fire times whose turn has not come, oldest first.
    pub waiting: Vec<Fire>,
    /// What came of its newest fire times, oldest first.
    pub runs: Vec<Run>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its plan or status was last changed.
    pub updated_at: Timestamp,
}

/// What a schedule does and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The workflow that it starts, at its newest revision.
    pub workflow: WorkflowId,
    /// The agent of tasks that name neither an agent nor a capability.
    pub agent: Option<AgentId>,
    /// The input of each session; `${scheduledAt}` in a string of it is the fire time.
    pub input: Map<String, Value>,
    /// When.
    pub rhythm: Rhythm,
    /// By whose clock.
    pub time_zone: String,
    /// What becomes of a fire time while an earlier session is open.
    pub overlap: Overlap,
    /// How late a fire time may be acted on; over it, it is passed over.
    pub catch_up: Duration,
    /// What it is for.
    pub note: Option<String>,
}

/// Where a schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleStatus {
    /// Its fire times come.
    Active,
    /// They do not, until it is resumed.
    Paused,
}

/// What becomes of a fire time while an earlier session of the schedule is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is passed over.
    #[default]
    Skip,
    /// It waits, when no other does.
    BufferOne,
    /// It waits.
    BufferAll,
    /// The session is cancelled for it.
    CancelOther,
    /// It has a session beside the other.
    AllowAll,
}

/// What is to be done with a fire time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Start its session.
    Start,
    /// Let it wait for its turn.
    Wait,
    /// Cancel what is open, and let it wait for the end of that in place of what else waits for it.
    Replace,
    /// Pass it over, for this reason.
    Skip(&'static str),
}

/// What a fire time came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The schedule.
    Schedule,
    /// Somebody who did not want to wait.
    Trigger,
    /// Somebody who asked for times gone by.
    Backfill,
}

/// A fire time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    /// Its number in the schedule.
    pub number: u64,
    /// The moment that is meant.
    pub at: Timestamp,
    /// What it came from.
    pub cause: Cause,
    /// What becomes of it while another session is open.
    pub overlap: Overlap,
}

/// What came of a fire time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its number in the schedule.
    pub number: u64,
    /// The moment that was meant.
    pub at: Timestamp,
    /// What it came from.
    pub cause: Cause,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// What was decided.
    pub outcome: Outcome,
}

/// What was decided on a fire time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It made this session.
    Started(SessionId),
    /// It made none, for this reason.
    Skipped(String),
    /// It and those after it up to a moment came too late.
    Missed {
        /// The last of them that was counted.
        until: Timestamp,
        /// How many, as far as they were counted.
        count: u32,
    },
}

impl ScheduleStatus {
    /// The status in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
        }
    }
}

impl Overlap {
    /// What becomes of a fire time while a session is open or not, and others wait or not.
    #[must_use]
    pub fn verdict(self, is_open: bool, waiting: usize) -> Verdict {
        if !is_open && waiting == 0 {
            return Verdict::Start;
        }
        match self {
            Self::Skip => Verdict::Skip("an earlier session is not over, or another fire time waits"),
            Self::BufferOne if waiting > 0 => {
                Verdict::Skip("an earlier session is not over and another fire time waits for it")
            }
            Self::BufferOne => Verdict::Wait,
            Self::BufferAll if waiting >= WAITING_MAX => {
                Verdict::Skip("as many fire times wait as a schedule keeps")
            }
            Self::BufferAll => Verdict::Wait,
            Self::CancelOther => Verdict::Replace,
            Self::AllowAll => Verdict::Start,
        }
    }
}

impl Cause {
    /// Whether somebody asked for it in so many words, so that it happens also while the schedule is paused.
    #[must_use]
    pub fn is_asked_for(self) -> bool {
        matches!(self, Self::Trigger | Self::Backfill)
    }

    /// The cause in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Trigger => "trigger",
            Self::Backfill => "backfill",
        }
    }
}

impl Plan {
    /// What its rhythm means; an interval is counted from `since`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn recurrence(&self, since: Timestamp) -> Result<Recurrence, Vec<BadRhythm>> {
        self.rhythm.understand(&self.time_zone, since)
    }

    /// Whether its fire times are those of `other`.
    #[must_use]
    pub fn keeps_time_with(&self, other: &Self) -> bool {
        self.rhythm == other.rhythm && self.time_zone == other.time_zone
    }

    /// The input of the session of the fire time `at`.
    #[must_use]
    pub fn input_at(&self, at: Timestamp) -> Map<String, Value> {
        let text = at.to_string();
        let fields = self.input.iter();
        fields.map(|(name, value)| (name.clone(), with_time(value, &text))).collect()
    }
}

fn with_time(value: &Value, at: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(SCHEDULED_AT, at)),
        Value::Array(items) => items.iter().map(|item| with_time(item, at)).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(name, value)| (name.clone(), with_time(value, at))).collect())
        }
        other => other.clone(),
    }
}

impl Schedule {
    /// A schedule that has just been made.
    #[must_use]
    pub fn new(id: ScheduleId, plan: Plan, now: Timestamp) -> Self {
        Self {
            id,
            plan,
            status: ScheduleStatus::Active,
            since: now,
            next_at: None,
            last_at: None,
            fires: 0,
            open: Vec::new(),
            waiting: Vec::new(),
            runs: Vec::new(),
            created_at: now,
            updated_at: now,
        }
    }

    /// Looks for the next fire time from `now` on; a paused schedule has none. What went by meanwhile is gone.
    pub fn arm(&mut self, recurrence: &Recurrence, now: Timestamp) {
        let came = self.last_at.filter(|last| last.since(now) <= CLOCKS_APART_MAX);
        self.next_at = match self.status {
            ScheduleStatus::Active => recurrence.after(came.map_or(now, |came| came.max(now))),
            ScheduleStatus::Paused => None,
        };
    }

    /// Moves on from the fire time `at`.
    pub fn pass(&mut self, recurrence: &Recurrence, at: Timestamp) {
        self.last_at = Some(at);
        self.next_at = recurrence.after(at);
    }

    /// A fire time with the next number.
    pub fn fire(&mut self, at: Timestamp, cause: Cause, overlap: Overlap) -> Fire {
        self.fires += 1;
        Fire { number: self.fires, at, cause, overlap }
    }

    /// Remembers what came of a fire time.
    pub fn remember(&mut self, run: Run) {
        self.runs.push(run);
        let over = self.runs.len().saturating_sub(RUNS_KEPT);
        self.runs.drain(..over);
    }

    /// Remembers an open session.
    pub fn opened(&mut self, session: SessionId) {
        self.open.push(session);
        let over = self.open.len().saturating_sub(OPEN_KEPT);
        self.open.drain(..over);
    }

    /// The place in the line of what comes next, whether it may start or not.
    #[must_use]
    pub fn front(&self) -> Option<usize> {
        let is_paused = self.status == ScheduleStatus::Paused;
        self.waiting.iter().position(|fire| !is_paused || fire.cause.is_asked_for())
    }

    /// The place in the line of what starts next, where anything may.
    #[must_use]
    pub fn next_in_line(&self) -> Option<usize> {
        let position = self.front()?;
        let is_free = self.open.is_empty() || self.waiting.get(position)?.overlap == Overlap::AllowAll;
        is_free.then_some(position)
    }
}

#[cfg(test)]
mod tests;
