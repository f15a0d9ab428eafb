//! The statements for rows, made from the one description of the tables. Each serves any number of rows: its
//! parameters are arrays, one a column.

use std::sync::LazyLock;

use crate::schema::{ColumnKind, Table, TableId};

use super::columns::array_type;

/// The statements of one table.
pub(super) struct TableSql {
    /// Version and body of one row; parameters: tenant, key.
    pub(super) read: String,
    /// Version and body of rows; parameters: arrays of tenant, key. Answers the place in the arrays, from 1, before
    /// them; nothing for a row that does not exist.
    pub(super) read_many: String,
    /// The version of one row; parameters: tenant, key.
    pub(super) version: String,
    /// The versions of rows; parameters: arrays of tenant, key. Answers the place in the arrays, from 1, and
    /// the version; nothing for a row that does not exist.
    pub(super) versions: String,
    /// Writes rows; parameters: arrays of tenant, key, index, version, body.
    pub(super) put: String,
    /// Writes rows in place of those that exist, which costs less; fails with a division by zero, and so undoes
    /// the transaction, where one does not exist. Parameters: those of `put`.
    pub(super) replace: String,
    /// Removes rows; parameters: arrays of tenant, key.
    pub(super) remove: String,
}

/// A plan is made on what a table held when its statement ran first, so plans are made anew from time to time:
/// often in the beginning, when tables grow fast, and ever more rarely.
pub(super) const REPLAN: &str = "DISCARD PLANS";

/// How tenants are found, held until the end of the transaction, in the order of the tenants so that no two transactions
/// wait for each other. Parameter: an array of tenants.
pub(super) const LOCK_TENANTS: &str = "SELECT tenant, last, writer, is_removed FROM tenant_locks \
    WHERE tenant = ANY($1::text[]) ORDER BY tenant FOR UPDATE";

/// The last place in each tenant's order, where its log has an entry; right only while the tenants are held. Parameter:
/// an array of tenants.
pub(super) const LAST_PLACES: &str = "SELECT given.tenant, newest.sequence \
    FROM unnest($1::text[]) AS given (tenant) CROSS JOIN LATERAL \
    (SELECT sequence FROM events WHERE events.tenant = given.tenant ORDER BY sequence DESC LIMIT 1) AS newest";

/// Gives tenants a row to hold. Parameter: an array of tenants.
pub(super) const ADD_TENANTS: &str = "INSERT INTO tenant_locks (tenant, last, writer, is_removed) \
    SELECT tenant, 0, NULL, false FROM unnest($1::text[]) AS given (tenant) ON CONFLICT DO NOTHING";

/// Says who may rely on what it remembers of tenants that are held. Parameters: arrays of tenant and writer.
pub(super) const TAKE_TENANTS: &str = "UPDATE tenant_locks SET writer = given.writer, is_removed = false \
    FROM unnest($1::text[], $2::bigint[]) AS given (tenant, writer) WHERE tenant_locks.tenant = given.tenant";

/// A whole batch of reports in one statement: holds the tenants, replaces statuses and appends to the log. It fails with
/// a division by zero, and so changes nothing, where another process has committed for a tenant since the writer did
/// (then the row does not name the writer), or a status does not exist. What the statement sees is older than the moment
/// at which it holds the tenants, but not older than the writer's own last commit, and nobody has committed since.
/// Parameters: arrays of tenant and writer, those of statuses, of [`ADD_EVENTS`].
pub(super) const REPORT: &str = "WITH locked AS (SELECT tenant_locks.tenant FROM tenant_locks \
    JOIN unnest($1::text[], $2::bigint[]) AS given (tenant, writer) \
    ON tenant_locks.tenant = given.tenant AND tenant_locks.writer = given.writer \
    ORDER BY tenant_locks.tenant FOR UPDATE OF tenant_locks), \
    held AS (SELECT 1 / (count(*) = cardinality($1::text[]))::int AS one FROM locked), \
    replaced AS (UPDATE agent_statuses \
    SET state = given.state, node = given.node, version = given.version, body = given.body \
    FROM held, unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[]) \
    AS given (tenant, agent, state, node, version, body) WHERE held.one = 1 \
    AND agent_statuses.tenant = given.tenant AND agent_statuses.agent = given.agent RETURNING 1), \
    added AS (INSERT INTO events \
    (tenant, sequence, at, kind, level, session, session_sequence, agent, task, data) \
    SELECT given.* FROM held, unnest($9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], \
    $14::text[], $15::bigint[], $16::text[], $17::text[], $18::text[]) AS given WHERE held.one = 1) \
    SELECT 1 / (count(*) = cardinality($3::text[]))::int FROM replaced";

/// A whole batch of reports where several processes commit for the tenants, as the statement after that which holds them:
/// so it sees what is committed. It looks whether registrations and statuses are as the batch takes for granted, replaces
/// the statuses and appends to the log behind its last place, which it answers for each tenant. It fails with a division
/// by zero, and so undoes the transaction, where anything is not so, a tenant has been removed, or a writer relies on what
/// it remembers of one. Parameters: an array of tenants; arrays of tenant, agent and version of registrations; those of
/// statuses, and the versions that they replace; those of [`ADD_EVENTS`], with places counted from 1.
pub(super) const REPORT_SHARED: &str = "WITH held AS MATERIALIZED ( \
    SELECT tenant_locks.tenant, GREATEST(tenant_locks.last, newest.sequence) AS last \
    FROM unnest($1::text[]) AS given (tenant) JOIN tenant_locks ON tenant_locks.tenant = given.tenant \
    AND tenant_locks.writer IS NULL AND NOT tenant_locks.is_removed \
    LEFT JOIN LATERAL (SELECT sequence FROM events WHERE events.tenant = given.tenant \
    ORDER BY sequence DESC LIMIT 1) AS newest ON true), \
    same AS (SELECT 1 / ((SELECT count(*) FROM held) = cardinality($1::text[]) \
    AND count(*) = cardinality($2::text[]))::int AS one \
    FROM unnest($2::text[], $3::text[], $4::bigint[]) AS given (tenant, id, version) \
    JOIN agents ON agents.tenant = given.tenant AND agents.id = given.id AND agents.version = given.version), \
    replaced AS (UPDATE agent_statuses \
    SET state = given.state, node = given.node, version = given.version, body = given.body \
    FROM same, unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::text[], $11::bigint[]) \
    AS given (tenant, agent, state, node, version, body, before) WHERE same.one = 1 \
    AND agent_statuses.tenant = given.tenant AND agent_statuses.agent = given.agent \
    AND agent_statuses.version = given.before RETURNING 1), \
    added AS (INSERT INTO events \
    (tenant, sequence, at, kind, level, session, session_sequence, agent, task, data) \
    SELECT given.tenant, held.last + given.sequence, given.at, given.kind, given.level, given.session, \
    given.session_sequence, given.agent, given.task, given.data \
    FROM same, unnest($12::text[], $13::bigint[], $14::bigint[], $15::text[], $16::bigint[], \
    $17::text[], $18::bigint[], $19::text[], $20::text[], $21::text[]) \
    AS given (tenant, sequence, at, kind, level, session, session_sequence, agent, task, data) \
    JOIN held ON held.tenant = given.tenant WHERE same.one = 1) \
    SELECT tenant, last, 1 / ((SELECT count(*) FROM replaced) = cardinality($5::text[]))::int FROM held";

/// Appends to the log.
pub(super) const ADD_EVENTS: &str = "INSERT INTO events \
    (tenant, sequence, at, kind, level, session, session_sequence, agent, task, data) \
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], \
    $7::bigint[], $8::text[], $9::text[], $10::text[])";

/// Adds due work, or moves it.
pub(super) const PUT_DUE: &str = "INSERT INTO due (tenant, id, kind, lane, due_at, visible_at, leased_by, ends_at, \
    body) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], \
    $8::bigint[], $9::text[]) \
    ON CONFLICT (tenant, id) DO UPDATE SET kind = EXCLUDED.kind, lane = EXCLUDED.lane, \
    due_at = EXCLUDED.due_at, visible_at = EXCLUDED.visible_at, leased_by = EXCLUDED.leased_by, \
    ends_at = EXCLUDED.ends_at, body = EXCLUDED.body";

/// Removes due work. Parameters: arrays of tenant, id.
pub(super) const REMOVE_DUE: &str = "DELETE FROM due USING unnest($1::text[], $2::text[]) AS done (tenant, id) \
    WHERE due.tenant = done.tenant AND due.id = done.id";

/// Lists no capabilities of agents any longer. Parameters: arrays of tenant, agent.
pub(super) const CLEAR_CAPABILITIES: &str = "DELETE FROM agent_capabilities \
    USING unnest($1::text[], $2::text[]) AS gone (tenant, agent) \
    WHERE agent_capabilities.tenant = gone.tenant AND agent_capabilities.agent = gone.agent";

/// Lists capabilities. Parameters: arrays of tenant, agent, capability.
pub(super) const ADD_CAPABILITIES: &str = "INSERT INTO agent_capabilities (tenant, agent, capability) \
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING";

/// Knows no agents of sessions any longer. Parameters: arrays of tenant, session.
pub(super) const CLEAR_SESSION_AGENTS: &str = "DELETE FROM session_agents \
    USING unnest($1::text[], $2::text[]) AS gone (tenant, session) \
    WHERE session_agents.tenant = gone.tenant AND session_agents.session = gone.session";

/// Knows agents of sessions. Parameters: arrays of tenant, session, agent, when the session was made.
pub(super) const ADD_SESSION_AGENTS: &str = "INSERT INTO session_agents (tenant, session, agent, created_at) \
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) ON CONFLICT DO NOTHING";

/// Knows which payloads sessions refer to, also by way of others. Parameters: arrays of tenant, session, payload.
pub(super) const ADD_PAYLOAD_USES: &str = "WITH RECURSIVE named (tenant, session, payload) AS ( \
    SELECT given.tenant COLLATE \"C\", given.session COLLATE \"C\", given.payload COLLATE \"C\" \
    FROM unnest($1::text[], $2::text[], $3::text[]) AS given (tenant, session, payload) UNION \
    SELECT named.tenant, named.session, held.payload COLLATE \"C\" FROM named \
    JOIN payloads ON payloads.tenant = named.tenant AND payloads.sha256 = named.payload \
    CROSS JOIN LATERAL json_array_elements_text(payloads.holds::json) AS held (payload)) \
    INSERT INTO payload_uses (tenant, session, payload) SELECT * FROM named ON CONFLICT DO NOTHING";

/// Removes what only these sessions referred to. Parameters: arrays of tenant, session.
pub(super) const CLEAR_PAYLOADS: &str = "WITH gone AS (DELETE FROM payload_uses \
    USING unnest($1::text[], $2::text[]) AS given (tenant, session) \
    WHERE payload_uses.tenant = given.tenant AND payload_uses.session = given.session \
    RETURNING payload_uses.tenant, payload_uses.session, payload_uses.payload) \
    DELETE FROM payloads USING gone WHERE payloads.tenant = gone.tenant AND payloads.sha256 = gone.payload \
    AND NOT EXISTS (SELECT 1 FROM payload_uses AS other \
     WHERE other.tenant = gone.tenant AND other.payload = gone.payload AND NOT EXISTS (SELECT 1 FROM gone AS also \
      WHERE also.tenant = other.tenant AND also.session = other.session AND also.payload = other.payload))";

/// The statements of a table.
pub(super) fn of(id: TableId) -> &'static TableSql {
    static ALL: LazyLock<Vec<TableSql>> =
        LazyLock::new(|| TableId::ALL.iter().map(|id| TableSql::of(id.table())).collect());
    &ALL[id as usize]
}

/// What the key columns hold, tenant first.
pub(super) fn key_kinds(table: &Table) -> impl Iterator<Item = ColumnKind> {
    std::iter::once(ColumnKind::Text).chain(table.key.iter().map(|column| column.kind))
}

/// What all columns hold, in the order of the statement that puts rows.
pub(super) fn put_kinds(table: &Table) -> impl Iterator<Item = ColumnKind> {
    let rest = table.index.iter().map(|column| column.kind).chain([ColumnKind::Integer, ColumnKind::Text]);
    key_kinds(table).chain(rest)
}

impl TableSql {
    fn of(table: &Table) -> Self {
        let Table { name, .. } = table;
        let key: Vec<&str> =
            std::iter::once("tenant").chain(table.key.iter().map(|column| column.name)).collect();
        let rest: Vec<&str> =
            table.index.iter().map(|column| column.name).chain(["version", "body"]).collect();
        let key_list = key.join(", ");
        let keys = arrays(key_kinds(table));
        let by_key: Vec<String> =
            key.iter().map(|column| format!("{name}.{column} = given.{column}")).collect();
        let by_key = by_key.join(" AND ");
        let by_one: Vec<String> =
            (1..).zip(&key).map(|(number, column)| format!("{column} = ${number}")).collect();
        let moves: Vec<String> = rest.iter().map(|column| format!("{column} = given.{column}")).collect();
        let sets: Vec<String> = rest.iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
        Self {
            read: format!("SELECT version, body FROM {name} WHERE {}", by_one.join(" AND ")),
            read_many: format!(
                "SELECT given.place, {name}.version, {name}.body \
                 FROM unnest({keys}) WITH ORDINALITY AS given ({key_list}, place) JOIN {name} ON {by_key}"
            ),
            version: format!("SELECT version FROM {name} WHERE {}", by_one.join(" AND ")),
            versions: format!(
                "SELECT given.place, {name}.version \
                 FROM unnest({keys}) WITH ORDINALITY AS given ({key_list}, place) JOIN {name} ON {by_key}"
            ),
            put: format!(
                "INSERT INTO {name} ({key_list}, {}) SELECT * FROM unnest({}) \
                 ON CONFLICT ({key_list}) DO UPDATE SET {}",
                rest.join(", "),
                arrays(put_kinds(table)),
                sets.join(", ")
            ),
            replace: format!(
                "WITH replaced AS (UPDATE {name} SET {} FROM unnest({}) AS given ({key_list}, {}) \
                 WHERE {by_key} RETURNING 1) \
                 SELECT 1 / (count(*) = cardinality($1::text[]))::int FROM replaced",
                moves.join(", "),
                arrays(put_kinds(table)),
                rest.join(", "),
            ),
            remove: format!("DELETE FROM {name} USING unnest({keys}) AS given ({key_list}) WHERE {by_key}"),
        }
    }
}

fn arrays(kinds: impl Iterator<Item = ColumnKind>) -> String {
    let arrays: Vec<String> =
        (1..).zip(kinds).map(|(number, kind)| format!("${number}::{}", array_type(kind))).collect();
    arrays.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_follow_the_description() {
        let sql = of(TableId::Available);
        assert_eq!(
            sql.read,
            "SELECT version, body FROM available WHERE tenant = $1 AND route = $2 AND agent = $3"
        );
        assert!(sql.put.contains("(tenant, route, agent, last_used, version, body)"), "{}", sql.put);
        assert!(sql.put.contains("$4::bigint[], $5::bigint[], $6::text[]"), "{}", sql.put);
        assert!(sql.remove.contains("available.route = given.route"), "{}", sql.remove);
    }
}
