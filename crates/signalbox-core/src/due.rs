//! Due work: one queue for everything that must still happen, whatever it is.
//!
//! A piece of due work has an id that never changes, so that adding it twice is adding it once. It is done at
//! least once: whoever does it reports the outcome as the next event, and the decision on that event removes
//! it. Coming late, early or twice changes nothing.

use serde::{Deserialize, Serialize};
use signalbox_wire::id::{AgentId, CommandId, MessageId, ScheduleId, SessionId, TaskId};
use signalbox_wire::time::Timestamp;

/// Something that must still happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// What it is.
    pub work: DueJob,
    /// Not before this moment.
    pub at: Timestamp,
    /// The lane that it goes by, where it is something to send.
    pub lane: Lane,
    /// When it is over, whatever has become of it by then: it is a timer from that moment on.
    pub ends: Option<Timestamp>,
    /// Whether nothing has been due under its id before: where it is over before it was written down, nothing has to be
    /// struck out.
    #[serde(skip)]
    pub is_new: bool,
}

impl Due {
    /// Work that is due at `at` and goes by no lane of its own.
    #[must_use]
    pub fn new(work: DueJob, at: Timestamp) -> Self {
        Self { work, at, lane: Lane::default(), ends: None, is_new: false }
    }

    /// The same by `lane`.
    #[must_use]
    pub fn by(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// The same, over at `ends`.
    #[must_use]
    pub fn until(self, ends: Timestamp) -> Self {
        Self { ends: Some(ends), ..self }
    }

    /// The same, the first under its id.
    #[must_use]
    pub(crate) fn first(self) -> Self {
        Self { is_new: true, ..self }
    }
}

/// Key of a limit on what is in flight and of a circuit breaker: an endpoint, a tool, or an agent without an endpoint.
/// Those of one lane are sent a bounded number at once, and wait
/// together while their destination is left alone. It is chosen when the work is made; where its destination has
/// moved since, it still goes by the lane that it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lane(String);

/// What the lanes of agents begin with, and no host does.
const AGENT: &str = "@agent:";
/// The same, of the commands for them.
const COMMANDS: &str = "@commands:";
/// Bytes of a lane's name, at most; a longer one is cut.
const LANE_BYTES_MAX: usize = 255;

impl Lane {
    /// The lane of all that goes to the host, port and path of `url`: agents behind one gateway each have their own.
    #[must_use]
    pub fn endpoint(url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let rest = rest.split(['?', '#']).next().unwrap_or(rest);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let mut name = String::with_capacity(host.len() + 1 + path.len());
        name.push_str(host);
        name.make_ascii_lowercase();
        name.push('/');
        name.push_str(path);
        Self::named(name)
    }

    /// The lane of one agent that is reached by no address.
    #[must_use]
    pub fn agent(agent: &AgentId) -> Self {
        Self::named(format!("{AGENT}{agent}"))
    }

    /// The lane of one agent's commands.
    #[must_use]
    pub fn commands(agent: &AgentId) -> Self {
        Self::named(format!("{COMMANDS}{agent}"))
    }

    /// The agent whose lane it is, where it is one's that is reached by no address; nothing where the name was cut.
    #[must_use]
    pub fn of_agent(&self) -> Option<AgentId> {
        let id = self.0.strip_prefix(AGENT).or_else(|| self.0.strip_prefix(COMMANDS))?;
        AgentId::parse(id).ok().filter(|_| self.0.len() < LANE_BYTES_MAX)
    }

    /// Whether what goes by it goes over a connection and in no other way.
    #[must_use]
    pub fn needs_connection(&self) -> bool {
        self.0.starts_with(COMMANDS)
    }

    /// The lane of one tool.
    #[must_use]
    pub fn tool(name: &str) -> Self {
        Self::named(format!("tool:{name}"))
    }

    /// The lane with this name.
    #[must_use]
    pub fn named(mut name: String) -> Self {
        let mut end = name.len().min(LANE_BYTES_MAX);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        Self(name)
    }

    /// What a log may tell of it: the host and port of an endpoint, whose path may hold a secret; else its name.
    #[must_use]
    pub fn without_path(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(host, _)| host)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The kinds of due work.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DueJob {
    /// Send a message to its destination.
    Deliver {
        /// The message.
        message: MessageId,
    },
    /// Send an attempt of a task to its agent. The same row as the attempt's [`Timeout`](Self::Timeout), which it becomes
    /// once the agent has it.
    Dispatch {
        /// The session.
        session: SessionId,
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// Call the tool that does a task. The same row as the attempt's timeout.
    Call {
        /// The session.
        session: SessionId,
        /// The task.
        task: TaskId,
        /// The attempt that it makes.
        attempt: u32,
    },
    /// The attempt has had its time.
    Timeout {
        /// The session.
        session: SessionId,
        /// The task.
        task: TaskId,
        /// The attempt that is timed.
        attempt: u32,
    },
    /// The agent should have been heard by now.
    Heartbeat {
        /// The session.
        session: SessionId,
        /// The task.
        task: TaskId,
        /// The attempt that it works on.
        attempt: u32,
    },
    /// The task should have found an agent by now.
    Schedule {
        /// The session.
        session: SessionId,
        /// The task.
        task: TaskId,
        /// The attempts before the one that it waits for.
        attempt: u32,
    },
    /// The wait before the next attempt is over.
    Retry {
        /// The session.
        session: SessionId,
        /// The task.
        task: TaskId,
        /// The attempt that failed.
        attempt: u32,
    },
    /// An agent that was told to stop a task has had its time to say that it did.
    Stop {
        /// The agent.
        agent: AgentId,
        /// The task.
        task: TaskId,
        /// The attempt that it had in hand.
        attempt: u32,
    },
    /// An agent whose connection has ended has had its time to come back: what it was given and never had is given to
    /// others.
    Absence {
        /// The agent.
        agent: AgentId,
    },
    /// A task that waits for something that is not an agent has waited long enough.
    Wake {
        /// The session.
        session: SessionId,
        /// The task.
        task: TaskId,
    },
    /// The turn of a session has come.
    Begin {
        /// The session.
        session: SessionId,
    },
    /// A session has had its time.
    Deadline {
        /// The session.
        session: SessionId,
    },
    /// A session is no longer wanted by the one that began it.
    End {
        /// The session.
        session: SessionId,
        /// Why.
        reason: String,
    },
    /// Send a command to its agent. The same row as its [`CommandTimeout`](Self::CommandTimeout), which it becomes once the
    /// agent has it.
    Command {
        /// The command.
        command: CommandId,
    },
    /// A command has had its time.
    CommandTimeout {
        /// The command.
        command: CommandId,
    },
    /// Look after a schedule: a fire time has come, or one that waits may have its turn. One for each schedule,
    /// whatever it has to do.
    Fire {
        /// The schedule.
        schedule: ScheduleId,
    },
}

impl DueJob {
    /// Its id: equal work has an equal id, and so has all that is one attempt of a task in its order.
    #[must_use]
    pub fn id(&self) -> String {
        // Each commit asks for several, and a format string takes ten times as long as this.
        match self.id_parts() {
            (kind, of, Some(attempt)) => [kind, ":", of, "-", itoa::Buffer::new().format(attempt)].concat(),
            (kind, of, None) => [kind, ":", of].concat(),
        }
    }

    /// Whether this is its id, without making it: a decision asks that of all its due work, for each that it adds.
    #[must_use]
    pub fn has_id(&self, id: &str) -> bool {
        let (kind, of, attempt) = self.id_parts();
        let rest = id.strip_prefix(kind).and_then(|rest| rest.strip_prefix(':')?.strip_prefix(of));
        rest.is_some_and(|rest| match attempt {
            Some(attempt) => rest.strip_prefix('-') == Some(itoa::Buffer::new().format(attempt)),
            None => rest.is_empty(),
        })
    }

    /// What its id is made of: the kind, what it is about, and which attempt of that.
    fn id_parts(&self) -> (&'static str, &str, Option<u32>) {
        let kind = self.kind();
        match self {
            Self::Deliver { message } => (kind, message.as_str(), None),
            Self::Dispatch { task, attempt, .. }
            | Self::Call { task, attempt, .. }
            | Self::Timeout { task, attempt, .. } => ("attempt", task.as_str(), Some(*attempt)),
            Self::Heartbeat { task, attempt, .. }
            | Self::Schedule { task, attempt, .. }
            | Self::Retry { task, attempt, .. }
            | Self::Stop { task, attempt, .. } => (kind, task.as_str(), Some(*attempt)),
            Self::Absence { agent } => (kind, agent.as_str(), None),
            Self::Wake { task, .. } => (kind, task.as_str(), None),
            Self::Begin { session } | Self::Deadline { session } | Self::End { session, .. } => {
                (kind, session.as_str(), None)
            }
            Self::Command { command } | Self::CommandTimeout { command } => {
                ("command", command.as_str(), None)
            }
            Self::Fire { schedule } => (kind, schedule.as_str(), None),
        }
    }

    /// The session that it is about, if it is about one.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Deliver { .. }
            | Self::Stop { .. }
            | Self::Absence { .. }
            | Self::Command { .. }
            | Self::CommandTimeout { .. }
            | Self::Fire { .. } => None,
            Self::Dispatch { session, .. }
            | Self::Call { session, .. }
            | Self::Timeout { session, .. }
            | Self::Heartbeat { session, .. }
            | Self::Schedule { session, .. }
            | Self::Retry { session, .. }
            | Self::Wake { session, .. }
            | Self::Begin { session }
            | Self::Deadline { session }
            | Self::End { session, .. } => Some(session),
        }
    }

    /// Its kind, as a metric's label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Deliver { .. } => "deliver",
            Self::Dispatch { .. } => "dispatch",
            Self::Call { .. } => "call",
            Self::Timeout { .. } => "timeout",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Schedule { .. } => "schedule",
            Self::Retry { .. } => "retry",
            Self::Stop { .. } => "stop",
            Self::Absence { .. } => "absence",
            Self::Wake { .. } => "wake",
            Self::Begin { .. } => "begin",
            Self::Deadline { .. } => "deadline",
            Self::End { .. } => "end",
            Self::Command { .. } => "command",
            Self::CommandTimeout { .. } => "command_timeout",
            Self::Fire { .. } => "fire",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_has_the_id_that_it_makes_and_no_other() {
        let session = SessionId::parse("ses_a").expect("valid");
        let task = |name: &str| TaskId::parse(name).expect("valid");
        let attempts = [("tsk_a", 1), ("tsk_a", 11), ("tsk_ab", 1)];
        let works: Vec<DueJob> = attempts
            .iter()
            .flat_map(|(name, attempt)| {
                let (session, task, attempt) = (session.clone(), task(name), *attempt);
                [
                    DueJob::Retry { session: session.clone(), task: task.clone(), attempt },
                    DueJob::Timeout { session, task, attempt },
                ]
            })
            .chain([
                DueJob::Begin { session: session.clone() },
                DueJob::Deadline { session: session.clone() },
            ])
            .collect();
        for one in &works {
            for other in &works {
                assert_eq!(one.has_id(&other.id()), one == other, "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_lane_is_a_host_with_its_port_and_path() {
        for (url, expected) in [
            ("http://Host:1/a/B", "host:1/a/B"),
            ("https://host?x", "host/"),
            ("http://[::1]:8/", "[::1]:8/"),
            ("https://name:secret@host/a@b?token=1", "host/a@b"),
        ] {
            assert_eq!(Lane::endpoint(url).as_str(), expected);
        }
        assert_eq!(Lane::endpoint("https://name:secret@host:8/hooks/T0KEN?x=1").without_path(), "host:8");
        let (agent, gateway) = (AgentId::parse("80/a").expect("valid"), Lane::endpoint("http://agent:80/a"));
        assert_eq!((Lane::agent(&agent).of_agent(), gateway.of_agent()), (Some(agent), None));
        let long = AgentId::parse(&"a".repeat(256)).expect("valid");
        assert_eq!(Lane::agent(&long).of_agent(), None, "its name is cut");
        let cut = Lane::endpoint(&format!("http://{}\u{e9}/", "a".repeat(254)));
        assert_eq!(cut.as_str().len(), 254);
    }
}
