//! What follows what in a definition: its tasks as a graph over their positions.
//!
//! Edges are what the definition says: `next` (an arrow), `depends_on` (a requirement), the `goto` of a failure.
//! With none of them anywhere the list is the order. A task waits until all tasks at its incoming edges have
//! settled. An approval also waits for everything else that the tasks it guards need, so that what is agreed to
//! is known: those edges ([`EdgeKind::After`]) decide nothing else, and are left out where they would close a
//! circle. A definition that is faulty has a graph too: what names nothing has no edge, and circles stay.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::definition::{Kind, OnFailure, Step};

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The position of the task at the other end.
    pub from: usize,
    /// What has to come of that task.
    pub kind: EdgeKind,
}

/// What an edge means to the task that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeKind {
    /// The other must have gone well.
    Requires,
    /// The other must have settled; the arrow is taken when it went well.
    Arrow,
    /// The other must have settled; the arrow is taken when it failed.
    Goto,
    /// The other must have settled, whatever came of it.
    After,
}

/// What follows what, by position in the list of tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    incoming: Vec<Vec<Edge>>,
    outgoing: Vec<Vec<usize>>,
    roots: Vec<usize>,
}

/// What one task says of others, by their ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) next: Option<&'a str>,
    pub(crate) depends_on: Vec<&'a str>,
    pub(crate) goto: Option<&'a str>,
    pub(crate) is_approval: bool,
}

impl Graph {
    /// The graph of these tasks.
    #[must_use]
    pub fn of(steps: &[Step]) -> Self {
        let links = steps.iter().map(|step| Links {
            id: Some(&step.id),
            next: step.next.as_deref(),
            depends_on: step.depends_on.iter().map(String::as_str).collect(),
            goto: match &step.rules.on_failure {
                OnFailure::Goto(task) => Some(task),
                OnFailure::Fail | OnFailure::Continue => None,
            },
            is_approval: matches!(step.kind, Kind::Approve { .. }),
        });
        Self::linked(&links.collect::<Vec<_>>())
    }

    pub(crate) fn linked(tasks: &[Links<'_>]) -> Self {
        let mut graph = Self {
            incoming: vec![Vec::new(); tasks.len()],
            outgoing: vec![Vec::new(); tasks.len()],
            roots: Vec::new(),
        };
        let order = Order::of(tasks);
        match order {
            Order::List => {
                (1..tasks.len()).for_each(|to| graph.join(to - 1, to, EdgeKind::Arrow));
            }
            Order::Chain | Order::Free => graph.join_named(tasks),
        }
        graph.hold_back_approvals(tasks);
        let has_none = |position: &usize| graph.incoming[*position].is_empty();
        let roots = (0..tasks.len()).filter(has_none);
        // Chains begin at one place: what stands beside the first of them is a fault of the definition.
        graph.roots = if order == Order::Free { roots.collect() } else { roots.take(1).collect() };
        graph
    }

    /// What the task at `position` waits for; nothing where it starts at once.
    #[must_use]
    pub fn incoming(&self, position: usize) -> &[Edge] {
        self.incoming.get(position).map_or(&[], Vec::as_slice)
    }

    /// The tasks that wait for the one at `position`, each once.
    #[must_use]
    pub fn outgoing(&self, position: usize) -> &[usize] {
        self.outgoing.get(position).map_or(&[], Vec::as_slice)
    }

    /// The tasks that start at once.
    #[must_use]
    pub fn roots(&self) -> &[usize] {
        &self.roots
    }

    /// The tasks that go on from the one at `position` when it goes well: those that an approval guards.
    pub fn guarded(&self, position: usize) -> impl Iterator<Item = usize> + '_ {
        let goes_on = move |edge: &Edge| {
            edge.from == position && matches!(edge.kind, EdgeKind::Requires | EdgeKind::Arrow)
        };
        self.outgoing(position).iter().copied().filter(move |to| self.incoming(*to).iter().any(goes_on))
    }

    /// For each task whether it has settled for certain before the one at `position` starts.
    #[must_use]
    pub fn ancestors(&self, position: usize) -> Vec<bool> {
        self.reached(position, |from| self.incoming(from).iter().map(|edge| edge.from))
    }

    /// For each task whether it can only start after the one at `position` has settled.
    #[must_use]
    pub fn descendants(&self, position: usize) -> Vec<bool> {
        self.reached(position, |from| self.outgoing(from).iter().copied())
    }

    fn reached<I: Iterator<Item = usize>>(&self, start: usize, follow: impl Fn(usize) -> I) -> Vec<bool> {
        let mut reached = vec![false; self.incoming.len()];
        let mut open = vec![start];
        while let Some(position) = open.pop() {
            for other in follow(position) {
                if !reached[other] {
                    reached[other] = true;
                    open.push(other);
                }
            }
        }
        reached
    }

    fn join_named(&mut self, tasks: &[Links<'_>]) {
        let positions = positions(tasks);
        let position_of = |id: &str| positions.get(id).copied();
        for (position, task) in tasks.iter().enumerate() {
            for from in task.depends_on.iter().filter_map(|id| position_of(id)) {
                self.join(from, position, EdgeKind::Requires);
            }
            if let Some(to) = task.next.and_then(position_of) {
                self.join(position, to, EdgeKind::Arrow);
            }
            if let Some(to) = task.goto.and_then(position_of) {
                self.join(position, to, EdgeKind::Goto);
            }
        }
        self.outgoing.iter_mut().for_each(|following| {
            following.sort_unstable();
            following.dedup();
        });
        self.incoming.iter_mut().for_each(|edges| {
            edges.sort_unstable_by_key(|edge| (edge.from, edge.kind));
            edges.dedup();
        });
    }

    fn join(&mut self, from: usize, to: usize, kind: EdgeKind) {
        self.incoming[to].push(Edge { from, kind });
        self.outgoing[from].push(to);
    }

    /// Lets each approval wait for what else its tasks need. Of two that guard the same task, the one that stands
    /// later in the list is asked for later.
    fn hold_back_approvals(&mut self, tasks: &[Links<'_>]) {
        let is_approval = |position: usize| tasks[position].is_approval;
        for position in (0..tasks.len()).filter(|position| is_approval(*position)) {
            let needed = self.guarded(position).flat_map(|task| self.incoming(task)).map(|edge| edge.from);
            let mut needed: Vec<usize> =
                needed.filter(|from| !is_approval(*from) || *from < position).collect();
            // Approvals first, the latest of them before the others: it waits for most of the rest already.
            needed.sort_unstable_by_key(|from| (!is_approval(*from), std::cmp::Reverse(*from)));
            let mut is_settled = self.ancestors(position);
            is_settled[position] = true;
            let follows = self.descendants(position);
            for from in needed {
                if is_settled[from] || follows[from] {
                    continue;
                }
                self.join(from, position, EdgeKind::After);
                is_settled[from] = true;
                if is_approval(from) {
                    let before = self.ancestors(from);
                    is_settled.iter_mut().zip(before).for_each(|(settled, before)| *settled |= before);
                }
            }
        }
    }
}

/// What the order of the tasks is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The list: nothing else is said.
    List,
    /// `next` alone.
    Chain,
    /// `depends_on` or `goto`, with or without `next`.
    Free,
}

impl Order {
    pub(crate) fn of(tasks: &[Links<'_>]) -> Self {
        if tasks.iter().any(|task| !task.depends_on.is_empty() || task.goto.is_some()) {
            Self::Free
        } else if tasks.iter().any(|task| task.next.is_some()) {
            Self::Chain
        } else {
            Self::List
        }
    }
}

/// Where each id stands; the first place counts.
pub(crate) fn positions<'a>(tasks: &[Links<'a>]) -> HashMap<&'a str, usize> {
    let mut positions = HashMap::with_capacity(tasks.len());
    for (position, task) in tasks.iter().enumerate() {
        if let Some(id) = task.id {
            positions.entry(id).or_insert(position);
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::EdgeKind::{After, Arrow, Goto, Requires};
    use super::*;

    /// Tasks as `id`, then words: `>next`, `<required`, `!goto`, `?` for an approval.
    fn graph(tasks: &[&str]) -> Graph {
        let step = |text: &&str| {
            let mut step = Step::default();
            for word in text.split(' ') {
                match word.split_at(1) {
                    (">", next) => step.next = Some(next.into()),
                    ("<", id) => step.depends_on.push(id.into()),
                    ("!", id) => step.rules.on_failure = OnFailure::Goto(id.into()),
                    ("?", _) => step.kind = Kind::Approve { who: None, what: None },
                    _ => step.id = word.into(),
                }
            }
            step
        };
        Graph::of(&tasks.iter().map(step).collect::<Vec<_>>())
    }

    fn edges(graph: &Graph, position: usize) -> Vec<(usize, EdgeKind)> {
        graph.incoming(position).iter().map(|edge| (edge.from, edge.kind)).collect()
    }

    #[test]
    fn the_list_is_the_order_where_nothing_else_is_said() {
        let list = graph(&["a", "b", "c"]);
        assert_eq!(list.roots(), [0]);
        assert_eq!((edges(&list, 1), edges(&list, 2)), (vec![(0, Arrow)], vec![(1, Arrow)]));
        assert_eq!((list.outgoing(0), list.outgoing(2)), (&[1][..], &[][..]));
        assert_eq!(graph(&[]).roots(), [0; 0]);
        assert_eq!((list.incoming(9), list.outgoing(9)), (&[][..], &[][..]));
    }

    #[test]
    fn arrows_make_a_chain_that_begins_where_no_arrow_leads() {
        let chain = graph(&["c", "a >b", "b >c"]);
        assert_eq!(chain.roots(), [1]);
        assert_eq!((edges(&chain, 2), edges(&chain, 0)), (vec![(1, Arrow)], vec![(2, Arrow)]));
        assert_eq!(graph(&["a >b", "b", "stray"]).roots(), [0], "what is not reached does not start");
    }

    #[test]
    fn requirements_and_gotos_make_a_graph_that_begins_at_many_places() {
        let free = graph(&["a", "b !mend", "c <a <b <a", "mend", "d <c >mend"]);
        assert_eq!(free.roots(), [0, 1]);
        assert_eq!(edges(&free, 2), [(0, Requires), (1, Requires)]);
        assert_eq!(edges(&free, 3), [(1, Goto), (4, Arrow)]);
        assert_eq!(free.outgoing(1), [2, 3]);
        assert_eq!(free.ancestors(3), [true, true, true, false, true]);
        assert_eq!(free.descendants(0), [false, false, true, true, true]);
        assert_eq!(edges(&graph(&["a >b <b", "b"]), 0), [(1, Requires)], "a circle stays");
    }

    #[test]
    fn a_link_to_nothing_is_no_edge_and_the_first_of_two_alike_is_meant() {
        let odd = graph(&["a >gone <nobody !no", "b >a", "b"]);
        assert_eq!((edges(&odd, 0), odd.outgoing(0)), (vec![(1, Arrow)], &[][..]));
    }

    #[test]
    fn an_approval_waits_for_what_else_its_tasks_need() {
        let guarded = graph(&["a", "ok ?", "b", "do <a <ok <b", "c"]);
        assert_eq!(edges(&guarded, 1), [(2, After), (0, After)]);
        assert_eq!(guarded.roots(), [0, 2, 4]);
        assert_eq!((guarded.outgoing(0), guarded.guarded(1).collect::<Vec<_>>()), (&[3, 1][..], vec![3]));
    }

    #[test]
    fn an_approval_waits_neither_for_what_follows_it_nor_twice_nor_for_where_it_goes_when_refused() {
        let inner = graph(&["a", "ok ? <a", "then <ok <a", "last <ok <then <a"]);
        assert_eq!(edges(&inner, 1), [(0, Requires)]);
        let refused = graph(&["x", "ok ? !mend >do", "do", "mend <x"]);
        assert_eq!(edges(&refused, 1), []);
        assert_eq!(refused.guarded(1).collect::<Vec<_>>(), [2]);
        let chain = graph(&["a", "ok ?", "do"]);
        assert_eq!((edges(&chain, 1), chain.guarded(1).collect::<Vec<_>>()), (vec![(0, Arrow)], vec![2]));
    }

    #[test]
    fn approvals_of_one_task_are_asked_for_in_their_order() {
        let two = graph(&["do <two <one", "one ?", "two ?"]);
        assert_eq!((edges(&two, 1), edges(&two, 2)), (vec![], vec![(1, After)]));
        let crossed = graph(&["p ?", "q ?", "after-p <p", "after-q <q", "x <p <after-q", "y <q <after-p"]);
        assert_eq!((edges(&crossed, 0), edges(&crossed, 1)), (vec![(3, After)], vec![]), "no circle");
    }

    proptest! {
        #[test]
        fn what_has_no_circle_gets_none(
            links in prop::collection::vec((prop::collection::vec(0_usize..12, 0..4), 0_usize..24, any::<bool>()), 1..12),
        ) {
            let steps: Vec<Step> = links.iter().enumerate().map(|(position, (before, next, approves))| Step {
                id: position.to_string(),
                depends_on: before.iter().filter(|from| **from < position).map(ToString::to_string).collect(),
                next: Some(*next).filter(|to| *to > position && *to < links.len()).map(|to| to.to_string()),
                kind: if *approves { Kind::Approve { who: None, what: None } } else { Kind::Agent },
                ..Step::default()
            }).collect();
            let graph = Graph::of(&steps);
            for position in 0..steps.len() {
                prop_assert!(!graph.ancestors(position)[position], "{position} in {graph:?}");
                for edge in graph.incoming(position) {
                    prop_assert!(graph.outgoing(edge.from).contains(&position));
                    prop_assert!(graph.ancestors(position)[edge.from]);
                    prop_assert!(graph.descendants(edge.from)[position]);
                }
                let waits = graph.outgoing(position).iter();
                prop_assert!(waits.clone().all(|to| graph.incoming(*to).iter().any(|edge| edge.from == position)));
                let named: Vec<&usize> = waits.collect();
                prop_assert_eq!(named.len(), named.iter().collect::<std::collections::HashSet<_>>().len());
            }
        }
    }
}
