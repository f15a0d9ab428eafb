//! What must hold of the rows as they are: tasks, sessions, agents and messages, each with what hangs on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_core::agent::{AgentStatus, Held};
use signalbox_core::definition::Kind;
use signalbox_core::delivery::MessageStatus;
use signalbox_core::due::DueJob;
use signalbox_core::routing;
use signalbox_core::session::{SessionState, SessionStatus};
use signalbox_core::task::{Task, TaskStatus};
use signalbox_wire::id::{AgentId, MessageId};

use crate::store::Store;

pub(crate) fn check_task(store: &Store, state: &SessionState, task: &Task) {
    let session = &state.session;
    assert!(
        task.attempt <= task.retries + 1,
        "{} has had {} attempts of {}",
        task.id,
        task.attempt,
        task.retries + 1
    );
    assert!(!task.status.is_settled() || task.ended_at.is_some(), "{} is settled and has no end", task.id);
    if task.status == TaskStatus::Failed {
        assert!(
            task.error.as_ref().is_some_and(|error| !error.is_empty()),
            "{} failed for no reason",
            task.id
        );
    }
    let row = store.waiting.get(&task.id);
    let is_queued = task.queued_at.is_some();
    assert_eq!(row.is_some(), is_queued, "{} and the queue disagree", task.id);
    if is_queued {
        assert_eq!(task.status, TaskStatus::Pending, "{} waits for an agent", task.id);
        let is_open = matches!(session.status, SessionStatus::Started | SessionStatus::Running);
        assert!(is_open, "{} waits for an agent in a session that is {}", task.id, session.status.name());
    }
    if task.status == TaskStatus::Waiting {
        let wake = DueJob::Wake { session: session.id.clone(), task: task.id.clone() };
        assert_eq!(
            store.due.contains_key(&wake.id()),
            task.until.is_some(),
            "{} waits and its timer",
            task.id
        );
    }
    if !task.status.is_held() || task.is_expanding() {
        return;
    }
    let (session, id, attempt) = (session.id.clone(), task.id.clone(), task.attempt);
    let timeout = DueJob::Timeout { session: session.clone(), task: id.clone(), attempt };
    let is_timed = task.rules.timeout.is_some() || task.child.is_none();
    let row = store.due.get(&timeout.id());
    assert!(!is_timed || row.is_some(), "{} is held and has no timeout", task.id);
    if let Some(row) = row {
        let is_timer = matches!(row.work, DueJob::Timeout { .. });
        assert_eq!(row.ends.is_none(), is_timer, "{} is to be sent without end: {row:?}", task.id);
        let is_at_work = task.status == TaskStatus::Running && task.agent.is_some();
        let comes_again = task.agent.as_ref().and_then(|agent| store.status(agent)).is_some_and(|status| {
            status.held.iter().any(|held| held.task == task.id && held.attempt == attempt && held.comes_again)
        });
        assert!(is_timer || !is_at_work || comes_again, "{} is at work and would be sent again", task.id);
    }
    if task.rules.heartbeat_timeout.is_some() {
        let heartbeat = DueJob::Heartbeat { session: session.clone(), task: id.clone(), attempt };
        assert!(store.due.contains_key(&heartbeat.id()), "nobody listens for {}", task.id);
    }
    match &task.kind {
        Kind::Tool(_) => {
            let is_called = row.is_some_and(|row| matches!(row.work, DueJob::Call { .. }));
            assert!(is_called, "{} is held by a tool that nobody calls", task.id);
        }
        Kind::Workflow(_) => {
            let child = task.child.as_ref().and_then(|child| store.session(child));
            let child = &child.unwrap_or_else(|| panic!("{} is done by no session", task.id)).value.session;
            assert!(!child.status.is_over(), "{} waits for a session that is over", task.id);
            let parent = child.parent.as_ref().expect("a session above");
            assert_eq!((&parent.task, parent.attempt), (&task.id, attempt), "{} is another's", child.id);
        }
        _ => {
            let agent = task.agent.as_ref().expect("a held task has an agent");
            let status = store.status(agent);
            let status = status.unwrap_or_else(|| panic!("{} is held by {agent}, which is gone", task.id));
            let held = holdings(status, session.as_str(), task);
            assert_eq!(held, 1, "{} is not in the hands of {agent}", task.id);
        }
    }
}

/// A session that has to pass a group is past it or in its queue until it is over.
pub(crate) fn check_gate(store: &Store, state: &SessionState) {
    let session = &state.session;
    let Some(pass) = &session.plan.group else {
        return assert!(!session.waits_for_group, "{} waits in no group", session.id);
    };
    let group = store.group(&pass.group);
    let count = |ids: &[_]| ids.iter().filter(|id| **id == session.id).count();
    let positions = group.map_or((0, 0), |group| (count(&group.holders), count(&group.queue)));
    if session.status.is_over() {
        return assert_eq!(positions, (0, 0), "{} is over and keeps a place", session.id);
    }
    assert_eq!(positions.0 + positions.1, 1, "{} has no place, or two", session.id);
    let begin = DueJob::Begin { session: session.id.clone() };
    if let Some(group) = group {
        let is_full = group.holders.len() >= group.limit as usize;
        assert!(group.queue.is_empty() || is_full, "somebody waits at {group:?}, which has room");
    }
    let is_admitted = store.due.contains_key(&begin.id());
    assert!(
        session.waits_for_group == (positions.1 == 1) || is_admitted,
        "{} waits for a turn that has come: {group:?}",
        session.id
    );
}

fn holdings(status: &AgentStatus, session: &str, task: &Task) -> usize {
    let is_this = |held: &&Held| {
        held.task == task.id
            && held.session.as_str() == session
            && held.attempt == task.attempt
            && held.step == task.step
    };
    let count = status.held.iter().filter(|held| held.task == task.id).count();
    assert!(count <= 1, "{} is held twice by {}", task.id, status.agent);
    status.held.iter().filter(is_this).count()
}

/// A session that is over says why, and leaves nothing open.
pub(crate) fn check_status(state: &SessionState) {
    let session = &state.session;
    let id = &session.id;
    let under_way = |fits: &dyn Fn(&Task) -> bool| {
        state.tasks.iter().filter(|task| task.is_under_way() && fits(task)).count()
    };
    if let Some(limit) = session.plan.max_parallel {
        assert!(under_way(&|_| true) <= limit as usize, "{id} has more under way than {limit}");
    }
    for whole in state.tasks.iter().filter(|task| task.is_expanding()) {
        let limit = whole.rules.max_parallel.unwrap_or(u32::MAX) as usize;
        let of = |task: &Task| {
            task.undoes.is_none()
                && task.instance.as_ref().is_some_and(|instance| instance.of == whole.position)
        };
        assert!(under_way(&of) <= limit, "{} has more under way than {limit}", whole.id);
    }
    assert_eq!(session.ended_at.is_some(), session.status.is_over(), "{id} is {}", session.status.name());
    if !session.status.is_over() {
        return;
    }
    let is_open = |task: &Arc<Task>| task.status != TaskStatus::Pending && !task.status.is_settled();
    assert!(!state.tasks.iter().any(is_open), "{id} is over and has an open task");
    assert!(!state.tasks.iter().any(|task| task.is_under_way()), "{id} is over and a task of it waits");
    match session.status {
        SessionStatus::Failed | SessionStatus::Cancelled => {
            assert!(session.error.as_ref().is_some_and(|error| !error.is_empty()), "{id} does not say why");
        }
        _ => {
            assert_eq!(session.error, None, "{id} is done and has an error");
            for task in &state.tasks {
                let is_tolerated = !task.rules.on_failure.is_fail() && task.status == TaskStatus::Failed;
                let is_done = matches!(task.status, TaskStatus::Completed | TaskStatus::Skipped);
                assert!(
                    is_done || is_tolerated || task.instance.is_some(),
                    "{id} is done and {} is {}",
                    task.id,
                    task.status.name()
                );
            }
        }
    }
}

/// No lost wake-up: an open session has a task in flight, one that waits for an agent, or due work.
pub(crate) fn check_wakes_up(store: &Store, state: &SessionState) {
    let session = &state.session;
    if session.status.is_over() || session.status == SessionStatus::Paused {
        return;
    }
    // What is too much for one decision goes on in another.
    if store.due.contains_key(&DueJob::Begin { session: session.id.clone() }.id()) {
        return;
    }
    assert_eq!(state.next_move(), None, "{} could go on and does not: {state:#?}", session.id);
    if session.waits_for_group {
        return;
    }
    let wakes = |task: &Arc<Task>| {
        let retry =
            DueJob::Retry { session: session.id.clone(), task: task.id.clone(), attempt: task.attempt };
        (task.status.is_held() && !task.is_expanding())
            || task.status == TaskStatus::Waiting
            || task.queued_at.is_some()
            || (task.retry_at.is_some() && store.due.contains_key(&retry.id()))
    };
    assert!(state.tasks.iter().any(wakes), "nothing will ever wake {} up: {state:#?}", session.id);
}

pub(crate) fn check_agent(store: &Store, id: &AgentId) {
    let listed = store.available.get(id).cloned().unwrap_or_default();
    let Some(agent) = store.agents.get(id) else {
        assert!(listed.is_empty(), "{id} is gone and still listed under {listed:?}");
        assert!(store.status(id).is_none(), "{id} is gone and still has a status");
        return;
    };
    let status = store.status(id).unwrap_or_else(|| panic!("{id} has no status"));
    assert_eq!(store.holder(&agent.name), Some(id), "'{}' is not the name of {id}", agent.name);
    assert_eq!(status.generation, agent.generation, "{id}: generation");
    let routes = if status.is_available(agent) { routing::listing_of(agent) } else { Vec::new() };
    let expected: BTreeMap<_, _> = routes.into_iter().map(|route| (route, status.last_used)).collect();
    assert_eq!(listed, expected, "{id} is listed wrongly");
    for held in &status.held {
        let session = store.session(&held.session);
        let task = session.as_ref().and_then(|state| state.value.task(&held.task));
        let agrees = task.is_some_and(|task| {
            task.status.is_held() && task.attempt == held.attempt && task.agent.as_ref() == Some(id)
        });
        assert!(agrees, "{id} holds {} attempt {}, its session says otherwise", held.task, held.attempt);
    }
}

pub(crate) fn check_message(store: &Store, id: &MessageId) {
    let Some(message) = store.messages.get(id) else { return };
    let due = store.due.contains_key(&DueJob::Deliver { message: id.clone() }.id());
    assert!(message.attempts <= message.attempts_max, "{id} was tried {} times", message.attempts);
    if message.status == MessageStatus::Scheduled {
        assert!(due, "{id} is scheduled and nothing is due for it");
        assert!(message.next_at.is_some() && message.settled_at.is_none(), "{id} is scheduled");
    } else {
        assert!(message.next_at.is_none() && message.settled_at.is_some(), "{id} is settled");
    }
    if let (MessageStatus::Dead, Some(carried)) = (message.status, &message.task) {
        let session = store.session(&carried.session).expect("the session of its task");
        let task = session.value.task(&carried.task).expect("its task");
        let waits = task.status == TaskStatus::Dispatched && task.attempt == carried.attempt;
        assert!(!waits, "{id} is dead and {} still waits for an answer to it", task.id);
    }
}
