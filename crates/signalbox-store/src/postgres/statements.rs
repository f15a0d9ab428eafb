//! The writing connection's statements, prepared once.

use tokio_postgres::{Client, Error, Statement};

use super::pipeline::{PendingQuery, enqueue};
use super::sql;
use crate::schema::TableId;

/// All of them.
pub(super) struct Statements {
    tables: Vec<TableStatements>,
    pub(super) lock_tenants: Statement,
    pub(super) add_tenants: Statement,
    pub(super) last_places: Statement,
    pub(super) take_tenants: Statement,
    pub(super) add_events: Statement,
    pub(super) report: Statement,
    pub(super) report_shared: Statement,
    pub(super) put_due: Statement,
    pub(super) remove_due: Statement,
    pub(super) clear_capabilities: Statement,
    pub(super) add_capabilities: Statement,
    pub(super) clear_session_agents: Statement,
    pub(super) add_session_agents: Statement,
    pub(super) add_payload_uses: Statement,
    pub(super) clear_payloads: Statement,
}

/// Those of one table; [`sql::TableSql`] tells their parameters.
pub(super) struct TableStatements {
    pub(super) versions: Statement,
    pub(super) put: Statement,
    pub(super) replace: Statement,
    pub(super) remove: Statement,
}

impl Statements {
    /// Prepares them all.
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let (lock_tenants, last_places, add_tenants, take_tenants, add_events) = tokio::try_join!(
            client.prepare(sql::LOCK_TENANTS),
            client.prepare(sql::LAST_PLACES),
            client.prepare(sql::ADD_TENANTS),
            client.prepare(sql::TAKE_TENANTS),
            client.prepare(sql::ADD_EVENTS),
        )?;
        let (report, report_shared, put_due, remove_due, clear_capabilities, add_capabilities) = tokio::try_join!(
            client.prepare(sql::REPORT),
            client.prepare(sql::REPORT_SHARED),
            client.prepare(sql::PUT_DUE),
            client.prepare(sql::REMOVE_DUE),
            client.prepare(sql::CLEAR_CAPABILITIES),
            client.prepare(sql::ADD_CAPABILITIES),
        )?;
        let (clear_session_agents, add_session_agents, add_payload_uses, clear_payloads) = tokio::try_join!(
            client.prepare(sql::CLEAR_SESSION_AGENTS),
            client.prepare(sql::ADD_SESSION_AGENTS),
            client.prepare(sql::ADD_PAYLOAD_USES),
            client.prepare(sql::CLEAR_PAYLOADS),
        )?;
        let flights = TableId::ALL
            .iter()
            .map(|id| -> PendingQuery<'_, _, _> { Box::pin(TableStatements::prepare(client, *id)) });
        let tables = enqueue(flights.collect()).await?;
        Ok(Self {
            tables,
            lock_tenants,
            last_places,
            add_tenants,
            take_tenants,
            add_events,
            report,
            report_shared,
            put_due,
            remove_due,
            clear_capabilities,
            add_capabilities,
            clear_session_agents,
            add_session_agents,
            add_payload_uses,
            clear_payloads,
        })
    }

    /// Those of one table.
    pub(super) fn of(&self, table: TableId) -> &TableStatements {
        &self.tables[table as usize]
    }
}

impl TableStatements {
    async fn prepare(client: &Client, id: TableId) -> Result<Self, Error> {
        let sql = sql::of(id);
        let (versions, put, replace, remove) = tokio::try_join!(
            client.prepare(&sql.versions),
            client.prepare(&sql.put),
            client.prepare(&sql.replace),
            client.prepare(&sql.remove),
        )?;
        Ok(Self { versions, put, replace, remove })
    }
}
