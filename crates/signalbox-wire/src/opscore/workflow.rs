//! A workflow's definition, and the rules that its list of tasks must keep as a whole.
//!
//! Ids are unique, every `nextTaskId` names a task, and following them always ends. Whether a capability is
//! offered or an agent is known is not a matter of the definition.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text, or_default};
use crate::time::Timestamp;

/// The most tasks that a definition may have.
pub const TASKS_MAX: usize = 1000;
/// How often a failed task is tried again where its definition does not say.
pub const MAX_RETRIES_DEFAULT: u32 = 3;
/// The most that a definition may ask for.
const MAX_RETRIES_MAX: u64 = 100;

/// A definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Its tasks; without any `nextTaskId`, the order of the list is the order.
    pub tasks: Vec<WorkflowTask>,
}

/// A task of a definition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowTask {
    /// Unique in the definition: letters, digits and `_ . : -`.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:-]+$")]
    pub task_id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any agent that offers this may do it; not together with `agentId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_capability: Option<String>,
    /// Only this agent may do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// What the agent is given; may hold `${input.x}` and `${tasks.<taskId>.result.x}`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// The task that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_task_id: Option<String>,
    /// How often it is tried again, 0 to 100; 3 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100)]
    pub max_retries: Option<u32>,
}

/// A definition as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Its tasks.
    pub tasks: Vec<WorkflowTask>,
    /// When this revision was kept.
    #[serde(rename = "createdAt")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl Body for WorkflowBody {
    fn check(value: &Value, faults: &mut Faults) {
        Self::check_at(faults, "", value);
    }
}

impl WorkflowBody {
    pub(super) fn check_at(faults: &mut Faults, pointer: &str, value: &Value) {
        let Some(mut fields) = faults.object(pointer, value) else { return };
        fields.required_string("id", Text::SLUG);
        fields.required_string("name", Text::NAME);
        fields.optional_string("description", Text::DESCRIPTION);
        if !matches!(fields.optional("version"), Some(Value::Number(_))) {
            fields.optional_string("version", Text::VERSION);
        }
        if let Some(tasks) = fields.required_array("tasks", TASKS_MAX, check_task) {
            check_links(fields.faults(), &format!("{pointer}/tasks"), tasks);
        }
    }
}

fn check_task(faults: &mut Faults, pointer: &str, value: &Value) {
    let Some(mut fields) = faults.object(pointer, value) else { return };
    fields.required_string("taskId", Text::SLUG);
    fields.optional_string("name", Text::NAME);
    fields.optional_string("agentCapability", Text::NAME);
    fields.optional_string("agentId", Text::ID);
    if fields.optional("agentCapability").is_some() && fields.optional("agentId").is_some() {
        fields.fault("agentCapability", "must not be given together with agentId; name one of the two");
    }
    fields.optional_object("parameters");
    fields.optional_string("nextTaskId", Text::SLUG);
    fields.optional_integer("maxRetries", 0..=MAX_RETRIES_MAX);
}

fn check_links(faults: &mut Faults, pointer: &str, tasks: &[Value]) {
    let text = |task: &'_ Value, name: &str| task.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut places = HashMap::with_capacity(tasks.len());
    for (index, task) in tasks.iter().enumerate() {
        let Some(id) = text(task, "taskId") else { continue };
        if let Some(first) = places.get(&id) {
            faults.add(
                format!("{pointer}/{index}/taskId"),
                format!("must be unique, and tasks/{first} has it too"),
            );
        } else {
            places.insert(id, index);
        }
    }
    let mut next = vec![None; tasks.len()];
    for (index, task) in tasks.iter().enumerate() {
        let Some(id) = text(task, "nextTaskId") else { continue };
        match places.get(&id) {
            Some(place) => next[index] = Some(*place),
            None => faults.add(format!("{pointer}/{index}/nextTaskId"), "must name a task of this workflow"),
        }
    }
    for closing in cycles(&next) {
        faults.add(format!("{pointer}/{closing}/nextTaskId"), "must not lead back to a task before it");
    }
}

/// Of every cycle, the place whose link closes it when it is walked from the earliest start.
fn cycles(next: &[Option<usize>]) -> Vec<usize> {
    let mut closing = Vec::new();
    let mut walked_from = vec![None; next.len()];
    for start in 0..next.len() {
        let mut place = start;
        while walked_from[place].is_none() {
            walked_from[place] = Some(start);
            let Some(following) = next[place] else { break };
            if walked_from[following] == Some(start) {
                closing.push(place);
            }
            place = following;
        }
    }
    closing
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::body::tests::faults_of;
    use crate::body::{Fault, parse};

    fn tasks_faults(tasks: Value) -> Vec<String> {
        faults_of::<WorkflowBody>(&json!({"id": "w", "name": "W", "tasks": tasks}).to_string())
    }

    #[test]
    fn a_definition_is_read_with_its_defaults() {
        let body = parse::<WorkflowBody>(
            br#"{"id":"a:b.c-d_1","name":"W","version":1.5,"tasks":[{"taskId":"t","parameters":null}]}"#,
        )
        .unwrap();
        assert_eq!(body.version.as_deref(), Some("1.5"));
        assert_eq!(body.tasks, [WorkflowTask { task_id: "t".to_owned(), ..WorkflowTask::default() }]);
        assert_eq!(tasks_faults(json!([])), Vec::<String>::new());
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let body = json!({"id": "a b", "version": true, "tasks": [
            {"taskId": "x", "agentId": "a", "agentCapability": "c", "maxRetries": 101, "parameters": []},
            {"taskId": "x", "nextTaskId": "gone"}, 5, {"nextTaskId": "x", "maxRetries": -1}]});
        let expected = [
            "/id must hold only letters, digits and _ . : -",
            "/name is required",
            "/version must be a string, not a boolean",
            "/tasks/0/agentCapability must not be given together with agentId; name one of the two",
            "/tasks/0/parameters must be an object, not an array",
            "/tasks/0/maxRetries must be a whole number from 0 to 100",
            "/tasks/2 must be an object, not a number",
            "/tasks/3/taskId is required",
            "/tasks/3/maxRetries must be a whole number from 0 to 100",
            "/tasks/1/taskId must be unique, and tasks/0 has it too",
            "/tasks/1/nextTaskId must name a task of this workflow",
        ];
        assert_eq!(faults_of::<WorkflowBody>(&body.to_string()), expected);
    }

    #[test]
    fn each_cycle_is_told_once_where_it_closes() {
        let task = |id: &str, next: &str| json!({"taskId": id, "nextTaskId": next});
        let back = "must not lead back to a task before it";
        assert_eq!(tasks_faults(json!([task("a", "a")])), [format!("/tasks/0/nextTaskId {back}")]);
        let two = json!([
            task("a", "b"),
            task("b", "c"),
            task("c", "b"),
            task("d", "e"),
            task("e", "d"),
            task("f", "a")
        ]);
        let expected = [format!("/tasks/2/nextTaskId {back}"), format!("/tasks/4/nextTaskId {back}")];
        assert_eq!(tasks_faults(two), expected);
        assert_eq!(
            tasks_faults(json!([task("a", "c"), task("b", "c"), {"taskId": "c"}])),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_number_of_tasks_is_bounded() {
        let tasks: Vec<_> = (0..=TASKS_MAX).map(|index| json!({"taskId": index.to_string()})).collect();
        assert_eq!(tasks_faults(json!(tasks)), ["/tasks must have at most 1000 items, not 1001"]);
        assert_eq!(tasks_faults(json!(tasks[1..])), Vec::<String>::new());
    }

    #[test]
    fn a_definition_made_in_code_is_checked_alike() {
        let body = WorkflowBody {
            id: "w".to_owned(),
            name: String::new(),
            description: None,
            version: None,
            tasks: Vec::new(),
        };
        let mut faults = Faults::default();
        body.validate(&mut faults);
        assert_eq!(faults.into_vec(), [Fault::new("/name", "must not be empty")]);
    }

    proptest! {
        #[test]
        fn a_chain_without_a_closing_link_ends(next in prop::collection::vec(prop::option::of(0_usize..8), 8)) {
            let mut open = next.clone();
            let closing = cycles(&next);
            for place in &closing {
                open[*place] = None;
            }
            for start in 0..open.len() {
                let mut place = start;
                let steps = std::iter::from_fn(|| { place = open[place]?; Some(()) }).take(9).count();
                prop_assert!(steps < 9, "{next:?} {closing:?}");
            }
        }
    }
}
