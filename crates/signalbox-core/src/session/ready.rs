//! What a session does next: which task begins, which is passed over, and when it is over.
//!
//! [`SessionState::next_move`] follows from the state alone, so whatever brings a session to move (a report, a
//! timer, a signal, a resume) asks it again and again until there is nothing left to do. A task begins once
//! everything at its incoming edges has settled; what the edges mean is in [`crate::graph`].

use std::sync::Arc;

use super::{SessionState, SessionStatus};
use crate::graph::{Edge, EdgeKind};
use crate::task::{Task, TaskStatus};

/// What a session does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// The task at this position begins.
    Begin(usize),
    /// Nothing leads to the task at this position: it is passed over.
    PassOver(usize),
    /// All instances of the task at this position have settled.
    Gather(usize),
    /// Everything has settled.
    End,
}

/// Whether a task may begin.
enum Readiness {
    NotYet,
    Now,
    Never,
}

impl SessionState {
    /// What it does next; `None` while it waits for something to happen.
    #[must_use]
    pub fn next_move(&self) -> Option<Move> {
        let session = &self.session;
        if session.status.is_over() || session.status == SessionStatus::Paused || session.waits_for_group {
            return None;
        }
        let is_ending = session.ending.is_some();
        let mut is_open = false;
        for run in self.tasks.runs().iter().filter(|run| run.is_undoing || !is_ending) {
            is_open |= self.tasks.open_among(run.range()).next().is_some();
            let next = match run.is_defined() {
                true => self.tasks.open_among(run.range()).find_map(|position| self.move_of(position)),
                // All of them are alike, and those that undo come one after the other: what holds for the first that
                // nobody has looked at holds for the others.
                false => self.tasks.fresh(run.range()).next().and_then(|position| self.move_of(position)),
            };
            if next.is_some() {
                return next;
            }
        }
        (!is_open).then_some(Move::End)
    }

    /// What is to be done with the task at `position`.
    fn move_of(&self, position: usize) -> Option<Move> {
        let task = self.tasks.get(position)?;
        if task.status == TaskStatus::Running && task.is_expanding() {
            let mut runs = self.tasks.runs_of(position);
            let is_open = runs.any(|run| self.tasks.open_among(run.range()).next().is_some());
            return (!is_open).then_some(Move::Gather(position));
        }
        if task.status != TaskStatus::Pending || task.queued_at.is_some() || task.retry_at.is_some() {
            return None;
        }
        match self.readiness(task, None) {
            Readiness::Never => Some(Move::PassOver(position)),
            Readiness::Now if self.has_room_for(task) => Some(Move::Begin(position)),
            Readiness::Now | Readiness::NotYet => None,
        }
    }

    /// The first task in order, whose parameters are overlaid with the session's input.
    #[must_use]
    pub fn is_first(&self, task: &Task) -> bool {
        let begins = |task: &Task| task.undoes.is_none() && self.edges(task).next().is_none();
        self.tasks.iter().find(|task| begins(task)).is_some_and(|first| first.position == task.position)
    }

    /// The task that `task` comes after by these edges; those of sessions that began before tasks kept them
    /// follow from what each names as its next.
    fn edges<'s>(&'s self, task: &'s Task) -> impl Iterator<Item = Edge> + 's {
        let chain = self.tasks.are_chained().then(|| self.tasks.defined());
        let chained = chain.into_iter().flatten().filter(move |other| other.next == Some(task.position));
        let chained = chained.map(|other| Edge { from: other.position, kind: EdgeKind::Arrow });
        task.after.iter().copied().chain(chained)
    }

    /// Whether `task` may still run once the one at `position` has gone well, as far as can be said now.
    #[must_use]
    pub fn may_follow(&self, task: &Task, position: usize) -> bool {
        task.status == TaskStatus::Pending
            && !matches!(self.readiness(task, Some(position)), Readiness::Never)
    }

    /// The tasks whose turn comes once `done` has gone well, as far as can be said now; of those that are alike, as the
    /// items of a list are, the first.
    pub fn next_after(&self, done: &Task) -> impl Iterator<Item = &Arc<Task>> {
        let (session, position) = (&self.session, done.position);
        let is_open = !session.status.is_over() && session.status != SessionStatus::Paused;
        let goes_on = is_open && !session.waits_for_group && session.ending.is_none();
        let runs = self.tasks.runs().iter().filter(move |_| goes_on);
        let fresh = runs.flat_map(|run| {
            let looked_at = if run.is_defined() { usize::MAX } else { 1 };
            self.tasks.fresh(run.range()).take(looked_at)
        });
        fresh
            .filter_map(|position| self.tasks.get(position))
            .filter(move |task| matches!(self.readiness(task, Some(position)), Readiness::Now))
    }

    /// Whether a task may begin; where one is assumed to have gone well, whether it would have.
    fn readiness(&self, task: &Task, assumed: Option<usize>) -> Readiness {
        if task.instance.is_some() && task.undoes.is_none() {
            return Readiness::Now;
        }
        if task.undoes.is_some() {
            // What was done last is undone first, one after the other, in the order of the list.
            let undoing = self.tasks.runs().iter().filter(|run| run.is_undoing);
            let mut open = undoing.flat_map(|run| self.tasks.open_among(run.range()));
            let is_behind = open.next().is_some_and(|first| first < task.position);
            return if is_behind { Readiness::NotYet } else { Readiness::Now };
        }
        let (mut has_arrow, mut is_led_to, mut is_let_down) = (false, false, false);
        for edge in self.edges(task) {
            let Some(before) = self.tasks.get(edge.from) else { continue };
            let is_assumed = assumed == Some(edge.from);
            if !before.status.is_settled() && !is_assumed {
                return Readiness::NotYet;
            }
            let went_well = is_assumed || before.went_well();
            match edge.kind {
                EdgeKind::Requires => is_let_down |= !went_well,
                EdgeKind::Arrow => {
                    has_arrow = true;
                    is_led_to |= went_well;
                }
                EdgeKind::After => {}
                EdgeKind::Goto => {
                    has_arrow = true;
                    is_led_to |= before.went_to(&task.step);
                }
            }
        }
        if is_let_down || (has_arrow && !is_led_to) { Readiness::Never } else { Readiness::Now }
    }

    /// Whether another task like this one may be under way.
    fn has_room_for(&self, task: &Task) -> bool {
        if task.is_expanding() || !task.kind.takes_room() {
            return true;
        }
        let has_room = |limit: Option<u32>, under_way: &dyn Fn() -> usize| {
            limit.is_none_or(|limit| under_way() < limit as usize)
        };
        let under_way_of = |of: usize| {
            self.tasks.runs_of(of).map(|run| self.tasks.under_way_among(run.range())).sum::<usize>()
        };
        let of = task.instance.as_ref().map(|instance| instance.of).filter(|_| task.undoes.is_none());
        has_room(self.session.plan.max_parallel, &|| self.tasks.under_way_among(0..self.tasks.len()))
            && of
                .and_then(|of| Some((of, self.tasks.get(of)?)))
                .is_none_or(|(of, whole)| has_room(whole.rules.max_parallel, &|| under_way_of(of)))
    }
}
