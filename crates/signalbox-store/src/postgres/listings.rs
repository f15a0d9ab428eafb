//! Lists and lookups over rows.

use std::sync::Arc;

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
use tokio_postgres::Row;

use super::pool::Pool;
use super::query::{Query, Value, bound, get, id, text, unsigned};
use crate::StoreError;
use crate::api::{
    AgentFilter, ConnectedAgent, Counted, DeadLetterFilter, Listed, Page, Presence, SessionFilter,
};
use crate::backend::AgentWithStatus;
use crate::schema;
use crate::sessions::{ByWorkflow, place_of};

/// Agents by id.
pub(super) async fn agents(
    pool: &Pool,
    tenant: &TenantId,
    filter: &AgentFilter,
    page: &Page,
) -> Result<Listed<AgentWithStatus>, StoreError> {
    let state = filter.state.as_ref().map(|state| state.to_lowercase());
    let mut query = Query::new(
        "SELECT a.id, a.body, s.body, f.last_seen FROM agents a \
         LEFT JOIN agent_statuses s ON s.tenant = a.tenant AND s.agent = a.id \
         LEFT JOIN agent_figures f ON f.tenant = a.tenant AND f.agent = a.id",
        [],
    );
    if let Some(capability) = &filter.capability {
        let join =
            " JOIN agent_capabilities c ON c.tenant = a.tenant AND c.agent = a.id AND c.capability = ?";
        query.add(join, [text(capability)]);
    }
    query.add(" WHERE a.tenant = ?", [text(tenant.as_str())]);
    if let Some(name) = &filter.name {
        query.add(" AND a.name = ?", [text(name)]);
    }
    if let Some(state) = &state {
        query.add(" AND s.state = ?", [text(state)]);
    }
    match filter.presence {
        None => {}
        Some(Presence::Connected) => query.add(" AND s.node IS NOT NULL", []),
        Some(Presence::Offline) => {
            query.add(" AND s.node IS NULL AND a.body::json ->> 'endpoint' IS NULL", []);
        }
    }
    let (rows, next) = by_name(pool, query, "a.id", page).await?;
    let items = rows.iter().map(|row| {
        let status = schema::status_seen(get(row, 2)?, get(row, 3)?)?;
        Ok((Arc::new(body(row, 1)?), status))
    });
    Ok(Listed { items: items.collect::<Result<_, StoreError>>()?, next })
}

/// The nodes that agents are connected to.
pub(super) async fn connected_nodes(pool: &Pool, limit: usize) -> Result<Vec<NodeId>, StoreError> {
    let (mut nodes, mut last) = (Vec::new(), String::new());
    while nodes.len() < limit {
        let sql = "SELECT node FROM agent_statuses WHERE node IS NOT NULL AND node > ? ORDER BY node LIMIT 1";
        let found = Query::new(sql, [text(&last)]).rows(pool).await?;
        let Some(row) = found.first() else { break };
        let node: &str = get(row, 0)?;
        nodes.push(id(NodeId::parse(node))?);
        node.clone_into(&mut last);
    }
    Ok(nodes)
}

/// The agents that are connected to a node. One whose connection cannot be read is passed over, and keeps no other.
pub(super) async fn connected_agents(
    pool: &Pool,
    node: &NodeId,
    after: Option<(&TenantId, &AgentId)>,
    limit: usize,
) -> Result<Vec<ConnectedAgent>, StoreError> {
    let (tenant, agent) = after.map_or(("", ""), |(tenant, agent)| (tenant.as_str(), agent.as_str()));
    let sql = "SELECT tenant, agent, body::json -> 'connection' ->> 'id' FROM agent_statuses \
        WHERE node = ? AND (tenant, agent) > (?, ?) AND body::json -> 'connection' ->> 'id' IS NOT NULL \
        ORDER BY tenant, agent LIMIT ?";
    let values = [text(node.as_str()), text(tenant), text(agent), Value::Number(bound(limit))];
    let rows = Query::new(sql, values).rows(pool).await?;
    let connected = rows.iter().map(|row| {
        let (tenant, agent) = (id(TenantId::parse(get(row, 0)?))?, id(AgentId::parse(get(row, 1)?))?);
        Ok(ConnectedAgent { tenant, agent, connection: id(ConnectionId::parse(get(row, 2)?))? })
    });
    connected.collect()
}

/// Sessions, newest first.
pub(super) async fn sessions(
    pool: &Pool,
    tenant: &TenantId,
    filter: &SessionFilter,
    page: &Page,
) -> Result<Listed<Arc<Session>>, StoreError> {
    let Some(listing) = filter.listing(tenant, page, ByWorkflow::AndStatus) else {
        return Ok(Listed { items: Vec::new(), next: None });
    };
    let query = Query::of(&listing.sql, listing.values.iter().map(Value::from).collect());
    moments(query.first(pool, page.limit).await?)
}

/// The versions of a workflow's definition that are kept, newest first.
pub(super) async fn revisions(
    pool: &Pool,
    tenant: &TenantId,
    workflow: &WorkflowId,
    page: &Page,
) -> Result<Listed<Arc<Definition>>, StoreError> {
    let sql = "SELECT revision, body FROM definitions WHERE tenant = ? AND id = ?";
    let mut query = Query::new(sql, [text(tenant.as_str()), text(workflow.as_str())]);
    if let Some(after) = &page.after {
        let Ok(after) = after.parse() else { return Ok(Listed { items: Vec::new(), next: None }) };
        query.add(" AND revision < ?", [Value::Number(after)]);
    }
    query.add(" ORDER BY revision DESC", []);
    let (rows, has_more) = query.page(pool, page.limit).await?;
    let next = rows.last().filter(|_| has_more).map(|row| get::<i64>(row, 0)).transpose()?;
    bodies((rows, next.map(|revision| revision.to_string())))
}

/// Dead letters, the longest dead first.
pub(super) async fn dead_letters(
    pool: &Pool,
    tenant: &TenantId,
    filter: &DeadLetterFilter,
    page: &Page,
) -> Result<Listed<Arc<Message>>, StoreError> {
    let sql = "SELECT settled_at, id, body FROM messages WHERE status = 'dead' AND tenant = ?";
    let mut query = Query::new(sql, [text(tenant.as_str())]);
    if let Some(agent) = &filter.agent {
        query.add(" AND agent = ?", [text(agent.as_str())]);
    }
    if let Some(kind) = filter.kind {
        query.add(" AND kind = ?", [text(kind.name())]);
    }
    if let Some(since) = filter.since {
        query.add(" AND settled_at >= ?", [Value::Number(since.as_micros())]);
    }
    in_time(pool, query, page, "settled_at", false).await
}

/// Tools by name.
pub(super) async fn tools(
    pool: &Pool,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<Tool>>, StoreError> {
    let query = Query::new("SELECT name, body FROM tools WHERE tenant = ?", [text(tenant.as_str())]);
    bodies(by_name(pool, query, "name", page).await?)
}

/// Schedules by id.
pub(super) async fn schedules(
    pool: &Pool,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<Schedule>>, StoreError> {
    let query = Query::new("SELECT id, body FROM schedules WHERE tenant = ?", [text(tenant.as_str())]);
    bodies(by_name(pool, query, "id", page).await?)
}

/// Hooks by id.
pub(super) async fn hooks(
    pool: &Pool,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<WebhookTrigger>>, StoreError> {
    let query = Query::new("SELECT id, body FROM hooks WHERE tenant = ?", [text(tenant.as_str())]);
    bodies(by_name(pool, query, "id", page).await?)
}

/// An agent's commands, newest first.
pub(super) async fn commands(
    pool: &Pool,
    tenant: &TenantId,
    agent: &AgentId,
    page: &Page,
) -> Result<Listed<Arc<AgentCommand>>, StoreError> {
    let sql = "SELECT id, body FROM commands WHERE tenant = ? AND agent = ?";
    let mut query = Query::new(sql, [text(tenant.as_str()), text(agent.as_str())]);
    if let Some(after) = &page.after {
        query.add(" AND id < ?", [text(after)]);
    }
    query.add(" ORDER BY id DESC", []);
    let (rows, has_more) = query.page(pool, page.limit).await?;
    let next = rows.last().filter(|_| has_more).map(|row| get::<String>(row, 0)).transpose()?;
    bodies((rows, next))
}

/// How many commands of an agent are not over; no more than `most` are counted.
pub(super) async fn open_commands(
    pool: &Pool,
    tenant: &TenantId,
    agent: &AgentId,
    most: usize,
) -> Result<usize, StoreError> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM commands \
        WHERE tenant = $1 AND agent = $2 AND ended_at IS NULL LIMIT $3) AS open";
    let row = pool.query_one(sql, &[&tenant.as_str(), &agent.as_str(), &bound(most)]).await?;
    let count: i64 = row.map_or(Ok(0), |row| get(&row, 0))?;
    Ok(usize::try_from(count).unwrap_or(most))
}

/// The commands of an agent that are not over, the oldest first.
pub(super) async fn open_command_ids(
    pool: &Pool,
    tenant: &TenantId,
    agent: &AgentId,
    most: usize,
) -> Result<Vec<CommandId>, StoreError> {
    let sql =
        "SELECT id FROM commands WHERE tenant = $1 AND agent = $2 AND ended_at IS NULL ORDER BY id LIMIT $3";
    let rows = pool.query(sql, &[&tenant.as_str(), &agent.as_str(), &bound(most)]).await?;
    rows.iter().map(|row| id(CommandId::parse(get(row, 0)?))).collect()
}

/// SSH keys by id; of an agent only those of its own that are active.
pub(super) async fn ssh_keys(
    pool: &Pool,
    tenant: &TenantId,
    of: Option<&AgentId>,
    page: &Page,
) -> Result<Listed<Arc<SshKey>>, StoreError> {
    let mut query = Query::new("SELECT id, body FROM ssh_keys WHERE tenant = ?", [text(tenant.as_str())]);
    if let Some(agent) = of {
        query.add(" AND active_agent = ?", [text(agent.as_str())]);
    }
    bodies(by_name(pool, query, "id", page).await?)
}

/// API keys by id.
pub(super) async fn keys(
    pool: &Pool,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<ApiKey>>, StoreError> {
    let query = Query::new("SELECT id, body FROM api_keys WHERE tenant = ?", [text(tenant.as_str())]);
    bodies(by_name(pool, query, "id", page).await?)
}

/// The current revision of each workflow, by id.
pub(super) async fn workflows(
    pool: &Pool,
    tenant: &TenantId,
    page: &Page,
) -> Result<Listed<Arc<Definition>>, StoreError> {
    let query = Query::new(
        "SELECT w.id, d.body FROM workflows w \
         JOIN definitions d ON d.tenant = w.tenant AND d.id = w.id AND d.revision = w.revision \
         WHERE w.tenant = ?",
        [text(tenant.as_str())],
    );
    bodies(by_name(pool, query, "w.id", page).await?)
}

/// All tenants by id.
pub(super) async fn tenants(pool: &Pool, page: &Page) -> Result<Listed<Tenant>, StoreError> {
    let query = Query::new("SELECT id, body FROM tenants WHERE true", []);
    let (rows, next) = by_name(pool, query, "id", page).await?;
    Ok(Listed { items: rows.iter().map(|row| body(row, 1)).collect::<Result<_, _>>()?, next })
}

/// The tenant with this id.
pub(super) async fn tenant(pool: &Pool, id: &TenantId) -> Result<Option<Tenant>, StoreError> {
    let query = Query::new("SELECT body FROM tenants WHERE id = ? LIMIT 1", [text(id.as_str())]);
    query.rows(pool).await?.first().map(|row| body(row, 0)).transpose()
}

/// What a tenant took on each day from `first` to `last`.
pub(super) async fn usage(
    pool: &Pool,
    tenant: &TenantId,
    first: u32,
    last: u32,
) -> Result<Vec<UsageDay>, StoreError> {
    let sql = "SELECT body FROM usage_days WHERE tenant = $1 AND day BETWEEN $2 AND $3 ORDER BY day";
    let rows = pool.query(sql, &[&tenant.as_str(), &i64::from(first), &i64::from(last)]).await?;
    rows.iter().map(|row| body(row, 0)).collect()
}

/// How many of something a tenant has, up to `most`.
pub(super) async fn count(
    pool: &Pool,
    tenant: &TenantId,
    what: Counted,
    most: u64,
) -> Result<u64, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    match pool.query_one(&what.sql(), &[&tenant.as_str(), &most]).await? {
        Some(row) => unsigned(get(&row, 0)?),
        None => Ok(0),
    }
}

/// The API key with this hash, and whose it is.
pub(super) async fn key_by_hash(
    pool: &Pool,
    hash: &str,
) -> Result<Option<(TenantId, Arc<ApiKey>)>, StoreError> {
    let query = Query::new(
        "SELECT tenant, body FROM api_keys WHERE hash = ? \
         UNION ALL SELECT tenant, body FROM api_keys WHERE previous_hash = ? LIMIT 1",
        [text(hash), text(hash)],
    );
    let rows = query.rows(pool).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some((id(TenantId::parse(get(row, 0)?))?, Arc::new(body(row, 1)?))))
}

/// Whether a session of this workflow, or of one revision of it, is not over.
pub(super) async fn open_session(
    pool: &Pool,
    tenant: &TenantId,
    workflow: &WorkflowId,
    revision: Option<u32>,
) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM sessions WHERE tenant = ? AND workflow = ? AND ended_at IS NULL";
    let mut query = Query::new(sql, [text(tenant.as_str()), text(workflow.as_str())]);
    if let Some(revision) = revision {
        query.add(" AND revision = ?", [Value::Number(revision.into())]);
    }
    query.add(" LIMIT 1", []);
    Ok(!query.rows(pool).await?.is_empty())
}

/// The session that a task belongs to.
pub(super) async fn session_of_task(
    pool: &Pool,
    tenant: &TenantId,
    task: &TaskId,
) -> Result<Option<SessionId>, StoreError> {
    let sql = "SELECT session FROM tasks WHERE tenant = $1 AND id = $2";
    let row = pool.query_one(sql, &[&tenant.as_str(), &task.as_str()]).await?;
    row.map(|row| id(SessionId::parse(get(&row, 0)?))).transpose()
}

/// A page of rows whose place in the list is their first column, and the place of the last one where more
/// follow.
pub(super) async fn by_name<'a>(
    pool: &Pool,
    mut query: Query<'a>,
    column: &str,
    page: &'a Page,
) -> Result<(Vec<Row>, Option<String>), StoreError> {
    if let Some(after) = &page.after {
        query.add(&format!(" AND {column} > ?"), [text(after)]);
    }
    query.add(&format!(" ORDER BY {column}"), []);
    let (rows, has_more) = query.page(pool, page.limit).await?;
    let next = rows.last().filter(|_| has_more).map(|row| get(row, 0)).transpose()?;
    Ok((rows, next))
}

/// The second columns of rows.
pub(super) fn bodies<T: DeserializeOwned>(
    (rows, next): (Vec<Row>, Option<String>),
) -> Result<Listed<Arc<T>>, StoreError> {
    let items = rows.iter().map(|row| body(row, 1).map(Arc::new)).collect::<Result<_, _>>()?;
    Ok(Listed { items, next })
}

/// A page of rows whose place is a moment, then an id: the first two columns; the body is the third.
async fn in_time<'a, T: DeserializeOwned>(
    pool: &Pool,
    mut query: Query<'a>,
    page: &'a Page,
    moment: &str,
    newest_first: bool,
) -> Result<Listed<Arc<T>>, StoreError> {
    let (sign, direction) = if newest_first { ("<", "DESC") } else { (">", "ASC") };
    if let Some(after) = &page.after {
        let Some((at, id)) = place_of(after) else { return Ok(Listed { items: Vec::new(), next: None }) };
        query.add(&format!(" AND ({moment}, id) {sign} (?, ?)"), [Value::Number(at), text(id)]);
    }
    query.add(&format!(" ORDER BY {moment} {direction}, id {direction}"), []);
    moments(query.page(pool, page.limit).await?)
}

fn moments<T: DeserializeOwned>((rows, has_more): (Vec<Row>, bool)) -> Result<Listed<Arc<T>>, StoreError> {
    let next = rows.last().filter(|_| has_more).map(|row| -> Result<String, StoreError> {
        Ok(format!("{}/{}", get::<i64>(row, 0)?, get::<&str>(row, 1)?))
    });
    let items = rows.iter().map(|row| body(row, 2).map(Arc::new)).collect::<Result<_, _>>()?;
    Ok(Listed { items, next: next.transpose()? })
}

fn body<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, StoreError> {
    schema::decode(get(row, column)?)
}
