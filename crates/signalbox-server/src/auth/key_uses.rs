//! When keys were last used, until a job writes that down.
//!
//! A key is noted when it is looked up, which a key in use is every few seconds: what each request would cost is saved.

use std::collections::HashMap;

use parking_lot::Mutex;
use signalbox_wire::id::{KeyId, TenantId};
use signalbox_wire::time::Timestamp;

/// Keys that are noted at once; further ones are noted when they are used again.
const NOTED_MAX: usize = 100_000;

/// The keys that were used.
#[derive(Default)]
pub(super) struct KeyUses(Mutex<HashMap<(TenantId, KeyId), Timestamp>>);

impl KeyUses {
    pub(super) fn note(&self, tenant: &TenantId, key: &KeyId, now: Timestamp) {
        let mut uses = self.0.lock();
        let name = (tenant.clone(), key.clone());
        if uses.len() < NOTED_MAX || uses.contains_key(&name) {
            uses.insert(name, now);
        }
    }

    /// Those that were used since this was asked last.
    pub(super) fn take(&self) -> Vec<(TenantId, KeyId, Timestamp)> {
        let uses = std::mem::take(&mut *self.0.lock());
        uses.into_iter().map(|((tenant, key), at)| (tenant, key, at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_once_with_its_last_use() {
        let (uses, tenant) = (KeyUses::default(), TenantId::default_tenant());
        let key = KeyId::parse("key_1").expect("valid");
        uses.note(&tenant, &key, Timestamp::from_seconds(1));
        uses.note(&tenant, &key, Timestamp::from_seconds(2));
        assert_eq!(uses.take(), [(tenant, key, Timestamp::from_seconds(2))]);
        assert!(uses.take().is_empty());
    }
}
