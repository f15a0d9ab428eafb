//! What a decision has been shown of the stored state, and how it asks for more.
//!
//! A decision reads only from its [`Snapshot`]. What is not there yet stops it with [`Halt::Need`]; whoever
//! drives it loads that and runs it again from the start, with the same context. So a decision reads like
//! straight code, and still awaits nothing.

use std::collections::HashMap;
use std::sync::Arc;

use signalbox_wire::id::{
    AgentId, ChannelId, CommandId, HookId, KeyId, MessageId, ScheduleId, SessionId, TaskId, TenantId,
    ToolName, WorkflowId,
};
use signalbox_wire::time::Timestamp;

use crate::agent::{Agent, AgentStatus};
use crate::channel::{Channel, ChannelMessage, ChannelName};
use crate::command::AgentCommand;
use crate::decision::{
    AgentName, ApiKey, ConcurrencyGroup, Decision, IdempotencyRecord, Key, Retention, Row, SeenSignature,
    Tenant, Tool, Workflow, Write,
};
use crate::definition::Definition;
use crate::delivery::Message;
use crate::figures::AgentFigures;
use crate::hook::WebhookTrigger;
use crate::limits::WAITING_LOOKED_AT;
use crate::payload::Payload;
use crate::quota::UsageDay;
use crate::schedule::{BACKFILL_MAX, Schedule, WAITING_MAX};
use crate::session::{Session, SessionState, Tasks};
use crate::ssh_key::{SshFingerprint, SshKey};
use crate::steps::TooLong;
use crate::task::TaskStatus;
use crate::token_keys::TokenKeys;

/// A stored value and the version it was read at.
#[derive(Debug)]
pub struct Versioned<T> {
    /// The version.
    pub version: i64,
    /// The value.
    pub value: Arc<T>,
}

impl<T> Clone for Versioned<T> {
    fn clone(&self) -> Self {
        Self { version: self.version, value: Arc::clone(&self.value) }
    }
}

/// Something that a decision needs to see before it can be made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Need {
    /// The row with this key. A session comes with its tasks.
    Row(Key),
    /// The rows with these keys: what is known to be needed together is asked for in one go.
    Rows(Vec<Key>),
    /// The available agents under a routing key, in the order in which they are preferred: least recently used first, or those
    /// first that no other process prefers.
    Candidates(String),
    /// The tasks that wait under any of these routing keys, the longest waiting first.
    Waiting(Vec<String>),
    /// The commands of an agent that are not over.
    OpenCommands(AgentId),
}

/// A task that waits for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingTask {
    /// Its session.
    pub session: SessionId,
    /// Its id.
    pub task: TaskId,
}

/// Defines [`Loaded`] and what holds for all of its kinds.
macro_rules! loaded {
    ($($kind:ident($value:ty);)*) => {
        /// A loaded row.
        #[derive(Debug, Clone)]
        #[expect(missing_docs, reason = "each holds the row of the same name")]
        pub enum Loaded {
            $($kind(Versioned<$value>),)*
        }

        impl Loaded {
            /// The version that it was read at.
            #[must_use]
            pub fn version(&self) -> i64 {
                match self {
                    $(Self::$kind(row) => row.version,)*
                }
            }
        }
    };
}

loaded! {
    Agent(Agent);
    AgentName(AgentName);
    Status(AgentStatus);
    Session(SessionState);
    Definition(Definition);
    Workflow(Workflow);
    Message(Message);
    Tool(Tool);
    IdempotencyRecord(IdempotencyRecord);
    Signature(SeenSignature);
    ConcurrencyGroup(ConcurrencyGroup);
    Retention(Retention);
    Schedule(Schedule);
    WebhookTrigger(WebhookTrigger);
    Payload(Payload);
    Channel(Channel);
    ChannelName(ChannelName);
    ChannelMessage(ChannelMessage);
    Command(AgentCommand);
    Figures(AgentFigures);
    ApiKey(ApiKey);
    Tenant(Tenant);
    Usage(UsageDay);
    SshKey(SshKey);
    SshFingerprint(SshFingerprint);
    TokenKeys(TokenKeys);
}

impl Row {
    /// The row at this version as a decision sees it. `None` for rows that no decision reads, and for sessions and
    /// tasks, which are read together.
    #[must_use]
    pub fn loaded(&self, version: i64) -> Option<Loaded> {
        fn seen<T>(version: i64, value: &Arc<T>) -> Versioned<T> {
            Versioned { version, value: Arc::clone(value) }
        }
        fn held<T: Clone>(version: i64, value: &T) -> Versioned<T> {
            Versioned { version, value: Arc::new(value.clone()) }
        }
        Some(match self {
            Self::Agent(row) => Loaded::Agent(seen(version, row)),
            Self::AgentName(row) => Loaded::AgentName(held(version, row)),
            Self::Status(row) => Loaded::Status(seen(version, row)),
            Self::Definition(row) => Loaded::Definition(seen(version, row)),
            Self::Workflow(row) => Loaded::Workflow(held(version, row)),
            Self::Message(row) => Loaded::Message(seen(version, row)),
            Self::Tool(row) => Loaded::Tool(seen(version, row)),
            Self::IdempotencyRecord(row) => Loaded::IdempotencyRecord(held(version, row)),
            Self::Signature(row) => Loaded::Signature(held(version, row)),
            Self::ConcurrencyGroup(row) => Loaded::ConcurrencyGroup(seen(version, row)),
            Self::Retention(row) => Loaded::Retention(held(version, row)),
            Self::Schedule(row) => Loaded::Schedule(seen(version, row)),
            Self::WebhookTrigger(row) => Loaded::WebhookTrigger(seen(version, row)),
            Self::Payload(row) => Loaded::Payload(seen(version, row)),
            Self::Channel(row) => Loaded::Channel(seen(version, row)),
            Self::ChannelName(row) => Loaded::ChannelName(held(version, row)),
            Self::ChannelMessage(row) => Loaded::ChannelMessage(seen(version, row)),
            Self::Command(row) => Loaded::Command(seen(version, row)),
            Self::Figures(row) => Loaded::Figures(seen(version, row)),
            Self::ApiKey(row) => Loaded::ApiKey(seen(version, row)),
            Self::Tenant(row) => Loaded::Tenant(held(version, row)),
            Self::Usage(row) => Loaded::Usage(held(version, row)),
            Self::SshKey(row) => Loaded::SshKey(seen(version, row)),
            Self::SshFingerprint(row) => Loaded::SshFingerprint(held(version, row)),
            Self::TokenKeys(row) => Loaded::TokenKeys(seen(version, row)),
            Self::Session(_) | Self::Task(..) | Self::Available(_) => return None,
        })
    }
}

/// Faults of an input that one sentence repeats.
const FAULTS_TOLD: usize = 5;

/// Rows of a view that are looked through one by one.
const FIRST_MAX: usize = 8;

/// What has been loaded for one decision.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Nearly always so few that looking through them is the fastest way to find one.
    first: Vec<(Key, Option<Loaded>)>,
    /// Those after the first [`FIRST_MAX`].
    others: HashMap<Key, Option<Loaded>>,
    candidates: HashMap<String, Vec<AgentId>>,
    waiting: HashMap<Vec<String>, Vec<WaitingTask>>,
    open_commands: HashMap<AgentId, Vec<CommandId>>,
    /// Agents that decisions before this one list under a routing key, or list no more.
    relisted: Vec<(String, AgentId, bool)>,
    /// Waiting tasks that decisions before this one have given to agents.
    given: usize,
}

/// Why a decision was not made.
#[derive(Debug, Clone, PartialEq)]
pub enum Halt {
    /// It needs to see this first.
    Need(Need),
    /// It takes longer than [`crate::DecisionContext::steps`] permit.
    Long,
    /// It is refused.
    Rejected(Rejected),
}

impl From<TooLong> for Halt {
    fn from(_: TooLong) -> Self {
        Self::Long
    }
}

/// Why an event was refused, by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No such agent.
    #[error("Agent not found: {0}")]
    UnknownAgent(String),
    /// The name is another agent's.
    #[error(
        "An agent named '{0}' is registered already; choose another name, or register with ?replace=true to take it over"
    )]
    NameTaken(String),
    /// The id is another agent's.
    #[error(
        "An agent with id '{0}' is registered already under another name; register it under that name with ?replace=true, or choose another id"
    )]
    IdTaken(String),
    /// The agent has no way to be reached, and never had one.
    #[error(
        "Agent {0} has no contact endpoint and has not connected yet; send it again once the agent has connected for the first time, or register it with a contactEndpoint"
    )]
    Unreachable(AgentId),
    /// The dead letter carried an attempt of a task.
    #[error("Dead letter {0} carried an attempt of a task; its session is what can be retried or run again")]
    DeadLetterOfTask(MessageId),
    /// The agent takes no messages while it is busy.
    #[error("Agent {0} is busy and takes no messages meanwhile; send it again later")]
    AgentBusy(AgentId),
    /// No such workflow.
    #[error("Workflow definition not found: {0}; keep it first, or trigger with the definition itself")]
    UnknownWorkflow(String),
    /// What a session was to be started with does not fit its workflow: where, and why not.
    #[error("The input does not fit the workflow{}", listed(.0))]
    UnfitInput(Vec<(String, String)>),
    /// The workflow still has open sessions.
    #[error("Workflow {0} has open sessions; cancel them or wait until they end")]
    WorkflowInUse(WorkflowId),
    /// The workflow has no such revision, or no longer.
    #[error("Workflow {workflow} has no revision {revision} that is kept")]
    UnknownRevision {
        /// The workflow.
        workflow: WorkflowId,
        /// The revision.
        revision: u32,
    },
    /// The revision still has open sessions.
    #[error(
        "Revision {revision} of workflow {workflow} has open sessions; cancel them or wait until they end"
    )]
    RevisionInUse {
        /// The workflow.
        workflow: WorkflowId,
        /// The revision.
        revision: u32,
    },
    /// New sessions start with the revision.
    #[error(
        "Revision {revision} of workflow {workflow} is the current one; keep or roll back to another first, or delete the workflow"
    )]
    CurrentRevision {
        /// The workflow.
        workflow: WorkflowId,
        /// The revision.
        revision: u32,
    },
    /// No such session.
    #[error("Session not found: {0}")]
    UnknownSession(String),
    /// The session's status does not allow it.
    #[error("Session {session} is {status}; it cannot be {wanted}: only one that is {allowed} can")]
    WrongStatus {
        /// The session.
        session: SessionId,
        /// Its status.
        status: &'static str,
        /// What was asked for.
        wanted: &'static str,
        /// The statuses that allow it.
        allowed: String,
    },
    /// No task of the session waits for a signal, or will.
    #[error(
        "Session {session} waits for no signal '{signal}' and will not; its workflow says which it waits for"
    )]
    NothingWaits {
        /// The session.
        session: SessionId,
        /// The signal.
        signal: String,
    },
    /// Too many signals came before the tasks that wait for them.
    #[error("Session {0} keeps as many early signals as it may; send it again once a task waits for it")]
    SignalsFull(SessionId),
    /// No such task waits for an approval.
    #[error("Session {session} has no task '{task}' that waits for an approval")]
    NothingToApprove {
        /// The session.
        session: SessionId,
        /// What was named.
        task: String,
    },
    /// What was approved is not what would be done.
    #[error(
        "Task '{task}' asks for another approval than the one given: its digest is {digest}; look at it again"
    )]
    ApprovalChanged {
        /// The task.
        task: String,
        /// What it asks for now.
        digest: String,
    },
    /// As many sessions with this key run as may.
    #[error("Workflow {workflow} runs as many sessions with the key '{key}' as it may; wait until one ends")]
    ConcurrencyFull {
        /// The workflow.
        workflow: WorkflowId,
        /// The key.
        key: String,
    },
    /// As many sessions with this key wait as may.
    #[error("As many sessions of workflow {workflow} with the key '{key}' wait as may; try again later")]
    ConcurrencyQueueFull {
        /// The workflow.
        workflow: WorkflowId,
        /// The key.
        key: String,
    },
    /// The expression that gives the key has no value.
    #[error("Workflow {workflow} has no concurrency key for this input: {fault}")]
    ConcurrencyKey {
        /// The workflow.
        workflow: WorkflowId,
        /// Why.
        fault: String,
    },
    /// Sessions in sessions in sessions.
    #[error("Session {0} is as deep below others as one may be; a workflow may not run itself without end")]
    TooDeep(SessionId),
    /// What the session did has been undone, or is being undone.
    #[error("Session {0} has undone what it did, or is about to; run it again from the beginning")]
    Undone(SessionId),
    /// No such message.
    #[error("Message not found: {0}")]
    UnknownMessage(String),
    /// The message id was used for another agent.
    #[error("A message with id '{0}' went to another agent; use a new id for a new message")]
    MessageIdTaken(MessageId),
    /// The message id was used for another message.
    #[error(
        "A message with id '{0}' and another body was accepted already; use a new id for a new message, or send the same body to repeat the first"
    )]
    MessageIdReused(MessageId),
    /// No such dead letter.
    #[error("Dead letter not found: {0}")]
    UnknownDeadLetter(String),
    /// No such tool.
    #[error("Tool not found: {0}")]
    UnknownTool(String),
    /// The tool's name is taken.
    #[error("A tool named '{0}' exists already; delete it first or choose another name")]
    ToolTaken(ToolName),
    /// No such tenant.
    #[error("Tenant not found: {0}")]
    UnknownTenant(TenantId),
    /// No such key.
    #[error("Key not found: {0}")]
    UnknownKey(KeyId),
    /// The key has expired, and would be no use with another secret.
    #[error(
        "Key {key} expired at {expired_at}; give it a later expiresAt or expiresIn along with the new secret"
    )]
    KeyExpired {
        /// The key.
        key: KeyId,
        /// When.
        expired_at: Timestamp,
    },
    /// No such schedule.
    #[error("Schedule not found: {0}")]
    UnknownSchedule(String),
    /// When the schedule's time comes cannot be said.
    #[error("Schedule {schedule} has a rhythm that {fault}; change it")]
    BadRhythm {
        /// The schedule.
        schedule: ScheduleId,
        /// What is wrong with it.
        fault: String,
    },
    /// More fire times are asked for than one request may fill in.
    #[error(
        "There are more than {BACKFILL_MAX} fire times from {from} to {to}; ask for them in several parts"
    )]
    BackfillTooLong {
        /// Where they begin.
        from: Timestamp,
        /// Where they end.
        to: Timestamp,
    },
    /// More fire times are asked for than may wait.
    #[error(
        "{asked} fire times are asked for and {waiting} wait already, of {WAITING_MAX} that may; wait until some have started"
    )]
    BackfillFull {
        /// How many are asked for.
        asked: usize,
        /// How many wait already.
        waiting: usize,
    },
    /// No such hook.
    #[error("Hook not found: {0}")]
    UnknownHook(String),
    /// The hook's id is taken.
    #[error("A hook with id '{0}' exists already; rotate it for another secret, or delete it first")]
    HookTaken(HookId),
    /// What signed the webhook is no secret of the hook any more.
    #[error("There is no such hook, or the signature is not made with its secret over this very body.")]
    NotBelieved,
    /// The signature was used before.
    #[error("This signature was used before; sign each call anew")]
    Replayed,
    /// No such channel.
    #[error("Channel not found: {0}")]
    UnknownChannel(String),
    /// The name is another channel's.
    #[error("A channel named '{0}' exists already; use it, delete it first, or choose another name")]
    ChannelTaken(String),
    /// No such command.
    #[error("Command not found: {0}")]
    UnknownCommand(String),
    /// Nothing more comes of the command.
    #[error("Command {command} is {status} already: each is answered, or ends without an answer, once")]
    CommandOver {
        /// The command.
        command: CommandId,
        /// Its status.
        status: &'static str,
    },
    /// No such SSH key.
    #[error("SSH key not found: {0}")]
    UnknownSshKey(String),
    /// The SSH key is here already.
    #[error(
        "The key {fingerprint} is here already, as {key}; {}",
        if *is_revoked { "that one is revoked: delete it first, or make a new pair" }
        else { "use that one, delete it first, or make a new pair" }
    )]
    SshKeyTaken {
        /// Its fingerprint.
        fingerprint: String,
        /// As what it is kept.
        key: KeyId,
        /// Whether that one signs nobody in any more.
        is_revoked: bool,
    },
    /// The SSH key signs nobody in any more.
    #[error("The SSH key {0} signs nobody in any more")]
    SshKeyEnded(KeyId),
    /// The idempotency key came with another body.
    #[error("This Idempotency-Key was used with another body; use a new key for a new request")]
    KeyReused,
    /// The history and the tables disagree: a defect, never a client's fault.
    #[error("The stored session does not allow this: {0}")]
    InvalidTransition(String),
}

/// The first of some faults, as the end of a sentence.
fn listed(faults: &[(String, String)]) -> String {
    let told = faults.iter().take(FAULTS_TOLD).map(|(pointer, message)| format!("{pointer} {message}"));
    let told = told.collect::<Vec<_>>().join("; ");
    let more = faults.len().saturating_sub(FAULTS_TOLD);
    match (told.is_empty(), more) {
        (true, _) => String::new(),
        (_, 0) => format!(": {told}"),
        _ => format!(": {told}; and {more} more"),
    }
}

impl From<Rejected> for Halt {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl From<crate::session::InvalidTransition> for Halt {
    fn from(invalid_transition: crate::session::InvalidTransition) -> Self {
        Self::Rejected(Rejected::InvalidTransition(invalid_transition.to_string()))
    }
}

/// Brings a list of agents, the least recently used first, in line with one that is listed last, or no more.
fn relist(agents: &mut Vec<AgentId>, agent: &AgentId, is_listed: bool) {
    agents.retain(|other| other != agent);
    if is_listed {
        agents.push(agent.clone());
    }
}

macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $value:ty, $variant:ident, $key:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`Halt::Need`] when it has not been loaded yet.
        pub fn $name(&self, $($arg: $type),*) -> Result<Option<Versioned<$value>>, Halt> {
            match self.row($key)? {
                Some(Loaded::$variant(row)) => Ok(Some(row.clone())),
                _ => Ok(None),
            }
        }
    )*};
}

impl Snapshot {
    /// An empty view.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The workflow with this id, where it is not deleted.
    ///
    /// # Errors
    /// [`Halt::Need`] when it has not been loaded yet.
    pub fn kept_workflow(&self, id: &WorkflowId) -> Result<Option<Versioned<Workflow>>, Halt> {
        Ok(self.workflow(id)?.filter(|row| !row.value.is_deleted))
    }

    /// Takes in a row, or that there is none. What is known already stays: a decision sees one state, and decisions before it may
    /// have changed the row since it was stored.
    pub fn show(&mut self, key: Key, row: Option<Loaded>) {
        if self.shown(&key).is_none() {
            self.replace(key, row);
        }
    }

    fn replace(&mut self, key: Key, row: Option<Loaded>) {
        if let Some((_, shown)) = self.first.iter_mut().find(|(known, _)| *known == key) {
            *shown = row;
        } else if self.first.len() < FIRST_MAX {
            self.first.push((key, row));
        } else {
            self.others.insert(key, row);
        }
    }

    /// Takes in the candidates for a route.
    pub fn show_candidates(&mut self, route: String, mut agents: Vec<AgentId>) {
        for (_, agent, is_listed) in self.relisted.iter().filter(|(other, ..)| *other == route) {
            relist(&mut agents, agent, *is_listed);
        }
        self.candidates.insert(route, agents);
    }

    /// Takes in what a decision changes, as if it had been committed: the next one is made on that.
    pub(crate) fn apply(&mut self, decision: &Decision) {
        for write in &decision.writes {
            match write {
                Write::Put { row: Row::Session(session), version, .. } => {
                    let state = self.session_after(session, decision);
                    let row = Versioned { version: *version, value: Arc::new(state) };
                    self.replace(Key::Session(session.id.clone()), Some(Loaded::Session(row)));
                }
                Write::Put { row: Row::Available(row), .. } => self.relist(&row.route, &row.agent, true),
                Write::Put { row, version, .. } => {
                    if let Row::Task(owner, task) = row
                        && task.status == TaskStatus::Dispatched
                        && self.waits(owner, &task.id) == Some(true)
                    {
                        self.given += 1;
                    }
                    if let Some(loaded) = row.loaded(*version) {
                        self.replace(row.key(), Some(loaded));
                    }
                }
                Write::Remove { key: Key::Available(route, agent), .. } => self.relist(route, agent, false),
                Write::Remove { key, .. } => self.replace(key.clone(), None),
            }
        }
    }

    /// A session with its tasks as a decision leaves them.
    fn session_after(&self, session: &Arc<Session>, decision: &Decision) -> SessionState {
        let mut tasks = match self.shown(&Key::Session(session.id.clone())) {
            Some(Some(Loaded::Session(before))) => before.value.tasks.clone(),
            _ => Tasks::default(),
        };
        for write in &decision.writes {
            let Write::Put { row: Row::Task(owner, task), .. } = write else { continue };
            if *owner == session.id {
                tasks.set(Arc::clone(task));
            }
        }
        SessionState { session: Arc::clone(session), tasks }
    }

    fn relist(&mut self, route: &str, agent: &AgentId, is_listed: bool) {
        if let Some(agents) = self.candidates.get_mut(route) {
            relist(agents, agent, is_listed);
        }
        self.relisted.push((route.to_owned(), agent.clone(), is_listed));
    }

    /// Whether a list from the store has been shown: of what was committed when it was loaded.
    pub(crate) fn has_lists(&self) -> bool {
        !self.candidates.is_empty() || !self.waiting.is_empty() || !self.open_commands.is_empty()
    }

    /// How many of the tasks that the store knows to wait it takes to show `most`: decisions before this one may have given
    /// the first of them to agents.
    #[must_use]
    pub fn waiting_listed(&self, most: usize) -> usize {
        most + self.given
    }

    /// Takes in the first waiting tasks under some routes, but for those that decisions before this one have given to agents.
    pub fn show_waiting(&mut self, routes: Vec<String>, mut tasks: Vec<WaitingTask>) {
        if self.given > 0 {
            tasks.retain(|waiting| self.waits(&waiting.session, &waiting.task) != Some(false));
            tasks.truncate(WAITING_LOOKED_AT);
        }
        self.waiting.insert(routes, tasks);
    }

    /// Whether a task of a session that has been shown waits for an agent.
    fn waits(&self, session: &SessionId, task: &TaskId) -> Option<bool> {
        let Some(Some(Loaded::Session(session))) = self.shown(&Key::Session(session.clone())) else {
            return None;
        };
        Some(session.value.task(task).is_some_and(|task| task.queued_at.is_some()))
    }

    /// Takes in which commands of an agent are not over, the oldest first.
    pub fn show_open_commands(&mut self, agent: AgentId, commands: Vec<CommandId>) {
        self.open_commands.insert(agent, commands);
    }

    readers! {
        /// The registration of an agent.
        agent(id: &AgentId) -> Agent, Agent, Key::Agent(id.clone());
        /// Who has this name.
        agent_named(name: &str) -> AgentName, AgentName, Key::AgentName(name.to_owned());
        /// The status of an agent.
        status(id: &AgentId) -> AgentStatus, Status, Key::Status(id.clone());
        /// A session with its tasks.
        session(id: &SessionId) -> SessionState, Session, Key::Session(id.clone());
        /// One revision of a workflow.
        definition(id: &WorkflowId, revision: u32) -> Definition, Definition, Key::Definition(id.clone(), revision);
        /// The current revision of a workflow.
        workflow(id: &WorkflowId) -> Workflow, Workflow, Key::Workflow(id.clone());
        /// A message.
        message(id: &MessageId) -> Message, Message, Key::Message(id.clone());
        /// A tool.
        tool(name: &ToolName) -> Tool, Tool, Key::Tool(name.clone());
        /// The answer given before under an idempotency key.
        idempotency_record(key: &str) -> IdempotencyRecord, IdempotencyRecord, Key::IdempotencyRecord(key.to_owned());
        /// A webhook signature that was seen.
        signature(signature: &str) -> SeenSignature, Signature, Key::Signature(signature.to_owned());
        /// The sessions that share a key.
        group(key: &str) -> ConcurrencyGroup, ConcurrencyGroup, Key::ConcurrencyGroup(key.to_owned());
        /// How long the tenant keeps what is over, where it says.
        retention() -> Retention, Retention, Key::Retention;
        /// A schedule.
        schedule(id: &ScheduleId) -> Schedule, Schedule, Key::Schedule(id.clone());
        /// A hook.
        hook(id: &HookId) -> WebhookTrigger, WebhookTrigger, Key::WebhookTrigger(id.clone());
        /// A channel.
        channel(id: &ChannelId) -> Channel, Channel, Key::Channel(id.clone());
        /// Which channel has this name.
        channel_named(name: &str) -> ChannelName, ChannelName, Key::ChannelName(name.to_owned());
        /// The message of a channel that a publisher gave this id.
        channel_message(channel: &ChannelId, from: Option<&AgentId>, id: &MessageId) -> ChannelMessage, ChannelMessage,
            Key::ChannelMessage(channel.clone(), from.cloned(), id.clone());
        /// A command.
        command(id: &CommandId) -> AgentCommand, Command, Key::Command(id.clone());
        /// What an agent tells of itself.
        figures(id: &AgentId) -> AgentFigures, Figures, Key::Figures(id.clone());
        /// An API key.
        api_key(id: &KeyId) -> ApiKey, ApiKey, Key::ApiKey(id.clone());
        /// The tenant itself.
        tenant(id: &TenantId) -> Tenant, Tenant, Key::Tenant(id.clone());
        /// What the tenant took in one day.
        usage(day: u32) -> UsageDay, Usage, Key::Usage(day);
        /// An SSH key.
        ssh_key(id: &KeyId) -> SshKey, SshKey, Key::SshKey(id.clone());
        /// Which SSH key has this fingerprint.
        ssh_fingerprint(text: &str) -> SshFingerprint, SshFingerprint, Key::SshFingerprint(text.to_owned());
        /// What tokens and challenges are made with.
        token_keys() -> TokenKeys, TokenKeys, Key::TokenKeys;
    }

    /// A payload; `None` where it is not kept, or no longer.
    ///
    /// # Errors
    /// [`Halt::Need`] when it has not been loaded yet.
    pub fn payload(&self, sha256: &str) -> Result<Option<&Payload>, Halt> {
        Ok(match self.row(Key::Payload(sha256.to_owned()))? {
            Some(Loaded::Payload(row)) => Some(&row.value),
            _ => None,
        })
    }

    /// The answer that was given before under an idempotency key, to the same request. One that has expired counts
    /// for nothing, whether retention has removed it yet or not.
    ///
    /// # Errors
    /// [`Halt::Need`] when it has not been loaded yet; [`Rejected::KeyReused`] when it was another request.
    pub fn answered_before(
        &self,
        key: &str,
        request: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, Halt> {
        match self.idempotency_record(key)?.filter(|kept| kept.value.expires_at > now) {
            None => Ok(None),
            Some(kept) if kept.value.request == request => Ok(Some(IdempotencyRecord::clone(&kept.value))),
            Some(_) => Err(Rejected::KeyReused.into()),
        }
    }

    /// The available agents under a routing key, in the order in which they are preferred.
    ///
    /// # Errors
    /// [`Halt::Need`] when they have not been loaded yet.
    pub fn candidates(&self, route: &str) -> Result<&[AgentId], Halt> {
        self.candidates
            .get(route)
            .map(Vec::as_slice)
            .ok_or_else(|| Halt::Need(Need::Candidates(route.to_owned())))
    }

    /// The tasks that wait under any of these routing keys, the longest waiting first.
    ///
    /// # Errors
    /// [`Halt::Need`] when they have not been loaded yet.
    pub fn waiting(&self, routes: &[String]) -> Result<&[WaitingTask], Halt> {
        self.waiting.get(routes).map(Vec::as_slice).ok_or_else(|| Halt::Need(Need::Waiting(routes.to_vec())))
    }

    /// The commands of an agent that are not over, the oldest first.
    ///
    /// # Errors
    /// [`Halt::Need`] when they have not been loaded yet.
    pub fn open_commands(&self, agent: &AgentId) -> Result<&[CommandId], Halt> {
        let known = self.open_commands.get(agent).map(Vec::as_slice);
        known.ok_or_else(|| Halt::Need(Need::OpenCommands(agent.clone())))
    }

    /// Asks for those of these rows that have not been loaded yet, all at once.
    ///
    /// # Errors
    /// [`Halt::Need`] when there are any.
    pub fn require(&self, keys: impl IntoIterator<Item = Key>) -> Result<(), Halt> {
        let missing: Vec<Key> = keys.into_iter().filter(|key| self.shown(key).is_none()).collect();
        if missing.is_empty() { Ok(()) } else { Err(Halt::Need(Need::Rows(missing))) }
    }

    fn shown(&self, key: &Key) -> Option<&Option<Loaded>> {
        let first = self.first.iter().find(|(known, _)| known == key).map(|(_, row)| row);
        first.or_else(|| self.others.get(key))
    }

    fn row(&self, key: Key) -> Result<Option<&Loaded>, Halt> {
        match self.shown(&key) {
            Some(row) => Ok(row.as_ref()),
            None => Err(Halt::Need(Need::Row(key))),
        }
    }
}
