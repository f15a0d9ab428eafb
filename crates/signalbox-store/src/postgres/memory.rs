//! Versions that this process knows without asking: those it wrote or read itself, as long as nobody else has
//! committed for the tenant.
//!
//! Every commit of a tenant, by whichever process, counts up a number that is read, or compared, under the
//! tenant's lock. Is it still the one that this process left there, then what it remembers holds. Only rows
//! that nothing but a commit removes are remembered, and only those that every report rests on.

use signalbox_core::decision::Key;
use signalbox_wire::id::TenantId;

use super::batch::{Map, Name, RowSlot};

/// Versions that are remembered, and tenants, at most; over it all are forgotten.
const VERSIONS_MAX: usize = 65_536;
/// How often in a row this process must have been the last to commit before it stops asking.
const STREAK_MIN: u32 = 3;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    tenants: Map<TenantId, CachedVersion>,
    count: usize,
}

#[derive(Debug)]
struct CachedVersion {
    place: RowSlot,
    streak: u32,
    versions: Map<Key, Option<i64>>,
}

impl Memory {
    /// What is remembered of a row, where it may be relied on if the tenant's count agrees later: its version,
    /// or that it does not exist.
    pub(super) fn recall(&self, (tenant, key): Name<'_>) -> Option<Option<i64>> {
        self.trusted(tenant)?.versions.get(key).copied()
    }

    /// Where a tenant stood when this process left it, under the same condition.
    pub(super) fn recall_place(&self, tenant: &TenantId) -> Option<RowSlot> {
        self.trusted(tenant).map(|known| known.place)
    }

    /// Compares with where a tenant stands under the lock; forgets what does not hold any longer.
    pub(super) fn meet(&mut self, tenant: &TenantId, place: RowSlot) {
        match self.tenants.get_mut(tenant) {
            Some(known) if known.place == place => known.streak = known.streak.saturating_add(1),
            Some(known) => {
                self.count -= known.versions.len();
                self.tenants.remove(tenant);
            }
            None => {}
        }
    }

    /// Takes note of where this process leaves a tenant.
    pub(super) fn leave(&mut self, tenant: &TenantId, place: RowSlot) {
        match self.tenants.get_mut(tenant) {
            Some(known) => known.place = place,
            None => {
                if self.tenants.len() >= VERSIONS_MAX {
                    *self = Self::default();
                }
                self.tenants
                    .insert(tenant.clone(), CachedVersion { place, streak: 0, versions: Map::default() });
            }
        }
    }

    /// Remembers a row as this process leaves it.
    pub(super) fn keep(&mut self, (tenant, key): Name<'_>, version: Option<i64>) {
        if !matches!(key, Key::Agent(_) | Key::Status(_)) {
            return;
        }
        if self.count >= VERSIONS_MAX {
            self.tenants.values_mut().for_each(|known| known.versions.clear());
            self.count = 0;
        }
        let Some(known) = self.tenants.get_mut(tenant) else { return };
        match known.versions.get_mut(key) {
            Some(held) => *held = version,
            None => {
                known.versions.insert(key.clone(), version);
                self.count += 1;
            }
        }
    }

    fn trusted(&self, tenant: &TenantId) -> Option<&CachedVersion> {
        self.tenants.get(tenant).filter(|known| known.streak >= STREAK_MIN)
    }
}

#[cfg(test)]
mod tests {
    use signalbox_wire::id::AgentId;

    use super::*;

    #[test]
    fn what_is_remembered_holds_until_somebody_else_commits() {
        let (tenant, mut memory) = (TenantId::default_tenant(), Memory::default());
        let key = Key::Status(AgentId::parse("a").expect("valid"));
        let place = |commits| RowSlot { last: 7, commits };
        for commits in 1..10 {
            memory.meet(&tenant, place(commits - 1));
            let is_trusted = commits > i64::from(STREAK_MIN);
            assert_eq!(memory.recall((&tenant, &key)).is_some(), is_trusted, "{commits}");
            assert_eq!(memory.recall_place(&tenant), is_trusted.then(|| place(commits - 1)));
            memory.leave(&tenant, place(commits));
            memory.keep((&tenant, &key), Some(commits));
        }
        assert_eq!(memory.recall((&tenant, &key)), Some(Some(9)));
        memory.meet(&tenant, place(10));
        assert_eq!(memory.recall((&tenant, &key)), None, "another process has committed");
    }

    #[test]
    fn memory_is_bounded() {
        let (tenant, mut memory) = (TenantId::default_tenant(), Memory::default());
        memory.leave(&tenant, RowSlot { last: 1, commits: 1 });
        for number in 0..=VERSIONS_MAX {
            let key = Key::Agent(AgentId::parse(&number.to_string()).expect("valid"));
            memory.keep((&tenant, &key), None);
        }
        assert_eq!((memory.count, memory.tenants[&tenant].versions.len()), (1, 1));
    }
}
