//! Which due work is held, and until when: in memory, as this process is the only writer and leases in the file are void
//! when it is opened. So a row that is held is in no index, and work that is born leased and soon done costs one tree.
//!
//! Whatever is held in the file is known here once its commit is answered. What is known here and is not held any more
//! does no harm: the statement that frees it looks at the row.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use rusqlite::Connection;
use signalbox_core::due::Lane;
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;

use crate::api::DueKind;
use crate::commit::Commit;

/// The leases that are known.
#[derive(Default)]
pub(super) struct Leases(Mutex<State>);

#[derive(Default)]
struct State {
    tenants: HashMap<TenantId, HashMap<Arc<str>, Held, DefaultHashBuilder>, DefaultHashBuilder>,
    /// When it can be claimed again, by the kind that it is then.
    wakes: [BTreeMap<(i64, u64), Work>; KINDS],
    /// How much of each kind is held by lane.
    lanes: HashMap<(TenantId, Lane), [usize; KINDS], DefaultHashBuilder>,
    counts: [usize; KINDS],
    /// The number of the last lease.
    last: u64,
}

const KINDS: usize = DueKind::ALL.len();

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) tenant: TenantId,
    pub(super) id: Arc<str>,
}

/// A piece of work and the lease under which it was seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) work: Work,
    number: u64,
}

/// How a piece of work is held.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) kind: DueKind,
    pub(super) lane: Lane,
    /// The end of the lease.
    pub(super) until: i64,
    /// From when on it is a timer, whoever holds it.
    pub(super) ends_at: Option<i64>,
    number: u64,
}

impl Held {
    pub(super) fn new(kind: DueKind, lane: Lane, until: i64, ends_at: Option<i64>) -> Self {
        Self { kind, lane, until, ends_at, number: 0 }
    }

    fn wakes(&self) -> impl Iterator<Item = (DueKind, (i64, u64))> {
        let end = self.ends_at.map(|at| (DueKind::Timer, (at, self.number)));
        std::iter::once((self.kind, (self.until, self.number))).chain(end)
    }
}

impl Leases {
    /// Takes over what the file says, in place of what was known.
    pub(super) fn read(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(
            "SELECT tenant, id, kind, lane, visible_at, ends_at FROM due WHERE leased_by IS NOT NULL",
        )?;
        let mut rows = statement.query([])?;
        let mut state = State::default();
        while let Some(row) = rows.next()? {
            let (tenant, id, kind): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if let (Ok(tenant), Some(kind)) = (TenantId::parse(&tenant), DueKind::of_column(&kind)) {
                let held = Held::new(kind, Lane::named(row.get(3)?), row.get(4)?, row.get(5)?);
                state.hold(&tenant, &id, held);
            }
        }
        *self.0.lock() = state;
        Ok(())
    }

    /// Follows a commit that has been made.
    pub(super) fn settle(&self, commit: &Commit) {
        if commit.due.is_empty() && commit.done.is_empty() {
            return;
        }
        let mut state = self.0.lock();
        for due in &commit.due {
            match DueKind::of_column(due.kind).filter(|_| due.leased_by.is_some()) {
                Some(kind) => {
                    let ends_at = due.ends_at.map(Timestamp::as_micros);
                    let held = Held::new(kind, due.lane.clone(), due.visible_at.as_micros(), ends_at);
                    state.hold(&commit.tenant, &due.id, held);
                }
                None => state.forget(&commit.tenant, &due.id),
            }
        }
        commit.done.iter().for_each(|id| state.forget(&commit.tenant, id));
    }

    /// It is held from now on.
    pub(super) fn hold(&self, tenant: &TenantId, id: &str, held: Held) {
        self.0.lock().hold(tenant, id, held);
    }

    /// It is held until another moment.
    pub(super) fn extend(&self, tenant: &TenantId, id: &str, until: Timestamp) {
        let mut state = self.0.lock();
        let held = state.tenants.get(tenant).and_then(|works| works.get(id)).cloned();
        if let Some(held) = held {
            state.hold(tenant, id, Held { until: until.as_micros(), ..held });
        }
    }

    /// It is held no longer.
    pub(super) fn forget(&self, tenant: &TenantId, id: &str) {
        self.0.lock().forget(tenant, id);
    }

    /// They are held no longer, unless they are under another lease by now.
    pub(super) fn forget_seen(&self, seen: &[Seen]) {
        let mut state = self.0.lock();
        for Seen { work, number } in seen {
            let held = state.tenants.get(&work.tenant).and_then(|works| works.get(&work.id));
            if held.is_some_and(|held| held.number == *number) {
                state.forget(&work.tenant, &work.id);
            }
        }
    }

    /// Forgets a tenant that is gone.
    pub(super) fn forget_tenant(&self, tenant: &TenantId) {
        let mut state = self.0.lock();
        let works: Vec<Arc<str>> =
            state.tenants.get(tenant).into_iter().flat_map(HashMap::keys).cloned().collect();
        works.iter().for_each(|id| state.forget(tenant, id));
    }

    /// Whether something is held that can be claimed as this kind at `now`.
    pub(super) fn has_over(&self, kind: DueKind, now: Timestamp) -> bool {
        self.next(kind, None).is_some_and(|first| first <= now.as_micros())
    }

    /// What is held and can be claimed as this kind at `now`, up to `most`, what could be first first.
    pub(super) fn over(&self, kind: DueKind, now: Timestamp, most: usize) -> Vec<Seen> {
        self.0.lock().wakes(kind, i64::MIN, now.as_micros()).take(most).collect()
    }

    /// What is held until exactly this moment.
    pub(super) fn until(&self, moment: i64) -> Vec<Seen> {
        let state = self.0.lock();
        DueKind::ALL.into_iter().flat_map(|kind| state.wakes(kind, moment, moment)).collect()
    }

    /// The next moment, after this one, at which something that is held can be claimed as this kind.
    pub(super) fn next(&self, kind: DueKind, after: Option<Timestamp>) -> Option<i64> {
        let from = after.map_or(i64::MIN, |after| after.as_micros().saturating_add(1));
        let state = self.0.lock();
        state.wakes[kind as usize].range((from, 0)..).next().map(|((moment, _), _)| *moment)
    }

    /// All that is held: tenant, id, kind, lane, until when, and when it ends.
    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(String, String, DueKind, Lane, i64, Option<i64>)> {
        let state = self.0.lock();
        let works =
            state.tenants.iter().flat_map(|(tenant, works)| works.iter().map(move |work| (tenant, work)));
        let mut all: Vec<_> = works
            .map(|(tenant, (id, held))| {
                let (kind, lane) = (held.kind, held.lane.clone());
                (tenant.to_string(), id.to_string(), kind, lane, held.until, held.ends_at)
            })
            .collect();
        all.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        all
    }

    /// How much of a kind is held.
    pub(super) fn count(&self, kind: DueKind) -> usize {
        self.0.lock().counts[kind as usize]
    }

    /// How much of a kind is held in one lane.
    pub(super) fn count_in_lane(&self, tenant: &TenantId, kind: DueKind, lane: &Lane) -> usize {
        let key = (tenant.clone(), lane.clone());
        self.0.lock().lanes.get(&key).map_or(0, |counts| counts[kind as usize])
    }
}

impl State {
    fn wakes(&self, kind: DueKind, from: i64, to: i64) -> impl Iterator<Item = Seen> {
        let wakes = self.wakes[kind as usize].range((from, 0)..=(to, u64::MAX));
        wakes.map(|((_, number), work)| Seen { work: work.clone(), number: *number })
    }

    fn hold(&mut self, tenant: &TenantId, id: &str, held: Held) {
        self.forget(tenant, id);
        self.last += 1;
        let held = Held { number: self.last, ..held };
        let work = Work { tenant: tenant.clone(), id: Arc::from(id) };
        for (kind, wake) in held.wakes() {
            self.wakes[kind as usize].insert(wake, work.clone());
        }
        let kind = held.kind as usize;
        self.counts[kind] += 1;
        self.lanes.entry((tenant.clone(), held.lane.clone())).or_default()[kind] += 1;
        match self.tenants.get_mut(tenant) {
            Some(works) => works.insert(work.id, held),
            None => self.tenants.entry(tenant.clone()).or_default().insert(work.id, held),
        };
    }

    fn forget(&mut self, tenant: &TenantId, id: &str) {
        let Some(works) = self.tenants.get_mut(tenant) else { return };
        let Some(held) = works.remove(id) else { return };
        if works.is_empty() {
            self.tenants.remove(tenant);
        }
        for (kind, wake) in held.wakes() {
            self.wakes[kind as usize].remove(&wake);
        }
        let kind = held.kind as usize;
        self.counts[kind] -= 1;
        let lane = (tenant.clone(), held.lane);
        if let Some(counts) = self.lanes.get_mut(&lane) {
            counts[kind] -= 1;
            if *counts == [0; KINDS] {
                self.lanes.remove(&lane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(kind: DueKind, until: i64, ends_at: Option<i64>) -> Held {
        Held::new(kind, Lane::named("a".to_owned()), until, ends_at)
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn what_is_held_comes_to_mind_when_it_can_be_claimed() {
        let (leases, tenant) = (Leases::default(), TenantId::default_tenant());
        leases.hold(&tenant, "x", held(DueKind::Delivery, 60, Some(30)));
        leases.hold(&tenant, "y", held(DueKind::Delivery, 50, None));
        let lane = Lane::named("a".to_owned());
        assert_eq!(leases.count_in_lane(&tenant, DueKind::Delivery, &lane), 2);
        assert_eq!(
            (leases.next(DueKind::Timer, None), leases.next(DueKind::Delivery, None)),
            (Some(30), Some(50))
        );
        assert_eq!(leases.next(DueKind::Delivery, Some(at(50))), Some(60));
        assert!(!leases.has_over(DueKind::Timer, at(29)) && leases.has_over(DueKind::Timer, at(30)));
        let over = leases.over(DueKind::Delivery, at(55), 9);
        assert_eq!(over.iter().map(|seen| &*seen.work.id).collect::<Vec<_>>(), ["y"]);
        leases.extend(&tenant, "y", at(90));
        leases.forget_seen(&over);
        assert_eq!(leases.count(DueKind::Delivery), 2, "it is under another lease by now");
        assert_eq!(leases.until(90).len(), 1);
        leases.forget(&tenant, "x");
        leases.forget_tenant(&tenant);
        let state = leases.0.lock();
        assert!(state.tenants.is_empty() && state.lanes.is_empty() && state.counts == [0; KINDS]);
        assert!(state.wakes.iter().all(BTreeMap::is_empty));
    }
}
