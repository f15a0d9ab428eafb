//! What must hold between a session and what hangs on it: its timers, the sessions below it, the approvals of its
//! tasks, and what it undoes.

use serde_json::{Map, Value, json};
use signalbox_core::definition::Kind;
use signalbox_core::due::DueJob;
use signalbox_core::graph::EdgeKind;
use signalbox_core::payload;
use signalbox_core::session::{SessionEvent, SessionState};
use signalbox_core::task::{Task, TaskStatus};
use signalbox_wire::id::{SessionId, TaskId};
use signalbox_wire::time::Timestamp;

use crate::store::Store;

/// Nothing of a session that is over is due, except what tells of it and what would find it over.
pub(crate) fn check_over(store: &Store, state: &SessionState) {
    let id = &state.session.id;
    if !state.session.status.is_over() {
        return;
    }
    for row in store.due.values() {
        let of = match &row.work {
            DueJob::Deliver { .. }
            | DueJob::Dispatch { .. }
            | DueJob::Begin { .. }
            | DueJob::End { .. }
            | DueJob::Fire { .. }
            | DueJob::Stop { .. }
            | DueJob::Absence { .. }
            | DueJob::Command { .. }
            | DueJob::CommandTimeout { .. } => None,
            DueJob::Call { session, .. }
            | DueJob::Timeout { session, .. }
            | DueJob::Heartbeat { session, .. }
            | DueJob::Schedule { session, .. }
            | DueJob::Retry { session, .. }
            | DueJob::Wake { session, .. }
            | DueJob::Deadline { session } => Some(session),
        };
        assert_ne!(of, Some(id), "{id} is over and {row:?} is due");
    }
}

/// A session whose task above is no longer its own is over, or about to be.
pub(crate) fn check_children(store: &Store, state: &SessionState) {
    let id = &state.session.id;
    check_child(store, state);
    let is_below =
        |other: &SessionState| other.session.parent.as_ref().is_some_and(|parent| parent.session == *id);
    let others = store.sessions.values().map(|read| &*read.value);
    others.filter(|other| is_below(other)).for_each(|child| check_child(store, child));
    check_circle(store, state);
}

fn check_child(store: &Store, child: &SessionState) {
    let session = &child.session;
    let Some(parent) = &session.parent else { return };
    let above = store.session(&parent.session).expect("a session above");
    let is_wanted = above.value.task(&parent.task).is_some_and(|task| {
        task.status.is_held() && task.attempt == parent.attempt && task.child.as_ref() == Some(&session.id)
    });
    let ends = DueJob::End { session: session.id.clone(), reason: String::new() };
    let is_ending = session.ending.is_some() || store.due.contains_key(&ends.id());
    // Whoever tries a session again does so for itself.
    let is_retried =
        store.histories[&session.id].iter().any(|(_, event)| matches!(event, SessionEvent::Retried));
    assert!(
        session.status.is_over() || is_wanted || is_ending || is_retried,
        "{} goes on and nobody wants it",
        session.id
    );
}

/// Nobody waits at a group for a session that waits for it.
fn check_circle(store: &Store, state: &SessionState) {
    let session = &state.session;
    let Some(pass) = session.plan.group.as_ref().filter(|_| session.waits_for_group) else { return };
    let holders = store.group(&pass.group).map(|group| group.holders.as_slice()).unwrap_or_default();
    let mut below: SessionId = session.id.clone();
    let mut above = session.parent.clone();
    while let Some(parent) = above {
        let state = &store.session(&parent.session).expect("a session above").value;
        let waits = state
            .task(&parent.task)
            .is_some_and(|task| task.status.is_held() && task.child.as_ref() == Some(&below));
        if !waits {
            return;
        }
        assert!(
            !holders.contains(&parent.session),
            "{} and {} wait for each other",
            session.id,
            parent.session
        );
        below = parent.session;
        above = state.session.parent.clone();
    }
}

/// Whatever a session keeps of values is short, and all that it refers to is kept.
pub(crate) fn check_payloads(store: &Store, state: &SessionState, inline_max: usize) {
    let task_values = state.tasks.iter().flat_map(|task| {
        let subject = task.subject.as_ref().map(|subject| &subject.parameters);
        let item = task.instance.as_ref().map(|instance| &instance.item);
        task.result.iter().chain(&task.progress).chain(subject).chain(item)
    });
    let signals = state.session.signals.iter().filter_map(|kept| kept.payload.as_ref());
    let values = task_values.chain(&state.session.result).chain(signals);
    let given = state.tasks.iter().flat_map(|task| &task.parameters).chain([&state.session.input]);
    for value in values.chain(given.flat_map(Map::values)) {
        for name in payload::references(value) {
            let reference = json!({payload::REFERENCE: {"sha256": name, "bytes": 0}});
            check_nested(store, store.opened(&reference));
        }
    }
    for value in state.tasks.iter().flat_map(|task| &task.result).chain(&state.session.result) {
        let (same, payloads) = payload::externalize(value.clone(), inline_max);
        assert!(same == *value && payloads.is_empty(), "{} keeps {value} where it is", state.session.id);
    }
}

fn check_nested(store: &Store, value: &Value) {
    for name in payload::references(value) {
        let reference = json!({payload::REFERENCE: {"sha256": name, "bytes": 0}});
        check_nested(store, store.opened(&reference));
    }
}

/// What is done is what was approved, and an approval is good for one run of what it guards.
pub(crate) fn check_approved(
    store: &Store,
    before: &SessionState,
    id: &TaskId,
    parameters: &Map<String, Value>,
) {
    let task = before.task(id).expect("a task of the session");
    if task.undoes.is_some() {
        return;
    }
    let whole: &Task = task.instance.as_ref().map_or(task, |instance| &before.tasks[instance.of]);
    let guards = whole.after.iter().filter(|edge| matches!(edge.kind, EdgeKind::Requires | EdgeKind::Arrow));
    let approvals = guards.map(|edge| &before.tasks[edge.from]);
    for approval in approvals.filter(|task| matches!(task.kind, Kind::Approve { .. })) {
        if approval.status != TaskStatus::Completed {
            continue; // Its failure does not matter, or other arrows led here.
        }
        let subject = &approval.subject.as_ref().expect("what was approved").parameters[&whole.step];
        let subject = store.opened(subject);
        let approved =
            task.instance.as_ref().map_or(subject, |instance| store.opened(&subject[instance.index]));
        assert_eq!(approved.as_object(), Some(parameters), "{id} is not what was approved");
        let reopened = reopened_at(store, before, id);
        assert!(approval.ended_at >= reopened, "{id} begins anew with an approval that was used");
    }
}

fn reopened_at(store: &Store, before: &SessionState, id: &TaskId) -> Option<Timestamp> {
    let history = store.histories[&before.session.id].iter().rev();
    let is_it = |event: &SessionEvent| matches!(event, SessionEvent::TaskReopened { task, .. } if task == id);
    history.filter(|(_, event)| is_it(event)).map(|(at, _)| *at).next()
}

/// Everything that was done and can be undone is, once, the last of it first.
pub(crate) fn check_undoing(before: &SessionState, tasks: &[Task]) {
    let undone: Vec<usize> = tasks.iter().filter_map(|task| task.undoes).collect();
    let ends = undone.iter().map(|position| before.tasks[*position].ended_at);
    assert!(ends.is_sorted_by(|one, other| one >= other), "undone out of order: {undone:?}");
    for (position, task) in before.tasks.iter().enumerate() {
        let is_done = task.status == TaskStatus::Completed && !task.is_expanding();
        let times = undone.iter().filter(|other| **other == position).count();
        let expected = usize::from(is_done && task.rules.compensate.is_some());
        assert_eq!(times, expected, "{} is undone {times} times", task.id);
    }
}
