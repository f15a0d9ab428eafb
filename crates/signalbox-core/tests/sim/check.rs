//! What must hold after every commit, whatever happened: the invariants of the engine.
//!
//! Each commit is checked as far as it reaches: the sessions, agents and messages that it touches. What is
//! broken panics with the reason; the world adds its seed.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_core::Decision;
use signalbox_core::agent::AgentStatus;
use signalbox_core::decision::{Guard, Key, Row, Write};
use signalbox_core::delivery::{MessageKind, MessageStatus};
use signalbox_core::due::{Due, Work};
use signalbox_core::engine::TimerFired;
use signalbox_core::routing;
use signalbox_core::session::{SessionEvent, SessionState, SessionStatus};
use signalbox_core::task::{Task, TaskStatus};
use signalbox_wire::id::{AgentId, MessageId, SessionId, TaskId};
use signalbox_wire::time::Timestamp;

use crate::calls::Call;
use crate::store::{Store, written};

/// What is remembered from one commit to the next.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// Each session as its history alone gives it.
    replicas: BTreeMap<SessionId, SessionState>,
    /// How much of each history the replica has seen.
    replayed: BTreeMap<SessionId, usize>,
    settled: BTreeSet<TaskId>,
    /// The attempt that each report ended, by its agent and its moment: however often it comes, no other.
    ended_by: BTreeMap<(AgentId, Timestamp), (TaskId, u32)>,
    /// Whether registrations are announced by webhook.
    announces: bool,
}

#[derive(Default)]
struct Touched {
    sessions: BTreeSet<SessionId>,
    agents: BTreeSet<AgentId>,
    messages: BTreeSet<MessageId>,
}

impl Checker {
    /// Checks a world in which registrations are announced by webhook, or are not.
    pub(crate) fn new(announces: bool) -> Self {
        Self { announces, ..Self::default() }
    }

    /// Checks what a commit of `decision` reaches; `removed` is the due work that it took away.
    pub(crate) fn after_commit(&mut self, store: &Store, call: &Call, decision: &Decision, removed: &[Work]) {
        let touched = touched(decision, removed);
        for id in &touched.sessions {
            self.replay(store, id, call);
            self.check_session(store, id);
        }
        touched.agents.iter().for_each(|id| check_agent(store, id));
        // What was said under a registration that is gone is forgotten with it.
        self.ended_by.retain(|(agent, _), _| store.agents.contains_key(agent));
        touched.messages.iter().for_each(|id| check_message(store, id));
        check_delivery(call, decision);
        check_revision(store, decision);
        check_announced(decision, self.announces && matches!(call, Call::Register(_) | Call::Deregister(_)));
    }

    /// Checks everything there is, replaying every history from its beginning.
    pub(crate) fn at_the_end(&mut self, store: &Store) {
        for id in store.sessions.keys() {
            let history = store.histories[id].iter().map(|(at, event)| (*at, event));
            let replayed = SessionState::replay(id, history).expect("a history that can be replayed");
            let stored = store.session(id).expect("a session that was started");
            assert_eq!(replayed.as_ref(), Some(&*stored.value), "{id} differs from its history");
            self.check_session(store, id);
        }
        store.agents.keys().for_each(|id| check_agent(store, id));
        store.messages.keys().for_each(|id| check_message(store, id));
    }

    /// Brings the replica up to date, checking each event against the state that it changes.
    fn replay(&mut self, store: &Store, id: &SessionId, call: &Call) {
        let Some(history) = store.histories.get(id) else { return };
        let seen = self.replayed.insert(id.clone(), history.len()).unwrap_or_default();
        for (at, event) in &history[seen..] {
            match self.replicas.remove(id) {
                None => {
                    let state = SessionState::start(id, *at, event).expect("a history begins with its start");
                    self.replicas.insert(id.clone(), state);
                }
                Some(mut replica) => {
                    self.check_event(store, event, &replica);
                    check_cause(store, call, event, &replica);
                    self.check_repeat(call, event, &replica);
                    replica.apply(*at, event).expect("an event that fits");
                    self.replicas.insert(id.clone(), replica);
                }
            }
        }
    }

    /// A report that comes again ends nothing else.
    fn check_repeat(&mut self, call: &Call, event: &SessionEvent, before: &SessionState) {
        use SessionEvent as E;
        let Call::ReportState(report) = call else { return };
        let (E::TaskCompleted { task, attempt, .. }
        | E::TaskRetrying { task, attempt, .. }
        | E::TaskFailed { task, attempt, .. }) = event
        else {
            return;
        };
        let is_exact = report.task.as_ref().is_none_or(|named| task.matches(named) == Some(Some(*attempt)));
        if is_exact && before.task(task).is_some_and(|task| task.status.is_held()) {
            let key = (report.agent.clone(), report.timestamp);
            let ended = self.ended_by.insert(key, (task.clone(), *attempt));
            assert_eq!(ended, None, "{task} attempt {attempt} is ended by a repeat of {report:?}");
        }
    }

    fn check_session(&self, store: &Store, id: &SessionId) {
        let stored = store.session(id).unwrap_or_else(|| panic!("{id} is gone"));
        let state = &*stored.value;
        assert_eq!(self.replicas.get(id), Some(state), "{id} differs from its history");
        assert_eq!(state.session.sequence as usize, store.histories[id].len(), "{id}: length of the history");
        state.tasks.iter().for_each(|task| check_task(store, state, task));
        check_status(state);
        check_wakes_up(store, state);
    }

    fn check_event(&mut self, store: &Store, event: &SessionEvent, before: &SessionState) {
        use SessionEvent as E;
        match event {
            E::TaskCompleted { task, .. } | E::TaskFailed { task, .. } | E::TaskCancelled { task, .. } => {
                assert!(self.settled.insert(task.clone()), "{task} is settled twice");
            }
            E::TaskReopened { task, .. } => {
                assert!(self.settled.remove(task), "{task} is reopened while open")
            }
            E::TaskDispatched { task, agent, .. } => {
                let task = before.task(task).expect("a task of the session");
                for earlier in before.tasks.iter().filter(|earlier| earlier.next == Some(task.position)) {
                    assert_eq!(
                        earlier.status,
                        TaskStatus::Completed,
                        "{} starts before {}",
                        task.id,
                        earlier.id
                    );
                }
                let (Some(registered), Some(status)) = (store.agents.get(agent), store.status(agent)) else {
                    panic!("{} is given to {agent}, which is gone", task.id)
                };
                assert!(task.route.admits(registered), "{} is given to {agent} against its route", task.id);
                assert!(!status.draining, "{} is given to {agent}, which drains", task.id);
                assert!(
                    registered.endpoint.is_some(),
                    "{} is given to {agent}, which is unreachable",
                    task.id
                );
                let room = registered.concurrency as usize;
                assert!(status.held.len() <= room, "{agent} holds {} of {room}", status.held.len());
            }
            E::TaskWaiting { waiting_for, .. } => assert!(!waiting_for.is_empty(), "a wait without a reason"),
            _ => {}
        }
    }
}

fn touched(decision: &Decision, removed: &[Work]) -> Touched {
    let mut touched = Touched::default();
    for write in &decision.writes {
        match written(write) {
            Key::Session(id) => drop(touched.sessions.insert(id)),
            Key::Agent(id) | Key::Status(id) | Key::Available(_, id) => drop(touched.agents.insert(id)),
            Key::Message(id) => drop(touched.messages.insert(id)),
            _ => {}
        }
    }
    for work in decision.due.iter().map(|due| &due.work).chain(removed) {
        match work {
            Work::Deliver { message } => drop(touched.messages.insert(message.clone())),
            Work::Retry { session, .. } | Work::Timeout { session, .. } => {
                touched.sessions.insert(session.clone());
            }
        }
    }
    for event in &decision.events {
        touched.sessions.extend(event.session.iter().map(|(session, _)| session.clone()));
    }
    touched
}

/// What happens to a task in an agent's hands comes from that agent, or from what belongs to this very attempt.
fn check_cause(store: &Store, call: &Call, event: &SessionEvent, before: &SessionState) {
    use SessionEvent as E;
    let (E::TaskRunning { task, attempt, .. }
    | E::TaskCompleted { task, attempt, .. }
    | E::DeliveryFailed { task, attempt, .. }
    | E::TaskRetrying { task, attempt, .. }
    | E::TaskFailed { task, attempt, .. }) = event
    else {
        return;
    };
    let held = before.task(task).expect("a task of the session");
    if !held.status.is_held() {
        return; // A task that follows fails on its own.
    }
    assert_eq!(held.attempt, *attempt, "{task} is moved in another attempt");
    match call {
        Call::ReportState(report) => {
            assert_eq!(held.agent.as_ref(), Some(&report.agent), "{task} is moved by another agent's report");
            let is_meant = |named: &String| match task.matches(named) {
                Some(named) => named.is_none_or(|named| named == *attempt),
                None => {
                    held.step == *named && {
                        let before = store.status_before(&report.agent);
                        before.is_some_and(|status| {
                            status.held.iter().filter(|held| held.step == *named).count() == 1
                        })
                    }
                }
            };
            let only = || {
                store.status_before(&report.agent).is_some_and(|status| {
                    let is_newest =
                        status.report.as_ref().is_none_or(|newest| newest.timestamp <= report.timestamp);
                    is_newest && status.held.len() == 1
                })
            };
            let is_meant = report.task.as_ref().map_or_else(only, is_meant);
            assert!(is_meant, "{task} attempt {attempt} is moved by a report on {:?}", report.task);
        }
        Call::SettleDelivery(settled) => {
            let carried = store.messages.get(&settled.message).and_then(|message| message.task.as_ref());
            let is_its = carried.is_some_and(|carried| carried.task == *task && carried.attempt == *attempt);
            assert!(
                is_its,
                "{task} attempt {attempt} is moved by {}, which carries {carried:?}",
                settled.message
            );
        }
        Call::TimerFired(TimerFired { work: Work::Timeout { task: timed, attempt: its, .. } }) => {
            assert_eq!((timed, its), (task, attempt), "the timer of another attempt moves {task}");
        }
        _ => {}
    }
}

fn check_task(store: &Store, state: &SessionState, task: &Task) {
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
    if !task.status.is_held() {
        return;
    }
    let agent = task.agent.as_ref().expect("a held task has an agent");
    let status =
        store.status(agent).unwrap_or_else(|| panic!("{} is held by {agent}, which is gone", task.id));
    assert_eq!(holdings(status, session.id.as_str(), task), 1, "{} is not in the hands of {agent}", task.id);
    let timeout = Work::Timeout { session: session.id.clone(), task: task.id.clone(), attempt: task.attempt };
    assert!(store.due.contains_key(&timeout.id()), "{} is held and has no timeout", task.id);
}

fn holdings(status: &AgentStatus, session: &str, task: &Task) -> usize {
    let is_this = |held: &&signalbox_core::agent::Held| {
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
fn check_status(state: &SessionState) {
    let session = &state.session;
    let id = &session.id;
    let begun: Vec<&Task> = state.tasks.iter().filter(|task| task.status != TaskStatus::Pending).collect();
    let open = begun.iter().filter(|task| !task.status.is_settled()).count();
    assert!(open <= 1, "{id} has {open} tasks open at once");
    assert_eq!(session.ended_at.is_some(), session.status.is_over(), "{id} is {}", session.status.name());
    if !session.status.is_over() {
        return;
    }
    assert_eq!(open, 0, "{id} is over and has an open task");
    let is_idle = |task: &Task| task.queued_at.is_none() && task.retry_at.is_none();
    assert!(state.tasks.iter().all(is_idle), "{id} is over and a task of it waits");
    match session.status {
        SessionStatus::Failed | SessionStatus::Cancelled => {
            assert!(session.error.as_ref().is_some_and(|error| !error.is_empty()), "{id} does not say why");
        }
        _ => {
            assert_eq!(session.error, None, "{id} is done and has an error");
            let all_done = state.tasks.iter().all(|task| task.status == TaskStatus::Completed);
            assert!(all_done, "{id} is done and a task of it is not");
        }
    }
}

/// No lost wake-up: an open session has a task in flight, one that waits for an agent, or due work.
fn check_wakes_up(store: &Store, state: &SessionState) {
    let session = &state.session;
    if session.status.is_over() || session.status == SessionStatus::Paused {
        return;
    }
    let wakes = |task: &Task| {
        let retry = Work::Retry { session: session.id.clone(), task: task.id.clone(), attempt: task.attempt };
        task.status.is_held()
            || task.queued_at.is_some()
            || (task.retry_at.is_some() && store.due.contains_key(&retry.id()))
    };
    assert!(state.tasks.iter().any(wakes), "nothing will ever wake {} up: {state:#?}", session.id);
}

fn check_agent(store: &Store, id: &AgentId) {
    let listed = store.available.get(id).cloned().unwrap_or_default();
    let Some(agent) = store.agents.get(id) else {
        assert!(listed.is_empty(), "{id} is gone and still listed under {listed:?}");
        assert!(store.status(id).is_none(), "{id} is gone and still has a status");
        return;
    };
    let status = store.status(id).unwrap_or_else(|| panic!("{id} has no status"));
    assert_eq!(store.holder(&agent.name), Some(id), "'{}' is not the name of {id}", agent.name);
    assert_eq!(status.generation, agent.generation, "{id}: generation");
    let routes = if status.is_available(agent) { routing::keys_of(agent) } else { Vec::new() };
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

fn check_message(store: &Store, id: &MessageId) {
    let Some(message) = store.messages.get(id) else { return };
    let due = store.due.contains_key(&Work::Deliver { message: id.clone() }.id());
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
        let is_held = task.status.is_held() && task.attempt == carried.attempt;
        assert!(!is_held, "{id} is dead and {} still waits for an answer to it", task.id);
    }
}

/// A message that is scheduled is due at its own time, and an outcome counts for the attempt that it is of.
fn check_delivery(call: &Call, decision: &Decision) {
    for write in &decision.writes {
        let Write::Put { row: Row::Message(message), .. } = write else { continue };
        if let Some(next) = message.next_at {
            let work = Work::Deliver { message: message.id.clone() };
            assert!(decision.due.contains(&Due { work, at: next }), "{} is not due at its time", message.id);
        }
        if let Call::SettleDelivery(settled) = call
            && settled.message == message.id
        {
            let attempts = message.attempts + u32::from(message.status == MessageStatus::Cancelled);
            assert_eq!(attempts, settled.attempt, "{} takes an outcome of another attempt", message.id);
        }
    }
}

/// A session starts with the revision that its workflow has at that moment.
fn check_revision(store: &Store, decision: &Decision) {
    for write in &decision.writes {
        let Write::Put { row: Row::Session(session), guard: Guard::Absent, .. } = write else { continue };
        let current = store.revision(&session.workflow);
        assert_eq!(
            current,
            Some(session.revision),
            "{} starts with an old revision of its workflow",
            session.id
        );
    }
}

/// Who comes and goes is announced in the same commit, and nothing else is.
fn check_announced(decision: &Decision, is_wanted: bool) {
    let is_webhook = |write: &&Write| matches!(write, Write::Put { row: Row::Message(message), guard: Guard::Absent, .. } if message.kind == MessageKind::Webhook);
    let webhooks = decision.writes.iter().filter(is_webhook).count();
    assert_eq!(webhooks, usize::from(is_wanted), "webhooks for {:?}", decision.events);
}
