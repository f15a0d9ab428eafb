//! Versions that this process knows without asking: those it wrote or read itself, as long as nobody else has
//! committed for the tenant.
//!
//! Every commit of a tenant, by whichever process, counts up a number that is read under the tenant's lock. Is
//! it still the one that this process left there, then what it remembers holds. Only rows that nothing but a
//! commit removes are remembered, and only those that every report rests on.

use signalbox_core::decision::Key;
use signalbox_wire::id::TenantId;

use super::batch::{Map, Name};

/// Versions that are remembered, at most; over it all are forgotten.
const VERSIONS_MAX: usize = 65_536;
/// How often in a row this process must have been the last to commit before it stops asking.
const STREAK_MIN: u32 = 3;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    tenants: Map<TenantId, Known>,
    count: usize,
}

#[derive(Debug, Default)]
struct Known {
    commits: i64,
    streak: u32,
    versions: Map<Key, Option<i64>>,
}

impl Memory {
    /// What is remembered of a row, where it may be relied on if [`Memory::meets`] agrees later: its version, or
    /// that it does not exist.
    pub(super) fn recall(&self, (tenant, key): Name<'_>) -> Option<Option<i64>> {
        let known = self.tenants.get(tenant).filter(|known| known.streak >= STREAK_MIN)?;
        known.versions.get(key).copied()
    }

    /// Compares with the tenant's count as it is under the lock; answers whether what is remembered holds.
    pub(super) fn meets(&mut self, tenant: &TenantId, commits: i64) -> bool {
        let Some(known) = self.tenants.get_mut(tenant) else { return false };
        if known.commits == commits {
            known.streak = known.streak.saturating_add(1);
            return true;
        }
        self.count -= known.versions.len();
        self.tenants.remove(tenant);
        false
    }

    /// Remembers a row as it is after the tenant's commit number `commits`.
    pub(super) fn keep(&mut self, (tenant, key): Name<'_>, version: Option<i64>) {
        if !matches!(key, Key::Agent(_) | Key::Status(_)) {
            return;
        }
        if self.count >= VERSIONS_MAX {
            self.tenants.values_mut().for_each(|known| known.versions.clear());
            self.count = 0;
        }
        let Some(known) = self.tenants.get_mut(tenant) else { return };
        if known.versions.insert(key.clone(), version).is_none() {
            self.count += 1;
        }
    }

    /// Takes note of the number of a tenant's last commit, which was this process's own.
    pub(super) fn count(&mut self, tenant: &TenantId, commits: i64) {
        match self.tenants.get_mut(tenant) {
            Some(known) => known.commits = commits,
            None => {
                self.tenants.insert(tenant.clone(), Known { commits, ..Known::default() });
            }
        }
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
        for commits in 1..10 {
            let is_own = memory.meets(&tenant, commits - 1);
            assert_eq!(is_own, commits > 1);
            assert_eq!(
                memory.recall((&tenant, &key)).is_some(),
                commits > i64::from(STREAK_MIN),
                "{commits}"
            );
            memory.count(&tenant, commits);
            memory.keep((&tenant, &key), Some(commits));
        }
        assert_eq!(memory.recall((&tenant, &key)), Some(Some(9)));
        assert!(!memory.meets(&tenant, 10), "another process has committed");
        assert_eq!(memory.recall((&tenant, &key)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (tenant, mut memory) = (TenantId::default_tenant(), Memory::default());
        memory.count(&tenant, 1);
        for number in 0..=VERSIONS_MAX {
            let key = Key::Agent(AgentId::parse(&number.to_string()).expect("valid"));
            memory.keep((&tenant, &key), None);
        }
        assert_eq!((memory.count, memory.tenants[&tenant].versions.len()), (1, 1));
    }
}
