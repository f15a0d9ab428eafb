//! The connections that read: some for single rows, which take microseconds and are read in place, and some
//! for listings, which may take long and are read on threads of their own.

use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OptionalExtension, params};
use signalbox_core::decision::Key;
use signalbox_core::session::{Session, SessionState, Tasks};
use signalbox_wire::id::{SessionId, TenantId};

use super::fault::fault;
use super::{connect, statements};
use crate::error::StoreError;
use crate::read_row::ReadRow;
use crate::schema::{self, Cell, TableId};

/// Connections for single rows.
const POINT_READERS: usize = 2;
/// Connections for listings: as many listings run at once, and the rest wait.
const LIST_READERS: usize = 2;

type Slot = Mutex<Option<Connection>>;

/// All reading connections.
pub(super) struct Readers {
    points: Vec<Slot>,
    lists: Vec<Slot>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let open = |count: usize| -> rusqlite::Result<Vec<Slot>> {
            (0..count).map(|_| Ok(Mutex::new(Some(connect::reader(path)?)))).collect()
        };
        Ok(Self { points: open(POINT_READERS)?, lists: open(LIST_READERS)? })
    }

    /// Lets go of the file.
    pub(super) fn close(&self) {
        for slot in self.points.iter().chain(&self.lists) {
            slot.lock().take();
        }
    }

    /// Runs a query of microseconds here and now.
    pub(super) fn point<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        on(&free(&self.points), query)
    }

    /// Runs a query that may take long; not to be called on an async thread.
    pub(super) fn list<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        on(&free(&self.lists), query)
    }

    /// The row with this key.
    pub(super) fn row(&self, tenant: &TenantId, key: &Key) -> Result<Option<ReadRow>, StoreError> {
        self.point(|connection| match key {
            Key::Session(id) => session(connection, tenant, id),
            _ => row(connection, tenant, key),
        })
    }
}

fn free(slots: &[Slot]) -> MutexGuard<'_, Option<Connection>> {
    match slots.iter().find_map(Mutex::try_lock) {
        Some(slot) => slot,
        None => slots[0].lock(),
    }
}

fn on<T>(
    slot: &Option<Connection>,
    query: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match slot {
        Some(connection) => query(connection),
        None => Err(StoreError::Unavailable("the store is closed".to_owned())),
    }
}

fn row(connection: &Connection, tenant: &TenantId, key: &Key) -> Result<Option<ReadRow>, StoreError> {
    let Some((version, body)) = stored(connection, tenant, key).map_err(|error| fault(&error))? else {
        return Ok(None);
    };
    let loaded = schema::loaded(key, version, &body)?;
    Ok(loaded.map(|loaded| ReadRow::alone(loaded, body.len())))
}

fn stored(connection: &Connection, tenant: &TenantId, key: &Key) -> rusqlite::Result<Option<(i64, String)>> {
    let mut statement = connection.prepare_cached(&statements::read(TableId::of(key)))?;
    let cells = schema::key_cells(key);
    let key = cells.iter().map(|cell| match cell {
        Cell::Text(text) => text.as_ref().into(),
        Cell::Integer(number) => rusqlite::types::ToSqlOutput::from(*number),
        Cell::Null => rusqlite::types::Null.into(),
    });
    let parameters = std::iter::once(tenant.as_str().into()).chain(key);
    statement
        .query_row(rusqlite::params_from_iter(parameters), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// A session with its tasks, as they were at one moment.
fn session(
    connection: &Connection,
    tenant: &TenantId,
    id: &SessionId,
) -> Result<Option<ReadRow>, StoreError> {
    let read = || -> rusqlite::Result<_> {
        let moment = connection.unchecked_transaction()?;
        let Some((version, body)) = stored(&moment, tenant, &Key::Session(id.clone()))? else {
            return Ok(None);
        };
        let mut statement = moment
            .prepare_cached("SELECT body FROM tasks WHERE tenant = ?1 AND session = ?2 ORDER BY position")?;
        let tasks = statement.query_map(params![tenant.as_str(), id.as_str()], |row| row.get(0))?;
        Ok(Some((version, body, tasks.collect::<rusqlite::Result<Vec<String>>>()?)))
    };
    let Some((version, body, bodies)) = read().map_err(|error| fault(&error))? else { return Ok(None) };
    let session: Arc<Session> = schema::decode(&body)?;
    let tasks = bodies.iter().map(|body| schema::decode(body)).collect::<Result<Tasks, _>>()?;
    let task_bytes = bodies.iter().map(String::len).collect();
    Ok(Some(ReadRow::session(version, SessionState { session, tasks }, body.len(), task_bytes)))
}
