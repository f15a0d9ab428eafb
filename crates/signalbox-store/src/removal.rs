//! What a tenant has in the database, and in which order it goes when the tenant is removed.
//!
//! The keys and hooks go first, so that nobody can add to it, then the work that is due, so that nothing acts for it; the
//! tenant itself goes last: whoever is interrupted finds it still there and goes on. What remains is the number
//! of entries that its log has had, so that nothing that is still under way can be taken for somebody else's.

use signalbox_core::decision::Key;
use signalbox_wire::id::TenantId;

use crate::cache::Cache;
use crate::schema::TableId;

/// Rows that go in one transaction, at most: whoever else writes waits for it.
pub(crate) const ROWS_AT_ONCE: usize = 500;

/// One part of what a tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The rows of a table.
    Rows(TableId),
    /// What its agents offer.
    Capabilities,
    /// Which agents its sessions had.
    SessionAgents,
    /// Which payloads its sessions refer to.
    PayloadUses,
    /// What must still happen.
    Due,
    /// The entries of its log.
    Log,
}

/// Every part, in the order of its going.
pub(crate) const PARTS: [Part; 33] = [
    Part::Rows(TableId::ApiKeys),
    Part::Rows(TableId::SshKeys),
    Part::Rows(TableId::Hooks),
    Part::Due,
    Part::Rows(TableId::Schedules),
    Part::Rows(TableId::Available),
    Part::Rows(TableId::Tasks),
    Part::SessionAgents,
    Part::PayloadUses,
    Part::Rows(TableId::Payloads),
    Part::Rows(TableId::Sessions),
    Part::Rows(TableId::ConcurrencyGroups),
    Part::Rows(TableId::Messages),
    Part::Rows(TableId::Commands),
    Part::Rows(TableId::Figures),
    Part::Rows(TableId::AgentNames),
    Part::Capabilities,
    Part::Rows(TableId::AgentStatuses),
    Part::Rows(TableId::Agents),
    Part::Rows(TableId::Workflows),
    Part::Rows(TableId::Definitions),
    Part::Rows(TableId::Tools),
    Part::Rows(TableId::IdempotencyRecord),
    Part::Rows(TableId::Signatures),
    Part::Rows(TableId::Settings),
    Part::Rows(TableId::Usage),
    Part::Rows(TableId::ChannelNames),
    Part::Rows(TableId::Channels),
    Part::Rows(TableId::ChannelMessages),
    Part::Rows(TableId::SshFingerprints),
    Part::Rows(TableId::TokenKeys),
    Part::Log,
    Part::Rows(TableId::Tenants),
];

/// What was removed in one go.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// Rows, in all.
    pub(crate) count: usize,
    /// The names of those that the cache may hold.
    pub(crate) keys: Vec<Key>,
}

impl Part {
    /// Its table, and the columns that name a row within the tenant. The log has none that both databases know.
    pub(crate) fn table(self) -> Option<(&'static str, Vec<&'static str>)> {
        match self {
            Self::Rows(table) => {
                let table = table.table();
                Some((table.name, table.key.iter().map(|column| column.name).collect()))
            }
            Self::Capabilities => Some(("agent_capabilities", vec!["agent", "capability"])),
            Self::SessionAgents => Some(("session_agents", vec!["agent", "created_at", "session"])),
            Self::PayloadUses => Some(("payload_uses", vec!["session", "payload"])),
            Self::Due => Some(("due", vec!["id"])),
            Self::Log => None,
        }
    }

    /// The statement that removes some of it and tells which, as text; parameters: tenant, how many.
    pub(crate) fn removal(self) -> Option<String> {
        let (name, columns) = self.table()?;
        let texts: Vec<String> = columns.iter().map(|column| format!("CAST({column} AS TEXT)")).collect();
        let (columns, texts) = (columns.join(", "), texts.join(", "));
        Some(format!(
            "DELETE FROM {name} WHERE tenant = $1 AND ({columns}) IN \
             (SELECT {columns} FROM {name} WHERE tenant = $1 LIMIT $2) RETURNING {texts}"
        ))
    }

    /// The name under which the cache may hold the row with these key columns.
    pub(crate) fn held(self, columns: &[String]) -> Option<Key> {
        match self {
            Self::Rows(table) => (table.table().held?)(columns),
            Self::Capabilities | Self::SessionAgents | Self::PayloadUses | Self::Due | Self::Log => None,
        }
    }
}

impl Removed {
    /// Lets the cache follow.
    pub(crate) fn forget(&self, cache: &Cache, tenant: &TenantId) {
        for key in &self.keys {
            cache.forget(tenant, key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_goes_and_the_tenant_goes_last() {
        for table in TableId::ALL {
            assert!(PARTS.contains(&Part::Rows(table)), "{table:?}");
        }
        assert_eq!(PARTS.last(), Some(&Part::Rows(TableId::Tenants)));
        assert_eq!(PARTS.first(), Some(&Part::Rows(TableId::ApiKeys)));
    }
}
