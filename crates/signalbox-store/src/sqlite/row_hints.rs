//! Where the rows of agents' statuses lie in their table, so that a report finds its row without the index.
//!
//! A place is only a guess: the statement that uses it also compares the names, and where it hits nothing the row
//! is found by its key and its place noted anew. So nothing has to be told when rows go.

use std::collections::HashMap;

use quick_cache::DefaultHashBuilder;
use rusqlite::types::Null;
use rusqlite::{Connection, OptionalExtension as _, PrepFlags, Statement, params};
use signalbox_core::agent::AgentStatus;
use signalbox_wire::id::{AgentId, TenantId};

use crate::commit::Put;
use crate::schema;

/// Places that are remembered; with more, all are forgotten and noted anew.
const PLACES_MAX: usize = 65_536;

/// The places that are known.
pub(super) struct Places<'c> {
    update: Statement<'c>,
    find: Statement<'c>,
    known: HashMap<TenantId, HashMap<AgentId, i64, DefaultHashBuilder>, DefaultHashBuilder>,
    count: usize,
}

impl<'c> Places<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |sql: &str| connection.prepare_with_flags(sql, PrepFlags::SQLITE_PREPARE_PERSISTENT);
        Ok(Self {
            update: prepare(
                "UPDATE agent_statuses SET state = ?1, version = ?2, body = ?3, node = ?7
                 WHERE rowid = ?4 AND +tenant = ?5 AND +agent = ?6",
            )?,
            find: prepare("SELECT rowid FROM agent_statuses WHERE tenant = ?1 AND agent = ?2")?,
            known: HashMap::default(),
            count: 0,
        })
    }

    /// Writes a status over the one that is there; `false` where its place is not known.
    pub(super) fn update(
        &mut self,
        tenant: &TenantId,
        status: &AgentStatus,
        put: &Put,
    ) -> rusqlite::Result<bool> {
        let Some(place) = self.known.get(tenant).and_then(|agents| agents.get(&status.agent)) else {
            return Ok(false);
        };
        match schema::state_cell(status) {
            Some(state) => self.update.raw_bind_parameter(1, state.as_ref())?,
            None => self.update.raw_bind_parameter(1, Null)?,
        }
        self.update.raw_bind_parameter(2, put.version)?;
        self.update.raw_bind_parameter(3, put.body.as_str())?;
        self.update.raw_bind_parameter(4, *place)?;
        self.update.raw_bind_parameter(5, tenant.as_str())?;
        self.update.raw_bind_parameter(6, status.agent.as_str())?;
        match schema::node_cell(status) {
            Some(node) => self.update.raw_bind_parameter(7, node)?,
            None => self.update.raw_bind_parameter(7, Null)?,
        }
        Ok(self.update.raw_execute()? == 1)
    }

    /// Notes the place of a status that is there.
    pub(super) fn note(&mut self, tenant: &TenantId, agent: &AgentId) -> rusqlite::Result<()> {
        let found =
            self.find.query_row(params![tenant.as_str(), agent.as_str()], |row| row.get(0)).optional()?;
        let Some(place) = found else { return Ok(()) };
        if self.count >= PLACES_MAX {
            self.known.clear();
            self.count = 0;
        }
        let agents = self.known.entry(tenant.clone()).or_default();
        self.count += usize::from(agents.insert(agent.clone(), place).is_none());
        Ok(())
    }
}
