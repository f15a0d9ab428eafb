//! A decision as a value: rows to write with the versions they were read at, events for the log, due work.
//!
//! The store applies a decision whole or answers that it conflicts with what happened meanwhile; it never
//! knows what was decided.

mod fold;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::{
    AgentId, ChannelId, CommandId, HookId, KeyId, MessageId, ScheduleId, SessionId, TaskId, TenantId,
    ToolName, WorkflowId,
};
use signalbox_wire::time::Timestamp;

pub(crate) use self::fold::Fold;
use crate::agent::{Agent, AgentStatus};
use crate::channel::{Channel, ChannelMessage, ChannelName};
use crate::command::AgentCommand;
use crate::connection::Disconnected;
use crate::definition::Definition;
use crate::delivery::Message;
use crate::due::Due;
use crate::event::NewEvent;
use crate::figures::AgentFigures;
use crate::hook::WebhookTrigger;
use crate::payload::Payload;
use crate::quota::{TenantLimits, UsageDay};
use crate::schedule::Schedule;
use crate::session::Session;
use crate::ssh_key::{SshFingerprint, SshKey};
use crate::task::Task;
use crate::token_keys::TokenKeys;

/// Everything that one event changes, applied whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// Rows to write or remove.
    pub writes: Vec<Write>,
    /// Rows that the decision rests on and does not write: they must still be at this version.
    pub expects: Vec<(Key, Option<i64>)>,
    /// Entries for the log, in order.
    pub events: Vec<NewEvent>,
    /// Due work to add, or to move when it is there already.
    pub due: Vec<Due>,
    /// Ids of due work that is no longer due.
    pub done: Vec<String>,
    /// Meetings of waiting tasks and available agents to try once this is committed.
    pub hints: Vec<MatchHint>,
    /// Connections that are no longer their agents' once this is committed.
    pub disconnected: Vec<Disconnected>,
    /// Nobody waits for it to be durable, and losing it loses nothing that would not come about again: it may be
    /// written along with whatever comes next.
    pub may_wait: bool,
}

/// Something to look at once a decision is committed. Losing one loses no work: a slow sweep finds the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchHint {
    /// This agent may have become available.
    Agent(AgentId),
    /// This task waits; an agent may have become available meanwhile.
    Task(SessionId, TaskId),
    /// This agent is connected: what waits for that can be sent.
    Connected(AgentId),
    /// Nothing more comes of this command: whoever waits for that is told.
    Ended(CommandId),
}

/// One write.
#[derive(Debug, Clone)]
pub enum Write {
    /// Write a row.
    Put {
        /// The row.
        row: Row,
        /// What must be there now.
        guard: Guard,
        /// The version it gets.
        version: i64,
    },
    /// Remove a row.
    Remove {
        /// Which.
        key: Key,
        /// What must be there now.
        guard: Guard,
    },
}

/// What must be there for a write to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    Absent,
    /// The row at this version.
    At(i64),
    /// Anything: another row of the same decision guards this one.
    Guarded,
}

/// Defines the kinds of rows, each once: what a row holds, what names it within its tenant, and how the name follows from
/// the row. The store describes each kind's table by the same names.
macro_rules! records {
    ($($(#[$doc:meta])* $kind:ident($($field:ident: $row:ty),+) $(=> ($($key:ty = $value:expr),+))?;)*) => {
        /// A stored row.
        #[derive(Debug, Clone)]
        pub enum Row {
            $($(#[$doc])* $kind($($row),+),)*
        }

        /// Names a row within its tenant.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Key {
            $($(#[$doc])* $kind $(($($key),+))?,)*
        }

        impl Row {
            /// The row's key.
            #[must_use]
            pub fn key(&self) -> Key {
                match self {
                    $(Self::$kind($($field),+) => Key::$kind $(($($value),+))?,)*
                }
            }
        }
    };
}

records! {
    /// A registration.
    Agent(row: Arc<Agent>) => (AgentId = row.id.clone());
    /// A name that is taken.
    AgentName(row: AgentName) => (String = row.name.clone());
    /// An agent's status.
    Status(row: Arc<AgentStatus>) => (AgentId = row.agent.clone());
    /// An available agent, listed under one routing key.
    Available(row: Available) => (String = row.route.clone(), AgentId = row.agent.clone());
    /// A session.
    Session(row: Arc<Session>) => (SessionId = row.id.clone());
    /// One of its tasks.
    Task(_session: SessionId, row: Arc<Task>) => (TaskId = row.id.clone());
    /// A revision of a workflow.
    Definition(row: Arc<Definition>) => (WorkflowId = row.id.clone(), u32 = row.revision);
    /// Which revision of a workflow new sessions start with.
    Workflow(row: Workflow) => (WorkflowId = row.id.clone());
    /// A message.
    Message(row: Arc<Message>) => (MessageId = row.id.clone());
    /// A tool.
    Tool(row: Arc<Tool>) => (ToolName = row.name.clone());
    /// An API key.
    ApiKey(row: Arc<ApiKey>) => (KeyId = row.id.clone());
    /// A tenant.
    Tenant(row: Tenant) => (TenantId = row.id.clone());
    /// The answer to a request that carried an `Idempotency-Key`.
    IdempotencyRecord(row: IdempotencyRecord) => (String = row.key.clone());
    /// A signature that was seen.
    Signature(row: SeenSignature) => (String = row.signature.clone());
    /// Sessions that may not all run at once.
    ConcurrencyGroup(row: Arc<ConcurrencyGroup>) => (String = row.key.clone());
    /// How long the tenant keeps what is over.
    Retention(_row: Retention);
    /// A schedule.
    Schedule(row: Arc<Schedule>) => (ScheduleId = row.id.clone());
    /// A hook.
    WebhookTrigger(row: Arc<WebhookTrigger>) => (HookId = row.id.clone());
    /// A value that is kept apart.
    Payload(row: Arc<Payload>) => (String = row.sha256.clone());
    /// A channel.
    Channel(row: Arc<Channel>) => (ChannelId = row.id.clone());
    /// A name that a channel has taken.
    ChannelName(row: ChannelName) => (String = row.name.clone());
    /// A message of a channel's history, under its publisher's own id for it.
    ChannelMessage(row: Arc<ChannelMessage>) => (ChannelId = row.channel.clone(), Option<AgentId> = row.from.clone(), MessageId = row.id.clone());
    /// A request to an agent over its connection.
    Command(row: Arc<AgentCommand>) => (CommandId = row.id.clone());
    /// What an agent tells of itself with its heartbeats.
    Figures(row: Arc<AgentFigures>) => (AgentId = row.agent.clone());
    /// What the tenant took in one day.
    Usage(row: UsageDay) => (u32 = row.day);
    /// An SSH key that agents sign in with.
    SshKey(row: Arc<SshKey>) => (KeyId = row.id.clone());
    /// A fingerprint that is taken.
    SshFingerprint(row: SshFingerprint) => (String = row.fingerprint.clone());
    /// What tokens and challenges are made with, in the tenant `default`.
    TokenKeys(_row: Arc<TokenKeys>);
}

/// A name that an agent has taken in its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentName {
    /// The name.
    pub name: String,
    /// Whose it is.
    pub agent: AgentId,
}

/// An available agent under one routing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    /// The key.
    pub route: String,
    /// The agent.
    pub agent: AgentId,
    /// When it was last given a task.
    pub last_used: Timestamp,
}

/// A workflow's current revision. The row of a workflow that is deleted stays: its revisions count on from there, so
/// that a number never comes to mean another definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workflow {
    /// The workflow.
    pub id: WorkflowId,
    /// Its newest revision.
    pub revision: u32,
    /// The oldest revision that may still be kept; 0 where none has been dropped.
    #[serde(default)]
    pub oldest: u32,
    /// Whether it is deleted, with all its revisions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_deleted: bool,
    /// When it was first kept.
    pub created_at: Timestamp,
}

/// A registered tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name, unique in the tenant.
    pub name: ToolName,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub parameters: Map<String, Value>,
    /// Where it takes them.
    pub endpoint: String,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Be an agent: register, report, send messages and logs; and look.
    Agent,
    /// Everything in the tenant.
    Admin,
}

/// An API key, without the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its public name.
    pub id: KeyId,
    /// SHA-256 of the key, in hex.
    pub hash: String,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it opens nothing, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was last given another secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Timestamp>,
    /// The secret before, while it is good too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSecret>,
    /// When it was last used, to within a minute or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// The secret that a key had before it was rotated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// SHA-256 of it, in hex.
    pub hash: String,
    /// From when on it opens nothing.
    pub until: Timestamp,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its own limits.
    #[serde(default)]
    pub limits: TenantLimits,
}

/// The first answer to a request that carried an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// The route and key.
    pub key: String,
    /// SHA-256 of the request's body, in hex.
    pub request: String,
    /// The status of the answer.
    pub status: u16,
    /// The body of the answer.
    pub body: String,
    /// From when on it is forgotten.
    pub expires_at: Timestamp,
}

/// A webhook signature that was accepted once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSignature {
    /// The signature.
    pub signature: String,
    /// From when on it is stale anyway.
    pub expires_at: Timestamp,
}

/// Sessions of one workflow that share a key and may not all run at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcurrencyGroup {
    /// The workflow and the key.
    pub key: String,
    /// How many may run at once.
    pub limit: u32,
    /// Those that run, the one that came first at the front.
    pub holders: Vec<SessionId>,
    /// Those that wait for their turn, the next one at the front.
    pub queue: Vec<SessionId>,
}

/// How long a tenant keeps what is over; as long as the operator does where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Sessions after their end, with their tasks and history.
    pub sessions: Option<Duration>,
    /// Entries of the log that belong to no open session.
    pub events: Option<Duration>,
    /// Delivered messages.
    pub messages: Option<Duration>,
}

impl Write {
    /// The key of the row that it is about.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Put { row, .. } => row.key(),
            Self::Remove { key, .. } => key.clone(),
        }
    }

    /// What must be there for it.
    #[must_use]
    pub fn guard(&self) -> Guard {
        match self {
            Self::Put { guard, .. } | Self::Remove { guard, .. } => *guard,
        }
    }
}

impl Decision {
    /// Writes `row` as a new one.
    pub fn create(&mut self, row: Row, version: i64) {
        self.writes.push(Write::Put { row, guard: Guard::Absent, version });
    }

    /// Writes `row` over the one read at `read`, or as a new one when there was none.
    pub fn put(&mut self, row: Row, read: Option<i64>, version: i64) {
        self.writes.push(Write::Put { row, guard: read.map_or(Guard::Absent, Guard::At), version });
    }

    /// Writes `row`, which another row of this decision guards.
    pub fn put_guarded(&mut self, row: Row, version: i64) {
        self.writes.push(Write::Put { row, guard: Guard::Guarded, version });
    }

    /// Removes the row with this key, read at `read`.
    pub fn remove(&mut self, key: Key, read: i64) {
        self.writes.push(Write::Remove { key, guard: Guard::At(read) });
    }

    /// Removes the row with this key, which another row of this decision guards.
    pub fn remove_guarded(&mut self, key: Key) {
        self.writes.push(Write::Remove { key, guard: Guard::Guarded });
    }

    /// Adds due work, or moves it.
    pub fn arm(&mut self, due: Due) {
        let id = due.work.id();
        self.done.retain(|done| *done != id);
        self.due.retain(|other| !other.work.has_id(&id));
        self.due.push(due);
    }

    /// Adds due work under an id that nothing has been due under before.
    pub(crate) fn arm_first(&mut self, due: Due) {
        self.due.push(due.first());
    }

    /// Strikes out due work, where there is any with this id.
    pub fn disarm(&mut self, id: String) {
        self.due.retain(|due| !due.work.has_id(&id));
        if !self.done.contains(&id) {
            self.done.push(id);
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.events.is_empty() && self.due.is_empty() && self.done.is_empty()
    }
}
