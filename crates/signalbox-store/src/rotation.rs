//! Whose turn it is: while more waits than can be taken, tenants are served one after the other, so that one with a
//! long backlog holds up no other.

use std::collections::HashMap;

use crate::api::DueKind;

/// Tenants that are looked at in one go, at most.
pub(crate) const TENANTS_LOOKED_AT: usize = 64;
/// One turn takes this part of what can be taken.
const TURN_PART: usize = 8;
/// Tenants for which it is remembered where their last turn ended.
const PLACES_MAX: usize = 10_000;

/// How much one turn takes of `room`, at most.
pub(crate) fn share(room: usize) -> usize {
    (room / TURN_PART).max(1)
}

/// The turns of due work, one for each kind.
#[derive(Debug, Default)]
pub(crate) struct TenantRotation {
    deliveries: RotationCursor,
    timers: RotationCursor,
}

/// Whose due work was taken last.
#[derive(Debug, Clone, Default)]
pub(crate) struct RotationCursor {
    /// Whether there was more than could be taken: as long as not, all that is due is taken anyway.
    pub(crate) is_behind: bool,
    /// The tenant that had the last turn; empty before the first.
    pub(crate) last: String,
}

impl TenantRotation {
    /// The turn of one kind.
    pub(crate) fn of(&mut self, kind: DueKind) -> &mut RotationCursor {
        match kind {
            DueKind::Delivery => &mut self.deliveries,
            DueKind::Timer => &mut self.timers,
        }
    }
}

/// Whose waiting tasks were looked at last, and where in each tenant's routing keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sweep {
    /// The tenant that had the last turn; empty before the first.
    pub(crate) last: String,
    routes: HashMap<String, String>,
}

impl Sweep {
    /// The routing key after which this tenant's turn goes on; empty at the start.
    pub(crate) fn resume(&mut self, tenant: &str) -> String {
        self.routes.remove(tenant).unwrap_or_default()
    }

    /// This tenant's turn ended after `route`, before all keys had theirs.
    pub(crate) fn stopped(&mut self, tenant: &str, route: String) {
        if self.routes.len() >= PLACES_MAX {
            self.routes.clear();
        }
        self.routes.insert(tenant.to_owned(), route);
    }
}
