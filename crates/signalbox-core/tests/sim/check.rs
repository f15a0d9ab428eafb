//! What must hold after every commit, whatever happened: the invariants of the engine.
//!
//! Each commit is checked as far as it reaches: the sessions, agents and messages that it touches. What is
//! broken panics with the reason; the world adds its seed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use signalbox_core::Decision;
use signalbox_core::decision::Key;
use signalbox_core::due::DueJob;
use signalbox_core::engine::{ReportState, TimerFired};
use signalbox_core::graph::EdgeKind;
use signalbox_core::limits::Policy;
use signalbox_core::session::{SessionEvent, SessionState};
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::{AgentId, MessageId, SessionId, TaskId};
use signalbox_wire::time::Timestamp;

use crate::calls::Call;
use crate::check_decisions::{check_announced, check_cause, check_delivery, check_revision, is_late};
use crate::check_rows::{check_agent, check_gate, check_message, check_status, check_task, check_wakes_up};
use crate::check_wholes::{check_approved, check_children, check_over, check_payloads, check_undoing};
use crate::schedules::Fired;
use crate::store::Store;

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
    /// The marks of the reports that were taken in, by whom they are of.
    heard: BTreeMap<u64, AgentId>,
    schedules: Fired,
    policy: Policy,
}

#[derive(Default)]
struct Touched {
    sessions: BTreeSet<SessionId>,
    agents: BTreeSet<AgentId>,
    messages: BTreeSet<MessageId>,
}

impl Checker {
    /// Checks a world with these settings.
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Checks what a commit of `decision` reaches; `removed` is the due work that it took away.
    pub(crate) fn after_commit(
        &mut self,
        store: &Store,
        call: &Call,
        decision: &Decision,
        removed: &[DueJob],
    ) {
        let touched = touched(decision, removed);
        for id in &touched.sessions {
            self.replay(store, id, call);
            self.check_session(store, id);
        }
        touched.agents.iter().for_each(|id| check_agent(store, id));
        // What was said under a registration that is gone is forgotten with it.
        self.ended_by.retain(|(agent, _), _| store.agents.contains_key(agent));
        self.heard.retain(|_, agent| store.agents.contains_key(agent));
        touched.messages.iter().for_each(|id| check_message(store, id));
        check_delivery(call, decision);
        if let Call::ReportState(report) = call {
            self.heard.extend(said(report).map(|said| (said.mark, report.agent.clone())));
        }
        self.schedules.after_commit(store, decision);
        check_revision(store, decision);
        check_announced(
            decision,
            self.policy.announce && matches!(call, Call::Register(_) | Call::Deregister(_)),
        );
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
                    self.check_time(call, event, *at, &replica);
                    self.check_repeat(store, call, event, &replica);
                    replica.apply(*at, event).expect("an event that fits");
                    self.replicas.insert(id.clone(), replica);
                }
            }
        }
    }

    /// A timer does nothing before its time, however early it comes.
    fn check_time(&self, call: &Call, event: &SessionEvent, at: Timestamp, before: &SessionState) {
        let Call::TimerFired(TimerFired { work }) = call else { return };
        let Some(task) = event.task().and_then(|id| before.task(id)) else { return };
        match work {
            DueJob::Timeout { task: timed, .. }
            | DueJob::Dispatch { task: timed, .. }
            | DueJob::Call { task: timed, .. }
                if *timed == task.id && task.status.is_held() =>
            {
                let limit = task.rules.timeout.unwrap_or(self.policy.task_timeout);
                let due = task.dispatched_at.map(|dispatched| dispatched + limit);
                assert!(due.is_some_and(|due| due <= at), "{} times out before its time", task.id);
            }
            DueJob::Retry { task: timed, .. } if *timed == task.id => {
                assert!(
                    task.retry_at.is_none_or(|due| due <= at),
                    "{} is tried again before its time",
                    task.id
                );
            }
            DueJob::Wake { task: timed, .. } if *timed == task.id => {
                assert!(task.until.is_some_and(|until| until <= at), "{} wakes before its time", task.id);
            }
            DueJob::Heartbeat { task: timed, .. } if *timed == task.id && task.status.is_held() => {
                let limit = task.rules.heartbeat_timeout.expect("a limit");
                let heard =
                    task.last_report_at.or(task.started_at).or(task.dispatched_at).map(|heard| heard + limit);
                assert!(heard.is_some_and(|due| due <= at), "{} was heard not long ago", task.id);
            }
            _ => {}
        }
    }

    /// A report ends the attempt that it was meant for, and one that comes again ends nothing else.
    fn check_repeat(&mut self, store: &Store, call: &Call, event: &SessionEvent, before: &SessionState) {
        use SessionEvent as E;
        let Call::ReportState(report) = call else { return };
        if report.state.eq_ignore_ascii_case("offline") {
            return; // It gives back whatever its agent holds.
        }
        let (E::TaskCompleted { task, attempt, .. }
        | E::TaskRetrying { task, attempt, .. }
        | E::TaskFailed { task, attempt, .. }) = event
        else {
            return;
        };
        if before.task(task).is_some_and(|task| task.status.is_held() && task.agent.is_some()) {
            let key = (report.agent.clone(), report.timestamp);
            let ended = self.ended_by.insert(key, (task.clone(), *attempt));
            assert_eq!(ended, None, "{task} attempt {attempt} is ended by a repeat of {report:?}");
            self.check_meant(store, report, task, *attempt);
        }
    }

    /// What a report names and when it comes says how far it can be mistaken: a task or an attempt that its agent
    /// has lost without knowing is told from what it was given since only by the attempt's name. But nothing that
    /// comes late or again may be taken for it, nor what names the task.
    fn check_meant(&self, store: &Store, report: &ReportState, task: &TaskId, attempt: u32) {
        let Some(Said { mark, meant: Some(meant) }) = said(report) else { return };
        let is_exact = report.task.as_deref() == Some(&*meant);
        let is_late = store.status_before(&report.agent).is_some_and(|status| is_late(status, report));
        if is_exact || is_late || self.heard.contains_key(&mark) {
            assert_eq!(meant, task.attempt_name(attempt), "another attempt is ended by {report:?}");
        }
        let names_task = |named: &String| task.matches(named).is_some() || report.session.is_some();
        if report.task.as_ref().is_some_and(names_task) {
            assert!(task.matches(&meant).is_some(), "{task} is ended by {report:?}");
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
        check_gate(store, state);
        check_over(store, state);
        check_children(store, state);
        check_payloads(store, state, self.policy.payload_inline_max);
    }

    fn check_event(&mut self, store: &Store, event: &SessionEvent, before: &SessionState) {
        use SessionEvent as E;
        match event {
            E::TaskCompleted { task, .. }
            | E::TaskFailed { task, .. }
            | E::TaskSkipped { task, .. }
            | E::TaskCancelled { task, .. } => {
                assert!(self.settled.insert(task.clone()), "{task} is settled twice");
            }
            E::TaskReopened { task, .. } => {
                assert!(self.settled.remove(task), "{task} is reopened while open")
            }
            E::TaskBegun { task, .. } | E::TaskExpanded { task, .. } => check_order(before, task),
            E::Undoing { tasks, .. } => check_undoing(before, tasks),
            E::TaskDispatched { task, agent, parameters, .. } => {
                check_order(before, task);
                check_approved(store, before, task, parameters);
                let task = before.task(task).expect("a task of the session");
                let Some(agent) = agent else { return };
                let (Some(registered), Some(status)) = (store.agents.get(agent), store.status(agent)) else {
                    panic!("{} is given to {agent}, which is gone", task.id)
                };
                assert!(task.route.admits(registered), "{} is given to {agent} against its route", task.id);
                assert!(!status.draining, "{} is given to {agent}, which drains", task.id);
                assert!(
                    status.is_reachable(registered),
                    "{} is given to {agent}, which is unreachable",
                    task.id
                );
                let room = registered.concurrency as usize;
                let holds = status.held.len() + status.stopping.len();
                assert!(
                    holds <= room,
                    "{agent} holds {holds} of {room}, with those that it was told to stop"
                );
            }
            E::TaskWaiting { waiting_for, .. } => assert!(!waiting_for.is_empty(), "a wait without a reason"),
            _ => {}
        }
    }
}

/// Whatever begins, begins after everything that it waits for.
fn check_order(before: &SessionState, task: &TaskId) {
    let task = before.task(task).expect("a task of the session");
    let chained = before.tasks.iter().filter(|earlier| earlier.next == Some(task.position));
    let joined = task.after.iter().map(|edge| &before.tasks[edge.from]);
    for earlier in chained.chain(joined) {
        assert!(earlier.status.is_settled(), "{} starts before {}", task.id, earlier.id);
    }
    let requires = task.after.iter().filter(|edge| edge.kind == EdgeKind::Requires);
    for edge in requires {
        let earlier = &before.tasks[edge.from];
        assert!(earlier.went_well(), "{} starts though {} did not go well", task.id, earlier.id);
    }
    if task.undoes.is_some() {
        let mut earlier = before.tasks.iter().take(task.position).filter(|earlier| earlier.undoes.is_some());
        assert!(earlier.all(|earlier| earlier.status.is_settled()), "{} is undone out of turn", task.id);
    }
    if let Some(instance) = &task.instance {
        assert_eq!(before.tasks[instance.of].status, TaskStatus::Running, "{} has no whole", task.id);
    }
}

/// What a program puts into the details of a report for us.
#[derive(Deserialize)]
struct Said {
    /// Each report has its own.
    mark: u64,
    /// The attempt that it is meant for, whatever it names.
    meant: Option<String>,
}

fn said(report: &ReportState) -> Option<Said> {
    serde_json::from_str(report.details.as_ref()?.as_str()).ok()
}

fn touched(decision: &Decision, removed: &[DueJob]) -> Touched {
    let mut touched = Touched::default();
    for write in &decision.writes {
        match write.key() {
            Key::Session(id) => drop(touched.sessions.insert(id)),
            Key::Agent(id) | Key::Status(id) | Key::Available(_, id) => drop(touched.agents.insert(id)),
            Key::Message(id) => drop(touched.messages.insert(id)),
            _ => {}
        }
    }
    for work in decision.due.iter().map(|due| &due.work).chain(removed) {
        match work {
            DueJob::Deliver { message } => drop(touched.messages.insert(message.clone())),
            DueJob::Dispatch { session, .. }
            | DueJob::Call { session, .. }
            | DueJob::Retry { session, .. }
            | DueJob::Timeout { session, .. }
            | DueJob::Heartbeat { session, .. }
            | DueJob::Schedule { session, .. }
            | DueJob::Wake { session, .. }
            | DueJob::Begin { session }
            | DueJob::Deadline { session }
            | DueJob::End { session, .. } => {
                touched.sessions.insert(session.clone());
            }
            DueJob::Fire { .. }
            | DueJob::Stop { .. }
            | DueJob::Absence { .. }
            | DueJob::Command { .. }
            | DueJob::CommandTimeout { .. } => {}
        }
    }
    for event in &decision.events {
        touched.sessions.extend(event.session.iter().map(|(session, _)| session.clone()));
    }
    touched
}
