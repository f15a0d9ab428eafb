//! Lists and lookups over rows.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde::de::DeserializeOwned;
use signalbox_core::command::AgentCommand;
use signalbox_core::decision::{ApiKey, Tenant, Tool};
use signalbox_core::definition::Definition;
use signalbox_core::delivery::Message;
use signalbox_core::hook::WebhookTrigger;
use signalbox_core::quota::UsageDay;
use signalbox_core::schedule::Schedule;
use signalbox_core::session::Session;
use signalbox_core::ssh_key::SshKey;
use signalbox_wire::id::{AgentId, CommandId, ConnectionId, NodeId, SessionId, TaskId, TenantId, WorkflowId};

use super::convert::{id, sql_limit, unsigned};
use super::fault::fault;
use crate::api::{
    AgentFilter, ConnectedAgent, Counted, DeadLetterFilter, Listed, Page, Presence, SessionFilter,
};
use crate::backend::AgentWithStatus;
use crate::error::StoreError;
use crate::schema::{self, Cell};
use crate::sessions::{ByWorkflow, place_of};

/// A query put together from the parts that a filter asks for.
pub(super) struct Query {
    sql: String,
    parameters: Vec<Value>,
}

impl Query {
    pub(super) fn new(sql: &str, parameters: impl IntoIterator<Item = Value>) -> Self {
        Self { sql: sql.to_owned(), parameters: parameters.into_iter().collect() }
    }

    /// Adds a condition whose `?` stand for `parameters`.
    fn and(&mut self, condition: &str, parameters: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.parameters.extend(parameters);
    }

    /// The rows, as `read` understands them, and whether more follow.
    fn page<T>(
        mut self,
        connection: &Connection,
        order: &str,
        limit: usize,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<(Vec<T>, bool), StoreError> {
        self.sql.push_str(" ORDER BY ");
        self.sql.push_str(order);
        self.sql.push_str(" LIMIT ?");
        self.parameters.push(Value::Integer(sql_limit(limit).saturating_add(1)));
        self.rows(connection, limit, read)
    }

    /// The first `limit` rows of a statement that asks for one more itself, and whether more follow.
    fn rows<T>(
        self,
        connection: &Connection,
        limit: usize,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<(Vec<T>, bool), StoreError> {
        let run = || -> rusqlite::Result<Vec<T>> {
            let mut statement = connection.prepare_cached(&self.sql)?;
            let rows = statement.query_map(params_from_iter(&self.parameters), |row| read(row))?;
            let rows = rows.collect();
            #[cfg(test)]
            super::tests::plans::note(connection, &statement, &self.sql, &self.parameters);
            rows
        };
        let mut rows = run().map_err(|error| fault(&error))?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, has_more))
    }
}

fn value(cell: &Cell<'_>) -> Value {
    match cell {
        Cell::Text(text) => Value::Text(text.clone().into_owned()),
        Cell::Integer(number) => Value::Integer(*number),
        Cell::Null => Value::Null,
    }
}

/// A text value.
pub(super) fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

/// A page of rows whose place in the list is their first column and whose body is the second.
pub(super) fn by_name<T: DeserializeOwned>(
    connection: &Connection,
    mut query: Query,
    column: &str,
    page: &Page,
) -> Result<Listed<T>, StoreError> {
    if let Some(after) = &page.after {
        query.and(&format!("{column} > ?"), [text(after)]);
    }
    let read = |row: &Row<'_>| -> rusqlite::Result<(String, String)> { Ok((row.get(0)?, row.get(1)?)) };
    let (rows, has_more) = query.page(connection, column, page.limit, read)?;
    let next = rows.last().filter(|_| has_more).map(|(name, _)| name.clone());
    let items = rows.iter().map(|(_, body)| schema::decode(body)).collect::<Result<_, _>>()?;
    Ok(Listed { items, next })
}

/// Agents by id.
pub(super) fn agents(
    connection: &Connection,
    tenant: &TenantId,
    filter: &AgentFilter,
    page: &Page,
) -> Result<Listed<AgentWithStatus>, StoreError> {
    let mut query = Query::new(
        "SELECT a.id, a.body, s.body, f.last_seen FROM agents a
         LEFT JOIN agent_statuses s ON s.tenant = a.tenant AND s.agent = a.id
         LEFT JOIN agent_figures f ON f.tenant = a.tenant AND f.agent = a.id
         WHERE a.tenant = ?",
        [text(tenant.as_str())],
    );
    if let Some(after) = &page.after {
        query.and("a.id > ?", [text(after)]);
    }
    if let Some(name) = &filter.name {
        query.and(
            "a.id = (SELECT json_extract(n.body, '$.agent') FROM agent_names n WHERE n.tenant = ? AND n.name = ?)",
            [text(tenant.as_str()), text(name)],
        );
    }
    if let Some(capability) = &filter.capability {
        query.and(
            "a.id IN (SELECT c.agent FROM agent_capabilities c WHERE c.tenant = ? AND c.capability = ?)",
            [text(tenant.as_str()), text(capability)],
        );
    }
    if let Some(state) = &filter.state {
        query.and("s.state = ?", [text(state.to_lowercase())]);
    }
    match filter.presence {
        None => {}
        Some(Presence::Connected) => query.and("s.node IS NOT NULL", []),
        Some(Presence::Offline) => {
            query.and("s.node IS NULL AND json_extract(a.body, '$.endpoint') IS NULL", []);
        }
    }
    let read = |row: &Row<'_>| -> rusqlite::Result<(String, String, Option<String>, Option<i64>)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    };
    let (rows, has_more) = query.page(connection, "a.id", page.limit, read)?;
    let next = rows.last().filter(|_| has_more).map(|(id, ..)| id.clone());
    let items = rows.iter().map(|(_, agent, status, seen)| {
        let status = schema::status_seen(status.as_deref(), *seen)?;
        Ok((Arc::new(schema::decode(agent)?), status))
    });
    Ok(Listed { items: items.collect::<Result<_, StoreError>>()?, next })
}

/// The nodes that agents are connected to.
pub(super) fn connected_nodes(connection: &Connection, limit: usize) -> Result<Vec<NodeId>, StoreError> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut next = connection.prepare_cached(
            "SELECT node FROM agent_statuses WHERE node IS NOT NULL AND node > ?1 ORDER BY node LIMIT 1",
        )?;
        let (mut nodes, mut last) = (Vec::new(), String::new());
        while nodes.len() < limit
            && let Some(node) = next.query_row([&last], |row| row.get::<_, String>(0)).optional()?
        {
            last.clone_from(&node);
            nodes.push(node);
        }
        Ok(nodes)
    };
    let nodes = read().map_err(|error| fault(&error))?;
    nodes.iter().map(|node| id(NodeId::parse(node))).collect()
}

/// The agents that are connected to a node. One whose connection cannot be read is passed over, and keeps no other.
pub(super) fn connected_agents(
    connection: &Connection,
    node: &NodeId,
    after: Option<(&TenantId, &AgentId)>,
    limit: usize,
) -> Result<Vec<ConnectedAgent>, StoreError> {
    let (tenant, agent) = after.map_or(("", ""), |(tenant, agent)| (tenant.as_str(), agent.as_str()));
    let query = Query::new(
        "SELECT tenant, agent, json_extract(body, '$.connection.id') FROM agent_statuses
         WHERE node = ? AND (tenant, agent) > (?, ?) AND json_extract(body, '$.connection.id') IS NOT NULL",
        [text(node.as_str()), text(tenant), text(agent)],
    );
    let read = |row: &Row<'_>| -> rusqlite::Result<(String, String, String)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    };
    let (rows, _) = query.page(connection, "tenant, agent", limit, read)?;
    let connected = rows.iter().map(|(tenant, agent, connection)| {
        let (tenant, agent) = (id(TenantId::parse(tenant))?, id(AgentId::parse(agent))?);
        Ok(ConnectedAgent { tenant, agent, connection: id(ConnectionId::parse(connection))? })
    });
    connected.collect()
}

/// Sessions, newest first.
pub(super) fn sessions(
    connection: &Connection,
    tenant: &TenantId,
    filter: &SessionFilter,
    page: &Page,
) -> Result<Listed<Arc<Session>>, StoreError> {
    let Some(listing) = filter.listing(tenant, page, ByWorkflow::Alone) else {
        return Ok(Listed { items: Vec::new(), next: None });
    };
    let query = Query { sql: listing.sql, parameters: listing.values.iter().map(value).collect() };
    moments(query.rows(connection, page.limit, three)?)
}

/// The versions of a workflow's definition that are kept, newest first.
pub(super) fn revisions(
    connection: &Connection,
    tenant: &TenantId,
    workflow: &WorkflowId,
    page: &Page,
) -> Result<Listed<Arc<Definition>>, StoreError> {
    let mut query = Query::new(
        "SELECT revision, body FROM definitions WHERE tenant = ? AND id = ?",
        [text(tenant.as_str()), text(workflow.as_str())],
    );
    if let Some(after) = &page.after {
        let Ok(after) = after.parse() else { return Ok(Listed { items: Vec::new(), next: None }) };
        query.and("revision < ?", [Value::Integer(after)]);
    }
    let read = |row: &Row<'_>| -> rusqlite::Result<(i64, String)> { Ok((row.get(0)?, row.get(1)?)) };
    let (rows, has_more) = query.page(connection, "revision DESC", page.limit, read)?;
    let next = rows.last().filter(|_| has_more).map(|(revision, _)| revision.to_string());
    let items = rows.iter().map(|(_, body)| schema::decode(body).map(Arc::new)).collect::<Result<_, _>>()?;
    Ok(Listed { items, next })
}

/// Dead letters, the longest dead first.
pub(super) fn dead_letters(
    connection: &Connection,
    tenant: &TenantId,
    filter: &DeadLetterFilter,
    page: &Page,
) -> Result<Listed<Arc<Message>>, StoreError> {
    let mut query = Query::new(
        "SELECT settled_at, id, body FROM messages WHERE status = 'dead' AND tenant = ?",
        [text(tenant.as_str())],
    );
    if let Some(agent) = &filter.agent {
        query.and("agent = ?", [text(agent.as_str())]);
    }
    if let Some(kind) = filter.kind {
        query.and("kind = ?", [text(kind.name())]);
    }
    if let Some(since) = filter.since {
        query.and("settled_at >= ?", [Value::Integer(since.as_micros())]);
    }
    in_time(connection, query, page, "settled_at", false)
}

/// A page of rows whose place is a moment, then an id: the first two columns; the body is the third.
fn in_time<T: DeserializeOwned>(
    connection: &Connection,
    mut query: Query,
    page: &Page,
    moment: &str,
    newest_first: bool,
) -> Result<Listed<Arc<T>>, StoreError> {
    let (sign, direction) = if newest_first { ("<", "DESC") } else { (">", "ASC") };
    if let Some(after) = &page.after {
        let Some((at, id)) = place_of(after) else { return Ok(Listed { items: Vec::new(), next: None }) };
        query.and(&format!("({moment}, id) {sign} (?, ?)"), [Value::Integer(at), text(id)]);
    }
    let order = format!("{moment} {direction}, id {direction}");
    moments(query.page(connection, &order, page.limit, three)?)
}

fn three(row: &Row<'_>) -> rusqlite::Result<(i64, String, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn moments<T: DeserializeOwned>(
    (rows, has_more): (Vec<(i64, String, String)>, bool),
) -> Result<Listed<Arc<T>>, StoreError> {
    let next = rows.last().filter(|_| has_more).map(|(at, id, _)| format!("{at}/{id}"));
    let items = rows.iter().map(|(.., body)| schema::decode(body).map(Arc::new)).collect::<Result<_, _>>()?;
    Ok(Listed { items, next })
}

/// Tools by name.
pub(super) fn tools(
    connection: &Connection,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<Tool>>, StoreError> {
    let query = Query::new("SELECT name, body FROM tools WHERE tenant = ?", [text(tenant.as_str())]);
    by_name(connection, query, "name", page)
}

/// Schedules by id.
pub(super) fn schedules(
    connection: &Connection,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<Schedule>>, StoreError> {
    let query = Query::new("SELECT id, body FROM schedules WHERE tenant = ?", [text(tenant.as_str())]);
    by_name(connection, query, "id", page)
}

/// Hooks by id.
pub(super) fn hooks(
    connection: &Connection,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<WebhookTrigger>>, StoreError> {
    let query = Query::new("SELECT id, body FROM hooks WHERE tenant = ?", [text(tenant.as_str())]);
    by_name(connection, query, "id", page)
}

/// An agent's commands, newest first.
pub(super) fn commands(
    connection: &Connection,
    tenant: &TenantId,
    agent: &AgentId,
    page: &Page,
) -> Result<Listed<Arc<AgentCommand>>, StoreError> {
    let mut query = Query::new(
        "SELECT id, body FROM commands WHERE tenant = ? AND agent = ?",
        [text(tenant.as_str()), text(agent.as_str())],
    );
    if let Some(after) = &page.after {
        query.and("id < ?", [text(after)]);
    }
    let read = |row: &Row<'_>| -> rusqlite::Result<(String, String)> { Ok((row.get(0)?, row.get(1)?)) };
    let (rows, has_more) = query.page(connection, "id DESC", page.limit, read)?;
    let next = rows.last().filter(|_| has_more).map(|(id, _)| id.clone());
    let items = rows.iter().map(|(_, body)| schema::decode(body).map(Arc::new)).collect::<Result<_, _>>()?;
    Ok(Listed { items, next })
}

/// How many commands of an agent are not over; no more than `most` are counted.
pub(super) fn open_commands(
    connection: &Connection,
    tenant: &TenantId,
    agent: &AgentId,
    most: usize,
) -> Result<usize, StoreError> {
    let read = || -> rusqlite::Result<i64> {
        let mut statement = connection.prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM commands INDEXED BY commands_open
             WHERE tenant = ?1 AND agent = ?2 AND ended_at IS NULL LIMIT ?3)",
        )?;
        statement.query_row(params![tenant.as_str(), agent.as_str(), sql_limit(most)], |row| row.get(0))
    };
    Ok(usize::try_from(read().map_err(|error| fault(&error))?).unwrap_or(most))
}

/// The commands of an agent that are not over, the oldest first.
pub(super) fn open_command_ids(
    connection: &Connection,
    tenant: &TenantId,
    agent: &AgentId,
    most: usize,
) -> Result<Vec<CommandId>, StoreError> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare_cached(
            "SELECT id FROM commands INDEXED BY commands_open
             WHERE tenant = ?1 AND agent = ?2 AND ended_at IS NULL ORDER BY id LIMIT ?3",
        )?;
        let rows = statement
            .query_map(params![tenant.as_str(), agent.as_str(), sql_limit(most)], |row| row.get(0))?;
        rows.collect()
    };
    read().map_err(|error| fault(&error))?.iter().map(|text| id(CommandId::parse(text))).collect()
}

/// SSH keys by id; of an agent only those of its own that are active.
pub(super) fn ssh_keys(
    connection: &Connection,
    tenant: &TenantId,
    of: Option<&AgentId>,
    page: &Page,
) -> Result<Listed<Arc<SshKey>>, StoreError> {
    let mut query = Query::new("SELECT id, body FROM ssh_keys WHERE tenant = ?", [text(tenant.as_str())]);
    if let Some(agent) = of {
        query.and("active_agent = ?", [text(agent.as_str())]);
    }
    by_name(connection, query, "id", page)
}

/// API keys by id.
pub(super) fn keys(
    connection: &Connection,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<ApiKey>>, StoreError> {
    let query = Query::new("SELECT id, body FROM api_keys WHERE tenant = ?", [text(tenant.as_str())]);
    by_name(connection, query, "id", page)
}

/// The current revision of each workflow, by id.
pub(super) fn workflows(
    connection: &Connection,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<Definition>>, StoreError> {
    let query = Query::new(
        "SELECT w.id, d.body FROM workflows w
         JOIN definitions d ON d.tenant = w.tenant AND d.id = w.id AND d.revision = w.revision
         WHERE w.tenant = ?",
        [text(tenant.as_str())],
    );
    by_name(connection, query, "w.id", page)
}

/// All tenants by id.
pub(super) fn tenants(connection: &Connection, page: &Page) -> Result<Listed<Tenant>, StoreError> {
    by_name(connection, Query::new("SELECT id, body FROM tenants WHERE true", []), "id", page)
}

/// The tenant with this id.
pub(super) fn tenant(connection: &Connection, id: &TenantId) -> Result<Option<Tenant>, StoreError> {
    let read = || -> rusqlite::Result<Option<String>> {
        let mut statement = connection.prepare_cached("SELECT body FROM tenants WHERE id = ?1 LIMIT 1")?;
        statement.query_row([id.as_str()], |row| row.get(0)).optional()
    };
    let body = read().map_err(|error| fault(&error))?;
    body.map(|body| schema::decode(&body)).transpose()
}

/// What a tenant took on each day from `first` to `last`.
pub(super) fn usage(
    connection: &Connection,
    tenant: &TenantId,
    first: u32,
    last: u32,
) -> Result<Vec<UsageDay>, StoreError> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare_cached(
            "SELECT body FROM usage_days WHERE tenant = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY day",
        )?;
        statement.query_map(params![tenant.as_str(), first, last], |row| row.get(0))?.collect()
    };
    let bodies = read().map_err(|error| fault(&error))?;
    bodies.iter().map(|body| schema::decode(body)).collect()
}

/// How many of something a tenant has, up to `most`.
pub(super) fn count(
    connection: &Connection,
    tenant: &TenantId,
    what: Counted,
    most: u64,
) -> Result<u64, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let read = || -> rusqlite::Result<i64> {
        let mut statement = connection.prepare_cached(&what.sql())?;
        statement.query_row(params![tenant.as_str(), most], |row| row.get(0))
    };
    unsigned(read().map_err(|error| fault(&error))?)
}

/// The API key with this hash, and whose it is.
pub(super) fn key_by_hash(
    connection: &Connection,
    hash: &str,
) -> Result<Option<(TenantId, Arc<ApiKey>)>, StoreError> {
    let read = || -> rusqlite::Result<Option<(String, String)>> {
        let mut statement = connection.prepare_cached(
            "SELECT tenant, body FROM api_keys WHERE hash = ?1
             UNION ALL SELECT tenant, body FROM api_keys WHERE previous_hash = ?1 LIMIT 1",
        )?;
        statement.query_row([hash], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    };
    let Some((tenant, body)) = read().map_err(|error| fault(&error))? else { return Ok(None) };
    Ok(Some((id(TenantId::parse(&tenant))?, Arc::new(schema::decode(&body)?))))
}

/// Whether a session of this workflow, or of one revision of it, is not over.
pub(super) fn open_session(
    connection: &Connection,
    tenant: &TenantId,
    workflow: &WorkflowId,
    revision: Option<u32>,
) -> Result<bool, StoreError> {
    let mut query = Query::new(
        "SELECT 1 FROM sessions WHERE tenant = ? AND workflow = ? AND ended_at IS NULL",
        [text(tenant.as_str()), text(workflow.as_str())],
    );
    if let Some(revision) = revision {
        query.and("revision = ?", [Value::Integer(revision.into())]);
    }
    query.sql.push_str(" LIMIT 1");
    let (rows, _) = query.rows(connection, 1, |_| Ok(()))?;
    Ok(!rows.is_empty())
}

/// The session that a task belongs to.
pub(super) fn session_of_task(
    connection: &Connection,
    tenant: &TenantId,
    task: &TaskId,
) -> Result<Option<SessionId>, StoreError> {
    let found = connection
        .prepare_cached("SELECT session FROM tasks WHERE tenant = ?1 AND id = ?2")
        .and_then(|mut find| {
            find.query_row(params![tenant.as_str(), task.as_str()], |row| row.get::<_, String>(0)).optional()
        });
    found.map_err(|error| fault(&error))?.map(|session| id(SessionId::parse(&session))).transpose()
}
