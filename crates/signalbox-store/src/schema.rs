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
use signalbox_core::decision::{Key, Row};
use signalbox_core::delivery::MessageStatus;
use signalbox_core::payload::Payload;
use signalbox_core::session::Session;
use signalbox_core::snapshot::{Loaded, Versioned};
use signalbox_core::task::Task;
use signalbox_wire::id::{AgentId, HookId, MessageId, ScheduleId, SessionId, ToolName, WorkflowId};
use signalbox_wire::time::Timestamp;

use crate::StoreError;

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
/// What most bodies fit in.
const BODY_BYTES_ESTIMATE: usize = 512;

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

/// Defines the tables, each once: its number, name, key columns and index columns, and whether the cache holds its rows
/// (then how a key is made of the key columns' texts) or they are read each time.
macro_rules! tables {
    ($($id:ident $name:literal [$($key:expr),*] [$($index:expr),*] $kept:ident $(by $held:expr)?;)*) => {
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
        }
    };
    (@ read) => { None };
    (@ held $held:expr) => { Some($held) };
}

tables! {
    Agents "agents" [text("id")]
        [text("name")]
        held by |names| Some(Key::Agent(AgentId::parse(first(names)?).ok()?));
    AgentNames "agent_names" [text("name")] [] held by |names| Some(Key::AgentName(first(names)?.to_owned()));
    AgentStatuses "agent_statuses" [text("agent")]
        [maybe_text("state")]
        held by |names| Some(Key::Status(AgentId::parse(first(names)?).ok()?));
    Available "available" [text("route"), text("agent")] [integer("last_used")] read;
    Sessions "sessions" [text("id")]
        [text("workflow").fixed(), integer("created_at").fixed(), integer("revision").fixed(),
        text("status"), maybe_integer("ended_at")]
        held by |names| Some(Key::Session(SessionId::parse(first(names)?).ok()?));
    Tasks "tasks" [text("id")]
        [text("session").fixed(), integer("position").fixed(), integer("priority"),
        maybe_text("wait_route"), maybe_integer("queued_at")]
        read;
    Definitions "definitions" [text("id"), integer("revision")]
        []
        held by |names|
            Some(Key::Definition(WorkflowId::parse(first(names)?).ok()?, names.get(1)?.parse().ok()?));
    Workflows "workflows" [text("id")]
        [integer("revision")]
        held by |names| Some(Key::Workflow(WorkflowId::parse(first(names)?).ok()?));
    Messages "messages" [text("id")]
        [maybe_text("agent"), text("kind"), text("status"), maybe_integer("settled_at")]
        held by |names| Some(Key::Message(MessageId::parse(first(names)?).ok()?));
    Tools "tools" [text("name")] [] held by |names| Some(Key::Tool(ToolName::parse(first(names)?).ok()?));
    ApiKeys "api_keys" [text("id")] [text("hash")] read;
    Tenants "tenants" [text("id")] [] read;
    IdempotencyRecord "answered" [text("key")] [integer("expires_at")] read;
    Signatures "signatures" [text("signature")] [integer("expires_at")] read;
    ConcurrencyGroups "concurrency_groups" [text("key")] [] read;
    Settings "settings" [text("name")] [] read;
    Schedules "schedules" [text("id")]
        []
        held by |names| Some(Key::Schedule(ScheduleId::parse(first(names)?).ok()?));
    Hooks "hooks" [text("id")]
        []
        held by |names| Some(Key::WebhookTrigger(HookId::parse(first(names)?).ok()?));
    Payloads "payloads" [text("sha256")] [maybe_text("holds")] read;
}

fn first(names: &[String]) -> Option<&str> {
    names.first().map(String::as_str)
}

impl TableId {
    /// The table of the row with this key.
    pub(crate) fn of(key: &Key) -> Self {
        match key {
            Key::Agent(_) => Self::Agents,
            Key::AgentName(_) => Self::AgentNames,
            Key::Status(_) => Self::AgentStatuses,
            Key::Available(..) => Self::Available,
            Key::Session(_) => Self::Sessions,
            Key::Task(_) => Self::Tasks,
            Key::Definition(..) => Self::Definitions,
            Key::Workflow(_) => Self::Workflows,
            Key::Message(_) => Self::Messages,
            Key::Tool(_) => Self::Tools,
            Key::ApiKey(_) => Self::ApiKeys,
            Key::Tenant(_) => Self::Tenants,
            Key::IdempotencyRecord(_) => Self::IdempotencyRecord,
            Key::Signature(_) => Self::Signatures,
            Key::ConcurrencyGroup(_) => Self::ConcurrencyGroups,
            Key::Retention => Self::Settings,
            Key::Schedule(_) => Self::Schedules,
            Key::WebhookTrigger(_) => Self::Hooks,
            Key::Payload(_) => Self::Payloads,
        }
    }
}

/// The name of the setting that [`Row::Retention`] is.
pub(crate) const RETENTION: &str = "retention";

/// The values of the key columns, after the tenant.
pub(crate) fn key_cells(key: &Key) -> Cells<'_> {
    match key {
        Key::Agent(id) | Key::Status(id) => Cells::of([id.as_str().into()]),
        Key::AgentName(name)
        | Key::IdempotencyRecord(name)
        | Key::Signature(name)
        | Key::ConcurrencyGroup(name)
        | Key::Payload(name) => Cells::of([name.as_str().into()]),
        Key::Available(route, agent) => Cells::of([route.as_str().into(), agent.as_str().into()]),
        Key::Session(id) => Cells::of([id.as_str().into()]),
        Key::Task(id) => Cells::of([id.as_str().into()]),
        Key::Definition(id, revision) => Cells::of([id.as_str().into(), i64::from(*revision).into()]),
        Key::Workflow(id) => Cells::of([id.as_str().into()]),
        Key::Schedule(id) => Cells::of([id.as_str().into()]),
        Key::WebhookTrigger(id) => Cells::of([id.as_str().into()]),
        Key::Message(id) => Cells::of([id.as_str().into()]),
        Key::Tool(name) => Cells::of([name.as_str().into()]),
        Key::ApiKey(id) => Cells::of([id.as_str().into()]),
        Key::Tenant(id) => Cells::of([id.as_str().into()]),
        Key::Retention => Cells::of([RETENTION.into()]),
    }
}

/// The values of the index columns.
pub(crate) fn index_cells(row: &Row) -> Cells<'_> {
    match row {
        Row::Agent(row) => Cells::of([row.name.as_str().into()]),
        Row::Status(row) => Cells::of([state_cell(row).map_or(Cell::Null, Cell::Text)]),
        Row::Available(row) => Cells::of([row.last_used.into()]),
        Row::Session(row) => session_cells(row),
        Row::Task(session, row) => task_cells(session, row),
        Row::Workflow(row) => Cells::of([i64::from(row.revision).into()]),
        Row::Message(row) => Cells::of([
            row.agent.as_ref().map_or(Cell::Null, |agent| agent.as_str().into()),
            message_kind(row.kind).into(),
            message_status(row.status).into(),
            row.settled_at.into(),
        ]),
        Row::ApiKey(row) => Cells::of([row.hash.as_str().into()]),
        Row::Payload(row) => {
            Cells::of([holds(row).map_or(Cell::Null, |holds| Cell::Text(Cow::Owned(holds)))])
        }
        Row::IdempotencyRecord(row) => Cells::of([row.expires_at.into()]),
        Row::Signature(row) => Cells::of([row.expires_at.into()]),
        Row::AgentName(_)
        | Row::Definition(_)
        | Row::Tool(_)
        | Row::Tenant(_)
        | Row::ConcurrencyGroup(_)
        | Row::Retention(_)
        | Row::Schedule(_)
        | Row::WebhookTrigger(_) => Cells::of([]),
    }
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

/// The word that `messages.kind` holds.
pub(crate) fn message_kind(kind: signalbox_core::delivery::MessageKind) -> &'static str {
    use signalbox_core::delivery::MessageKind as M;
    match kind {
        M::Message => "message",
        M::Task => "task",
        M::RegistrationWebhook => "webhook",
        M::SessionWebhook => "notice",
    }
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

/// The body of a row.
pub(crate) fn body(row: &Row) -> Result<String, StoreError> {
    match row {
        Row::Agent(row) => encode(row),
        Row::AgentName(row) => encode(row),
        Row::Status(row) => row.to_json().map_err(unwritten),
        Row::Available(row) => encode(row),
        Row::Session(row) => encode(row),
        Row::Task(_, row) => encode(row),
        Row::Definition(row) => encode(row),
        Row::Workflow(row) => encode(row),
        Row::Message(row) => encode(row),
        Row::Tool(row) => encode(row),
        Row::ApiKey(row) => encode(row),
        Row::Tenant(row) => encode(row),
        Row::IdempotencyRecord(row) => encode(row),
        Row::Signature(row) => encode(row),
        Row::ConcurrencyGroup(row) => encode(row),
        Row::Retention(row) => encode(row),
        Row::Schedule(row) => encode(row),
        Row::WebhookTrigger(row) => encode(row),
        Row::Payload(row) => Ok(row.body.clone()),
    }
}

/// The value that a body holds.
pub(crate) fn decode<T: DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| {
        StoreError::Corrupt(format!("a stored {} cannot be read: {error}", std::any::type_name::<T>()))
    })
}

/// The row with this key as a decision sees it. `None` for rows that no decision reads, and for sessions,
/// which are read together with their tasks.
pub(crate) fn loaded(key: &Key, version: i64, body: &str) -> Result<Option<Loaded>, StoreError> {
    Ok(Some(match key {
        Key::Agent(_) => Loaded::Agent(versioned(version, body)?),
        Key::AgentName(_) => Loaded::AgentName(versioned(version, body)?),
        Key::Status(_) => Loaded::Status(versioned(version, body)?),
        Key::Definition(..) => Loaded::Definition(versioned(version, body)?),
        Key::Workflow(_) => Loaded::Workflow(versioned(version, body)?),
        Key::Message(_) => Loaded::Message(versioned(version, body)?),
        Key::Tool(_) => Loaded::Tool(versioned(version, body)?),
        Key::IdempotencyRecord(_) => Loaded::IdempotencyRecord(versioned(version, body)?),
        Key::Signature(_) => Loaded::Signature(versioned(version, body)?),
        Key::ConcurrencyGroup(_) => Loaded::ConcurrencyGroup(versioned(version, body)?),
        Key::Retention => Loaded::Retention(versioned(version, body)?),
        Key::Schedule(_) => Loaded::Schedule(versioned(version, body)?),
        Key::WebhookTrigger(_) => Loaded::WebhookTrigger(versioned(version, body)?),
        Key::Payload(sha256) => {
            let (sha256, body, value) = (sha256.clone(), body.to_owned(), Arc::new(decode(body)?));
            Loaded::Payload(Versioned { version, value: Arc::new(Payload { sha256, body, value }) })
        }
        Key::Available(..) | Key::Session(_) | Key::Task(_) | Key::ApiKey(_) | Key::Tenant(_) => {
            return Ok(None);
        }
    }))
}

fn versioned<T: DeserializeOwned>(version: i64, body: &str) -> Result<Versioned<T>, StoreError> {
    Ok(Versioned { version, value: Arc::new(decode(body)?) })
}

fn encode(value: &impl Serialize) -> Result<String, StoreError> {
    let mut text = Vec::with_capacity(BODY_BYTES_ESTIMATE);
    serde_json::to_writer(&mut text, value).map_err(unwritten)?;
    String::from_utf8(text).map_err(unwritten)
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
