//! The store as its callers see it: one handle, cheap to clone, whatever the database.

use std::time::Duration;

use signalbox_core::decision::Retention;
use signalbox_core::delivery::MessageKind;
use signalbox_core::due::{DueJob, Lane};
use signalbox_core::event::Level;
use signalbox_core::lease::Lease;
use signalbox_core::session::SessionStatus;
use signalbox_wire::id::{AgentId, ConnectionId, NodeId, SessionId, TaskId, TenantId, WorkflowId};
use signalbox_wire::time::Timestamp;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite:///path/to/file.db`, or `postgres://user:password@host/database`.
    pub database: String,
    /// Who holds the leases that this process takes.
    pub node: NodeId,
    /// Commits that may wait for the writer; over it a commit answers [`Busy`](crate::StoreError::Busy). Default 16,384.
    pub queue_max: usize,
    /// Bytes of rows and entries in them; over it the same. Default 256 MiB.
    pub queue_bytes_max: u64,
    /// Decisions in one physical commit, at most. Default 1,024.
    pub batch_max: usize,
    /// Bytes of rows held in memory, at most. Default 256 MiB: about 100,000 agents.
    pub cache_bytes: u64,
    /// How long a commit or a read may take before it answers [`Unavailable`](crate::StoreError::Unavailable). Default 10 s.
    pub patience: Duration,
}

impl Options {
    /// Options for this database with every bound at its default.
    #[must_use]
    pub fn new(database: impl Into<String>, node: NodeId) -> Self {
        Self {
            database: database.into(),
            node,
            queue_max: 16_384,
            queue_bytes_max: 256 << 20,
            batch_max: 1_024,
            cache_bytes: 256 << 20,
            patience: Duration::from_secs(10),
        }
    }
}

/// One place in a listing, and how much of it to give.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Entries, at most.
    pub limit: usize,
    /// Where the page before ended, as its [`Listed::next`] said.
    pub after: Option<String>,
}

/// One page of a listing.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Which agents to list, in the order of their ids.
#[derive(Debug, Clone, Default)]
pub struct AgentFilter {
    /// Those that offer this capability.
    pub capability: Option<String>,
    /// Those whose current state is this word, compared without case.
    pub state: Option<String>,
    /// The one with this name.
    pub name: Option<String>,
    /// Those that are reached so now.
    pub presence: Option<Presence>,
}

/// How agents are reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// They hold a connection.
    Connected,
    /// They have neither a contact endpoint nor a connection.
    Offline,
}

/// An agent that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedAgent {
    /// Whose it is.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// Its connection.
    pub connection: ConnectionId,
}

/// Which sessions to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Those that run this workflow.
    pub workflow: Option<WorkflowId>,
    /// Those with one of these statuses; with any where there is none.
    pub statuses: Vec<SessionStatus>,
    /// Those in which this agent holds or held a task.
    pub agent: Option<AgentId>,
    /// Those made at or after this moment.
    pub since: Option<Timestamp>,
    /// Those made before this moment.
    pub until: Option<Timestamp>,
    /// Those with this text in their id, workflow, input or error, compared without case.
    pub text: Option<String>,
}

/// Which dead letters to list, oldest first.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Those for this agent.
    pub agent: Option<AgentId>,
    /// Those of this kind.
    pub kind: Option<MessageKind>,
    /// Those given up at or after this moment.
    pub since: Option<Timestamp>,
}

/// Which entries of the log to list.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Those about this agent.
    pub agent: Option<AgentId>,
    /// Those of this session, and those that mention it.
    pub session: Option<SessionId>,
    /// Those at least this severe.
    pub level: Option<Level>,
    /// Those of exactly this kind, such as `agent.reported`.
    pub kind: Option<String>,
    /// Those at or after this moment.
    pub since: Option<Timestamp>,
    /// Those before this moment.
    pub until: Option<Timestamp>,
    /// Those whose data contains this text, compared without case.
    pub text: Option<String>,
    /// Those after this place in the tenant's order.
    pub after: Option<u64>,
    /// Those after this place in their session's sequence; entries that only mention a session have place 0.
    pub after_in_session: Option<u64>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its place in the tenant's order, from 1, with no reader able to see a later one first.
    pub sequence: u64,
    /// What happened.
    pub kind: String,
    /// How much it matters.
    pub level: Level,
    /// When.
    pub at: Timestamp,
    /// Its session, and its place in that session's strict sequence.
    pub session: Option<(SessionId, u64)>,
    /// The agent it is about.
    pub agent: Option<AgentId>,
    /// The task it is about.
    pub task: Option<TaskId>,
    /// The rest, a JSON object.
    pub data: String,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The place of its last event in the tenant's order; 0 when it appended none.
    pub sequence: u64,
}

/// Due work that this process may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is.
    pub work: DueJob,
    /// When it was due.
    pub due_at: Timestamp,
    /// The lane that it goes by.
    pub lane: Lane,
    /// Under which claim.
    pub lease: Lease,
}

/// Nodes that are lost, told of at once, at most.
pub const LOST_NODES_MAX: usize = 100;

/// Pieces of due work that are counted, at most: whoever asks every few seconds must not read a million of them.
pub const BACKLOG_COUNTED_MAX: u64 = 100_000;
/// Rows of a kind that a [`Census`] counts, at most.
pub const CENSUS_COUNTED_MAX: usize = 20_000;

/// How many there are of what an operator watches, of all tenants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// Sessions that are not over, by the name of their status.
    pub open_sessions: Vec<(String, u64)>,
    /// Tasks that wait for an agent.
    pub tasks_waiting: u64,
    /// Tasks that agents hold.
    pub tasks_held: u64,
    /// Agents by what they reported last, in lower case; none for those that have not.
    pub agents: Vec<(Option<String>, u64)>,
    /// Dead letters.
    pub dead_letters: u64,
}

/// How much due work there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Pieces of due work, whenever they are due; at most [`BACKLOG_COUNTED_MAX`] of them are counted.
    pub pending: u64,
    /// The next moment at which something can be claimed; long past where nobody does.
    pub next: Option<Timestamp>,
}

/// Things of one lane that can be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingLane {
    /// Whose they are.
    pub tenant: TenantId,
    /// The lane.
    pub lane: Lane,
    /// How many were seen: at least these wait.
    pub seen: usize,
}

/// What waits, lane by lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WaitingLanes {
    /// Lanes with something that can be claimed now: those of what has waited the longest, and while there is more
    /// than is looked at in one go, others in turn.
    pub lanes: Vec<WaitingLane>,
    /// Whether there was more than was looked at: the next look goes on from there.
    pub has_more: bool,
    /// The next moment after this one at which something can be claimed.
    pub next: Option<Timestamp>,
}

/// What to take of one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneClaim {
    /// Whose.
    pub tenant: TenantId,
    /// Which lane.
    pub lane: Lane,
    /// How much, at most.
    pub most: usize,
    /// Only what could be claimed by then.
    pub visible_by: Timestamp,
}

/// The kinds of due work. They are claimed apart, so that none of one kind that waits holds up another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DueKind {
    /// Something to send.
    Delivery,
    /// A tool to call.
    Call,
    /// A moment that comes.
    Timer,
}

impl DueKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Delivery, Self::Call, Self::Timer];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Call => "call",
            Self::Timer => "timer",
        }
    }

    /// The kind of this work.
    #[must_use]
    pub fn of(work: &DueJob) -> Self {
        match work {
            DueJob::Deliver { .. } | DueJob::Dispatch { .. } | DueJob::Command { .. } => Self::Delivery,
            DueJob::Call { .. } => Self::Call,
            _ => Self::Timer,
        }
    }

    /// What a row has as its kind.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Delivery => "deliver",
            Self::Call => "call",
            Self::Timer => "timer",
        }
    }

    /// The kind that a row has.
    pub(crate) fn of_column(column: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.column() == column)
    }

    /// The index that has this kind's lanes in order; timers have no lanes.
    pub(crate) fn lanes_index(self) -> &'static str {
        match self {
            Self::Delivery => "due_deliveries_by_lane",
            Self::Call => "due_calls_by_lane",
            Self::Timer => "due_timers_by_tenant",
        }
    }

    /// The condition on a row's kind, as the indexes have it.
    pub(crate) fn condition(self) -> &'static str {
        match self {
            Self::Delivery => "kind = 'deliver'",
            Self::Call => "kind = 'call'",
            Self::Timer => "kind = 'timer'",
        }
    }
}

/// What retention may remove. A tenant's own [`Retention`] goes before these moments.
#[derive(Debug, Clone, Copy)]
pub struct Prune {
    /// Log entries older than this that belong to no open session.
    pub events_before: Timestamp,
    /// Sessions that ended before this, with their tasks and history.
    pub sessions_before: Timestamp,
    /// Messages settled before this, dead letters stay; and commands that ended before it.
    pub messages_before: Timestamp,
    /// Now: kept answers and signatures that expired before it go, and messages that are too old for their channel.
    pub now: Timestamp,
    /// Rows to remove in one round, at most.
    pub limit: usize,
    /// The longest that commits are held up at a time, about: a round is made of pieces, and others go on between them.
    pub piece: Duration,
}

/// What a round of retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Rows removed.
    pub removed: u64,
    /// Whether there is more that may go now.
    pub has_more: bool,
}

/// The moments before which one tenant's things go, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cutoffs {
    pub(crate) events: i64,
    pub(crate) sessions: i64,
    pub(crate) messages: i64,
    /// Now: what a thing says itself of how long it is kept counts from here.
    pub(crate) now: i64,
}

impl Prune {
    /// Those of a tenant that says this, or nothing.
    pub(crate) fn of(&self, own: Option<&Retention>) -> Cutoffs {
        let own = own.copied().unwrap_or_default();
        let cutoff = |own: Option<Duration>, operators: Timestamp| {
            own.map_or(operators, |kept| self.now - kept).as_micros()
        };
        Cutoffs {
            events: cutoff(own.events, self.events_before),
            sessions: cutoff(own.sessions, self.sessions_before),
            messages: cutoff(own.messages, self.messages_before),
            now: self.now.as_micros(),
        }
    }
}

/// How far the removal of a tenant has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Something is left.
    Goes,
    /// Nothing is left.
    Done,
}

/// What a tenant may have a limited number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Registered agents.
    Agents,
    /// Agents that hold a connection.
    Connections,
    /// Channels.
    Channels,
    /// SSH keys.
    SshKeys,
    /// API keys.
    ApiKeys,
}

impl Counted {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] =
        [Self::Agents, Self::Connections, Self::Channels, Self::SshKeys, Self::ApiKeys];

    /// The statement that counts them; parameters: tenant, the most that is counted.
    pub(crate) fn sql(self) -> String {
        let rows = match self {
            Self::Agents => "agents WHERE tenant = $1",
            Self::Connections => "agent_statuses WHERE tenant = $1 AND node IS NOT NULL",
            Self::Channels => "channels WHERE tenant = $1",
            Self::SshKeys => "ssh_keys WHERE tenant = $1",
            Self::ApiKeys => "api_keys WHERE tenant = $1",
        };
        format!("SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT $2) AS counted")
    }
}

/// Figures of the writer since the process began.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriterFigures {
    /// Physical commits.
    pub commits: u64,
    /// Decisions in them.
    pub decisions: u64,
    /// Decisions that conflicted.
    pub conflicts: u64,
    /// Microseconds spent in physical commits, flush included.
    pub commit_micros: u64,
    /// Commits that wait to be written now.
    pub queued: u64,
    /// Rows of due work that this program could not read and has left alone.
    pub due_unreadable: u64,
}
