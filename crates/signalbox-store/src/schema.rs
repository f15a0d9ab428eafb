//! Every table of rows, described once for both databases, and how a row becomes one.
//!
//! A row is stored as `tenant, <key…>, <index…>, version, body`: `body` is the whole row as JSON, so reading
//! needs nothing else; the index columns repeat what listings and lookups filter and order by.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use signalbox_core::agent::{Agent, AgentStatus};
use signalbox_core::channel::Channel;
use signalbox_core::decision::{Key, Row};
use signalbox_core::delivery::{Message, MessageStatus};
use signalbox_core::payload::Payload;
use signalbox_core::session::Session;
use signalbox_core::snapshot::{Loaded, Versioned};
use signalbox_core::task::Task;
use signalbox_wire::id::{
    AgentId, ChannelId, CommandId, HookId, MessageId, ScheduleId, SessionId, ToolName, WorkflowId,
};
use signalbox_wire::json;
use signalbox_wire::time::Timestamp;

use crate::StoreError;

/// Sets due work free. What was claimed because it is over has its end moved along with the lease: it is over at once.
pub(crate) const FREE_DUE: &str = "ends_at = CASE WHEN ends_at = visible_at THEN due_at ELSE ends_at END, \
    visible_at = due_at, leased_by = NULL";

/// What names a row, from the texts of its key columns.
pub(crate) type KeyOfCells = fn(&[String]) -> Option<Key>;

/// One table of rows.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// The columns that name a row within its tenant.
    pub(crate) key: &'static [Column],
    /// The columns that repeat parts of the body.
    pub(crate) index: &'static [Column],
    /// Whether the cache holds its rows: then what names one, from the texts of its key columns.
    pub(crate) held: Option<KeyOfCells>,
}

/// One column.
#[derive(Debug)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) kind: ColumnKind,
    /// Whether a row keeps its value as long as there is one.
    pub(crate) is_fixed: bool,
}

impl Column {
    const fn fixed(self) -> Self {
        Self { is_fixed: true, ..self }
    }
}

/// What a column holds. Moments are microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// Text that is always there.
    Text,
    /// A number that is always there.
    Integer,
    /// Text or nothing.
    MaybeText,
    /// A number or nothing.
    MaybeInteger,
}

/// The value of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A number.
    Integer(i64),
    /// Nothing.
    Null,
}

/// The values of a few columns, in the table's order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cells<'a> {
    cells: [Cell<'a>; CELLS_MAX],
    count: usize,
}

const CELLS_MAX: usize = 5;

const fn column(name: &'static str, kind: ColumnKind) -> Column {
    Column { name, kind, is_fixed: false }
}

const fn text(name: &'static str) -> Column {
    column(name, ColumnKind::Text)
}

const fn integer(name: &'static str) -> Column {
    column(name, ColumnKind::Integer)
}

const fn maybe_text(name: &'static str) -> Column {
    column(name, ColumnKind::MaybeText)
}

const fn maybe_integer(name: &'static str) -> Column {
    column(name, ColumnKind::MaybeInteger)
}

/// Defines the tables, each once: its number and name; the kind of its rows with what a key holds, the key columns and their
/// values; what a row holds, the index columns, their values and the body; whether the cache holds its rows (then how a key is made
/// of the key columns' texts) or they are read each time; and what a decision sees of a stored row, where it sees it.
macro_rules! tables {
    ($($id:ident $name:literal
        $kind:ident $(($($part:ident),+))? [$($key:expr),*] $names:expr,
        ($($field:ident),+) [$($index:expr),*] $cells:expr, $body:expr,
        $kept:ident $(by $held:expr)?, $seen:ident $(by $load:expr)?;)*) => {
        /// Which table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum TableId {
            $($id,)*
        }

        const COUNT: usize = [$(stringify!($id)),*].len();

        static TABLES: [Table; COUNT] = [
            $(Table { name: $name, key: &[$($key),*], index: &[$($index),*], held: tables!(@ $kept $($held)?) },)*
        ];

        impl TableId {
            /// All tables, in the order of their numbers.
            pub(crate) const ALL: [Self; COUNT] = [$(Self::$id,)*];

            /// Its description.
            pub(crate) fn table(self) -> &'static Table {
                &TABLES[self as usize]
            }

            /// The table of the row with this key.
            pub(crate) fn of(key: &Key) -> Self {
                match key {
                    $(tables!(@ any $kind $($($part)+)?) => Self::$id,)*
                }
            }
        }

        /// The values of the key columns, after the tenant.
        pub(crate) fn key_cells(key: &Key) -> Cells<'_> {
            match key {
                $(Key::$kind $(($($part),+))? => Cells::of($names),)*
            }
        }

        /// The values of the index columns.
        pub(crate) fn index_cells(row: &Row) -> Cells<'_> {
            match row {
                $(Row::$kind($($field),+) => {
                    let _ = ($($field),+);
                    $cells
                })*
            }
        }

        /// The body of a row.
        pub(crate) fn body(row: &Row) -> Result<String, StoreError> {
            match row {
                $(Row::$kind($($field),+) => {
                    let _ = ($($field),+);
                    $body
                })*
            }
        }

        /// The row with this key as a decision sees it. `None` for rows that no decision reads, and for sessions,
        /// which are read together with their tasks.
        pub(crate) fn loaded(key: &Key, version: i64, body: &str) -> Result<Option<Loaded>, StoreError> {
            match key {
                $(tables!(@ any $kind $($($part)+)?) => tables!(@ $seen $kind (key, version, body) $($load)?),)*
            }
        }
    };
    (@ read) => { None };
    (@ held $held:expr) => { Some($held) };
    (@ any $kind:ident $($part:ident)+) => { Key::$kind(..) };
    (@ any $kind:ident) => { Key::$kind };
    (@ seen $kind:ident ($key:ident, $version:ident, $body:ident)) => {
        Ok(Some(Loaded::$kind(versioned($version, $body)?)))
    };
    (@ seen $kind:ident ($key:ident, $version:ident, $body:ident) $load:expr) => { $load($key, $version, $body) };
    (@ unseen $kind:ident ($key:ident, $version:ident, $body:ident)) => { Ok(None) };
}

tables! {
    Agents "agents"
        Agent(id) [text("id")] [id.as_str().into()],
        (row) [text("name")] Cells::of([row.name.as_str().into()]), encode(row),
        held by |names| Some(Key::Agent(AgentId::parse(first(names)?).ok()?)), seen;
    AgentNames "agent_names"
        AgentName(name) [text("name")] [name.as_str().into()],
        (row) [] Cells::of([]), encode(row),
        held by |names| Some(Key::AgentName(first(names)?.to_owned())), seen;
    AgentStatuses "agent_statuses"
        Status(agent) [text("agent")] [agent.as_str().into()],
        (row) [maybe_text("state"), maybe_text("node")]
            Cells::of([state_cell(row).map_or(Cell::Null, Cell::Text), node_cell(row).into()]),
            row.to_json().map_err(unwritten),
        held by |names| Some(Key::Status(AgentId::parse(first(names)?).ok()?)), seen;
    Available "available"
        Available(route, agent) [text("route"), text("agent")] [route.as_str().into(), agent.as_str().into()],
        (row) [integer("last_used")] Cells::of([row.last_used.into()]), Ok(String::new()),
        read, unseen;
    Sessions "sessions"
        Session(id) [text("id")] [id.as_str().into()],
        (row) [text("workflow").fixed(), integer("created_at").fixed(), integer("revision").fixed(),
            text("status"), maybe_integer("ended_at")] session_cells(row), encode(row),
        held by |names| Some(Key::Session(SessionId::parse(first(names)?).ok()?)), unseen;
    Tasks "tasks"
        Task(id) [text("id")] [id.as_str().into()],
        (session, row) [text("session").fixed(), integer("position").fixed(), integer("priority"),
            maybe_text("wait_route"), maybe_integer("queued_at")] task_cells(session, row), encode(row),
        read, unseen;
    Definitions "definitions"
        Definition(id, revision) [text("id"), integer("revision")]
            [id.as_str().into(), i64::from(*revision).into()],
        (row) [] Cells::of([]), encode(row),
        held by |names|
            Some(Key::Definition(WorkflowId::parse(first(names)?).ok()?, names.get(1)?.parse().ok()?)),
        seen;
    Workflows "workflows"
        Workflow(id) [text("id")] [id.as_str().into()],
        (row) [integer("revision")] Cells::of([i64::from(row.revision).into()]), encode(row),
        held by |names| Some(Key::Workflow(WorkflowId::parse(first(names)?).ok()?)), seen;
    Messages "messages"
        Message(id) [text("id")] [id.as_str().into()],
        (row) [maybe_text("agent"), text("kind"), text("status"), maybe_integer("settled_at")]
            message_cells(row), encode(row),
        held by |names| Some(Key::Message(MessageId::parse(first(names)?).ok()?)), seen;
    Tools "tools"
        Tool(name) [text("name")] [name.as_str().into()],
        (row) [] Cells::of([]), encode(row),
        held by |names| Some(Key::Tool(ToolName::parse(first(names)?).ok()?)), seen;
    ApiKeys "api_keys"
        ApiKey(id) [text("id")] [id.as_str().into()],
        (row) [text("hash"), maybe_text("previous_hash")]
            Cells::of([row.hash.as_str().into(), row.previous.as_ref().map_or(Cell::Null, |old| old.hash.as_str().into())]),
        encode(row),
        read, seen;
    Tenants "tenants"
        Tenant(id) [text("id")] [id.as_str().into()],
        (row) [] Cells::of([]), encode(row),
        read, seen;
    IdempotencyRecord "answered"
        IdempotencyRecord(key) [text("key")] [key.as_str().into()],
        (row) [integer("expires_at")] Cells::of([row.expires_at.into()]), encode(row),
        read, seen;
    Signatures "signatures"
        Signature(signature) [text("signature")] [signature.as_str().into()],
        (row) [integer("expires_at")] Cells::of([row.expires_at.into()]), encode(row),
        read, seen;
    ConcurrencyGroups "concurrency_groups"
        ConcurrencyGroup(key) [text("key")] [key.as_str().into()],
        (row) [] Cells::of([]), encode(row),
        read, seen;
    Settings "settings"
        Retention [text("name")] [RETENTION.into()],
        (row) [] Cells::of([]), encode(row),
        read, seen;
    Schedules "schedules"
        Schedule(id) [text("id")] [id.as_str().into()],
        (row) [] Cells::of([]), encode(row),
        held by |names| Some(Key::Schedule(ScheduleId::parse(first(names)?).ok()?)), seen;
    Hooks "hooks"
        WebhookTrigger(id) [text("id")] [id.as_str().into()],
        (row) [] Cells::of([]), encode(row),
        held by |names| Some(Key::WebhookTrigger(HookId::parse(first(names)?).ok()?)), seen;
    Payloads "payloads"
        Payload(sha256) [text("sha256")] [sha256.as_str().into()],
        (row) [maybe_text("holds")]
            Cells::of([holds(row).map_or(Cell::Null, |holds| Cell::Text(Cow::Owned(holds)))]), Ok(row.body.clone()),
        read, seen by payload;
    Channels "channels"
        Channel(id) [text("id")] [id.as_str().into()],
        (row) [integer("first_kept"), integer("max_age")] channel_cells(row), encode(row),
        held by |names| Some(Key::Channel(ChannelId::parse(first(names)?).ok()?)), seen;
    ChannelNames "channel_names"
        ChannelName(name) [text("name")] [name.as_str().into()],
        (row) [text("channel")] Cells::of([row.channel.as_str().into()]), encode(row),
        held by |names| Some(Key::ChannelName(first(names)?.to_owned())), seen;
    ChannelMessages "channel_messages"
        ChannelMessage(channel, sender, id) [text("channel"), text("sender"), text("id")]
            [channel.as_str().into(), sender.as_ref().map_or("", AgentId::as_str).into(), id.as_str().into()],
        (row) [integer("sequence").fixed(), integer("at").fixed()]
            Cells::of([Cell::Integer(row.sequence.cast_signed()), row.at.into()]), encode(row),
        read, seen;
    Commands "commands"
        Command(id) [text("id")] [id.as_str().into()],
        (row) [text("agent").fixed(), maybe_integer("ended_at")]
            Cells::of([row.agent.as_str().into(), row.ended_at.into()]), encode(row),
        held by |names| Some(Key::Command(CommandId::parse(first(names)?).ok()?)), seen;
    Figures "agent_figures"
        Figures(agent) [text("agent")] [agent.as_str().into()],
        (row) [integer("last_seen")] Cells::of([row.last_seen.into()]), encode(row),
        held by |names| Some(Key::Figures(AgentId::parse(first(names)?).ok()?)), seen;
    Usage "usage_days"
        Usage(day) [integer("day")] [i64::from(*day).into()],
        (row) [] Cells::of([]), encode(row),
        read, seen;
    SshKeys "ssh_keys"
        SshKey(id) [text("id")] [id.as_str().into()],
        (row) [maybe_text("active_agent")]
            Cells::of([row.active_agent().map_or(Cell::Null, |agent| agent.as_str().into())]), encode(row),
        read, seen;
    SshFingerprints "ssh_fingerprints"
        SshFingerprint(fingerprint) [text("fingerprint")] [fingerprint.as_str().into()],
        (row) [] Cells::of([]), encode(row),
        read, seen;
    TokenKeys "token_keys"
        TokenKeys [text("name")] [TOKEN_KEYS.into()],
        (row) [] Cells::of([]), encode(row),
        read, seen;
}

fn first(names: &[String]) -> Option<&str> {
    names.first().map(String::as_str)
}

/// The name of the one row that [`Row::TokenKeys`] is.
pub(crate) const TOKEN_KEYS: &str = "current";

/// The name of the setting that [`Row::Retention`] is.
pub(crate) const RETENTION: &str = "retention";

/// The values of the index columns of a message.
fn message_cells(row: &Message) -> Cells<'_> {
    Cells::of([
        row.agent.as_ref().map_or(Cell::Null, |agent| agent.as_str().into()),
        row.kind.name().into(),
        message_status(row.status).into(),
        row.settled_at.into(),
    ])
}

/// The values of the index columns of a channel.
fn channel_cells(row: &Channel) -> Cells<'_> {
    let max_age = i64::try_from(row.retention.max_age.as_micros()).unwrap_or(i64::MAX);
    Cells::of([Cell::Integer(row.first_kept.cast_signed()), Cell::Integer(max_age)])
}

/// The values of the index columns of a session.
pub(crate) fn session_cells(row: &Session) -> Cells<'_> {
    Cells::of([
        row.workflow.as_str().into(),
        row.created_at.into(),
        i64::from(row.revision).into(),
        row.status.name().into(),
        row.ended_at.into(),
    ])
}

/// The values of the index columns of a task.
pub(crate) fn task_cells<'a>(session: &'a SessionId, row: &'a Task) -> Cells<'a> {
    Cells::of([
        session.as_str().into(),
        Cell::Integer(i64::try_from(row.position).unwrap_or(i64::MAX)),
        priority(row).into(),
        row.waiting_key().map_or(Cell::Null, |route| Cell::Text(Cow::Owned(route))),
        row.queued_at.into(),
    ])
}

/// The list that `payloads.holds` holds: what the payload refers to, where it refers to anything.
fn holds(payload: &Payload) -> Option<String> {
    let names = payload.references();
    (!names.is_empty()).then(|| serde_json::json!(names).to_string())
}

/// How soon a waiting task is served, before the order of its waiting.
pub(crate) fn priority(task: &Task) -> i64 {
    i64::from(task.rules.priority)
}

/// The word that `agent_statuses.state` holds: what was reported last, without case.
pub(crate) fn state_cell(status: &AgentStatus) -> Option<Cow<'_, str>> {
    let state = status.report.as_ref()?.state.as_str();
    let is_lowercase = state.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    Some(if is_lowercase { Cow::Borrowed(state) } else { Cow::Owned(state.to_lowercase()) })
}

/// What `agent_statuses.node` holds: the node that the agent is connected to.
pub(crate) fn node_cell(status: &AgentStatus) -> Option<&str> {
    status.connection.as_ref().map(|connection| connection.node.as_str())
}

/// The word that `messages.status` holds.
pub(crate) fn message_status(status: MessageStatus) -> &'static str {
    match status {
        MessageStatus::Scheduled => "scheduled",
        MessageStatus::Delivered => "delivered",
        MessageStatus::Dead => "dead",
        MessageStatus::Cancelled => "cancelled",
    }
}

/// The names that `agent_capabilities` lists for an agent, each once.
pub(crate) fn capabilities(agent: &Agent) -> Vec<&str> {
    let mut names: Vec<&str> = agent.capability_names().collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A status as listed, last seen when the heartbeats of its agent's connection told so last.
pub(crate) fn status_seen(
    body: Option<&str>,
    last_seen: Option<i64>,
) -> Result<Option<Arc<AgentStatus>>, StoreError> {
    let Some(mut status) = body.map(decode::<AgentStatus>).transpose()? else { return Ok(None) };
    status.last_seen = status.last_seen.max(last_seen.map(Timestamp::from_micros).unwrap_or_default());
    Ok(Some(Arc::new(status)))
}

/// The value that a body holds.
pub(crate) fn decode<T: DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| {
        StoreError::Corrupt(format!("a stored {} cannot be read: {error}", std::any::type_name::<T>()))
    })
}

/// A payload's row holds its value as it is, under the hash of it.
fn payload(key: &Key, version: i64, body: &str) -> Result<Option<Loaded>, StoreError> {
    let Key::Payload(sha256) = key else { return Ok(None) };
    let (sha256, body, value) = (sha256.clone(), body.to_owned(), Arc::new(decode(body)?));
    Ok(Some(Loaded::Payload(Versioned { version, value: Arc::new(Payload { sha256, body, value }) })))
}

fn versioned<T: DeserializeOwned>(version: i64, body: &str) -> Result<Versioned<T>, StoreError> {
    Ok(Versioned { version, value: Arc::new(decode(body)?) })
}

fn encode(value: &impl Serialize) -> Result<String, StoreError> {
    json::to_string(value).map_err(unwritten)
}

fn unwritten(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("a row cannot be written: {error}"))
}

impl<'a> Cells<'a> {
    fn of<const N: usize>(given: [Cell<'a>; N]) -> Self {
        let mut cells = [const { Cell::Null }; CELLS_MAX];
        for (slot, cell) in cells.iter_mut().zip(given) {
            *slot = cell;
        }
        Self { cells, count: N }
    }
}

impl<'a> Deref for Cells<'a> {
    type Target = [Cell<'a>];

    fn deref(&self) -> &[Cell<'a>] {
        &self.cells[..self.count]
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<Timestamp> for Cell<'_> {
    fn from(moment: Timestamp) -> Self {
        Self::Integer(moment.as_micros())
    }
}

impl From<Option<Timestamp>> for Cell<'_> {
    fn from(moment: Option<Timestamp>) -> Self {
        moment.map_or(Self::Null, Self::from)
    }
}
