//! The revisions of a workflow's definition, and what differs between two.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::time::Timestamp;

/// A revision in a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowVersion {
    /// Which.
    pub revision: u32,
    /// Whether new sessions start with it.
    pub is_current: bool,
    /// The name that it gives the workflow.
    pub name: String,
    /// Its author's version of it.
    pub version: Option<String>,
    /// How many tasks it has.
    pub tasks: usize,
    /// When it was kept.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What has to be done to one revision to get another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The workflow.
    pub workflow_id: String,
    /// The revision to start from.
    pub from: u32,
    /// The revision to come to.
    pub to: u32,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Whether there is more than is listed.
    pub more: bool,
}

/// One place that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// What is done there.
    pub op: Change,
    /// Where: a JSON pointer, into the second revision for what is the same thing in both or is added, into the
    /// first for what is removed.
    pub path: String,
    /// What stood there; absent where it is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What stands there; absent where it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// What is done at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Something new.
    Add,
    /// Something gone.
    Remove,
    /// Something else.
    Replace,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}
