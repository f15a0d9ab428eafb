//! A workflow's definition as it is written and as it is shown.
//!
//! Whether it holds together as a whole is the engine's to say; whether a capability is offered, an agent known or
//! a tool registered is not a matter of the definition.

mod check;
mod task;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use self::check::TASKS_MAX;
pub use self::task::{ApproveRule, CompensateBody, OnFailure, RetryBody, WaitRule, WorkflowTask};
use crate::body::{Body, Fault, Faults, or_default};
use crate::duration::Period;
use crate::time::Timestamp;

/// How often a failed task is tried again where its definition does not say.
pub const MAX_RETRIES_DEFAULT: u32 = 3;

/// A definition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowBody {
    /// Unique in the tenant: letters, digits and `_ . : -`.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:-]+$", example = "summarise")]
    pub id: String,
    /// Its name.
    #[schema(min_length = 1, max_length = 256)]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub description: Option<String>,
    /// Its author's version of it; a number is taken as its text.
    #[serde(default, deserialize_with = "text_or_number", skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub version: Option<String>,
    /// The JSON Schema of a session's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input: Option<Value>,
    /// A session's result, with `${…}` in it; the result of the task that ended last where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// How long a session may take from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// Tasks of one session that may be with somebody at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub max_parallel: Option<u32>,
    /// Which sessions may not run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyBody>,
    /// Who is told when a session is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyRule>,
    /// Its tasks; without any `nextTaskId`, `dependsOn` or `goto`, the order of the list is the order.
    #[schema(max_items = 1000)]
    pub tasks: Vec<WorkflowTask>,
}

/// Which sessions of a workflow may not run at the same time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConcurrencyBody {
    /// An expression; sessions with the same value of it count together, all of the workflow where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub key: Option<String>,
    /// How many of them may run at once; 1 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// What becomes of one that comes when they do; `queue` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_busy: Option<OnBusy>,
}

/// What becomes of a session that comes while as many run as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBusy {
    /// It waits for its turn.
    Queue,
    /// It is refused.
    Reject,
    /// It takes the place of those before it, which are cancelled.
    Replace,
}

/// Who is told, by a signed webhook, when a session is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotifyRule {
    /// Where the webhook goes: an http or https URL.
    #[schema(max_length = 2048)]
    pub url: String,
    /// Which ends are told of: `completed`, `failed`, `cancelled`; all where absent or empty.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 3)]
    pub on: Vec<String>,
}

/// A definition as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its author's version of it.
    pub version: Option<String>,
    /// Counts its changes, from 1.
    pub revision: u32,
    /// The JSON Schema of a session's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input: Option<Value>,
    /// A session's result, with `${…}` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// How long a session may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// Tasks of one session that may be with somebody at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// Which sessions may not run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyBody>,
    /// Who is told when a session is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyRule>,
    /// Its tasks.
    pub tasks: Vec<WorkflowTask>,
    /// When this revision was kept.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// In the answer to a definition that was sent: fields of it that are not known, and were ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Fault>,
}

impl Body for WorkflowBody {
    fn check(value: &Value, faults: &mut Faults) {
        check::workflow(faults, "", value);
    }
}

impl WorkflowBody {
    pub(super) fn check_at(faults: &mut Faults, pointer: &str, value: &Value) {
        check::workflow(faults, pointer, value);
    }
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
    })
}
