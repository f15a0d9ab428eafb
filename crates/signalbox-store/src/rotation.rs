//! Rotation: while more waits than can be taken, tenants are served one after the other, so that one with a
//! long backlog holds up no other.

use std::collections::HashMap;

use signalbox_core::due::Lane;
use signalbox_wire::id::TenantId;

use crate::api::{DueKind, WaitingLane};

/// The part of a claim of timers that what is over may take, so that a tenant with many of those holds up nobody's timers.
pub(crate) const ENDED_PART: usize = 2;

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

/// How far the rotation over tenants has come, one for each kind.
#[derive(Debug, Default)]
pub(crate) struct TenantRotation {
    deliveries: RotationCursor,
    calls: RotationCursor,
    timers: RotationCursor,
}

/// The lanes that were looked at last, one for each kind that has lanes.
#[derive(Debug, Default)]
pub(crate) struct LaneRotation {
    deliveries: Sweep,
    calls: Sweep,
}

impl LaneRotation {
    /// Those of one kind.
    pub(crate) fn of(&mut self, kind: DueKind) -> &mut Sweep {
        match kind {
            DueKind::Call => &mut self.calls,
            DueKind::Delivery | DueKind::Timer => &mut self.deliveries,
        }
    }
}

/// Rows of what has waited the longest that one look at the lanes reads.
pub(crate) const OLDEST_LOOKED_AT: usize = 512;
/// Lanes of one tenant that one look at the lanes reads.
pub(crate) const LANES_LOOKED_AT: usize = 16;

/// The lanes of rows, as they were read.
pub(crate) fn by_lane(rows: Vec<(TenantId, Lane, usize)>) -> Vec<WaitingLane> {
    let mut places = HashMap::new();
    let mut lanes: Vec<WaitingLane> = Vec::new();
    for (tenant, lane, seen) in rows {
        let place = *places.entry((tenant.clone(), lane.clone())).or_insert(lanes.len());
        match lanes.get_mut(place) {
            Some(known) => known.seen += seen,
            None => lanes.push(WaitingLane { tenant, lane, seen }),
        }
    }
    lanes
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
            DueKind::Call => &mut self.calls,
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
