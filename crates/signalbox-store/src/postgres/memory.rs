//! Versions that this process knows without asking: those it wrote or read itself, as long as nobody else has
//! committed for the tenant.
//!
//! A tenant's row in `tenant_locks`, which every commit locks, names the writer that may rely on what it remembers of
//! the tenant. Whoever else commits takes that name away. So the row says under the lock whether anything that is
//! remembered holds, and is itself written only when another process begins to commit, not with each commit. Where
//! several processes commit for a tenant they leave the row without a name, and take it rarely.
//!
//! Only rows that nothing but a commit removes are remembered, and only those that every report rests on.

use std::time::Duration;

use signalbox_core::decision::Key;
use signalbox_wire::id::TenantId;
use tokio::time::Instant;

use super::batch::{Map, Name, TenantLock};

/// Versions that are remembered, and tenants, at most; over it all are forgotten.
const VERSIONS_MAX: usize = 65_536;
/// The time after which a tenant's row is taken again that another process took: each time leaves a dead version of it.
const TAKE_AGAIN: Duration = Duration::from_secs(60);

/// What is remembered.
#[derive(Debug)]
pub(super) struct Memory {
    /// The name of this writer.
    writer: i64,
    tenants: Map<TenantId, Known>,
    count: usize,
}

#[derive(Debug)]
struct Known {
    lock: TenantLock,
    taken_at: Instant,
    versions: Map<Key, Option<i64>>,
}

impl Memory {
    /// An empty memory of the writer with this name, which no other has or had.
    pub(super) fn of(writer: i64) -> Self {
        Self { writer, tenants: Map::default(), count: 0 }
    }

    /// The name of this writer.
    pub(super) fn writer(&self) -> i64 {
        self.writer
    }

    /// What is remembered of a row, where it may be relied on if the tenant's row agrees later: its version, or that
    /// it does not exist.
    pub(super) fn recall(&self, (tenant, key): Name<'_>) -> Option<Option<i64>> {
        self.trusted(tenant)?.versions.get(key).copied()
    }

    /// How this process left a tenant, under the same condition.
    pub(super) fn recall_lock(&self, tenant: &TenantId) -> Option<TenantLock> {
        self.trusted(tenant).map(|known| known.lock)
    }

    /// How a tenant is taken to be found for which several processes commit: nobody relies on what it remembers, and it is
    /// not time to take it. Its last place is not known.
    pub(super) fn recall_shared(&self, tenant: &TenantId, now: Instant) -> Option<TenantLock> {
        let Known { lock, taken_at, .. } = self.tenants.get(tenant)?;
        let is_shared =
            lock.writer.is_none() && !lock.is_removed && now.duration_since(*taken_at) < TAKE_AGAIN;
        is_shared.then_some(TenantLock { last: 0, writer: None, is_removed: false })
    }

    /// Compares with how a tenant is found under the lock; forgets what does not hold any longer.
    pub(super) fn meet(&mut self, tenant: &TenantId, found: TenantLock) {
        if let Some(known) = self.tenants.get_mut(tenant)
            && (known.lock != found || found.writer != Some(self.writer))
        {
            self.count -= known.versions.len();
            known.versions.clear();
            known.lock = found;
        }
    }

    /// Who may rely on what it remembers of a tenant after a commit by this process.
    pub(super) fn next_writer(&self, tenant: &TenantId, found: TenantLock, now: Instant) -> Option<i64> {
        let may_take = match self.tenants.get(tenant) {
            Some(known) => now.duration_since(known.taken_at) >= TAKE_AGAIN,
            None => true,
        };
        (found.writer == Some(self.writer) || may_take).then_some(self.writer)
    }

    /// Takes note of how this process leaves a tenant.
    pub(super) fn leave(&mut self, tenant: &TenantId, before: TenantLock, after: TenantLock, now: Instant) {
        let is_taken = after.writer == Some(self.writer) && before.writer != after.writer;
        match self.tenants.get_mut(tenant) {
            Some(known) => {
                known.lock = after;
                if is_taken {
                    known.taken_at = now;
                }
            }
            None => {
                if self.tenants.len() >= VERSIONS_MAX {
                    *self = Self::of(self.writer);
                }
                let known = Known { lock: after, taken_at: now, versions: Map::default() };
                self.tenants.insert(tenant.clone(), known);
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

    fn trusted(&self, tenant: &TenantId) -> Option<&Known> {
        self.tenants.get(tenant).filter(|known| known.lock.writer == Some(self.writer))
    }
}

#[cfg(test)]
mod tests {
    use signalbox_wire::id::AgentId;

    use super::*;

    const LEFT: TenantLock = TenantLock { last: 7, writer: Some(1), is_removed: false };

    #[tokio::test]
    async fn what_is_remembered_holds_until_somebody_else_commits() {
        let (tenant, mut memory, now) = (TenantId::default_tenant(), Memory::of(1), Instant::now());
        let key = Key::Status(AgentId::parse("a").expect("valid"));
        let free = TenantLock { writer: None, ..LEFT };
        assert_eq!(memory.next_writer(&tenant, free, now), Some(1));
        memory.leave(&tenant, free, LEFT, now);
        memory.keep((&tenant, &key), Some(3));
        memory.meet(&tenant, LEFT);
        assert_eq!(memory.recall((&tenant, &key)), Some(Some(3)));
        assert_eq!(memory.recall_lock(&tenant), Some(LEFT));

        for other in [Some(2), None] {
            let found = TenantLock { writer: other, ..LEFT };
            memory.meet(&tenant, found);
            assert_eq!(memory.recall((&tenant, &key)), None, "another process has committed");
            let shared = memory.recall_shared(&tenant, now);
            assert_eq!(shared.is_some(), other.is_none(), "nobody is named where several commit");
            assert_eq!(memory.recall_shared(&tenant, now + TAKE_AGAIN), None, "it is time to take it");
            assert_eq!(memory.next_writer(&tenant, found, now), None, "the row is not taken all the time");
            assert_eq!(memory.next_writer(&tenant, found, now + TAKE_AGAIN), Some(1));
        }
        // What was forgotten does not come back with the name.
        memory.leave(&tenant, free, LEFT, now);
        assert_eq!(memory.recall((&tenant, &key)), None);
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let (tenant, mut memory, now) = (TenantId::default_tenant(), Memory::of(1), Instant::now());
        memory.leave(&tenant, TenantLock { writer: None, ..LEFT }, LEFT, now);
        for number in 0..=VERSIONS_MAX {
            let key = Key::Agent(AgentId::parse(&number.to_string()).expect("valid"));
            memory.keep((&tenant, &key), None);
        }
        assert_eq!((memory.count, memory.tenants[&tenant].versions.len()), (1, 1));
    }
}
