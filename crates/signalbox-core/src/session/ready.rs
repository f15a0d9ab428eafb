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

/// Tasks of a session, or instances of one task, that are under way.
struct Room {
    all: usize,
    of: Vec<usize>,
}

impl SessionState {
    /// What it does next; `None` while it waits for something to happen.
    #[must_use]
    pub fn next_move(&self) -> Option<Move> {
        let session = &self.session;
        if session.status.is_over() || session.status == SessionStatus::Paused || session.waits_for_group {
            return None;
        }
        let mut room = None;
        let is_chained = self.tasks.iter().any(|task| task.next.is_some());
        let is_ending = session.ending.is_some();
        let mut is_open = false;
        for (position, task) in self.tasks.iter().enumerate() {
            if is_ending && task.undoes.is_none() {
                continue;
            }
            is_open |= !task.status.is_settled();
            if task.status == TaskStatus::Running && task.is_expanding() {
                if self.instances(task).all(|instance| instance.status.is_settled()) {
                    return Some(Move::Gather(position));
                }
                continue;
            }
            if task.status != TaskStatus::Pending || task.queued_at.is_some() || task.retry_at.is_some() {
                continue;
            }
            match self.readiness(task, is_chained, None) {
                Readiness::Never => return Some(Move::PassOver(position)),
                Readiness::Now if room.get_or_insert_with(|| self.room()).has_room_for(self, task) => {
                    return Some(Move::Begin(position));
                }
                Readiness::Now | Readiness::NotYet => {}
            }
        }
        (!is_open).then_some(Move::End)
    }

    /// The first task in order, whose parameters are overlaid with the session's input.
    #[must_use]
    pub fn is_first(&self, task: &Task) -> bool {
        let is_chained = self.tasks.iter().any(|task| task.next.is_some());
        let begins = |task: &Task| task.undoes.is_none() && self.edges(task, is_chained).next().is_none();
        self.tasks.iter().find(|task| begins(task)).is_some_and(|first| first.position == task.position)
    }

    /// The task that `task` comes after by these edges; those of sessions that began before tasks kept them
    /// follow from what each names as its next.
    fn edges<'s>(&'s self, task: &'s Task, is_chained: bool) -> impl Iterator<Item = Edge> + 's {
        let chained = self.tasks.iter().filter(move |other| is_chained && other.next == Some(task.position));
        let chained = chained.map(|other| Edge { from: other.position, kind: EdgeKind::Arrow });
        task.after.iter().copied().chain(chained)
    }

    /// Whether `task` may still run once the one at `position` has gone well, as far as can be said now.
    #[must_use]
    pub fn may_follow(&self, task: &Task, position: usize) -> bool {
        let is_chained = self.tasks.iter().any(|task| task.next.is_some());
        task.status == TaskStatus::Pending
            && !matches!(self.readiness(task, is_chained, Some(position)), Readiness::Never)
    }

    /// The tasks whose turn comes once `done` has gone well, as far as can be said now.
    pub fn next_after(&self, done: &Task) -> impl Iterator<Item = &Arc<Task>> {
        let is_chained = self.tasks.iter().any(|task| task.next.is_some());
        let (session, position) = (&self.session, done.position);
        let is_open = !session.status.is_over() && session.status != SessionStatus::Paused;
        let goes_on = is_open && !session.waits_for_group && session.ending.is_none();
        self.tasks.iter().filter(move |task| {
            goes_on
                && task.status == TaskStatus::Pending
                && task.queued_at.is_none()
                && task.retry_at.is_none()
                && matches!(self.readiness(task, is_chained, Some(position)), Readiness::Now)
        })
    }

    /// Whether a task may begin; where one is assumed to have gone well, whether it would have.
    fn readiness(&self, task: &Task, is_chained: bool, assumed: Option<usize>) -> Readiness {
        if task.instance.is_some() && task.undoes.is_none() {
            return Readiness::Now;
        }
        if task.undoes.is_some() {
            // What was done last is undone first, one after the other, in the order of the list.
            let is_behind = self.tasks[..task.position]
                .iter()
                .any(|other| other.undoes.is_some() && !other.status.is_settled());
            return if is_behind { Readiness::NotYet } else { Readiness::Now };
        }
        let (mut has_arrow, mut is_led_to, mut is_let_down) = (false, false, false);
        for edge in self.edges(task, is_chained) {
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

    fn room(&self) -> Room {
        let mut room = Room { all: 0, of: vec![0; self.tasks.len()] };
        for task in self.tasks.iter().filter(|task| task.is_under_way()) {
            room.all += 1;
            if let Some(of) = task.instance.as_ref().and_then(|instance| room.of.get_mut(instance.of)) {
                *of += 1;
            }
        }
        room
    }
}

impl Room {
    fn has_room_for(&self, state: &SessionState, task: &Arc<Task>) -> bool {
        if task.is_expanding() || !task.kind.takes_room() {
            return true;
        }
        let is_below = |count: usize, limit: Option<u32>| limit.is_none_or(|limit| count < limit as usize);
        let of = task.instance.as_ref().map(|instance| instance.of).filter(|_| task.undoes.is_none());
        is_below(self.all, state.session.plan.max_parallel)
            && of.is_none_or(|of| is_below(self.of[of], state.tasks[of].rules.max_parallel))
    }
}
