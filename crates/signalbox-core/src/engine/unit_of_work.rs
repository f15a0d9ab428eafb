//! A decision in the making: the agents and sessions it touches, and what it has changed so far.
//!
//! Sessions change by events only, agents in place; [`UnitOfWork::finish`] compares with what was read and writes
//! what differs. Whether an agent is listed as available is derived here and nowhere else.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use signalbox_wire::id::{AgentId, SessionId, TaskId};

use super::known_payloads::{KnownPayloads, named_in};
use crate::agent::{Agent, AgentStatus};
use crate::connection::{DisconnectCause, Disconnected};
use crate::decision::{AgentName, Available, ConcurrencyGroup, Key, MatchHint, Row};
use crate::definition::Definition;
use crate::due::{Due, DueJob};
use crate::event::NewEvent;
use crate::limits::{BEGUN_AT_ONCE_MAX, HISTORY_AT_ONCE_BYTES, RECONNECT_GRACE};
use crate::payload::Payload;
use crate::routing;
use crate::session::{SessionEvent, SessionState};
use crate::task::Task;
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot, Versioned};

/// A decision in the making.
pub(super) struct UnitOfWork<'w, 'p> {
    pub(super) snapshot: &'w Snapshot,
    pub(super) context: &'w mut DecisionContext<'p>,
    pub(super) decision: Decision,
    agents: BTreeMap<AgentId, Option<AgentWork>>,
    sessions: BTreeMap<SessionId, SessionWork>,
    concurrency_groups: BTreeMap<String, GroupWork>,
    /// Revisions of workflows that this decision keeps.
    pub(super) kept: Vec<Arc<Definition>>,
    /// Tasks that have begun, and those of sessions that were begun for them.
    pub(super) begun: usize,
    /// Whether this is the decision of the timer that lets a session go on.
    pub(super) is_going_on: bool,
    /// Payloads that are new with this decision, each before those that refer to it.
    pub(super) new_payloads: Vec<Arc<Payload>>,
    /// The agent whose report this is, where it says that a task is done.
    pub(super) just_done: Option<AgentId>,
}

/// A group that a decision touches.
struct GroupWork {
    group: ConcurrencyGroup,
    read: Option<i64>,
    before: ConcurrencyGroup,
}

/// An agent that a decision touches.
pub(super) struct AgentWork {
    pub(super) agent: Arc<Agent>,
    pub(super) status: Arc<AgentStatus>,
    read: Option<(Versioned<Agent>, Option<Versioned<AgentStatus>>)>,
    is_agent_changed: bool,
    is_status_changed: bool,
    is_removed: bool,
}

struct SessionWork {
    /// Shared with the view until it changes.
    state: Arc<SessionState>,
    read: Option<i64>,
    /// How many tasks it had when it was read: those behind them are new.
    tasks_read: usize,
    /// Positions of tasks that have changed, some more than once.
    changed: Vec<usize>,
    is_changed: bool,
}

impl AgentWork {
    /// The registration, to be changed.
    pub(super) fn agent_mut(&mut self) -> &mut Agent {
        self.is_agent_changed = true;
        Arc::make_mut(&mut self.agent)
    }

    /// The status, to be changed.
    pub(super) fn status_mut(&mut self) -> &mut AgentStatus {
        self.is_status_changed = true;
        Arc::make_mut(&mut self.status)
    }

    /// Marks the agent as deregistered.
    pub(super) fn remove(&mut self) {
        self.is_removed = true;
    }

    fn name_before(&self) -> Option<&str> {
        self.read.as_ref().map(|(agent, _)| agent.value.name.as_str())
    }

    fn name_after(&self) -> Option<&str> {
        (!self.is_removed).then_some(self.agent.name.as_str())
    }

    /// The connection that the agent held before and holds no longer.
    fn disconnected(&self) -> Option<Disconnected> {
        let (_, status) = self.read.as_ref()?;
        let before = &status.as_ref()?.value;
        let connection = before.connection.clone()?;
        let after = self.status.connection.as_ref().filter(|_| !self.is_removed);
        let cause = match after {
            Some(after) if after.id == connection.id => return None,
            Some(_) => DisconnectCause::TakenOver,
            None if self.is_removed => DisconnectCause::Removed,
            None if self.status.generation != before.generation => DisconnectCause::Replaced,
            None => DisconnectCause::Ended,
        };
        Some(Disconnected { agent: self.agent.id.clone(), connection, cause })
    }

    /// Whether the agent is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.status.is_busy(&self.agent)
    }

    pub(super) fn is_available(&self) -> bool {
        !self.is_removed && self.status.is_available(&self.agent)
    }

    /// Whether it was when it was read.
    pub(super) fn was_available(&self) -> bool {
        let Some((agent, Some(status))) = &self.read else { return false };
        status.value.is_available(&agent.value)
    }
}

/// The last of the tasks that wait for the same agents: whoever tries that one serves the others first.
#[derive(Default)]
struct Queues<'t>(BTreeMap<String, &'t Task>);

impl<'t> Queues<'t> {
    fn join(&mut self, task: &'t Task) {
        let last = self.0.entry(task.route.key()).or_insert(task);
        if task.waits_behind(last) {
            *last = task;
        }
    }

    fn last(self) -> impl Iterator<Item = &'t Task> {
        self.0.into_values()
    }
}

impl<'w, 'p> UnitOfWork<'w, 'p> {
    pub(super) fn new(snapshot: &'w Snapshot, context: &'w mut DecisionContext<'p>) -> Self {
        Self {
            snapshot,
            context,
            decision: Decision::default(),
            agents: BTreeMap::new(),
            sessions: BTreeMap::new(),
            concurrency_groups: BTreeMap::new(),
            kept: Vec::new(),
            begun: 0,
            is_going_on: false,
            new_payloads: Vec::new(),
            just_done: None,
        }
    }

    /// Whether so much has begun that the rest is left to another decision.
    pub(super) fn is_large(&self) -> bool {
        let history = self.decision.events.iter().map(|event| event.data.len());
        self.begun >= BEGUN_AT_ONCE_MAX || (self.begun > 0 && history.sum::<usize>() > HISTORY_AT_ONCE_BYTES)
    }

    /// Whether a session could go on before this decision: then the timer that lets it go on is due.
    pub(super) fn could_go_on(&self, id: &SessionId) -> Result<bool, Halt> {
        if self.sessions.get(id).is_none_or(|work| work.read.is_none()) {
            return Ok(false);
        }
        Ok(self.snapshot.session(id)?.is_some_and(|read| read.value.next_move().is_some()))
    }

    /// Whether a session that this decision has looked at is over.
    pub(super) fn is_known_over(&self, id: &SessionId) -> bool {
        self.sessions.get(id).is_some_and(|work| work.state.session.status.is_over())
    }

    /// The agent with this id, as changed so far; `None` when it does not exist or is being removed.
    pub(super) fn agent(&mut self, id: &AgentId) -> Result<Option<&mut AgentWork>, Halt> {
        if !self.agents.contains_key(id) {
            let loaded = self.load_agent(id)?;
            self.agents.insert(id.clone(), loaded);
        }
        Ok(self.agents.get_mut(id).and_then(Option::as_mut).filter(|work| !work.is_removed))
    }

    /// The agent with this id.
    pub(super) fn known_agent(&mut self, id: &AgentId) -> Result<&mut AgentWork, Halt> {
        self.agent(id)?.ok_or_else(|| Rejected::UnknownAgent(id.to_string()).into())
    }

    /// Looks at an agent again once it has had its time to connect.
    pub(super) fn expect_back(&mut self, id: &AgentId) {
        let absence = DueJob::Absence { agent: id.clone() };
        self.decision.arm(Due::new(absence, self.context.now + RECONNECT_GRACE));
    }

    /// Lets the decision stand only while nobody else has changed an agent's status, whether it changes it or not.
    pub(super) fn rest_on_status(&mut self, id: &AgentId) -> Result<(), Halt> {
        self.snapshot.require([Key::Agent(id.clone()), Key::Status(id.clone())])?;
        let agent = self.snapshot.agent(id)?.map(|read| read.version);
        let status = self.snapshot.status(id)?.map(|read| read.version);
        self.decision.expects.push((Key::Agent(id.clone()), agent));
        self.decision.expects.push((Key::Status(id.clone()), status));
        Ok(())
    }

    /// Who has this name. A name whose agent is gone was read too early and counts as free: where it is not,
    /// taking it conflicts.
    pub(super) fn agent_named(&mut self, name: &str) -> Result<Option<AgentId>, Halt> {
        let Some(holder) = self.snapshot.agent_named(name)?.map(|row| row.value.agent.clone()) else {
            return Ok(None);
        };
        Ok(self.agent(&holder)?.is_some().then_some(holder))
    }

    /// Adds an agent that does not exist yet.
    pub(super) fn create_agent(&mut self, agent: Agent) {
        let (id, agent) = (agent.id.clone(), Arc::new(agent));
        let work = AgentWork {
            status: Arc::new(AgentStatus::fresh(id.clone(), agent.generation, self.context.now)),
            read: None,
            is_agent_changed: true,
            is_status_changed: true,
            is_removed: false,
            agent,
        };
        self.agents.insert(id, Some(work));
    }

    /// The agents touched so far that are available for `route`.
    pub(super) fn touched_available(&self, route: &routing::Route) -> Vec<AgentId> {
        let works = self.agents.values().flatten();
        works
            .filter(|work| work.is_available() && route.admits(&work.agent))
            .map(|work| work.agent.id.clone())
            .collect()
    }

    /// Whether this decision has looked at an agent.
    pub(super) fn is_touched(&self, id: &AgentId) -> bool {
        self.agents.contains_key(id)
    }

    /// Whether a touched or stored agent is available.
    pub(super) fn is_available(&mut self, id: &AgentId) -> Result<bool, Halt> {
        Ok(self.agent(id)?.is_some_and(|work| work.is_available()))
    }

    /// The session with this id, as changed so far.
    pub(super) fn session(&mut self, id: &SessionId) -> Result<Option<&SessionState>, Halt> {
        if !self.sessions.contains_key(id) {
            let Some(read) = self.snapshot.session(id)? else { return Ok(None) };
            let work = SessionWork {
                tasks_read: read.value.tasks.len(),
                changed: Vec::new(),
                state: Arc::clone(&read.value),
                read: Some(read.version),
                is_changed: false,
            };
            self.sessions.insert(id.clone(), work);
        }
        Ok(self.sessions.get(id).map(|work| &*work.state))
    }

    /// The session with this id.
    pub(super) fn known_session(&mut self, id: &SessionId) -> Result<&SessionState, Halt> {
        self.session(id)?.ok_or_else(|| Rejected::UnknownSession(id.to_string()).into())
    }

    /// The same, with the payloads that its expressions can look into.
    pub(super) fn session_to_see(
        &mut self,
        id: &SessionId,
    ) -> Result<(&SessionState, KnownPayloads<'_>), Halt> {
        self.known_session(id)?;
        let work = self.sessions.get(id).ok_or_else(|| Rejected::UnknownSession(id.to_string()))?;
        let steps = &self.context.steps;
        let payloads = KnownPayloads { snapshot: self.snapshot, new_payloads: &self.new_payloads, steps };
        Ok((&work.state, payloads))
    }

    /// A task of a session that is being worked on.
    pub(super) fn task(&mut self, session: &SessionId, task: &TaskId) -> Result<Option<Arc<Task>>, Halt> {
        Ok(self.session(session)?.and_then(|state| state.task(task)).cloned())
    }

    /// Adds a session that begins with `started`.
    pub(super) fn create_session(&mut self, id: &SessionId, started: &SessionEvent) {
        let Some(state) = SessionState::start(id, self.context.now, started) else { return };
        self.decision.events.push(started.entry(id, state.session.sequence, self.context.now, None));
        let work = SessionWork {
            state: Arc::new(state),
            read: None,
            tasks_read: 0,
            changed: Vec::new(),
            is_changed: true,
        };
        self.sessions.insert(id.clone(), work);
    }

    /// Lets `event` happen in a session: changes its state and appends to its history.
    pub(super) fn emit(&mut self, id: &SessionId, event: &SessionEvent) -> Result<(), Halt> {
        self.known_session(id)?;
        let agent_name = event.agent().and_then(|agent| self.agent_name(agent));
        let Some(work) = self.sessions.get_mut(id) else { return Ok(()) };
        match event.task() {
            Some(task) => work.changed.extend(work.state.tasks.position(task)),
            None if *event == SessionEvent::Paused => work.changed.extend(work.state.queued()),
            None => {}
        }
        Arc::make_mut(&mut work.state).apply(self.context.now, event)?;
        work.is_changed = true;
        let sequence = work.state.session.sequence;
        self.decision.events.push(event.entry(id, sequence, self.context.now, agent_name.as_deref()));
        if work.state.session.status.is_over()
            && let Some(schedule) = work.state.session.schedule.clone()
        {
            // Whatever waits for the end of its session is looked after next.
            self.decision.arm(Due::new(DueJob::Fire { schedule }, self.context.now));
        }
        Ok(())
    }

    /// An agent's name, where it is at hand: nothing is loaded for it.
    fn agent_name(&self, id: &AgentId) -> Option<String> {
        match self.agents.get(id) {
            Some(work) => work.as_ref().map(|work| work.agent.name.clone()),
            None => self.snapshot.agent(id).ok().flatten().map(|agent| agent.value.name.clone()),
        }
    }

    /// The group with this name, to be changed.
    pub(super) fn group_mut(&mut self, name: &str) -> Result<&mut ConcurrencyGroup, Halt> {
        if !self.concurrency_groups.contains_key(name) {
            let read = self.snapshot.group(name)?;
            let group = read.as_ref().map_or_else(
                || ConcurrencyGroup { key: name.to_owned(), limit: 1, ..ConcurrencyGroup::default() },
                |read| ConcurrencyGroup::clone(&read.value),
            );
            let before = group.clone();
            self.concurrency_groups
                .insert(name.to_owned(), GroupWork { group, read: read.map(|read| read.version), before });
        }
        let missing = || Halt::from(Rejected::InvalidTransition(format!("group {name} was not read")));
        self.concurrency_groups.get_mut(name).map(|work| &mut work.group).ok_or_else(missing)
    }

    /// Appends an entry to the log.
    pub(super) fn log(&mut self, event: NewEvent) {
        self.decision.events.push(event);
    }

    /// The decision, with everything that differs from what was read.
    pub(super) fn finish(mut self) -> Decision {
        let agents: Vec<AgentWork> = std::mem::take(&mut self.agents).into_values().flatten().collect();
        self.rename(&agents);
        for work in agents {
            self.finish_agent(work);
        }
        for (id, work) in std::mem::take(&mut self.sessions) {
            self.write_session(&id, work);
        }
        for work in std::mem::take(&mut self.concurrency_groups).into_values() {
            self.write_group(work);
        }
        self.write_payloads();
        self.decision
    }

    fn load_agent(&self, id: &AgentId) -> Result<Option<AgentWork>, Halt> {
        self.snapshot.require([Key::Agent(id.clone()), Key::Status(id.clone())])?;
        let Some(agent) = self.snapshot.agent(id)? else { return Ok(None) };
        let status = self.snapshot.status(id)?;
        Ok(Some(AgentWork {
            agent: Arc::clone(&agent.value),
            status: status.as_ref().map_or_else(
                || {
                    let since = agent.value.registered_at;
                    Arc::new(AgentStatus::fresh(id.clone(), agent.value.generation, since))
                },
                |status| Arc::clone(&status.value),
            ),
            read: Some((agent, status)),
            is_agent_changed: false,
            is_status_changed: false,
            is_removed: false,
        }))
    }

    fn finish_agent(&mut self, work: AgentWork) {
        if !(work.is_agent_changed || work.is_status_changed || work.is_removed) {
            return;
        }
        self.relist(&work);
        self.decision.disconnected.extend(work.disconnected());
        let (agent_read, status_read) = match &work.read {
            Some((agent, status)) => (Some(agent), status.as_ref()),
            None => (None, None),
        };
        let id = work.agent.id.clone();
        if work.is_removed {
            if let Some(agent) = agent_read {
                self.decision.remove(Key::Agent(id.clone()), agent.version);
            }
            if let Some(status) = status_read {
                if status.value.connection.is_some() || status.value.disconnected_at.is_some() {
                    self.decision.remove_guarded(Key::Figures(id.clone()));
                }
                self.decision.remove(Key::Status(id), status.version);
            }
            return;
        }
        if work.is_agent_changed {
            let version = self.context.version_after(agent_read.map(|read| read.version));
            let row = Row::Agent(work.agent);
            self.decision.put(row, agent_read.map(|read| read.version), version);
        } else if let Some(agent) = agent_read {
            // The two rows are read one after the other, and only together say whether the agent is available.
            self.decision.expects.push((Key::Agent(id), Some(agent.version)));
        }
        if work.is_status_changed {
            let read = status_read.map(|read| read.version);
            let version = self.context.version_after(read);
            self.decision.put(Row::Status(work.status), read, version);
        }
    }

    /// Brings the names in line with the agents. A name that passes from one to another is written once; any
    /// other new one must be free.
    fn rename(&mut self, agents: &[AgentWork]) {
        let moved: Vec<&AgentWork> =
            agents.iter().filter(|work| work.name_before() != work.name_after()).collect();
        for work in &moved {
            if let Some(name) = work.name_before()
                && !moved.iter().any(|other| other.name_after() == Some(name))
            {
                self.decision.remove_guarded(Key::AgentName(name.to_owned()));
            }
            if let Some(name) = work.name_after() {
                let row = Row::AgentName(AgentName { name: name.to_owned(), agent: work.agent.id.clone() });
                let version = self.context.version_after(None);
                if moved.iter().any(|other| other.name_before() == Some(name)) {
                    self.decision.put_guarded(row, version);
                } else {
                    self.decision.create(row, version);
                }
            }
        }
    }

    /// Brings the lists of available agents in line with the agent.
    fn relist(&mut self, work: &AgentWork) {
        let before = work.read.as_ref().and_then(|(agent, status)| {
            let status = status.as_ref()?;
            status
                .value
                .is_available(&agent.value)
                .then(|| (routing::listing_of(&agent.value), status.value.last_used))
        });
        let after = work.is_available().then(|| (routing::listing_of(&work.agent), work.status.last_used));
        if before == after {
            return;
        }
        let (old, old_used) = before.clone().unwrap_or_default();
        let (new, last_used) = after.unwrap_or_default();
        for route in old.iter().filter(|route| !new.contains(route)) {
            self.decision.remove_guarded(Key::Available(route.clone(), work.agent.id.clone()));
        }
        let version = self.context.version_after(None);
        for route in new.iter().filter(|route| old_used != last_used || !old.contains(route)) {
            let row = Available { route: route.clone(), agent: work.agent.id.clone(), last_used };
            self.decision.put_guarded(Row::Available(row), version);
        }
        if new.iter().any(|route| !old.contains(route)) {
            self.decision.hints.push(MatchHint::Agent(work.agent.id.clone()));
        }
    }

    fn write_session(&mut self, id: &SessionId, work: SessionWork) {
        if !work.is_changed {
            // What follows from a session must not be kept when the session has moved on meanwhile.
            self.decision.expects.push((Key::Session(id.clone()), work.read));
            return;
        }
        let version = self.context.version_after(work.read);
        let SessionState { session, tasks } = &*work.state;
        let mut queues = Queues::default();
        let mut changed = work.changed;
        changed.retain(|position| *position < work.tasks_read);
        changed.sort_unstable();
        changed.dedup();
        changed.extend(work.tasks_read..tasks.len());
        for task in changed.into_iter().filter_map(|position| tasks.get(position)) {
            if task.queued_at.is_some() {
                queues.join(task);
            }
            self.decision.put_guarded(Row::Task(id.clone(), Arc::clone(task)), version);
        }
        let last = queues.last().map(|task| MatchHint::Task(id.clone(), task.id.clone()));
        self.decision.hints.extend(last);
        self.decision.put(Row::Session(Arc::clone(session)), work.read, version);
    }

    /// A group that nobody holds or waits at is not kept.
    fn write_group(&mut self, work: GroupWork) {
        let key = Key::ConcurrencyGroup(work.group.key.clone());
        let is_empty = work.group.holders.is_empty() && work.group.queue.is_empty();
        match work.read {
            _ if work.group == work.before => self.decision.expects.push((key, work.read)),
            Some(read) if is_empty => self.decision.remove(key, read),
            None if is_empty => self.decision.expects.push((key, None)),
            read => {
                let version = self.context.version_after(read);
                self.decision.put(Row::ConcurrencyGroup(Arc::new(work.group)), read, version);
            }
        }
    }

    /// Keeps the new payloads that something refers to: what sessions keep, their history tells.
    fn write_payloads(&mut self) {
        if self.new_payloads.is_empty() {
            return;
        }
        let is_history =
            |event: &&NewEvent| event.session.as_ref().is_some_and(|(_, sequence)| *sequence > 0);
        let history = self.decision.events.iter().filter(is_history);
        let mut named: HashSet<String> = history.flat_map(|event| named_in(&event.data)).collect();
        let version = self.context.version_after(None);
        // Those that refer to others come after them.
        while let Some(payload) = self.new_payloads.pop() {
            if named.contains(&payload.sha256) {
                named.extend(payload.references().into_iter().map(str::to_owned));
                self.decision.put_guarded(Row::Payload(payload), version);
            }
        }
    }
}
