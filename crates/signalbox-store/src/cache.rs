//! Rows held in memory, bounded by the bytes they take.
//!
//! A writer puts and forgets rows after its physical commit and before it answers. A reader fills a gap only
//! under a [`Gap`], which a put or a forget of the same row ends: a slow read can therefore never overwrite a
//! newer row. Where one process is the only writer, what is held is always current.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use quick_cache::sync::{DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter};
use signalbox_core::decision::Key;
use signalbox_wire::id::TenantId;

use crate::error::StoreError;
use crate::read_row::ReadRow;
use crate::schema::TableId;

/// The cache of rows.
pub(crate) struct Cache {
    rows: quick_cache::sync::Cache<CacheKey, ReadRow, Bytes>,
    row_bytes_max: u64,
}

/// What the cache says to a reader.
pub(crate) enum Lookup<'a> {
    /// The row.
    Held(ReadRow),
    /// Nothing; fill it with what is read now.
    Gap(Gap<'a>),
    /// Nothing, and another reader is about to fill it.
    Busy,
}

/// The right to fill a gap with a row read after it was given.
pub(crate) struct Gap<'a> {
    guard: PlaceholderGuard<
        'a,
        CacheKey,
        ReadRow,
        Bytes,
        DefaultHashBuilder,
        DefaultLifecycle<CacheKey, ReadRow>,
    >,
    row_bytes_max: u64,
}

/// A row's name among all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheKey {
    tenant: TenantId,
    key: Key,
}

#[derive(PartialEq, Eq)]
struct Named<'a> {
    tenant: &'a TenantId,
    key: &'a Key,
}

#[derive(Debug, Clone)]
struct Bytes;

/// About what an entry takes besides the bytes of its row.
const OVERHEAD_BYTES: usize = 320;
/// A value in memory against its text.
const EXPANSION: usize = 2;
/// About what an entry takes, to size the cache's own tables.
const ENTRY_BYTES_ESTIMATE: u64 = 1_024;
/// Parts of the cache that are locked each by itself.
const SHARDS: u64 = 4;
/// One row may take this part of the whole cache, which is half of what one of those parts has room for: a session with
/// 10,000 tasks is to be held where the cache has its default size, or each of its decisions would read it anew.
const ROW_PART_MAX: u64 = SHARDS * 2;

impl Cache {
    /// A cache that takes about `bytes`.
    pub(crate) fn new(bytes: u64) -> Result<Self, StoreError> {
        let entries = usize::try_from((bytes / ENTRY_BYTES_ESTIMATE).max(64)).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(entries)
            .weight_capacity(bytes)
            .shards(SHARDS as usize)
            .build()
            .map_err(|error| StoreError::Open(format!("the cache cannot be made: {error}")))?;
        let rows = quick_cache::sync::Cache::with_options(
            options,
            Bytes,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
        Ok(Self { rows, row_bytes_max: bytes / ROW_PART_MAX })
    }

    /// Whether rows with such a key are held at all.
    pub(crate) fn holds(key: &Key) -> bool {
        TableId::of(key).table().held.is_some()
    }

    /// The row, when it is held.
    pub(crate) fn get(&self, tenant: &TenantId, key: &Key) -> Option<ReadRow> {
        self.rows.get(&Named { tenant, key })
    }

    /// The row's version, when it is held.
    pub(crate) fn version(&self, tenant: &TenantId, key: &Key) -> Option<i64> {
        self.rows.peek(&Named { tenant, key }).map(|row| row.loaded.version())
    }

    /// The row, or the right to fill its place.
    pub(crate) fn look_up(&self, tenant: &TenantId, key: &Key) -> Lookup<'_> {
        if let Some(row) = self.get(tenant, key) {
            return Lookup::Held(row);
        }
        let key = CacheKey { tenant: tenant.clone(), key: key.clone() };
        match self.rows.get_value_or_guard(&key, Some(Duration::ZERO)) {
            GuardResult::Value(row) => Lookup::Held(row),
            GuardResult::Guard(guard) => Lookup::Gap(Gap { guard, row_bytes_max: self.row_bytes_max }),
            GuardResult::Timeout => Lookup::Busy,
        }
    }

    /// Holds a row that has just been committed.
    pub(crate) fn put(&self, tenant: &TenantId, key: Key, row: ReadRow) {
        // A row that is too large has to be removed in so many words: only that also ends a reader's gap.
        if weight(&row) > self.row_bytes_max {
            return self.forget(tenant, key);
        }
        self.rows.insert(CacheKey { tenant: tenant.clone(), key }, row);
    }

    /// Holds a row no longer.
    pub(crate) fn forget(&self, tenant: &TenantId, key: Key) {
        self.rows.remove(&CacheKey { tenant: tenant.clone(), key });
    }

    /// Holds nothing any longer.
    pub(crate) fn clear(&self) {
        self.rows.clear();
    }
}

impl Gap<'_> {
    /// Fills the gap, unless the row was written meanwhile.
    pub(crate) fn fill(self, row: ReadRow) {
        if weight(&row) <= self.row_bytes_max {
            let _ended_by_a_writer = self.guard.insert(row);
        }
    }
}

fn weight(row: &ReadRow) -> u64 {
    (row.bytes * EXPANSION + OVERHEAD_BYTES) as u64
}

impl Weighter<CacheKey, ReadRow> for Bytes {
    fn weight(&self, _: &CacheKey, row: &ReadRow) -> u64 {
        weight(row)
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Named { tenant: &self.tenant, key: &self.key }.hash(state);
    }
}

impl Hash for Named<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tenant.hash(state);
        self.key.hash(state);
    }
}

impl Equivalent<CacheKey> for Named<'_> {
    fn equivalent(&self, other: &CacheKey) -> bool {
        *self.key == other.key && *self.tenant == other.tenant
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signalbox_core::decision::AgentName;
    use signalbox_core::snapshot::{Loaded, Versioned};
    use signalbox_wire::id::AgentId;

    use super::*;

    fn row(version: i64, bytes: usize) -> ReadRow {
        let agent = AgentId::parse("a").expect("valid");
        let value = Arc::new(AgentName { name: "n".into(), agent });
        ReadRow::alone(Loaded::AgentName(Versioned { version, value }), bytes)
    }

    fn gap<'a>(cache: &'a Cache, tenant: &TenantId, key: &Key) -> Gap<'a> {
        match cache.look_up(tenant, key) {
            Lookup::Gap(gap) => gap,
            Lookup::Held(_) | Lookup::Busy => panic!("no gap"),
        }
    }

    #[test]
    fn a_slow_read_never_overwrites_what_a_writer_did_meanwhile() {
        let (tenant, key) = (TenantId::default_tenant(), Key::AgentName("n".into()));
        let large = 10 << 20;
        type Step = fn(&Cache, &TenantId, &Key);
        let steps: [(Step, Option<i64>); 4] = [
            (|cache, tenant, key| cache.put(tenant, key.clone(), row(2, 10)), Some(2)),
            (|cache, tenant, key| cache.put(tenant, key.clone(), row(2, 10 << 20)), None),
            (|cache, tenant, key| cache.forget(tenant, key.clone()), None),
            (|cache, _, _| cache.clear(), None),
        ];
        for (number, (step, expected)) in steps.into_iter().enumerate() {
            let cache = Cache::new(large).expect("made");
            let slow = gap(&cache, &tenant, &key);
            assert!(matches!(cache.look_up(&tenant, &key), Lookup::Busy));
            step(&cache, &tenant, &key);
            slow.fill(row(1, 10));
            assert_eq!(cache.version(&tenant, &key), expected, "step {number}");
        }
    }

    #[test]
    fn a_gap_is_filled_and_a_dropped_one_is_open_again() {
        let (tenant, key) = (TenantId::default_tenant(), Key::AgentName("n".into()));
        let cache = Cache::new(1 << 20).expect("made");
        drop(gap(&cache, &tenant, &key));
        gap(&cache, &tenant, &key).fill(row(1, 10));
        assert_eq!(cache.version(&tenant, &key), Some(1));
        let other = TenantId::parse("other").expect("valid");
        assert_eq!(cache.version(&other, &key), None, "another tenant's row of the same name");
    }
}
