//! What goes into the writing statements: a batch's outcome as arrays, one a column.

use signalbox_core::decision::{Key, Row};
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;

use super::batch::{Map, Name, Outcome};
use super::columns::Columns;
use super::sql;
use crate::commit::{DueRow, Holder, Put, Use};
use crate::schema::{self, ColumnKind, TableId};

const TEXT: ColumnKind = ColumnKind::Text;
const NUMBER: ColumnKind = ColumnKind::Integer;

/// The keys of rows.
pub(super) fn keys<'a>(table: TableId, names: &[Name<'a>]) -> Columns<'a> {
    let mut columns = Columns::of(sql::key_kinds(table.table()), names.len());
    for (tenant, key) in names {
        columns.push(tenant.as_str());
        columns.extend(&schema::key_cells(key));
    }
    columns
}

/// Rows to write.
pub(super) fn rows<'a>(table: TableId, puts: &[(Name<'a>, &'a Put)]) -> Columns<'a> {
    let mut columns = Columns::of(sql::put_kinds(table.table()), puts.len());
    for ((tenant, key), put) in puts {
        columns.push(tenant.as_str());
        columns.extend(&schema::key_cells(key));
        columns.extend(&schema::index_cells(&put.row));
        columns.push(put.version);
        columns.push(put.body.as_str());
    }
    columns
}

/// Registrations at the versions that `versions` has of them.
pub(super) fn registrations<'a>(versions: &Map<Name<'a>, i64>) -> Columns<'a> {
    let mut columns = Columns::of([TEXT, TEXT, NUMBER], versions.len());
    for ((tenant, key), version) in versions {
        let Key::Agent(agent) = *key else { continue };
        columns.push(tenant.as_str());
        columns.push(agent.as_str());
        columns.push(*version);
    }
    columns
}

/// The versions that `versions` has of rows.
pub(super) fn versions<'a>(puts: &[(Name<'a>, &'a Put)], versions: &Map<Name<'a>, i64>) -> Columns<'a> {
    let mut columns = Columns::of([NUMBER], puts.len());
    for (name, _) in puts {
        columns.push_number(versions.get(name).copied());
    }
    columns
}

/// The names of tenants.
pub(super) fn tenants<'a>(tenants: impl Iterator<Item = &'a TenantId>) -> Columns<'a> {
    let mut columns = Columns::of([TEXT], 1);
    tenants.for_each(|tenant| columns.push(tenant.as_str()));
    columns
}

/// Tenants, and who may rely on what it remembers of each.
pub(super) fn writers<'a>(mut tenants: Vec<(&'a TenantId, Option<i64>)>) -> Columns<'a> {
    let mut columns = Columns::of([TEXT, NUMBER], tenants.len());
    tenants.sort_unstable_by_key(|(tenant, _)| *tenant);
    for (tenant, writer) in tenants {
        columns.push(tenant.as_str());
        columns.push_number(writer);
    }
    columns
}

/// What a batch appends to the log.
pub(super) fn entries<'a>(outcome: &Outcome<'a>) -> Columns<'a> {
    let kinds = [TEXT, NUMBER, NUMBER, TEXT, NUMBER, TEXT, NUMBER, TEXT, TEXT, TEXT];
    let mut columns = Columns::of(kinds, outcome.events.len());
    for (tenant, place, event) in &outcome.events {
        columns.push(tenant.as_str());
        columns.push(*place);
        columns.push(event.at);
        columns.push(event.kind.as_str());
        columns.push(event.level.number());
        columns.push_text(event.session.as_ref().map(|(session, _)| session.as_str()));
        columns.push_number(event.session.as_ref().and_then(|(_, place)| i64::try_from(*place).ok()));
        columns.push_text(event.agent.as_ref().map(|agent| agent.as_str()));
        columns.push_text(event.task.as_ref().map(|task| task.as_str()));
        columns.push(event.data.as_str());
    }
    columns
}

/// The agents whose capabilities are listed anew, and those capabilities.
pub(super) fn capabilities<'a>(outcome: &Outcome<'a>) -> (Columns<'a>, Columns<'a>) {
    let mut agents = Columns::of([TEXT; 2], 0);
    let mut listed = Columns::of([TEXT; 3], 0);
    for ((tenant, key), written) in &outcome.rows {
        let Key::Agent(agent) = *key else { continue };
        agents.push(tenant.as_str());
        agents.push(agent.as_str());
        let Some(Put { row: Row::Agent(row), .. }) = written.put else { continue };
        for capability in schema::capabilities(row) {
            listed.push(tenant.as_str());
            listed.push(agent.as_str());
            listed.push(capability);
        }
    }
    (agents, listed)
}

/// The sessions that are removed, and the agents that get a task of another.
pub(super) fn holders<'a>(outcome: &Outcome<'a>) -> (Columns<'a>, Columns<'a>) {
    let mut gone = Columns::of([TEXT; 2], 0);
    let mut given = Columns::of([TEXT, TEXT, TEXT, NUMBER], outcome.holders.len());
    for ((tenant, key), written) in &outcome.rows {
        if let (Key::Session(session), None) = (*key, written.put) {
            gone.push(tenant.as_str());
            gone.push(session.as_str());
        }
    }
    for (tenant, Holder { session, agent, created_at }) in &outcome.holders {
        given.push(tenant.as_str());
        given.push(session.as_str());
        given.push(agent.as_str());
        given.push(*created_at);
    }
    (gone, given)
}

/// Which sessions refer to which payloads.
pub(super) fn uses<'a>(outcome: &Outcome<'a>) -> Columns<'a> {
    let mut columns = Columns::of([TEXT; 3], outcome.uses.len());
    for (tenant, Use { session, payload }) in &outcome.uses {
        columns.push(tenant.as_str());
        columns.push(session.as_str());
        columns.push(payload.as_str());
    }
    columns
}

/// The due work to put, and the ids of that to remove.
pub(super) fn due<'a>(outcome: &Outcome<'a>) -> (Columns<'a>, Columns<'a>) {
    let mut put =
        Columns::of([TEXT, TEXT, TEXT, TEXT, NUMBER, NUMBER, TEXT, NUMBER, TEXT], outcome.due.len());
    let mut removed = Columns::of([TEXT; 2], outcome.due.len());
    for ((tenant, id), due) in &outcome.due {
        match due {
            Some(due) => push_due(&mut put, tenant, due),
            None => {
                removed.push(tenant.as_str());
                removed.push(*id);
            }
        }
    }
    (put, removed)
}

fn push_due<'a>(columns: &mut Columns<'a>, tenant: &'a TenantId, due: &'a DueRow) {
    columns.push(tenant.as_str());
    columns.push(due.id.as_str());
    columns.push(due.kind);
    columns.push(due.lane.as_str());
    columns.push(due.due_at);
    columns.push(due.visible_at);
    columns.push_text(due.leased_by.as_ref().map(|node| node.as_str()));
    columns.push_number(due.ends_at.map(Timestamp::as_micros));
    columns.push(due.body.as_str());
}
