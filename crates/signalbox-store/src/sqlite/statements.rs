//! The statements that put, remove and read rows, made from the one description of the tables.

use rusqlite::{Connection, Statement};

use crate::schema::{Cell, Table, TableId};

/// The writer's statements, prepared once.
pub(super) struct Statements<'c> {
    tables: Vec<TableStatements<'c>>,
    pub(super) add_event: Statement<'c>,
    pub(super) add_due: Statement<'c>,
    pub(super) remove_due: Statement<'c>,
    pub(super) clear_capabilities: Statement<'c>,
    pub(super) add_capability: Statement<'c>,
    pub(super) hash_owner: Statement<'c>,
}

/// The statements of one table.
pub(super) struct TableStatements<'c> {
    /// Parameters: tenant, key, index, version, body.
    pub(super) put: Statement<'c>,
    /// Parameters: tenant, key.
    pub(super) remove: Statement<'c>,
    /// Parameters: tenant, key.
    pub(super) version: Statement<'c>,
}

impl<'c> Statements<'c> {
    /// Prepares them all.
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let tables = TableId::ALL.iter().map(|id| {
            let table = id.table();
            Ok(TableStatements {
                put: connection.prepare(&put(table))?,
                remove: connection.prepare(&remove(table))?,
                version: connection.prepare(&select("version", table))?,
            })
        });
        Ok(Self {
            tables: tables.collect::<rusqlite::Result<_>>()?,
            add_event: connection.prepare(
                "INSERT INTO events (id, at, kind, level, session, session_sequence, agent, task, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            add_due: connection.prepare(
                "INSERT INTO due (tenant, id, kind, due_at, visible_at, leased_by, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (tenant, id) DO UPDATE SET
                 due_at = excluded.due_at, visible_at = excluded.visible_at, leased_by = excluded.leased_by",
            )?,
            remove_due: connection.prepare("DELETE FROM due WHERE tenant = ?1 AND id = ?2")?,
            clear_capabilities: connection
                .prepare("DELETE FROM agent_capabilities WHERE tenant = ?1 AND agent = ?2")?,
            add_capability: connection
                .prepare("INSERT INTO agent_capabilities (tenant, agent, capability) VALUES (?1, ?2, ?3)")?,
            hash_owner: connection.prepare("SELECT tenant, id FROM api_keys WHERE hash = ?1")?,
        })
    }

    /// The statements of one table.
    pub(super) fn table(&mut self, id: TableId) -> &mut TableStatements<'c> {
        &mut self.tables[id as usize]
    }
}

/// Reads version and body of one row; parameters: tenant, key.
pub(super) fn read(id: TableId) -> String {
    select("version, body", id.table())
}

/// Binds `cells` from parameter `first` on; answers the parameter after the last.
pub(super) fn bind(
    statement: &mut Statement<'_>,
    first: usize,
    cells: &[Cell<'_>],
) -> rusqlite::Result<usize> {
    for (parameter, cell) in (first..).zip(cells) {
        match cell {
            Cell::Text(text) => statement.raw_bind_parameter(parameter, text.as_ref())?,
            Cell::Integer(number) => statement.raw_bind_parameter(parameter, number)?,
            Cell::Null => statement.raw_bind_parameter(parameter, rusqlite::types::Null)?,
        }
    }
    Ok(first + cells.len())
}

fn put(table: &Table) -> String {
    let key: Vec<&str> =
        std::iter::once("tenant").chain(table.key.iter().map(|column| column.name)).collect();
    let rest: Vec<&str> = table.index.iter().map(|column| column.name).chain(["version", "body"]).collect();
    let columns = [key.as_slice(), rest.as_slice()].concat();
    let values: Vec<String> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
    let updates: Vec<String> = rest.iter().map(|name| format!("{name} = excluded.{name}")).collect();
    format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
        table.name,
        columns.join(", "),
        values.join(", "),
        key.join(", "),
        updates.join(", ")
    )
}

fn remove(table: &Table) -> String {
    format!("DELETE FROM {} WHERE {}", table.name, by_key(table))
}

fn select(what: &str, table: &Table) -> String {
    format!("SELECT {what} FROM {} WHERE {}", table.name, by_key(table))
}

fn by_key(table: &Table) -> String {
    let names = std::iter::once("tenant").chain(table.key.iter().map(|column| column.name));
    let terms: Vec<String> = (1..).zip(names).map(|(number, name)| format!("{name} = ?{number}")).collect();
    terms.join(" AND ")
}
