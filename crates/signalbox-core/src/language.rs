//! Whether a workflow holds together as a whole: its order, its references, its expressions.
//!
//! What is looked at is the definition as it was written, so that every fault has the place where its author finds
//! it. Parts that are ill-shaped are passed over: that they are is told by the check of the shape, beside this one.

mod expressions;
mod found;
mod order;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::graph::{Graph, Links};

/// Tasks up to which a definition is looked at; more are refused for their number.
const TASKS_MAX: usize = 1_000;

/// Everything that keeps `workflow` from holding together: a JSON pointer into it, and what is wrong there, to be
/// read after the pointer.
#[must_use]
pub fn faults(workflow: &Value) -> Vec<(String, String)> {
    let tasks = workflow.get("tasks").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if tasks.len() > TASKS_MAX {
        return Vec::new();
    }
    let links: Vec<Links<'_>> = tasks.iter().map(links).collect();
    let named: usize = links.iter().map(|task| task.depends_on.len()).sum();
    if named > order::DEPENDENCIES_MAX {
        let most = order::DEPENDENCIES_MAX;
        return vec![(
            "/tasks".to_owned(),
            format!("must name at most {most} tasks in dependsOn, not {named}"),
        )];
    }
    let graph = Graph::linked(&links);
    let mut found = Vec::new();
    order::check(&links, &graph, &mut found);
    expressions::check(workflow, tasks, &links, &graph, &mut found);
    found
}

fn links(task: &Value) -> Links<'_> {
    let text = |name: &str| task.get(name).and_then(Value::as_str);
    let depends_on = task.get("dependsOn").and_then(Value::as_array).into_iter().flatten();
    Links {
        id: text("taskId"),
        next: text("nextTaskId"),
        // One that is no id keeps its place in the list, and names nothing.
        depends_on: depends_on.map(|id| id.as_str().unwrap_or_default()).collect(),
        goto: task.pointer("/onFailure/goto").and_then(Value::as_str),
        is_approval: task.get("approve").is_some_and(Value::is_object),
    }
}
