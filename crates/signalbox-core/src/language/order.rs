//! The order of a workflow's tasks: ids, references, circles, and what is never reached.

use std::collections::HashSet;

use super::found::Found;
use crate::graph::{EdgeKind, Graph, Links, Order, positions};

/// Names in all `dependsOn` of a definition.
pub(super) const DEPENDENCIES_MAX: usize = 10_000;
/// Tasks of a circle that are named in its fault.
const CIRCLE_NAMED_MAX: usize = 8;

pub(super) fn check(tasks: &[Links<'_>], graph: &Graph, found: &mut Found) {
    let before = found.len();
    duplicates(tasks, found);
    references(tasks, found);
    circles(tasks, graph, found);
    // A reference that leads nowhere leaves others unreached, and is told already.
    if found.len() == before {
        unreached(tasks, graph, found);
    }
    idle_approvals(tasks, graph, found);
}

fn duplicates(tasks: &[Links<'_>], found: &mut Found) {
    let positions = positions(tasks);
    for (position, task) in tasks.iter().enumerate() {
        let first = task.id.and_then(|id| positions.get(id)).copied().unwrap_or(position);
        if first != position {
            found.push((
                format!("/tasks/{position}/taskId"),
                format!("must be unique, and tasks/{first} has it too"),
            ));
        }
    }
}

fn references(tasks: &[Links<'_>], found: &mut Found) {
    let positions = positions(tasks);
    for (position, task) in tasks.iter().enumerate() {
        let mut refer = |key: String, id: &str| {
            let pointer = format!("/tasks/{position}/{key}");
            if task.id == Some(id) {
                found.push((pointer, "must name another task than the one that it stands in".to_owned()));
            } else if !positions.contains_key(id) {
                found.push((pointer, "must name a task of this workflow".to_owned()));
            }
        };
        if let Some(id) = task.next {
            refer("nextTaskId".to_owned(), id);
        }
        if let Some(id) = task.goto {
            refer("onFailure/goto".to_owned(), id);
        }
        for (index, id) in task.depends_on.iter().enumerate().filter(|(_, id)| !id.is_empty()) {
            refer(format!("dependsOn/{index}"), id);
        }
        let mut seen = HashSet::new();
        for (index, id) in task.depends_on.iter().enumerate().filter(|(_, id)| !id.is_empty()) {
            if !seen.insert(*id) {
                found.push((
                    format!("/tasks/{position}/dependsOn/{index}"),
                    format!("names '{id}' a second time"),
                ));
            }
        }
    }
}

/// One task on the way of a walk along the edges.
struct Stage {
    position: usize,
    /// How many of its outgoing edges have been walked.
    walked: usize,
}

/// Walks the edges from each task in the order of the list, and tells of every edge that leads back into the walk.
fn circles(tasks: &[Links<'_>], graph: &Graph, found: &mut Found) {
    let mut seen = vec![false; tasks.len()];
    let mut is_on_way = vec![false; tasks.len()];
    for start in 0..tasks.len() {
        let mut way = Vec::new();
        if !seen[start] {
            seen[start] = true;
            is_on_way[start] = true;
            way.push(Stage { position: start, walked: 0 });
        }
        while let Some(stage) = way.last_mut() {
            let from = stage.position;
            let Some(to) = graph.outgoing(from).get(stage.walked).copied() else {
                is_on_way[from] = false;
                way.pop();
                continue;
            };
            stage.walked += 1;
            if !seen[to] {
                seen[to] = true;
                is_on_way[to] = true;
                way.push(Stage { position: to, walked: 0 });
            } else if is_on_way[to] && to != from {
                tell_circle(tasks, graph, &way, to, found);
            }
        }
    }
}

fn tell_circle(tasks: &[Links<'_>], graph: &Graph, way: &[Stage], to: usize, found: &mut Found) {
    let begin = way.iter().position(|stage| stage.position == to).unwrap_or_default();
    let ids = way[begin..].iter().map(|stage| tasks[stage.position].id.unwrap_or_default());
    let mut names: Vec<&str> = ids.take(CIRCLE_NAMED_MAX).collect();
    if way.len() - begin > CIRCLE_NAMED_MAX {
        names.push("…");
    }
    names.push(tasks[to].id.unwrap_or_default());
    let Some(from) = way.last().map(|stage| stage.position) else { return };
    let message = format!("must not close a circle: {}", names.join(" → "));
    for edge in graph.incoming(to).iter().filter(|edge| edge.from == from) {
        if let Some(pointer) = place_of(tasks, from, to, edge.kind) {
            found.push((pointer, message.clone()));
            return;
        }
    }
}

/// Where the edge from one task to another is written.
fn place_of(tasks: &[Links<'_>], from: usize, to: usize, kind: EdgeKind) -> Option<String> {
    match kind {
        EdgeKind::Arrow => Some(format!("/tasks/{from}/nextTaskId")),
        EdgeKind::Goto => Some(format!("/tasks/{from}/onFailure/goto")),
        EdgeKind::Requires => {
            let index = tasks[to].depends_on.iter().position(|id| tasks[from].id == Some(id))?;
            Some(format!("/tasks/{to}/dependsOn/{index}"))
        }
        EdgeKind::After => None,
    }
}

fn unreached(tasks: &[Links<'_>], graph: &Graph, found: &mut Found) {
    let ([root], Order::Chain) = (graph.roots(), Order::of(tasks)) else { return };
    let reached = graph.descendants(*root);
    for position in (0..tasks.len()).filter(|position| position != root && !reached[*position]) {
        let message = "is never reached: no task before it names it as its nextTaskId; name it there, or say with \
                       dependsOn what it waits for";
        found.push((format!("/tasks/{position}"), message.to_owned()));
    }
}

fn idle_approvals(tasks: &[Links<'_>], graph: &Graph, found: &mut Found) {
    for (position, task) in tasks.iter().enumerate().filter(|(_, task)| task.is_approval) {
        // One that names its next wrongly has been told so.
        if graph.guarded(position).next().is_none() && task.next.is_none() {
            let message = "must be followed by a task: nothing waits for this approval";
            found.push((format!("/tasks/{position}/approve"), message.to_owned()));
        }
    }
}
