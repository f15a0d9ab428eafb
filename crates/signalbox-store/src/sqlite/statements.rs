//! The statements that put, remove and read rows, made from the one description of the tables.

use rusqlite::{Connection, PrepFlags, Statement};

use crate::schema::{Cell, Table, TableId};

/// The writer's statements, prepared once; those of a table when it is first written.
pub(super) struct Statements<'c> {
    connection: &'c Connection,
    tables: [Option<TableStatements<'c>>; TableId::ALL.len()],
    pub(super) begin: Statement<'c>,
    pub(super) commit: Statement<'c>,
    pub(super) add_entries: Statement<'c>,
    pub(super) add_stretch: Statement<'c>,
    pub(super) add_stretches: Statement<'c>,
    pub(super) add_due: Statement<'c>,
    pub(super) remove_due: Statement<'c>,
    pub(super) clear_capabilities: Statement<'c>,
    pub(super) add_capability: Statement<'c>,
    pub(super) clear_session_agents: Statement<'c>,
    pub(super) add_session_agent: Statement<'c>,
    pub(super) add_payload_use: Statement<'c>,
    pub(super) hash_owner: Statement<'c>,
    pub(super) set_redo_position: Statement<'c>,
    pub(super) remove_entries: Statement<'c>,
}

/// The statements of one table.
pub(super) struct TableStatements<'c> {
    /// Adds a row that is not there. Parameters: tenant, key, index, version, body.
    pub(super) insert: Statement<'c>,
    /// Changes a row that is there. Parameters as above.
    pub(super) update: Statement<'c>,
    /// Changes a row that is there, and nothing that indexes are made of. Parameters: tenant, key, version, body.
    pub(super) rewrite: Statement<'c>,
    /// Adds or changes a row. Parameters: tenant, key, index, version, body.
    pub(super) put: Statement<'c>,
    /// Parameters: tenant, key.
    pub(super) remove: Statement<'c>,
    /// Parameters: tenant, key.
    pub(super) version: Statement<'c>,
}

impl<'c> TableStatements<'c> {
    fn prepare(connection: &'c Connection, table: &'static Table) -> rusqlite::Result<Self> {
        let prepare = |sql: String| prepare(connection, &sql);
        Ok(Self {
            insert: prepare(insert(table))?,
            update: prepare(update(table))?,
            rewrite: prepare(rewrite(table))?,
            put: prepare(put(table))?,
            remove: prepare(remove(table))?,
            version: prepare(select("version", table))?,
        })
    }
}

/// Statements that are kept must be marked so: they would take up the small memory that SQLite sets aside for what is made and
/// dropped with each execution.
fn prepare<'c>(connection: &'c Connection, sql: &str) -> rusqlite::Result<Statement<'c>> {
    connection.prepare_with_flags(sql, PrepFlags::SQLITE_PREPARE_PERSISTENT)
}

impl<'c> Statements<'c> {
    /// Prepares those that belong to no table.
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |sql: &str| prepare(connection, sql);
        Ok(Self {
            connection,
            tables: [const { None }; TableId::ALL.len()],
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            add_entries: prepare("INSERT INTO events (id, at, entries) VALUES (?1, ?2, ?3)")?,
            add_stretch: prepare(&add_stretches(1))?,
            add_stretches: prepare(&add_stretches(STRETCHES_AT_ONCE))?,
            add_due: prepare(
                "INSERT INTO due (tenant, id, kind, lane, due_at, visible_at, leased_by, ends_at, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (tenant, id) DO UPDATE SET kind = excluded.kind, lane = excluded.lane,
                 due_at = excluded.due_at, visible_at = excluded.visible_at, leased_by = excluded.leased_by,
                 ends_at = excluded.ends_at, body = excluded.body",
            )?,
            remove_due: prepare("DELETE FROM due WHERE tenant = ?1 AND id = ?2")?,
            clear_capabilities: prepare("DELETE FROM agent_capabilities WHERE tenant = ?1 AND agent = ?2")?,
            add_capability: prepare(
                "INSERT INTO agent_capabilities (tenant, agent, capability) VALUES (?1, ?2, ?3)",
            )?,
            clear_session_agents: prepare(CLEAR_SESSION_AGENTS)?,
            add_session_agent: prepare(
                "INSERT OR IGNORE INTO session_agents (tenant, session, agent, created_at)
                 VALUES (?1, ?2, ?3, ?4)",
            )?,
            add_payload_use: prepare(
                "WITH RECURSIVE named (sha256) AS (VALUES (?3) UNION
                 SELECT held.value FROM named JOIN payloads ON payloads.tenant = ?1 AND payloads.sha256 = named.sha256
                 JOIN json_each(payloads.holds) AS held)
                 INSERT OR IGNORE INTO payload_uses (tenant, session, payload) SELECT ?1, ?2, sha256 FROM named",
            )?,
            remove_entries: prepare("DELETE FROM events WHERE id BETWEEN ?1 AND ?2")?,
            set_redo_position: prepare(SET_POSITION)?,
            hash_owner: prepare("SELECT tenant, id FROM api_keys WHERE hash = ?1")?,
        })
    }

    /// The statements of one table.
    pub(super) fn table(&mut self, id: TableId) -> rusqlite::Result<&mut TableStatements<'c>> {
        let statements = &mut self.tables[id as usize];
        Ok(match statements {
            Some(statements) => statements,
            None => statements.insert(TableStatements::prepare(self.connection, id.table())?),
        })
    }
}

/// Forgets who holds a task of a session, while the session and its tasks are there. An agent that had one before the task
/// was given to another is not named any more: what is left of it is passed over by lists, and goes by and by.
pub(super) const CLEAR_SESSION_AGENTS: &str =
    "DELETE FROM session_agents WHERE (tenant, agent, created_at, session) IN
     (SELECT sessions.tenant, json_extract(tasks.body, '$.agent'), sessions.created_at, sessions.id
      FROM sessions CROSS JOIN tasks ON tasks.tenant = sessions.tenant AND tasks.session = sessions.id
      WHERE sessions.tenant = ?1 AND sessions.id = ?2)";

/// Says up to which number the tables have everything. Parameter: the number.
pub(super) const SET_POSITION: &str = "UPDATE redo_position SET applied = ?1 WHERE id = 1";

/// Stretches of sessions that one statement adds: each execution costs about as much as adding one.
pub(super) const STRETCHES_AT_ONCE: usize = 8;

/// Parameters, for each stretch: tenant, session, first, last.
fn add_stretches(count: usize) -> String {
    let rows = vec!["(?, ?, ?, ?)"; count];
    // With "or fail" SQLite keeps no journal of the statement, which it would need to undo half of it; whatever
    // fails here undoes the whole transaction anyway.
    format!(
        "INSERT OR FAIL INTO event_sessions (tenant, session, first, last) VALUES {}
         ON CONFLICT (tenant, session, first) DO UPDATE SET last = excluded.last",
        rows.join(", ")
    )
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

/// Columns that a row keeps are left out: SQLite writes the index entries of every column that it is given anew.
fn update(table: &'static Table) -> String {
    let first = key_columns(table).count() + 1;
    let columns = (first..).zip(value_columns(table)).filter(|(_, name)| !is_fixed(table, name));
    let updates: Vec<String> = columns.map(|(number, name)| format!("{name} = ?{number}")).collect();
    format!("UPDATE {} SET {} WHERE {}", table.name, updates.join(", "), by_key(table))
}

fn rewrite(table: &'static Table) -> String {
    let first = key_columns(table).count() + 1;
    let (version, body) = (first, first + 1);
    format!("UPDATE {} SET version = ?{version}, body = ?{body} WHERE {}", table.name, by_key(table))
}

fn put(table: &'static Table) -> String {
    let key: Vec<&str> = key_columns(table).collect();
    let columns = value_columns(table).filter(|name| !is_fixed(table, name));
    let updates: Vec<String> = columns.map(|name| format!("{name} = excluded.{name}")).collect();
    format!("{} ON CONFLICT ({}) DO UPDATE SET {}", insert(table), key.join(", "), updates.join(", "))
}

fn is_fixed(table: &'static Table, name: &str) -> bool {
    table.index.iter().any(|column| column.name == name && column.is_fixed)
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
