//! One task of a session, and which status may follow which.
//!
//! | status     | dispatch     | run     | wait      | expand    | complete    | give back | fail     | skip      | cancel      |
//! |------------|--------------|---------|-----------|-----------|-------------|-----------|----------|-----------|-------------|
//! | pending    | → dispatched | –       | → waiting | → running | –           | –         | → failed | → skipped | → cancelled |
//! | dispatched | –            | running | –         | –         | → completed | → pending | → failed | –         | → cancelled |
//! | running    | –            | running | –         | –         | → completed | → pending | → failed | –         | → cancelled |
//! | waiting    | –            | –       | –         | –         | → completed | –         | → failed | → skipped | → cancelled |
//! | completed, failed, skipped, cancelled | – | – | –  | –         | –           | –         | –        | –         | –           |
//!
//! "Give back" covers a failed attempt that will be tried again and a task whose agent went away. A settled
//! task takes no further event, which is what makes settlement happen once; only an operator's retry of the
//! whole session reopens it.
//!
//! Most tasks are given to an agent or a tool. A task for each item of a list *expands*: it is running while its
//! instances, tasks of their own at the end of the list, are under way. An undoing task is one that the session
//! got when it failed or was cancelled.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, SessionId, TaskId};
use signalbox_wire::time::Timestamp;

use crate::definition::{Kind, OnFailure, Rules};
use crate::graph::Edge;
use crate::routing::Route;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Not with an agent: its turn has not come, it waits for an agent, or for its next attempt.
    Pending,
    /// Given to an agent that has not yet said that it works on it.
    Dispatched,
    /// The agent works on it.
    Running,
    /// Waits for something that is not an agent.
    Waiting,
    /// Settled: done.
    Completed,
    /// Settled: failed for good.
    Failed,
    /// Settled: passed over.
    Skipped,
    /// Settled: no longer wanted.
    Cancelled,
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// It is given to an agent.
    Dispatch,
    /// The agent says that it works on it.
    Run,
    /// It waits for something that is not an agent.
    Wait,
    /// It is done by its instances.
    Expand,
    /// It is done.
    Complete,
    /// The attempt is over and there will be another.
    GiveBack,
    /// It failed for good.
    Fail,
    /// It is passed over.
    Skip,
    /// It is no longer wanted.
    Cancel,
}

impl TaskStatus {
    /// All statuses.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Dispatched,
        Self::Running,
        Self::Waiting,
        Self::Completed,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// The status after `event`; `None` where the table has none.
    #[must_use]
    pub fn after(self, event: TaskEvent) -> Option<Self> {
        use TaskEvent as E;
        match (self, event) {
            (Self::Pending, E::Dispatch) => Some(Self::Dispatched),
            (Self::Pending, E::Wait) => Some(Self::Waiting),
            (Self::Pending, E::Expand) | (Self::Dispatched | Self::Running, E::Run) => Some(Self::Running),
            (Self::Dispatched | Self::Running | Self::Waiting, E::Complete) => Some(Self::Completed),
            (Self::Dispatched | Self::Running, E::GiveBack) => Some(Self::Pending),
            (Self::Pending | Self::Waiting, E::Skip) => Some(Self::Skipped),
            (Self::Pending | Self::Dispatched | Self::Running | Self::Waiting, E::Fail) => Some(Self::Failed),
            (Self::Pending | Self::Dispatched | Self::Running | Self::Waiting, E::Cancel) => {
                Some(Self::Cancelled)
            }
            _ => None,
        }
    }

    /// Whether nothing more can happen.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// Whether an agent holds the task.
    #[must_use]
    pub fn is_held(self) -> bool {
        matches!(self, Self::Dispatched | Self::Running)
    }

    /// The status in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A session's task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id, unique in the tenant.
    pub id: TaskId,
    /// Its id in the definition; an instance has its index behind it, as in `read[3]`.
    pub step: String,
    /// Its position in the session's list.
    pub position: usize,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which agents may do it.
    pub route: Route,
    /// Who or what does it.
    #[serde(default, skip_serializing_if = "Kind::is_agent")]
    pub kind: Kind,
    /// How it is run.
    #[serde(default, skip_serializing_if = "Rules::is_default")]
    pub rules: Rules,
    /// What whoever does it is given, with `${…}` expressions still in it.
    pub template: Map<String, Value>,
    /// What it comes after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Edge>,
    /// The position of the task that follows, in sessions that began before tasks kept what they come after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
    /// Whose instance it is, and which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// The position of the task that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<usize>,
    /// Where it stands.
    pub status: TaskStatus,
    /// It was passed over because nothing led to it, so nothing that needs it may run either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unreached: bool,
    /// Attempts so far.
    pub attempt: u32,
    /// Attempts that may follow the first.
    pub retries: u32,
    /// The agent of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// How often the last attempt was sent in vain so far, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<Undelivered>,
    /// The session that does it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<SessionId>,
    /// What whoever does it was given, rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why its last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How far its agent says that it is, as said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// What an approval is about: the parameters of the tasks that it guards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Since when it waits for an agent, when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When its next attempt may start, while it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When a wait ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When the last attempt was given to its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatched_at: Option<Timestamp>,
    /// When the agent said that it works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the agent said last that it still does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report_at: Option<Timestamp>,
    /// When it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// How an attempt's delivery stands that has failed, and will be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// How often it was sent.
    pub tries: u32,
    /// The status of the last answer, when there was one.
    pub status: Option<u16>,
    /// Why the last try failed.
    pub error: String,
    /// When it is sent again.
    pub retry_at: Timestamp,
}

/// Which instance of a task for each item of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The position of the task that expanded.
    pub of: usize,
    /// Its place in the list, from 0.
    pub index: usize,
    /// Its item.
    pub item: Value,
}

/// What an approval is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is about, in the words of its workflow; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// The rendered parameters of each task that it guards, by its id in the definition.
    pub parameters: Value,
    /// SHA-256 of them, in hex: whoever approves says with it what was seen.
    pub digest: String,
}

/// Why an attempt failed, as far as a retry rule tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault<'a> {
    /// Whoever did it said so, perhaps with a code of its own.
    Said(Option<&'a str>),
    /// It took too long.
    TimedOut,
    /// Its agent has been silent for too long.
    Silent,
    /// It could not be handed over.
    Undelivered,
}

impl Fault<'_> {
    /// Whether a rule that names these words means it. A rule that names none means all.
    #[must_use]
    pub fn is_among(self, words: &[String]) -> bool {
        let (word, code) = match self {
            Self::Said(code) => ("error", code),
            Self::TimedOut => ("timeout", None),
            Self::Silent => ("heartbeat", None),
            Self::Undelivered => ("undelivered", None),
        };
        words.is_empty() || words.iter().any(|named| named == word || Some(named.as_str()) == code)
    }
}

impl Task {
    /// A task that says nothing of itself and whose turn has not come.
    #[must_use]
    pub fn new(id: TaskId, step: String, position: usize, route: Route) -> Self {
        Self {
            id,
            step,
            position,
            name: None,
            route,
            kind: Kind::default(),
            rules: Rules::default(),
            template: Map::new(),
            after: Vec::new(),
            next: None,
            instance: None,
            undoes: None,
            status: TaskStatus::Pending,
            is_unreached: false,
            attempt: 0,
            retries: 0,
            agent: None,
            undelivered: None,
            child: None,
            parameters: None,
            result: None,
            error: None,
            progress: None,
            subject: None,
            queued_at: None,
            retry_at: None,
            until: None,
            dispatched_at: None,
            started_at: None,
            last_report_at: None,
            ended_at: None,
        }
    }

    /// The key under which it waits for an agent, when it does.
    #[must_use]
    pub fn waiting_key(&self) -> Option<String> {
        self.queued_at.map(|_| self.route.key())
    }

    /// Whether another task that waits under the same key is served before it: by priority, the highest first, then the
    /// longest waiting, then by id.
    #[must_use]
    pub fn waits_behind(&self, other: &Self) -> bool {
        let place = |task: &'_ Self| (std::cmp::Reverse(task.rules.priority), task.queued_at);
        (place(self), &self.id) > (place(other), &other.id)
    }

    /// Whether there may be another attempt after one that failed so.
    #[must_use]
    pub fn may_retry(&self, fault: Option<Fault<'_>>) -> bool {
        let words = self.rules.retry.as_ref().map_or(&[][..], |rule| &rule.retry_on);
        self.attempt <= self.retries && fault.is_none_or(|fault| fault.is_among(words))
    }

    /// How often its present attempt was sent so far without being taken.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.undelivered.as_ref().map_or(0, |undelivered| undelivered.tries)
    }

    /// When its present attempt is sent next, where it is not known to be taken.
    #[must_use]
    pub fn sent_next_at(&self) -> Option<Timestamp> {
        self.undelivered.as_ref().map(|undelivered| undelivered.retry_at).or(self.dispatched_at)
    }

    /// When its present attempt has had its time, where it is given `default` unless its definition says otherwise.
    #[must_use]
    pub fn times_out_at(&self, default: Duration) -> Option<Timestamp> {
        self.dispatched_at.map(|at| at + self.rules.timeout.unwrap_or(default))
    }

    /// Whether it is done by instances of it.
    #[must_use]
    pub fn is_expanding(&self) -> bool {
        self.rules.for_each.is_some() && self.instance.is_none()
    }

    /// Whether it is given to an agent as soon as its turn comes, with nothing to be found out before.
    #[must_use]
    pub fn is_given_at_once(&self) -> bool {
        self.kind.is_agent() && self.rules.when.is_none() && !self.is_expanding()
    }

    /// Whether somebody has it in hand or is looked for, so that it counts against what may go on at once.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        let is_held = self.status.is_held() && !self.is_expanding();
        is_held || self.queued_at.is_some() || self.retry_at.is_some()
    }

    /// Whether what comes after it may go on: it is done, passed over for a reason of its own, or failed where
    /// that does not matter.
    #[must_use]
    pub fn went_well(&self) -> bool {
        match self.status {
            TaskStatus::Completed => true,
            TaskStatus::Skipped => !self.is_unreached,
            TaskStatus::Failed => self.rules.on_failure == OnFailure::Continue,
            _ => false,
        }
    }

    /// Whether it failed and its session goes on with `step` because of that.
    #[must_use]
    pub fn went_to(&self, step: &str) -> bool {
        let leads = matches!(&self.rules.on_failure, OnFailure::Goto(target) if target == step);
        self.status == TaskStatus::Failed && leads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_status_and_event() {
        use TaskEvent::{Cancel, Complete, Dispatch, Expand, Fail, GiveBack, Run, Skip, Wait};
        use TaskStatus as S;
        let events = [Dispatch, Run, Wait, Expand, Complete, GiveBack, Fail, Skip, Cancel];
        let (none, running) = (None, Some(S::Running));
        let (done, back, failed) = (Some(S::Completed), Some(S::Pending), Some(S::Failed));
        let (skipped, cancelled) = (Some(S::Skipped), Some(S::Cancelled));
        let held = [none, running, none, none, done, back, failed, none, cancelled];
        let table = [
            (
                S::Pending,
                [
                    Some(S::Dispatched),
                    none,
                    Some(S::Waiting),
                    running,
                    none,
                    none,
                    failed,
                    skipped,
                    cancelled,
                ],
            ),
            (S::Dispatched, held),
            (S::Running, held),
            (S::Waiting, [none, none, none, none, done, none, failed, skipped, cancelled]),
            (S::Completed, [none; 9]),
            (S::Failed, [none; 9]),
            (S::Skipped, [none; 9]),
            (S::Cancelled, [none; 9]),
        ];
        for (status, row) in table {
            for (event, expected) in events.into_iter().zip(row) {
                assert_eq!(status.after(event), expected, "{status:?} and {event:?}");
            }
            assert_eq!(status.is_settled(), row.iter().all(Option::is_none), "{status:?}");
        }
    }

    #[test]
    fn a_rule_means_the_faults_that_it_names() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let faults = [
            Fault::Said(None),
            Fault::Said(Some("QUOTA")),
            Fault::TimedOut,
            Fault::Silent,
            Fault::Undelivered,
        ];
        for (named, expected) in [
            (words(&[]), [true; 5]),
            (words(&["error"]), [true, true, false, false, false]),
            (words(&["QUOTA"]), [false, true, false, false, false]),
            (words(&["timeout", "heartbeat"]), [false, false, true, true, false]),
            (words(&["undelivered"]), [false, false, false, false, true]),
        ] {
            assert_eq!(faults.map(|fault| fault.is_among(&named)), expected, "{named:?}");
        }
    }
}
