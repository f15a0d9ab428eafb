//! Which tenants other processes write for as well, so that what is remembered of their rows is often old.
//!
//! A decision on an old row conflicts and is made again: right, but in vain. Where it has been seen that another process
//! changes a tenant's rows, the version of a row is asked for before the row in memory is decided on. That goes on until
//! many rows in a row were as they are in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use signalbox_wire::id::TenantId;

/// Rows found as they are in memory, one after the other, after which memory is relied on again.
const TRUSTED_AFTER: u32 = 64;
/// Tenants that are remembered, at most; over it all are forgotten.
const TENANTS_MAX: usize = 65_536;

/// The tenants, and how many more rows have to be found as they are in memory.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    tenants: Mutex<HashMap<TenantId, u32>>,
    /// How many there are: nearly always none, and that is quick to tell.
    count: AtomicUsize,
}

impl Strangers {
    /// Another process has changed a row of this tenant that is in memory.
    pub(crate) fn met(&self, tenant: &TenantId) {
        let mut tenants = self.tenants.lock();
        if tenants.len() >= TENANTS_MAX {
            tenants.clear();
        }
        tenants.insert(tenant.clone(), TRUSTED_AFTER);
        self.count.store(tenants.len(), Ordering::Relaxed);
    }

    /// Whether what is in memory of this tenant is often old.
    pub(crate) fn are_about(&self, tenant: &TenantId) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && self.tenants.lock().contains_key(tenant)
    }

    /// A row of this tenant was as it is in memory.
    pub(crate) fn found_same(&self, tenant: &TenantId) {
        let mut tenants = self.tenants.lock();
        let Some(left) = tenants.get_mut(tenant) else { return };
        *left -= 1;
        if *left == 0 {
            tenants.remove(tenant);
            self.count.store(tenants.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_relied_on_again_when_nobody_else_has_changed_anything_for_a_while() {
        let (tenant, strangers) = (TenantId::default_tenant(), Strangers::default());
        assert!(!strangers.are_about(&tenant));
        strangers.met(&tenant);
        for _ in 1..TRUSTED_AFTER {
            strangers.found_same(&tenant);
        }
        assert!(strangers.are_about(&tenant));
        strangers.met(&tenant);
        for _ in 0..TRUSTED_AFTER {
            assert!(strangers.are_about(&tenant));
            strangers.found_same(&tenant);
        }
        assert!(!strangers.are_about(&tenant));
        strangers.found_same(&tenant);
    }
}
