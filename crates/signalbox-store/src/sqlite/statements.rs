//! The statements that put, remove and read rows, made from the one description of the tables.

use rusqlite::{Connection, Statement};

use crate::schema::{Cell, Table, TableId};

/// The writer's statements, prepared once.
pub(super) struct Statements<'c> {
    tables: Vec<TableStatements<'c>>,
    pub(super) begin: Statement<'c>,
    pub(super) commit: Statement<'c>,
    pub(super) add_event: Statement<'c>,
    pub(super) add_due: Statement<'c>,
    pub(super) remove_due: Statement<'c>,
    pub(super) clear_capabilities: Statement<'c>,
    pub(super) add_capability: Statement<'c>,
    pub(super) hash_owner: Statement<'c>,
}

/// The statements of one table.
pub(super) struct TableStatements<'c> {
    /// Adds a row that is not there. Parameters: tenant, key, index, version, body.
    pub(super) insert: Statement<'c>,
    /// Changes a row that is there. Parameters as above.
    pub(super) update: Statement<'c>,
    /// Adds or changes a row. Parameters as above.
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
                insert: connection.prepare(&insert(table))?,
                update: connection.prepare(&update(table))?,
                put: connection.prepare(&put(table))?,
                remove: connection.prepare(&remove(table))?,
                version: connection.prepare(&select("version", table))?,
            })
        });
        Ok(Self {
            tables: tables.collect::<rusqlite::Result<_>>()?,
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
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

fn insert(table: &'static Table) -> String {
    let columns: Vec<&str> = key_columns(table).chain(value_columns(table)).collect();
    let values: Vec<String> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
    format!("INSERT INTO {} ({}) VALUES ({})", table.name, columns.join(", "), values.join(", "))
}

fn update(table: &'static Table) -> String {
    let first = key_columns(table).count() + 1;
    let updates: Vec<String> =
        (first..).zip(value_columns(table)).map(|(number, name)| format!("{name} = ?{number}")).collect();
    format!("UPDATE {} SET {} WHERE {}", table.name, updates.join(", "), by_key(table))
}

fn put(table: &'static Table) -> String {
    let key: Vec<&str> = key_columns(table).collect();
    let updates: Vec<String> = value_columns(table).map(|name| format!("{name} = excluded.{name}")).collect();
    format!("{} ON CONFLICT ({}) DO UPDATE SET {}", insert(table), key.join(", "), updates.join(", "))
}

fn remove(table: &'static Table) -> String {
    format!("DELETE FROM {} WHERE {}", table.name, by_key(table))
}

fn select(what: &str, table: &'static Table) -> String {
    format!("SELECT {what} FROM {} WHERE {}", table.name, by_key(table))
}

fn by_key(table: &'static Table) -> String {
    let terms: Vec<String> =
        (1..).zip(key_columns(table)).map(|(number, name)| format!("{name} = ?{number}")).collect();
    terms.join(" AND ")
}

fn key_columns(table: &'static Table) -> impl Iterator<Item = &'static str> {
    std::iter::once("tenant").chain(table.key.iter().map(|column| column.name))
}

fn value_columns(table: &'static Table) -> impl Iterator<Item = &'static str> {
    table.index.iter().map(|column| column.name).chain(["version", "body"])
}
