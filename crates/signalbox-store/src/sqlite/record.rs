//! What a record of the redo log says: the rows, entries and due work of the commits of one flush, as the tables take them.

use rusqlite::types::Null;
use rusqlite::{Connection, params};
use signalbox_core::event::{Level, NewEvent};
use signalbox_wire::id::{AgentId, SessionId, TaskId, TenantId};
use signalbox_wire::time::Timestamp;

use super::append::{self, Placed};
use super::log::{Log, ends_block};
use super::pending::PlacedEvent;
use super::statements::Statements;
use crate::commit::{Commit, DueRow, Holder};
use crate::schema::{self, Cell, TableId};

/// The numbers of tables are in the file too ([`TableId`]): its [form](super::redo) changes with them.
const TENANT: u8 = 1;
const PUT: u8 = 2;
const REMOVE: u8 = 3;
const ENTRY: u8 = 4;
const HOLDER: u8 = 5;
const DUE: u8 = 6;
const DONE: u8 = 7;

const NOTHING: u8 = 0;
const INTEGER: u8 = 1;
const TEXT: u8 = 2;

/// Adds what a commit changes to a record; its entries have places from `first` on.
pub(super) fn write(record: &mut Vec<u8>, commit: &Commit, place: Option<(Log, i64)>) {
    record.push(TENANT);
    text(record, commit.tenant.as_str());
    for change in commit.changes.iter().filter(|change| !change.is_in_memory_alone) {
        record.push(if change.put.is_some() { PUT } else { REMOVE });
        record.push(change.table() as u8);
        schema::key_cells(&change.key).iter().for_each(|value| cell(record, value));
        if let Some(put) = &change.put {
            schema::index_cells(&put.row).iter().for_each(|value| cell(record, value));
            integer(record, put.version);
            text(record, &put.body);
        }
    }
    if let Some((log, first)) = place {
        for (place, event) in (first..).zip(&commit.events) {
            record.push(ENTRY);
            integer(record, log.number());
            integer(record, place);
            integer(record, event.at.as_micros());
            text(record, &event.kind);
            integer(record, event.level.number());
            let session = event.session.as_ref();
            maybe_text(record, session.map(|(session, _)| session.as_str()));
            integer(record, session.map_or(0, |(_, sequence)| sequence.cast_signed()));
            maybe_text(record, event.agent.as_ref().map(AgentId::as_str));
            maybe_text(record, event.task.as_ref().map(|task| task.as_str()));
            text(record, &event.data);
        }
    }
    for Holder { session, agent, created_at } in &commit.holders {
        record.push(HOLDER);
        text(record, session.as_str());
        text(record, agent.as_str());
        integer(record, created_at.as_micros());
    }
    for due in &commit.due {
        let DueRow { id, kind, lane, due_at, visible_at, leased_by, ends_at, body, is_new: _ } = due;
        record.push(DUE);
        text(record, id);
        text(record, kind);
        text(record, lane.as_str());
        integer(record, due_at.as_micros());
        integer(record, visible_at.as_micros());
        maybe_text(record, leased_by.as_ref().map(|node| node.as_str()));
        maybe_integer(record, ends_at.map(Timestamp::as_micros));
        text(record, body);
    }
    for id in &commit.done {
        record.push(DONE);
        text(record, id);
    }
}

fn integer(record: &mut Vec<u8>, number: i64) {
    record.extend_from_slice(&number.to_le_bytes());
}

fn text(record: &mut Vec<u8>, text: &str) {
    // A row of four gigabytes is refused long before.
    record.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(text.as_bytes());
}

fn maybe_text(record: &mut Vec<u8>, value: Option<&str>) {
    record.push(if value.is_some() { TEXT } else { NOTHING });
    if let Some(value) = value {
        text(record, value);
    }
}

fn maybe_integer(record: &mut Vec<u8>, value: Option<i64>) {
    record.push(if value.is_some() { INTEGER } else { NOTHING });
    if let Some(value) = value {
        integer(record, value);
    }
}

fn cell(record: &mut Vec<u8>, cell: &Cell<'_>) {
    match cell {
        Cell::Null => record.push(NOTHING),
        Cell::Integer(number) => maybe_integer(record, Some(*number)),
        Cell::Text(value) => maybe_text(record, Some(value)),
    }
}

/// A record that is read.
struct Reader<'a>(&'a [u8]);

/// The value of a column.
enum Value<'a> {
    Nothing,
    Integer(i64),
    Text(&'a str),
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn integer(&mut self) -> Option<i64> {
        let (bytes, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*bytes))
    }

    fn text(&mut self) -> Option<&'a str> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (text, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn value(&mut self) -> Option<Value<'a>> {
        Some(match self.byte()? {
            NOTHING => Value::Nothing,
            INTEGER => Value::Integer(self.integer()?),
            TEXT => Value::Text(self.text()?),
            _ => return None,
        })
    }

    fn table(&mut self) -> Option<TableId> {
        TableId::ALL.get(usize::from(self.byte()?)).copied()
    }
}

/// What stops a record from being applied.
pub(super) enum Unapplied {
    /// It says what this program does not understand.
    Unreadable,
    /// The database does not take it.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Unapplied {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// Brings records into the tables, in their order. What is there already is written once more.
pub(super) struct Replay<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    /// Entries of the log, which are written in the end.
    entries: Vec<PlacedEvent>,
}

impl<'c> Replay<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self { connection, statements: Statements::prepare(connection)?, entries: Vec::new() })
    }

    /// Applies one record.
    pub(super) fn record(&mut self, record: &[u8]) -> Result<(), Unapplied> {
        let mut reader = Reader(record);
        let mut tenant = "";
        while let Some(kind) = reader.byte() {
            if kind == TENANT {
                let named = reader.text().ok_or(Unapplied::Unreadable)?;
                tenant = TenantId::parse(named).map(|_| named).map_err(|_| Unapplied::Unreadable)?;
                continue;
            }
            self.part(kind, tenant, &mut reader).ok_or(Unapplied::Unreadable)??;
        }
        Ok(())
    }

    /// One part of a record; `None` where it is not understood.
    fn part(&mut self, kind: u8, tenant: &str, reader: &mut Reader<'_>) -> Option<rusqlite::Result<()>> {
        match kind {
            PUT | REMOVE => {
                let id = reader.table()?;
                let table = id.table();
                let count = table.key.len() + if kind == PUT { table.index.len() } else { 0 };
                let values = (0..count).map(|_| reader.value()).collect::<Option<Vec<_>>>()?;
                let put = if kind == PUT { Some((reader.integer()?, reader.text()?)) } else { None };
                Some(self.row(id, tenant, &values, put))
            }
            ENTRY => self.entry(tenant, reader).map(Ok),
            HOLDER => {
                let (session, agent, created_at) = (reader.text()?, reader.text()?, reader.integer()?);
                let values = params![tenant, session, agent, created_at];
                Some(self.statements.add_session_agent.execute(values).map(|_| ()))
            }
            DUE => {
                let (id, kind, lane) = (reader.text()?, reader.text()?, reader.text()?);
                let (due_at, visible_at) = (reader.integer()?, reader.integer()?);
                let leased_by = reader.value()?.text();
                let ends_at = match reader.value()? {
                    Value::Integer(at) => Some(at),
                    Value::Nothing | Value::Text(_) => None,
                };
                let body = reader.text()?;
                let values = params![tenant, id, kind, lane, due_at, visible_at, leased_by, ends_at, body];
                Some(self.statements.add_due.execute(values).map(|_| ()))
            }
            DONE => {
                let values = params![tenant, reader.text()?];
                Some(self.statements.remove_due.execute(values).map(|_| ()))
            }
            _ => None,
        }
    }

    fn row(
        &mut self,
        table: TableId,
        tenant: &str,
        values: &[Value<'_>],
        put: Option<(i64, &str)>,
    ) -> rusqlite::Result<()> {
        let statements = self.statements.table(table)?;
        let statement = if put.is_some() { &mut statements.put } else { &mut statements.remove };
        statement.raw_bind_parameter(1, tenant)?;
        for (parameter, value) in (2..).zip(values) {
            match value {
                Value::Nothing => statement.raw_bind_parameter(parameter, Null)?,
                Value::Integer(number) => statement.raw_bind_parameter(parameter, number)?,
                Value::Text(text) => statement.raw_bind_parameter(parameter, text)?,
            }
        }
        if let Some((version, body)) = put {
            statement.raw_bind_parameter(values.len() + 2, version)?;
            statement.raw_bind_parameter(values.len() + 3, body)?;
        }
        statement.raw_execute().map(|_| ())
    }

    fn entry(&mut self, tenant: &str, reader: &mut Reader<'_>) -> Option<()> {
        let (number, place, at, kind) =
            (reader.integer()?, reader.integer()?, reader.integer()?, reader.text()?);
        let (level, session, sequence) = (reader.integer()?, reader.value()?.text(), reader.integer()?);
        let (agent, task, data) = (reader.value()?.text(), reader.value()?.text(), reader.text()?);
        let event = NewEvent {
            kind: kind.to_owned(),
            level: Level::from_number(level),
            at: Timestamp::from_micros(at),
            session: match session {
                Some(session) => Some((SessionId::parse(session).ok()?, sequence.cast_unsigned())),
                None => None,
            },
            agent: agent.map(AgentId::parse).transpose().ok()?,
            task: task.map(TaskId::parse).transpose().ok()?,
            data: data.to_owned(),
        };
        let tenant = TenantId::parse(tenant).ok()?;
        self.entries.push(PlacedEvent { tenant, log: Log::numbered(number), place, event });
        Some(())
    }

    /// Writes the entries of the log, and indexes its blocks that have become full.
    pub(super) fn finish(mut self) -> rusqlite::Result<()> {
        let mut placed: Vec<_> = self.entries.iter().map(Placed::again).collect();
        append::unwrite(&mut self.statements, &placed)?;
        append::write(&mut self.statements, &mut placed)?;
        for entry in self.entries.iter().filter(|entry| ends_block(entry.place)) {
            let about = entry.log.read_block(self.connection, entry.place)?;
            entry.log.index_block(self.connection, entry.place, &about)?;
        }
        Ok(())
    }
}

impl<'a> Value<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Nothing | Self::Integer(_) => None,
        }
    }
}
