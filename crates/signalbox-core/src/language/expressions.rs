//! The expressions of a workflow: that each can be read, and sees what it speaks of.
//!
//! An expression in a task sees the results of those tasks that have settled for certain before it starts. Where the
//! task's parameters are asked approval for, they have to be known by then already.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::Value;

use super::found::{FOUND_MAX, Found};
use crate::expression::{self, KnownNames, Sight, Unresolved};
use crate::graph::{Edge, EdgeKind, Graph, Links, Order, positions};

/// Lines that a fault says to add, at most.
const ADDED_MAX: usize = 3;

pub(super) fn check(
    workflow: &Value,
    tasks: &[Value],
    links: &[Links<'_>],
    graph: &Graph,
    found: &mut Found,
) {
    let positions = positions(links);
    let mut look = Look {
        positions: &|id| positions.get(id).copied(),
        links,
        at: None,
        seen: Seen::None,
        has_item: false,
        found,
    };
    look.key(workflow.pointer("/concurrency/key"), "/concurrency/key");
    let before: Vec<Vec<bool>> = (0..tasks.len()).map(|position| graph.ancestors(position)).collect();
    for (position, task) in tasks.iter().enumerate() {
        let pointer = format!("/tasks/{position}");
        look.at = Some(position);
        look.seen = Seen::Some(before[position].clone());
        look.task(task, &pointer);
        if let Some(seen) = seen_at_approvals(links, graph, &before, position) {
            look.seen = Seen::Some(seen);
            look.at_approvals(task, &pointer);
        }
        let mut seen = before[position].clone();
        // What undoes a task sees what came of it.
        seen[position] = true;
        look.seen = Seen::Some(seen);
        look.has_item = has_items(task);
        look.template(task.pointer("/compensate/parameters"), &format!("{pointer}/compensate/parameters"));
    }
    look.at = None;
    look.seen = Seen::All;
    look.has_item = false;
    look.template(workflow.get("output"), "/output");
}

/// What has settled when the approvals are asked for that guard the task at `position`; `None` when none does.
fn seen_at_approvals(
    links: &[Links<'_>],
    graph: &Graph,
    before: &[Vec<bool>],
    position: usize,
) -> Option<Vec<bool>> {
    let guards = |edge: &&Edge| {
        links[edge.from].is_approval && matches!(edge.kind, EdgeKind::Requires | EdgeKind::Arrow)
    };
    let approvals = graph.incoming(position).iter().filter(guards).map(|edge| edge.from);
    approvals.map(|from| before[from].clone()).reduce(|mut seen, other| {
        seen.iter_mut().zip(other).for_each(|(seen, other)| *seen &= other);
        seen
    })
}

fn has_items(task: &Value) -> bool {
    task.get("forEach").is_some_and(|list| !list.is_null())
}

/// What tasks an expression sees.
enum Seen {
    /// None: no task has started.
    None,
    /// All: no task is open any more.
    All,
    /// Those of which this says so.
    Some(Vec<bool>),
}

/// A look at expressions that stand at one place.
struct Look<'a> {
    positions: &'a dyn Fn(&str) -> Option<usize>,
    links: &'a [Links<'a>],
    /// The task that they stand in.
    at: Option<usize>,
    seen: Seen,
    has_item: bool,
    found: &'a mut Found,
}

impl Look<'_> {
    /// All that is looked at when a task starts.
    fn task(&mut self, task: &Value, pointer: &str) {
        self.has_item = false;
        self.template(task.pointer("/approve/what"), &format!("{pointer}/approve/what"));
        self.template(task.get("sleep"), &format!("{pointer}/sleep"));
        self.key(task.get("forEach"), &format!("{pointer}/forEach"));
        self.has_item = has_items(task);
        self.key(task.get("when"), &format!("{pointer}/when"));
        self.template(task.get("parameters"), &format!("{pointer}/parameters"));
    }

    /// What a task is given, looked at when it is asked approval for: what is seen in time for the task may not be
    /// for that. A place that has its fault already is not told another.
    fn at_approvals(&mut self, task: &Value, pointer: &str) {
        let mut told = Found::new();
        std::mem::swap(self.found, &mut told);
        self.has_item = false;
        self.key(task.get("forEach"), &format!("{pointer}/forEach"));
        self.has_item = has_items(task);
        self.template(task.get("parameters"), &format!("{pointer}/parameters"));
        std::mem::swap(self.found, &mut told);
        let known: HashSet<String> = self.found.iter().map(|(pointer, _)| pointer.clone()).collect();
        let message = "must not need a task that has not settled when its approval is asked for";
        let new = told.into_iter().map(|(pointer, _)| pointer).filter(|pointer| !known.contains(pointer));
        self.found.extend(new.map(|pointer| (pointer, message.to_owned())));
    }

    /// An expression by itself.
    fn key(&mut self, value: Option<&Value>, pointer: &str) {
        let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) else { return };
        let told = self.told(|known| expression::expression_faults(text, known));
        self.tell(pointer, told);
    }

    /// Every text in a value, each at its own place.
    fn template(&mut self, value: Option<&Value>, pointer: &str) {
        if self.found.len() >= FOUND_MAX {
            return;
        }
        match value {
            Some(text @ Value::String(_)) => {
                let told = self.told(|known| expression::faults(text, known));
                self.tell(pointer, told);
            }
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.template(Some(item), &format!("{pointer}/{index}"));
                }
            }
            Some(Value::Object(fields)) => {
                for (name, field) in fields {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    self.template(Some(field), &format!("{pointer}/{name}"));
                }
            }
            _ => {}
        }
    }

    fn told(&self, check: impl Fn(&KnownNames<'_>) -> Vec<Unresolved>) -> Vec<Unresolved> {
        let not_before = RefCell::new(Vec::new());
        let sight = |id: &str| match ((self.positions)(id), &self.seen) {
            (None, _) => Sight::Unknown,
            (Some(_), Seen::All) => Sight::Seen,
            (Some(position), Seen::Some(seen)) if seen[position] => Sight::Seen,
            (Some(position), _) => {
                not_before.borrow_mut().push(position);
                Sight::NotBefore
            }
        };
        // Whatever sees no task comes before the session.
        let has_session = !matches!(self.seen, Seen::None);
        let mut told = check(&KnownNames { task: &sight, has_item: self.has_item, has_session });
        for fault in told.iter_mut().filter(|fault| fault.reason == expression::TASK_NOT_BEFORE) {
            let not_before = not_before.borrow();
            let is_named =
                |position: &&usize| self.links[**position].id.is_some_and(|id| fault.expression.contains(id));
            if let Some(why) = not_before.iter().find(is_named).and_then(|named| self.out_of_order(*named)) {
                fault.reason = why;
            }
        }
        told
    }

    /// Why the task at `named` is not certain to come first, where it stands first in the list and the list is not
    /// the order.
    fn out_of_order(&self, named: usize) -> Option<String> {
        let at = self.at.filter(|at| named < *at && Order::of(self.links) != Order::List)?;
        let key = |task: &Links<'_>| match task {
            Links { goto: Some(_), .. } => Some("onFailure.goto"),
            Links { next: Some(_), .. } => Some("nextTaskId"),
            Links { depends_on, .. } if !depends_on.is_empty() => Some("dependsOn"),
            _ => None,
        };
        let (cause, key) = self.links.iter().find_map(|task| Some((task.id?, key(task)?)))?;
        let (first, here) = (self.links[named].id?, self.links[at].id?);
        // The list becomes the order again, from the one to the other, where nothing says otherwise.
        let pairs = || self.links[named..=at].windows(2);
        let is_so = pairs().all(|pair| pair[0].next.is_none() || pair[0].next == pair[1].id);
        let missing: Vec<String> = pairs()
            .filter(|pair| pair[0].next.is_none())
            .filter_map(|pair| Some(format!("`nextTaskId: {}` to '{}'", pair[1].id?, pair[0].id?)))
            .collect();
        let cure = match missing.len() {
            1..=ADDED_MAX if is_so => missing.join(", "),
            _ => format!("`dependsOn: [{first}]` to '{here}'"),
        };
        Some(format!(
            "names a task that is not certain to have settled before; since '{cause}' has {key}, the order of the \
             list counts no more: add {cure}"
        ))
    }

    fn tell(&mut self, pointer: &str, told: Vec<Unresolved>) {
        let told = told.into_iter().map(|Unresolved { expression, reason, .. }| {
            (pointer.to_owned(), format!("holds ${{{expression}}}, which {reason}"))
        });
        self.found.extend(told);
    }
}
