//! What expressions can see: of a session that runs, and of a definition before it runs.

use serde_json::{Map, Value};

use crate::payload::Payload;
use crate::steps::Steps;

/// What expressions can see.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// What the session was started with.
    pub input: &'a Map<String, Value>,
    /// The tasks of the session.
    pub tasks: &'a dyn Tasks,
    /// What the instance of a task with `forEach` is for.
    pub item: Option<&'a Value>,
    /// Which of the items it is, from 0.
    pub index: Option<u64>,
    /// The session itself: an object with `id`, `workflowId` and `startedAt`.
    pub session: Option<&'a dyn SessionFacts>,
    /// What references stand for.
    pub payloads: &'a dyn Payloads,
}

/// A session as expressions see it.
pub trait SessionFacts {
    /// An object with `id`, `workflowId` and `startedAt`.
    fn seen(&self) -> &Value;
}

/// Finds payloads by their names.
pub trait Payloads {
    /// The payload with this name; `Some(None)` where it is not kept, `None` where that is not known yet.
    fn payload(&self, sha256: &str) -> Option<Option<&Payload>>;

    /// The steps that the decision may still take whose expressions these are.
    fn steps(&self) -> Option<&Steps> {
        None
    }
}

/// What expressions can see of a task.
#[derive(Debug, Clone, Copy)]
pub struct TaskFacts<'a> {
    /// The name of its status.
    pub status: &'static str,
    /// Whether it has come to an end; before that it has no result to see.
    pub is_settled: bool,
    /// What came of it.
    pub result: Option<&'a Value>,
    /// Why it failed.
    pub error: Option<&'a str>,
}

/// Finds the tasks of a session by their ids in the definition.
pub trait Tasks {
    /// What can be seen of the task `step`.
    fn facts(&self, step: &str) -> Option<TaskFacts<'_>>;
    /// The ids of all tasks.
    fn steps(&self) -> Vec<&str>;
}

/// Whether an expression can see a task, as far as a definition tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The task is certain to have settled before.
    Seen,
    /// There is no such task.
    Unknown,
    /// There is, but it may not have settled.
    NotBefore,
}

/// What is known where an expression stands in a definition.
#[derive(Clone, Copy)]
pub struct KnownNames<'a> {
    /// Tells of a task, by its id, whether it can be seen.
    pub task: &'a dyn Fn(&str) -> Sight,
    /// Whether there are `item` and `index`.
    pub has_item: bool,
    /// Whether there is a session already.
    pub has_session: bool,
}
