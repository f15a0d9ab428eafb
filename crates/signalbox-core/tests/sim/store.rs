//! A store in memory with the semantics of a real one: rows by key and version, decisions applied whole or not
//! at all, a log, due work with leases, the list of available agents and the queue of waiting tasks.
//!
//! What it holds is durable: a crash of a process takes nothing from it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use signalbox_core::agent::{Agent, AgentStatus};
use signalbox_core::decision::{ConcurrencyGroup, Guard, Key, Row, Write};
use signalbox_core::delivery::Message;
use signalbox_core::due::DueJob;
use signalbox_core::event::NewEvent;
use signalbox_core::payload::Reference;
use signalbox_core::session::{SessionEvent, SessionState};
use signalbox_core::snapshot::{Loaded, Versioned, WaitingTask};
use signalbox_core::{Decision, Need, Snapshot};
use signalbox_wire::id::{AgentId, CommandId, MessageId, SessionId, TaskId, WorkflowId};
use signalbox_wire::time::Timestamp;

/// What is kept.
#[derive(Debug, Default, Clone)]
pub(crate) struct Store {
    rows: HashMap<Key, (Row, i64)>,
    /// What each row was before its last change.
    past: HashMap<Key, Loaded>,
    /// Every session with its tasks.
    pub(crate) sessions: BTreeMap<SessionId, Versioned<SessionState>>,
    /// The routes that each agent is listed under, and when it was last used.
    pub(crate) available: BTreeMap<AgentId, BTreeMap<String, Timestamp>>,
    /// Who waits, under which route, since when.
    pub(crate) waiting: BTreeMap<TaskId, Waiting>,
    /// Due work by id.
    pub(crate) due: BTreeMap<String, DueRow>,
    /// The history of each session, as the log's bodies give it.
    pub(crate) histories: BTreeMap<SessionId, Vec<(Timestamp, SessionEvent)>>,
    /// All messages that there are.
    pub(crate) messages: BTreeMap<MessageId, Arc<Message>>,
    /// All registrations that there are.
    pub(crate) agents: BTreeMap<AgentId, Arc<Agent>>,
    /// Marks that agents put into their reports and that the log has.
    pub(crate) marks: HashSet<u64>,
    /// How many decisions were applied.
    pub(crate) commits: usize,
    /// Rows written and removed, due work and the log included.
    pub(crate) rows_written: usize,
    /// Candidates and waiting tasks shown at once.
    looks: (usize, usize),
}

/// A task that waits for an agent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) route: String,
    pub(crate) priority: i32,
    pub(crate) since: Timestamp,
    pub(crate) session: SessionId,
}

/// A row of due work.
#[derive(Debug, Clone)]
pub(crate) struct DueRow {
    pub(crate) work: DueJob,
    pub(crate) visible_at: Timestamp,
    pub(crate) ends: Option<Timestamp>,
}

impl DueRow {
    /// When it can be claimed next, for what it is or because its time is over.
    pub(crate) fn next_at(&self) -> Timestamp {
        self.ends.map_or(self.visible_at, |ends| ends.min(self.visible_at))
    }
}

/// The decision does not fit what is there now.
#[derive(Debug)]
pub(crate) struct Conflict;

impl Store {
    /// An empty store that shows this many candidates and waiting tasks at once.
    pub(crate) fn new(looks: (usize, usize)) -> Self {
        Self { looks, ..Self::default() }
    }

    /// Shows `view` what it needs.
    pub(crate) fn load(&self, need: &Need, snapshot: &mut Snapshot) {
        match need {
            Need::Row(key) => snapshot.show(key.clone(), self.loaded(key)),
            Need::Rows(keys) => keys.iter().for_each(|key| snapshot.show(key.clone(), self.loaded(key))),
            Need::Candidates(route) => {
                let mut listed: Vec<(Timestamp, &AgentId)> = self
                    .available
                    .iter()
                    .filter_map(|(agent, routes)| Some((*routes.get(route)?, agent)))
                    .collect();
                listed.sort();
                let agents: Vec<AgentId> =
                    listed.into_iter().take(self.looks.0).map(|(_, agent)| agent.clone()).collect();
                // With them come the rows of the one that will most likely be taken.
                for key in agents
                    .first()
                    .into_iter()
                    .flat_map(|id| [Key::Agent(id.clone()), Key::Status(id.clone())])
                {
                    snapshot.show(key.clone(), self.loaded(&key));
                }
                snapshot.show_candidates(route.clone(), agents);
            }
            Need::Waiting(routes) => {
                let listed = self.waiting_under(routes, snapshot.waiting_listed(self.looks.1));
                snapshot.show_waiting(routes.clone(), listed);
            }
            Need::OpenCommands(agent) => {
                snapshot.show_open_commands(agent.clone(), self.open_commands_of(agent))
            }
        }
    }

    /// Applies a decision whole, or not at all. Answers the due work that it removed.
    pub(crate) fn commit(
        &mut self,
        decision: &Decision,
        born_leased: Option<(Timestamp, Timestamp)>,
    ) -> Result<Vec<DueJob>, Conflict> {
        self.allow(decision)?;
        self.commits += 1;
        self.rows_written += decision.writes.len() + decision.due.len() + decision.events.len();
        self.remember(decision);
        for write in &decision.writes {
            match write {
                Write::Put { row, version, .. } => self.put(row, *version),
                Write::Remove { key, .. } => self.remove(key),
            }
        }
        self.refresh(decision);
        for due in &decision.due {
            let lease = born_leased.filter(|(now, _)| due.at <= *now).map(|(_, until)| until);
            let row = DueRow { work: due.work.clone(), visible_at: lease.unwrap_or(due.at), ends: due.ends };
            let before = self.due.insert(due.work.id(), row);
            assert!(!due.is_new || before.is_none(), "{} was due before", due.work.id());
        }
        let removed: Vec<DueJob> =
            decision.done.iter().filter_map(|id| self.due.remove(id)).map(|row| row.work).collect();
        self.rows_written += removed.len();
        for event in &decision.events {
            self.append(event);
        }
        Ok(removed)
    }

    /// It holds what another store holds that had the same before this decision; but that has no leases until `leased_until`.
    pub(crate) fn check_same(&self, other: &Self, decision: &Decision, leased_until: Option<Timestamp>) {
        let versions = |store: &Self| -> HashMap<Key, i64> {
            store.rows.iter().map(|(key, (_, version))| (key.clone(), *version)).collect()
        };
        assert_eq!(versions(self), versions(other), "rows of {decision:?}");
        for key in decision.writes.iter().map(Write::key) {
            let (row, other) = (self.rows.get(&key), other.rows.get(&key));
            assert_eq!(format!("{row:?}"), format!("{other:?}"), "{key:?}");
        }
        assert!(self.due.keys().eq(other.due.keys()), "due work");
        for (row, other) in self.due.values().zip(other.due.values()) {
            let visible_at =
                Some(row.visible_at).filter(|at| Some(*at) != leased_until).unwrap_or(other.visible_at);
            assert_eq!(
                (&row.work, row.ends, visible_at),
                (&other.work, other.ends, other.visible_at),
                "due work"
            );
        }
        let sessions = |store: &Self| {
            store.sessions.values().map(|read| (read.version, Arc::clone(&read.value))).collect::<Vec<_>>()
        };
        assert_eq!(sessions(self), sessions(other));
        assert_eq!(self.histories, other.histories);
        let listed = |store: &Self| {
            let mut listed = store.available.clone();
            listed.retain(|_, routes| !routes.is_empty());
            listed
        };
        assert_eq!(listed(self), listed(other));
        assert_eq!(self.waiting, other.waiting);
    }

    /// Takes the work that has been visible longest, and hides it until `until`; of each, whether its time is over.
    pub(crate) fn claim(&mut self, now: Timestamp, until: Timestamp, limit: usize) -> Vec<(DueJob, bool)> {
        let mut visible: Vec<(Timestamp, String)> = self
            .due
            .iter()
            .filter(|(_, row)| row.next_at() <= now)
            .map(|(id, row)| (row.next_at(), id.clone()))
            .collect();
        visible.sort();
        let claimed = visible.into_iter().take(limit).filter_map(|(_, id)| {
            let row = self.due.get_mut(&id)?;
            let is_over = row.ends.is_some_and(|ends| ends <= now);
            row.visible_at = until;
            if is_over {
                row.ends = Some(until);
            }
            Some((row.work.clone(), is_over))
        });
        claimed.collect()
    }

    /// Gives claimed work back until later.
    pub(crate) fn postpone(&mut self, work: &DueJob, until: Timestamp) {
        if let Some(row) = self.due.get_mut(&work.id()).filter(|row| row.work == *work) {
            row.visible_at = until;
        }
    }

    /// A session with its tasks.
    pub(crate) fn session(&self, id: &SessionId) -> Option<&Versioned<SessionState>> {
        self.sessions.get(id)
    }

    /// An agent's status.
    pub(crate) fn status(&self, id: &AgentId) -> Option<&AgentStatus> {
        match self.rows.get(&Key::Status(id.clone()))? {
            (Row::Status(status), _) => Some(status),
            _ => None,
        }
    }

    /// An agent's status as it was before it changed last.
    pub(crate) fn status_before(&self, id: &AgentId) -> Option<&AgentStatus> {
        match self.past.get(&Key::Status(id.clone()))? {
            Loaded::Status(status) => Some(&status.value),
            _ => None,
        }
    }

    /// Who has a name.
    pub(crate) fn holder(&self, name: &str) -> Option<&AgentId> {
        match self.rows.get(&Key::AgentName(name.to_owned()))? {
            (Row::AgentName(row), _) => Some(&row.agent),
            _ => None,
        }
    }

    /// The sessions that share a key.
    pub(crate) fn group(&self, key: &str) -> Option<&ConcurrencyGroup> {
        match self.rows.get(&Key::ConcurrencyGroup(key.to_owned()))? {
            (Row::ConcurrencyGroup(group), _) => Some(group),
            _ => None,
        }
    }

    /// The current revision of a workflow.
    pub(crate) fn revision(&self, id: &WorkflowId) -> Option<u32> {
        match self.rows.get(&Key::Workflow(id.clone()))? {
            (Row::Workflow(row), _) => Some(row.revision).filter(|_| !row.is_deleted),
            _ => None,
        }
    }

    /// What `value` refers to, where it is a reference.
    pub(crate) fn opened<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = Reference::of(value) else { return value };
        match self.rows.get(&Key::Payload(reference.sha256.to_owned())) {
            Some((Row::Payload(payload), _)) => &payload.value,
            _ => panic!("the payload {} is not kept", reference.sha256),
        }
    }

    fn waiting_under(&self, routes: &[String], most: usize) -> Vec<WaitingTask> {
        let mut found: Vec<(&TaskId, &Waiting)> =
            self.waiting.iter().filter(|(_, waiting)| routes.contains(&waiting.route)).collect();
        found.sort_by_key(|(task, waiting)| (Reverse(waiting.priority), waiting.since, *task));
        let shown = found.into_iter().take(most);
        shown
            .map(|(task, waiting)| WaitingTask { session: waiting.session.clone(), task: task.clone() })
            .collect()
    }

    fn allow(&self, decision: &Decision) -> Result<(), Conflict> {
        let mut seen = HashSet::new();
        let version = |key: &Key| self.rows.get(key).map(|(_, version)| *version);
        for write in &decision.writes {
            let (key, guard) = (write.key(), write.guard());
            assert!(seen.insert(key.clone()), "a decision writes {key:?} twice");
            let fits = match guard {
                Guard::Absent => version(&key).is_none(),
                Guard::At(read) => version(&key) == Some(read),
                Guard::Guarded => true,
            };
            if !fits {
                return Err(Conflict);
            }
        }
        let is_both = decision.due.iter().map(|due| due.work.id()).find(|id| decision.done.contains(id));
        assert_eq!(is_both, None, "work is done and due in one decision");
        let holds = |(key, read): &(Key, Option<i64>)| version(key) == *read;
        if decision.expects.iter().all(holds) { Ok(()) } else { Err(Conflict) }
    }

    fn put(&mut self, row: &Row, version: i64) {
        let key = row.key();
        if let Some((_, before)) = self.rows.get(&key) {
            let is_versioned =
                !matches!(row, Row::Available(_) | Row::AgentName(_) | Row::Definition(_) | Row::Payload(_));
            assert!(version > *before || !is_versioned, "the version of {key:?} does not grow");
        }
        match row {
            Row::Agent(agent) => drop(self.agents.insert(agent.id.clone(), Arc::clone(agent))),
            Row::Message(message) => drop(self.messages.insert(message.id.clone(), Arc::clone(message))),
            Row::Available(row) => {
                self.available.entry(row.agent.clone()).or_default().insert(row.route.clone(), row.last_used);
            }
            Row::Task(session, task) => match (task.waiting_key(), task.queued_at) {
                (Some(route), Some(since)) => {
                    let (priority, session) = (task.rules.priority, session.clone());
                    self.waiting.insert(task.id.clone(), Waiting { route, priority, since, session });
                }
                _ => drop(self.waiting.remove(&task.id)),
            },
            _ => {}
        }
        self.rows.insert(key, (row.clone(), version));
    }

    fn remove(&mut self, key: &Key) {
        match key {
            Key::Agent(id) => drop(self.agents.remove(id)),
            Key::Message(id) => drop(self.messages.remove(id)),
            Key::Available(route, agent) => {
                if let Some(routes) = self.available.get_mut(agent) {
                    routes.remove(route);
                }
            }
            _ => {}
        }
        self.rows.remove(key);
    }

    /// Brings the sessions in line with the rows of them that were written.
    fn refresh(&mut self, decision: &Decision) {
        for write in &decision.writes {
            let Write::Put { row: Row::Session(session), version, .. } = write else { continue };
            let mut tasks =
                self.sessions.get(&session.id).map(|read| read.value.tasks.clone()).unwrap_or_default();
            for write in &decision.writes {
                if let Write::Put { row: Row::Task(owner, task), .. } = write
                    && *owner == session.id
                {
                    tasks.set(Arc::clone(task));
                }
            }
            let state = SessionState { session: Arc::clone(session), tasks };
            self.sessions.insert(session.id.clone(), Versioned { version: *version, value: Arc::new(state) });
        }
    }

    /// Keeps what the rows were.
    fn remember(&mut self, decision: &Decision) {
        for key in decision.writes.iter().map(Write::key) {
            if let Some(before) = self.loaded(&key) {
                self.past.insert(key, before);
            }
        }
    }

    fn append(&mut self, event: &NewEvent) {
        if let Some((session, sequence)) = event.session.as_ref().filter(|(_, sequence)| *sequence > 0) {
            let change: SessionEvent = serde_json::from_str(&event.data).expect("a history that can be read");
            let history = self.histories.entry(session.clone()).or_default();
            history.push((event.at, change));
            assert_eq!(history.len() as u64, *sequence, "{session} has a gap or a repeat in its history");
        }
        if event.kind == "agent.reported"
            && let Some((_, mark)) = event.data.split_once("\"mark\":")
        {
            let digits = mark.split(|c: char| !c.is_ascii_digit()).next();
            self.marks.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
    }

    /// The commands of an agent that are not over.
    fn open_commands_of(&self, agent: &AgentId) -> Vec<CommandId> {
        let open = self.rows.values().filter_map(|(row, _)| match row {
            Row::Command(command) if command.agent == *agent && !command.status.is_over() => {
                Some(command.id.clone())
            }
            _ => None,
        });
        open.collect()
    }

    /// A row as a decision sees it.
    pub(crate) fn loaded(&self, key: &Key) -> Option<Loaded> {
        if let Key::Session(id) = key {
            return self.session(id).cloned().map(Loaded::Session);
        }
        let (row, version) = self.rows.get(key)?;
        row.loaded(*version)
    }
}
