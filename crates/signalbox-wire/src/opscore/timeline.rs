//! What became of a session's tasks, span by span.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SessionStatus;
use crate::id::{AgentId, SessionId, WorkflowId};
use crate::time::Timestamp;

/// A session's tasks in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineView {
    /// The session.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// The workflow that it is a run of.
    #[schema(value_type = String)]
    pub workflow_id: WorkflowId,
    /// How far it is.
    pub status: SessionStatus,
    /// When it was triggered.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended; null before.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Its tasks, in the order of the definition.
    pub tasks: Vec<TaskTimeline>,
    /// Whether its whole history was read: not where retention has removed a part of it, or where it is longer than
    /// is read for one answer.
    pub is_complete: bool,
}

/// A task in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskTimeline {
    /// Its id in the definition.
    pub task_id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its spans, one after the other.
    pub spans: Vec<SpanView>,
}

/// A time in which one thing was the matter with a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpanView {
    /// What was.
    pub kind: SpanKind,
    /// From when on.
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// Until when; null while it is.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub end: Option<Timestamp>,
    /// The attempt: the one under way, or the one that was waited for.
    pub attempt: u32,
    /// The agent that had it; null while none did.
    #[schema(value_type = Option<String>)]
    pub agent_id: Option<AgentId>,
    /// What ended it, in a word: dispatched, running, completed, retrying, returned, failed, cancelled, paused, or
    /// what else the history says; null while it is.
    pub outcome: Option<String>,
}

/// What can be the matter with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SpanKind {
    /// Its turn had come, and it waited: for an agent, or for what it is there to wait for.
    Waiting,
    /// It was with an agent that had not said that it works on it.
    Dispatched,
    /// An agent worked on it, or its instances were done.
    Running,
    /// An attempt had failed, and the next one was not due.
    RetryWait,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}
