//! What a session does next is found by a few bits of each task. It is what looking at every task in its order gives.

use std::sync::Arc;

use proptest::prelude::*;

use super::{agent, at, session_id, started, task_id};
use crate::definition::Kind;
use crate::graph::{Edge, EdgeKind};
use crate::routing::Route;
use crate::session::{Ending, Move, Plan, SessionEvent, SessionState, SessionStatus, Tasks};
use crate::task::{Instance, Task, TaskStatus};

/// The next move, by looking at every task.
fn next_move(state: &SessionState) -> Option<Move> {
    let session = &state.session;
    if session.status.is_over() || session.status == SessionStatus::Paused || session.waits_for_group {
        return None;
    }
    let tasks: Vec<&Task> = state.tasks.iter().map(AsRef::as_ref).collect();
    let mut is_open = false;
    for (position, task) in tasks.iter().enumerate() {
        if session.ending.is_some() && task.undoes.is_none() {
            continue;
        }
        is_open |= !task.status.is_settled();
        if task.status == TaskStatus::Running && task.is_expanding() {
            let mut instances = tasks.iter().filter(|other| is_instance(other, position));
            if instances.all(|instance| instance.status.is_settled()) {
                return Some(Move::Gather(position));
            }
        } else if is_fresh(task) {
            match is_ready(&tasks, task, None) {
                Some(false) => return Some(Move::PassOver(position)),
                Some(true) if has_room(state, &tasks, task) => return Some(Move::Begin(position)),
                _ => {}
            }
        }
    }
    (!is_open).then_some(Move::End)
}

fn is_instance(task: &Task, of: usize) -> bool {
    task.instance.as_ref().is_some_and(|instance| instance.of == of)
}

fn is_fresh(task: &Task) -> bool {
    task.status == TaskStatus::Pending && task.queued_at.is_none() && task.retry_at.is_none()
}

/// Whether its turn has come; `Some(false)` where it never will.
fn is_ready(tasks: &[&Task], task: &Task, assumed: Option<usize>) -> Option<bool> {
    if task.undoes.is_some() {
        let mut before = tasks[..task.position].iter().filter(|other| other.undoes.is_some());
        return before.all(|other| other.status.is_settled()).then_some(true);
    }
    if task.instance.is_some() {
        return Some(true);
    }
    let chained = tasks.iter().filter(|other| other.next == Some(task.position));
    let chained = chained.map(|other| Edge { from: other.position, kind: EdgeKind::Arrow });
    let edges: Vec<Edge> = task.after.iter().copied().chain(chained).collect();
    let went_well = |edge: &Edge| assumed == Some(edge.from) || tasks[edge.from].went_well();
    if !edges.iter().all(|edge| assumed == Some(edge.from) || tasks[edge.from].status.is_settled()) {
        return None;
    }
    let mut arrows = edges.iter().filter(|edge| edge.kind == EdgeKind::Arrow).peekable();
    let is_led_to = arrows.peek().is_none() || arrows.any(went_well);
    Some(is_led_to && edges.iter().filter(|edge| edge.kind == EdgeKind::Requires).all(went_well))
}

fn has_room(state: &SessionState, tasks: &[&Task], task: &Task) -> bool {
    if task.is_expanding() || !task.kind.takes_room() {
        return true;
    }
    let under_way = |fits: &dyn Fn(&Task) -> bool| {
        u32::try_from(tasks.iter().filter(|task| task.is_under_way() && fits(task)).count()).expect("few")
    };
    let of = task.instance.as_ref().map(|instance| instance.of);
    state.session.plan.max_parallel.is_none_or(|limit| under_way(&|_| true) < limit)
        && of.is_none_or(|of| {
            let limit = tasks[of].rules.max_parallel;
            limit.is_none_or(|limit| under_way(&|task| is_instance(task, of)) < limit)
        })
}

/// A session of a chain of two, a list that needs the second, and one more list beside.
fn begun(is_chained: bool, max_parallel: Option<u32>, of_list: Option<u32>) -> SessionEvent {
    let SessionEvent::Started { workflow, input, .. } = started() else { panic!("it starts") };
    let task = |position: usize, after: &[(usize, EdgeKind)]| {
        let after = after.iter().map(|(from, kind)| Edge { from: *from, kind: *kind }).collect();
        Task {
            after,
            retries: 3,
            ..Task::new(task_id(position), format!("s{position}"), position, Route::Any)
        }
    };
    let list = |position: usize, after: &[(usize, EdgeKind)]| {
        let mut task = task(position, after);
        task.rules.for_each = Some("input.list".into());
        task.rules.max_parallel = of_list;
        task
    };
    let mut tasks = vec![
        task(0, &[]),
        task(1, if is_chained { &[] } else { &[(0, EdgeKind::Arrow)] }),
        list(2, &[(1, EdgeKind::Requires)]),
        list(3, &[]),
    ];
    tasks[0].next = is_chained.then_some(1);
    let plan = Plan { max_parallel, ..Plan::default() };
    SessionEvent::Started {
        workflow,
        revision: 1,
        agent: None,
        input,
        trace: None,
        schedule: None,
        tasks: tasks.into_iter().map(Arc::new).collect(),
        parent: None,
        plan,
    }
}

/// Something that may happen next: of the task at about this place, or of the session as a whole.
fn event(state: &SessionState, number: u8, place: usize, items: usize) -> SessionEvent {
    let count = state.tasks.len();
    let new = |index: usize| {
        let position = count + index;
        Task::new(task_id(position), format!("s{position}"), position, Route::Any)
    };
    let task = state.tasks[place % count].as_ref();
    let (id, step, attempt) = (task.id.clone(), task.step.clone(), task.attempt);
    match number {
        0 => SessionEvent::Paused,
        1..=3 => SessionEvent::Resumed,
        4 => SessionEvent::Failed { error: "broken".into() },
        5..=7 => SessionEvent::Retried,
        8 => SessionEvent::Undoing {
            ending: Ending { status: SessionStatus::Failed, reason: "broken".into() },
            tasks: (0..items).map(|index| Task { undoes: Some(place % count), ..new(index) }).collect(),
        },
        9..=20 => SessionEvent::TaskDispatched {
            task: id,
            step,
            attempt: attempt + 1,
            agent: Some(agent()),
            child: None,
            parameters: serde_json::Map::new(),
        },
        21..=32 => SessionEvent::completed(task, None),
        33..=35 => SessionEvent::failed(task, "broken"),
        36..=39 => SessionEvent::TaskWaiting { task: id, step, waiting_for: "any".into() },
        40..=41 => {
            SessionEvent::TaskRetrying { task: id, step, attempt, error: "broken".into(), retry_at: at(99) }
        }
        42..=43 => SessionEvent::TaskReturned { task: id, step, attempt, agent: None, reason: "gone".into() },
        44..=45 => SessionEvent::TaskSkipped { task: id, step, reason: "no".into(), is_unreached: false },
        46..=47 => SessionEvent::TaskReopened { task: id, step, retries: 9 },
        48 => SessionEvent::TaskCancelled { task: id, step, attempt },
        49 => {
            SessionEvent::TaskBegun { task: id, step, waiting_for: "it".into(), until: None, subject: None }
        }
        _ => {
            let of = 2 + place % 2;
            let tasks = (0..items).map(|index| Task {
                instance: Some(Instance { of, index, item: index.into() }),
                kind: if of == 2 { Kind::Agent } else { Kind::Sleep("1s".into()) },
                ..new(index)
            });
            let (task, step) = (state.tasks[of].id.clone(), state.tasks[of].step.clone());
            SessionEvent::TaskExpanded { task, step, tasks: tasks.map(Arc::new).collect() }
        }
    }
}

proptest! {
    #[test]
    fn the_next_move_is_the_first_that_a_look_at_each_task_finds(
        is_chained in any::<bool>(),
        max_parallel in prop::option::of(1_u32..5),
        of_list in prop::option::of(1_u32..5),
        events in prop::collection::vec((0_u8..60, 0_usize..300, 0_usize..150), 0..120),
    ) {
        let started = begun(is_chained, max_parallel, of_list);
        let mut state = SessionState::start(&session_id(), at(1), &started).expect("it starts");
        for (number, place, items) in events {
            // Mostly what the session would do itself.
            let place = match state.next_move() {
                Some(Move::Begin(position) | Move::Gather(position)) if place % 3 > 0 => position,
                _ => place,
            };
            let happened = event(&state, number, place, items);
            if state.apply(at(9), &happened).is_err() {
                continue;
            }
            prop_assert_eq!(state.next_move(), next_move(&state), "after {:?}", happened);
            let tasks: Vec<&Task> = state.tasks.iter().map(AsRef::as_ref).collect();
            for task in &tasks {
                prop_assert_eq!(state.tasks.position(&task.id), Some(task.position));
            }
            let anew: Tasks = state.tasks.iter().cloned().collect();
            prop_assert!(anew.is_alike(&state.tasks), "the marks follow from the tasks");
            let done = tasks[place % tasks.len()];
            let is_open = matches!(state.session.status, SessionStatus::Started | SessionStatus::Running);
            let mut next: Vec<usize> = Vec::new();
            for task in tasks.iter().filter(|task| is_open && state.session.ending.is_none() && is_fresh(task)) {
                if is_ready(&tasks, task, Some(done.position)) == Some(true) {
                    next.push(task.instance.as_ref().map_or(task.position, |instance| 1_000 + instance.of));
                }
            }
            next.dedup();
            let found = state.next_after(done);
            let found = found.map(|task| task.instance.as_ref().map_or(task.position, |one| 1_000 + one.of));
            prop_assert_eq!(found.collect::<Vec<_>>(), next);
        }
    }
}
