//! An agent: its registration, what it last said of itself, and whether it can take another task.
//!
//! Availability, by newest report (compared without case) and holdings:
//!
//! | newest report                                   | below concurrency | at concurrency |
//! |-------------------------------------------------|-------------------|----------------|
//! | none yet                                        | available         | not            |
//! | `idle`, `finished`, `completed`                 | available         | not            |
//! | `error`, `failed` that settled a task           | available         | not            |
//! | `error`, `failed` about the agent itself        | not               | not            |
//! | `active`, `busy` (see below)                    | not               | not            |
//! | `initializing`, `offline`, any other word       | not               | not            |
//!
//! `active` and `busy` are how an agent says that it works on a task. Where it may hold several at once, such
//! a report about a held task does not close it to others as long as it holds one; its concurrency does.
//! Draining, or having neither a contact endpoint nor a connection, makes it unavailable whatever it said.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, ConnectionId, SessionId, TaskId};
use signalbox_wire::time::Timestamp;

pub use crate::connection::Connection;
use crate::delivery::DeliveryFailure;
use crate::limits::{CONCURRENCY_MAX, FAILURE_STANDS};
use crate::report::Fingerprint;
pub use crate::report::{Meaning, Report};
use crate::task_attempt::TaskAttempt;

/// The state of an agent that said that it goes.
pub(crate) const OFFLINE: &str = "offline";

/// The state of an agent that went and has connected again, until it says another.
const IDLE: &str = "idle";

/// A registration. Changes rarely; what changes with every report is [`AgentStatus`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id, unique in the tenant.
    pub id: AgentId,
    /// Its name, unique in the tenant.
    pub name: String,
    /// The version it gave of itself.
    pub version: String,
    /// Where it takes POSTs; absent when it is reached over its own connection.
    pub endpoint: Option<String>,
    /// What it can do, as registered: names or objects with a `name`.
    pub capabilities: Vec<Value>,
    /// Whatever its owner keeps with it.
    pub metadata: Map<String, Value>,
    /// When it registered first.
    pub registered_at: Timestamp,
    /// Grows whenever the registration is taken over: signs of life of an older one do not count.
    pub generation: u64,
    /// Tasks it may hold at once.
    pub concurrency: u32,
}

impl Agent {
    /// The names of its capabilities.
    pub fn capability_names(&self) -> impl Iterator<Item = &str> {
        self.capabilities.iter().filter_map(capability_name)
    }

    /// Whether it is there only as long as it is connected: it is removed once it has been away for a while.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.endpoint.is_none() && ephemeral(&self.metadata).unwrap_or(false)
    }

    /// Whether it offers `capability`.
    #[must_use]
    pub fn offers(&self, capability: &str) -> bool {
        self.capability_names().any(|name| name == capability)
    }
}

/// The name of a capability given as text or as an object.
#[must_use]
pub fn capability_name(capability: &Value) -> Option<&str> {
    capability.as_str().or_else(|| capability.get("name")?.as_str())
}

/// How many tasks an agent with this metadata may hold at once: `metadata.concurrency`, else 1.
///
/// # Errors
/// What is wrong with the value, when it is not a whole number from 0 to [`CONCURRENCY_MAX`].
pub fn concurrency(metadata: &Map<String, Value>) -> Result<u32, String> {
    let Some(value) = metadata.get("concurrency") else { return Ok(1) };
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number <= CONCURRENCY_MAX)
        .ok_or_else(|| format!("must be a whole number from 0 to {CONCURRENCY_MAX}"))
}

/// Whether an agent with this metadata is to be removed when it is no longer connected: `metadata.ephemeral`, else not.
///
/// # Errors
/// What is wrong with the value, when it is neither `true` nor `false`.
pub fn ephemeral(metadata: &Map<String, Value>) -> Result<bool, String> {
    match metadata.get("ephemeral") {
        None => Ok(false),
        Some(Value::Bool(is_ephemeral)) => Ok(*is_ephemeral),
        Some(_) => Err("must be true or false".to_owned()),
    }
}

/// What is wrong with what the engine reads of an agent's metadata: the key, and why.
#[must_use]
pub fn metadata_faults(metadata: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let found = [
        ("concurrency", concurrency(metadata).err()),
        ("ephemeral", ephemeral(metadata).err()),
        ("onBusy", busy_policy(metadata).err()),
    ];
    found.into_iter().filter_map(|(key, why)| Some((key, why?))).collect()
}

/// What becomes of a message to an agent that is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusyPolicy {
    /// It is delivered as ever; an endpoint that is not ready answers 429 or 503 and gets it again.
    Queue,
    /// It is refused.
    Reject,
    /// The agent's tasks are taken from it, and it is told to stop.
    Interrupt,
}

/// What an agent with this metadata wants of messages that come while it is busy: `metadata.onBusy`, else to have
/// them delivered.
///
/// # Errors
/// What is wrong with the value, when it is none of the words.
pub fn busy_policy(metadata: &Map<String, Value>) -> Result<BusyPolicy, String> {
    match metadata.get("onBusy").map(Value::as_str) {
        None | Some(Some("queue")) => Ok(BusyPolicy::Queue),
        Some(Some("reject")) => Ok(BusyPolicy::Reject),
        Some(Some("interrupt")) => Ok(BusyPolicy::Interrupt),
        Some(_) => Err("must be queue, reject or interrupt".to_owned()),
    }
}

/// What an agent last said, what it holds, and whether it may be given more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Whose status it is.
    pub agent: AgentId,
    /// The registration it belongs to.
    pub generation: u64,
    /// The newest report by its own timestamp.
    pub report: Option<Report>,
    /// The moment of the newest report of the lives before this one: what is no newer was said then.
    #[serde(default)]
    pub earlier_until: Option<Timestamp>,
    /// Reports that were heard and that their timestamps alone would let count again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Fingerprint>,
    /// The last sign of life; nothing else moves it.
    pub last_seen: Timestamp,
    /// When it was last given a task: routing takes the least recently used first.
    pub last_used: Timestamp,
    /// Finishes what it holds and gets nothing new.
    pub draining: bool,
    /// The tasks it holds.
    pub held: Vec<Held>,
    /// Whether it named the task when it last reported of one: then nothing rests on when it took the task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_tasks: bool,
    /// The attempts that it was told to stop and may still be at: they count against its concurrency until it says
    /// that it is done with them, or [`STOPPING_MAX`](crate::limits::STOPPING_MAX) has passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stopping: Vec<TaskAttempt>,
    /// The connection that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// When the last connection of this registration ended, while it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnected_at: Option<Timestamp>,
    /// The last delivery to it that failed, while none is known to have gone well since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_failure: Option<Box<DeliveryFailure>>,
}

/// A task in an agent's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The session the task belongs to.
    pub session: SessionId,
    /// The task.
    pub task: TaskId,
    /// The task's name in its definition.
    pub step: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When it was given to the agent.
    #[serde(default)]
    pub dispatched_at: Timestamp,
    /// Since when the agent is known to have it: the delivery that it answered with 2xx was sent then, or it said
    /// then that it works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// Whether the agent has said `active` or `busy` of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_active: bool,
    /// The agent had it before it connected anew: it is sent again, and is not known to have it until that has come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub comes_again: bool,
}

impl AgentStatus {
    /// The status of an agent that has just registered.
    #[must_use]
    pub fn fresh(agent: AgentId, generation: u64, now: Timestamp) -> Self {
        Self {
            agent,
            generation,
            report: None,
            earlier_until: None,
            recent: Vec::new(),
            last_seen: now,
            last_used: Timestamp::default(),
            draining: false,
            held: Vec::new(),
            names_tasks: false,
            stopping: Vec::new(),
            connection: None,
            disconnected_at: None,
            delivery_failure: None,
        }
    }

    /// Something was delivered to it at this moment: what failed before says no more how it is reached.
    pub fn reached(&mut self, at: Timestamp) {
        self.delivery_failure.take_if(|failure| failure.at <= at);
    }

    /// It has an attempt that was given to it: neither what failed before nor an earlier try of that says any more how it
    /// is reached.
    pub fn reached_with(&mut self, held: &Held) {
        let message = held.task.message(held.attempt);
        self.delivery_failure
            .take_if(|failure| failure.at <= held.dispatched_at || failure.message == message);
    }

    /// Whether a failure is worth a write: one as recent stands for those that follow it.
    #[must_use]
    pub fn is_failure_news(&self, failure: &DeliveryFailure) -> bool {
        self.delivery_failure.as_ref().is_none_or(|kept| kept.at + FAILURE_STANDS <= failure.at)
    }

    /// The status of the agent's next life, of which nothing is known yet.
    #[must_use]
    pub fn restarted(&self, generation: u64, now: Timestamp) -> Self {
        let (earlier_until, recent) = self.last_words(now);
        Self {
            last_used: self.last_used,
            names_tasks: self.names_tasks,
            earlier_until,
            recent,
            // It has been away since now, whatever came before.
            disconnected_at: (self.connection.is_some() || self.disconnected_at.is_some()).then_some(now),
            ..Self::fresh(self.agent.clone(), generation, now)
        }
    }

    /// Whether the agent can take another task now; see the table above.
    #[must_use]
    pub fn is_available(&self, agent: &Agent) -> bool {
        let room = self.held.len() + self.stopping.len() < agent.concurrency as usize;
        let willing = self.report.as_ref().is_none_or(|report| match Meaning::of(&report.state) {
            Meaning::Done => true,
            Meaning::Working => report.about_task && !self.held.is_empty(),
            Meaning::Failed => report.about_task,
            Meaning::Away => false,
        });
        room && willing && !self.draining && self.is_reachable(agent)
    }

    /// Whether the agent is at work: it said so last, or holds as many tasks as it takes.
    #[must_use]
    pub fn is_busy(&self, agent: &Agent) -> bool {
        let says_so =
            self.report.as_ref().is_some_and(|report| Meaning::of(&report.state) == Meaning::Working);
        let is_full = !self.held.is_empty() && self.held.len() >= agent.concurrency as usize;
        says_so || is_full
    }

    /// Whether it may be kept in memory for a while that the agent has taken what it was sent: it names its tasks, so
    /// what it says of them counts in any case, and nothing that it has said waits for this.
    #[must_use]
    pub fn may_keep_taken_in_memory(&self) -> bool {
        let awaits = self.report.as_ref().is_some_and(|report| report.awaits_delivery.is_some());
        self.names_tasks && !awaits
    }

    /// The task that a report is about: the one it names, else the only one held. Where it names the session
    /// too, no other session's counts, unless the task is named with its attempt, which is one task's only. A
    /// name that several have is nobody's.
    #[must_use]
    pub fn task_named(&self, named: Option<&str>, session: Option<&str>) -> Option<&Held> {
        let is_meant = |held: &&Held| session.is_none_or(|session| held.session.as_str() == session);
        let mut meant = self.held.iter().filter(is_meant);
        let Some(name) = named else {
            // What it says may be about a task that it was told to stop.
            return only(meant).filter(|_| self.stopping.is_empty());
        };
        let exact = self.held.iter().find(|held| held.is_named_exactly(name));
        exact
            .or_else(|| meant.clone().find(|held| held.task.as_str() == name))
            .or_else(|| only(meant.by_ref().filter(|held| held.step == name)))
    }
}

impl Held {
    /// A task that an agent is given now.
    #[must_use]
    pub fn new(attempt: TaskAttempt, step: String, dispatched_at: Timestamp) -> Self {
        let TaskAttempt { session, task, attempt } = attempt;
        Self {
            session,
            task,
            step,
            attempt,
            dispatched_at,
            taken_at: None,
            is_active: false,
            comes_again: false,
        }
    }

    /// The agent has it, since `at` at the latest.
    pub fn take(&mut self, at: Timestamp) {
        self.taken_at = Some(self.taken_at.map_or(at, |taken_at| taken_at.min(at)));
        self.comes_again = false;
    }

    /// Whether the agent is not known to have had it, now or before it connected anew.
    #[must_use]
    pub fn was_never_had(&self) -> bool {
        self.taken_at.is_none() && !self.comes_again
    }

    /// Its agent has connected anew: another process may be there, which has nothing of it.
    pub(crate) fn give_again(&mut self, is_running: bool) {
        self.comes_again = is_running || !self.was_never_had();
        (self.taken_at, self.is_active) = (None, false);
    }

    /// Whether it is this attempt.
    #[must_use]
    pub fn is(&self, attempt: &TaskAttempt) -> bool {
        self.session == attempt.session && self.task == attempt.task && self.attempt == attempt.attempt
    }

    /// Whether `name` is this task's id with this attempt.
    #[must_use]
    pub fn is_named_exactly(&self, name: &str) -> bool {
        self.task.matches(name) == Some(Some(self.attempt))
    }

    /// Which attempt of which task it is.
    #[must_use]
    pub fn attempt_of(&self) -> TaskAttempt {
        TaskAttempt { session: self.session.clone(), task: self.task.clone(), attempt: self.attempt }
    }
}

fn only<'a>(mut held: impl Iterator<Item = &'a Held>) -> Option<&'a Held> {
    held.next().filter(|_| held.next().is_none())
}

impl AgentStatus {
    /// Takes in that the agent is connected by `connection`; gives back the one that it held before.
    pub(crate) fn connect(&mut self, connection: Connection, now: Timestamp) -> Option<Connection> {
        self.last_seen = self.latest(now);
        self.disconnected_at = None;
        // Whoever is connected is not offline, whatever it said when it went.
        if self.report.as_ref().is_some_and(|report| report.state.eq_ignore_ascii_case(OFFLINE)) {
            self.apply_answer(Report::plain(IDLE.to_owned(), now), now);
        }
        self.connection.replace(connection)
    }

    /// Takes in that a connection has ended; whether it was the one that the agent held.
    pub(crate) fn disconnect(&mut self, connection: &ConnectionId, now: Timestamp) -> bool {
        let is_held = self.connection.as_ref().is_some_and(|held| held.id == *connection);
        if is_held {
            self.connection = None;
            self.disconnected_at = Some(now);
        }
        is_held
    }

    /// Whether the agent holds a connection that began after `at` and goes on with none that there was then.
    #[must_use]
    pub fn is_connected_anew_since(&self, at: Timestamp) -> bool {
        self.connection.as_ref().is_some_and(|held| !held.is_resumed && held.since > at)
    }

    /// Since when it holds no connection, where it held one before.
    #[must_use]
    pub fn is_away_since(&self) -> Option<Timestamp> {
        self.disconnected_at.filter(|_| self.connection.is_none())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signalbox_wire::id::{ConnectionId, NodeId};

    use super::*;

    fn agent(concurrency: u32) -> Agent {
        Agent {
            id: AgentId::parse("a").expect("valid"),
            name: "a".into(),
            version: "1".into(),
            endpoint: Some("http://127.0.0.1:1".into()),
            capabilities: vec![json!("read"), json!({"name": "write"})],
            metadata: Map::new(),
            registered_at: Timestamp::default(),
            generation: 1,
            concurrency,
        }
    }

    fn status(state: Option<&str>, about_task: bool, held: u32) -> AgentStatus {
        let mut status = AgentStatus::fresh(AgentId::parse("a").expect("valid"), 1, Timestamp::default());
        status.report = state.map(|word| Report {
            state: word.into(),
            details: None,
            timestamp: Timestamp::default(),
            about_task,
            counts_as: None,
            answered_after: None,
            awaits_delivery: None,
        });
        status.held = (0..held)
            .map(|n| {
                let attempt = TaskAttempt {
                    session: SessionId::parse("s").expect("valid"),
                    task: TaskId::parse(&format!("tsk_{n}")).expect("valid"),
                    attempt: 2,
                };
                Held::new(attempt, format!("step{n}"), Timestamp::default())
            })
            .collect();
        status
    }

    #[test]
    fn availability_follows_the_table() {
        let cases = [
            (None, false, true),
            (Some("idle"), false, true),
            (Some("FINISHED"), true, true),
            (Some("completed"), false, true),
            (Some("error"), true, true),
            (Some("failed"), true, true),
            (Some("error"), false, false),
            (Some("active"), false, false),
            (Some("active"), true, false),
            (Some("busy"), false, false),
            (Some("initializing"), false, false),
            (Some("offline"), false, false),
            (Some("meditating"), false, false),
        ];
        for (state, about_task, expected) in cases {
            assert_eq!(status(state, about_task, 0).is_available(&agent(1)), expected, "{state:?}");
            assert!(!status(state, about_task, 1).is_available(&agent(1)), "{state:?} at its concurrency");
        }
        assert!(status(Some("active"), true, 1).is_available(&agent(2)), "at work on one of two");
        let mut draining = status(None, false, 0);
        draining.draining = true;
        assert!(!draining.is_available(&agent(1)));
        assert!(!status(None, false, 0).is_available(&agent(0)), "zero is zero");
        let unreachable = Agent { endpoint: None, ..agent(1) };
        assert!(!status(None, false, 0).is_available(&unreachable));
        for (state, expected) in [(None, true), (Some("busy"), false), (Some("offline"), true)] {
            let mut connected = status(state, false, 0);
            connected.connect(connection("con_1"), Timestamp::from_seconds(1));
            assert_eq!(connected.is_available(&unreachable), expected, "connected, {state:?}");
            assert!(
                !connected.disconnect(&connection("con_2").id, Timestamp::from_seconds(2)),
                "another's end"
            );
            assert!(connected.disconnect(&connection("con_1").id, Timestamp::from_seconds(2)));
            assert!(!connected.is_available(&unreachable), "no longer connected");
            assert_eq!(connected.last_seen, Timestamp::from_seconds(1), "its end is no sign of life");
        }
    }

    fn connection(id: &str) -> Connection {
        let (node, id) = (NodeId::parse("nod_1").expect("valid"), ConnectionId::parse(id).expect("valid"));
        Connection { node, id, since: Timestamp::default(), key: None, is_resumed: false }
    }

    #[test]
    fn a_connection_is_one_registration_s_and_a_later_one_takes_over() {
        let mut current = status(Some("idle"), false, 0);
        assert_eq!(current.connect(connection("con_1"), Timestamp::from_seconds(1)), None);
        let earlier = current.connect(connection("con_2"), Timestamp::from_seconds(2));
        assert_eq!(earlier, Some(connection("con_1")));
        assert!(!current.disconnect(&connection("con_1").id, Timestamp::from_seconds(3)));
        let next = current.restarted(2, Timestamp::from_seconds(4));
        assert_eq!(
            (next.connection.as_ref(), next.is_away_since()),
            (None, Some(Timestamp::from_seconds(4)))
        );
        assert_eq!(status(None, false, 0).is_away_since(), None, "it never was connected");
    }

    #[test]
    fn a_report_names_its_task_or_means_the_only_one() {
        let mut two = status(None, false, 2);
        two.held[1].session = SessionId::parse("other").expect("valid");
        let named = |name: Option<&str>, session: Option<&str>| {
            two.task_named(name, session).map(|held| held.task.to_string())
        };
        assert_eq!(named(None, None), None);
        assert_eq!(named(Some("tsk_1"), None).as_deref(), Some("tsk_1"));
        assert_eq!(named(Some("tsk_1-2"), None).as_deref(), Some("tsk_1"));
        assert_eq!(named(Some("tsk_1-1"), None), None, "an earlier attempt");
        assert_eq!(named(Some("step0"), None).as_deref(), Some("tsk_0"));
        assert_eq!(named(Some("another"), None), None);
        for name in [None, Some("step1"), Some("tsk_1")] {
            assert_eq!(named(name, Some("other")).as_deref(), Some("tsk_1"), "{name:?}");
            assert_eq!(named(name, Some("third")), None, "{name:?}");
        }
        assert_eq!(named(Some("tsk_1-2"), Some("third")).as_deref(), Some("tsk_1"), "there is only one");
        let mut alike = two.clone();
        alike.held[0].step = "step1".into();
        assert_eq!(alike.task_named(Some("step1"), None), None, "the same step of two sessions");
        let its = alike.task_named(Some("step1"), Some("s")).map(|held| held.task.as_str());
        assert_eq!(its, Some("tsk_0"), "the session tells them apart");
        assert!(status(None, false, 1).task_named(None, None).is_some());
    }

    #[test]
    fn an_agent_is_busy_when_it_says_so_or_is_full() {
        for (state, held, concurrency, expected) in [
            (None, 0, 1, false),
            (None, 1, 1, true),
            (None, 1, 2, false),
            (Some("busy"), 0, 1, true),
            (Some("idle"), 1, 2, false),
            (Some("offline"), 0, 0, false),
        ] {
            let status = status(state, false, held);
            assert_eq!(status.is_busy(&agent(concurrency)), expected, "{state:?}, {held} of {concurrency}");
        }
        let with = |value: Value| busy_policy(&Map::from_iter([("onBusy".to_owned(), value)]));
        assert_eq!(busy_policy(&Map::new()), Ok(BusyPolicy::Queue));
        assert_eq!(with(json!("interrupt")), Ok(BusyPolicy::Interrupt));
        assert!(with(json!("wait")).is_err() && with(json!(null)).is_err());
    }

    #[test]
    fn concurrency_is_typed() {
        let with = |value: Value| concurrency(&Map::from_iter([("concurrency".to_owned(), value)]));
        assert_eq!(concurrency(&Map::new()), Ok(1));
        assert_eq!(with(json!(0)), Ok(0));
        assert_eq!(with(json!(7)), Ok(7));
        for bad in [json!(-1), json!("3"), json!(1.5), json!(CONCURRENCY_MAX + 1), json!(null)] {
            assert!(with(bad.clone()).is_err(), "{bad}");
        }
    }
}
