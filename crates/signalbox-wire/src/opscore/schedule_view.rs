//! A schedule as it is shown, and what came of its fire times.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Overlap;
use crate::duration::Period;
use crate::id::{AgentId, ScheduleId, SessionId, WorkflowId};
use crate::time::Timestamp;

/// Where a schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleStatus {
    /// Its fire times come.
    Active,
    /// They do not, until it is resumed.
    Paused,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ScheduleId,
    /// The workflow that it starts.
    #[schema(value_type = String)]
    pub workflow_id: WorkflowId,
    /// The agent of tasks that name neither an agent nor a capability.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// The input of each session.
    #[schema(value_type = Object)]
    pub input: Map<String, Value>,
    /// When, by a cron expression; null where it is by an interval.
    pub cron: Option<String>,
    /// When, by an interval; null where it is by a cron expression.
    pub every: Option<Period>,
    /// By whose clock.
    pub time_zone: String,
    /// What becomes of a fire time while an earlier session is open.
    pub overlap: Overlap,
    /// How late a fire time may be acted on.
    pub catch_up: Option<Period>,
    /// What it is for.
    pub note: Option<String>,
    /// Where it stands.
    pub status: ScheduleStatus,
    /// The fire time that comes next; null while it is paused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// How many fire times wait for an earlier session.
    pub waiting: usize,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed, paused or resumed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// What a fire time came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FireCause {
    /// The schedule.
    Schedule,
    /// `POST …/trigger`.
    Trigger,
    /// `POST …/backfill`.
    Backfill,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// What came of a fire time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FireOutcome {
    /// It made a session.
    Started,
    /// It waits for an earlier session.
    Waiting,
    /// It made no session.
    Skipped,
    /// It, and others after it where `reason` says so, came too late.
    Missed,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// A fire time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FireView {
    /// Its number in the schedule, from 1.
    pub number: u64,
    /// The moment that is meant.
    #[schema(value_type = String, format = DateTime)]
    pub scheduled_at: Timestamp,
    /// What it came from.
    pub cause: FireCause,
    /// What came of it.
    pub outcome: FireOutcome,
    /// The session that it made; null where it made none.
    #[schema(value_type = Option<String>)]
    pub session_id: Option<SessionId>,
    /// Why it made none; null where it did or may yet.
    pub reason: Option<String>,
    /// When it was decided; null while it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
}

/// What a backfill answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackfillAnswer {
    /// How many fire times there are in that time. What comes of each is in the schedule's runs.
    pub fire_times: usize,
    /// How many of them wait for their turn.
    pub waiting: usize,
}
