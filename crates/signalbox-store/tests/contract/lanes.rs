//! Due work by lanes: what may not go out yet stays where it is, and hides nothing behind it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use signalbox_core::Decision;
use signalbox_core::due::{Due, DueJob, Lane};
use signalbox_core::lease::Lease;
use signalbox_store::{Claimed, DueKind, LaneClaim, Store};
use signalbox_wire::id::TenantId;

use crate::samples::{deliver, session_id, task_id, tenant_id};
use crate::world::{World, at, commit, contract, node, tenant};

contract! {
    lanes_are_seen_and_claimed_each_for_itself,
    a_lane_behind_a_long_backlog_is_seen,
    calls_are_claimed_apart_from_deliveries,
    what_is_held_is_seen_again_when_its_lease_is_over,
}

const LEASE: Duration = Duration::from_secs(60);

fn lane(name: &str) -> Lane {
    Lane::named(name.to_owned())
}

async fn seen(store: &Store, now: i64, kind: DueKind) -> HashMap<(TenantId, Lane), usize> {
    let waiting = store.waiting_lanes(at(now), kind).await.expect("read");
    waiting.lanes.into_iter().map(|waiting| ((waiting.tenant, waiting.lane), waiting.seen)).collect()
}

async fn claim(store: &Store, now: i64, wanted: &[(&str, usize, i64)]) -> Vec<Claimed> {
    let wanted = wanted.iter().map(|(name, most, by)| LaneClaim {
        tenant: tenant(),
        lane: lane(name),
        most: *most,
        visible_by: at(*by),
    });
    store.claim_lanes(at(now), LEASE, DueKind::Delivery, wanted.collect()).await.expect("claimed")
}

fn ids(claimed: &[Claimed]) -> Vec<String> {
    claimed.iter().map(|claimed| claimed.work.id()).collect()
}

async fn lanes_are_seen_and_claimed_each_for_itself(world: &World) {
    let store = &world.store;
    let due = vec![
        deliver("a1", 10).by(lane("a")),
        deliver("a2", 12).by(lane("a")),
        deliver("b1", 11).by(lane("b")),
        deliver("c1", 30).by(lane("c")),
    ];
    commit(store, Decision { due, ..Decision::default() }).await.expect("added");
    let waiting = store.waiting_lanes(at(20), DueKind::Delivery).await.expect("read");
    assert_eq!((waiting.has_more, waiting.next), (false, Some(at(30))), "what waits already is not next");
    let expected = HashMap::from([((tenant(), lane("a")), 2), ((tenant(), lane("b")), 1)]);
    assert_eq!(seen(store, 20, DueKind::Delivery).await, expected);
    assert_eq!(ids(&claim(store, 20, &[("a", 1, 20), ("b", 5, 20)]).await), ["deliver:a1", "deliver:b1"]);
    let expected = HashMap::from([((tenant(), lane("a")), 1)]);
    assert_eq!(seen(store, 20, DueKind::Delivery).await, expected, "what was not asked for waits on");
    assert_eq!(ids(&claim(store, 20, &[("a", 9, 11)]).await), [""; 0], "only what waited by then");
    let rest = claim(store, 20, &[("a", 9, 12), ("c", 9, 20)]).await;
    assert_eq!(ids(&rest), ["deliver:a2"]);
    assert_eq!((&rest[0].lane, rest[0].lease.until), (&lane("a"), at(80)));
    let moved = deliver("a2", 25).by(lane("c"));
    commit(store, Decision { due: vec![moved], ..Decision::default() }).await.expect("moved");
    let expected = HashMap::from([((tenant(), lane("c")), 2)]);
    assert_eq!(seen(store, 40, DueKind::Delivery).await, expected, "work can change its lane");
}

async fn a_lane_behind_a_long_backlog_is_seen(world: &World) {
    let store = &world.store;
    for (first, name) in [(0, "slow-1"), (1_000, "slow-2")] {
        let due = (first..first + 1_000).map(|number| deliver(&format!("m{number}"), 0).by(lane(name)));
        commit(store, Decision { due: due.collect(), ..Decision::default() }).await.expect("added");
    }
    let others =
        (0..40).map(|number| deliver(&format!("o{number}"), 50).by(lane(&format!("other-{number}"))));
    commit(store, Decision { due: others.collect(), ..Decision::default() }).await.expect("added");
    let theirs: Vec<_> = (0..3).map(|number| tenant_id(&format!("t{number}"))).collect();
    for theirs in &theirs {
        let due = vec![deliver("x", 60).by(lane("x")), deliver("y", 99).by(lane("y"))];
        store.commit(theirs, Decision { due, ..Decision::default() }, at(0), None).await.expect("added");
    }
    let mut all = HashSet::new();
    for _ in 0..6 {
        let waiting = store.waiting_lanes(at(70), DueKind::Delivery).await.expect("read");
        assert!(waiting.has_more && waiting.next == Some(at(99)));
        all.extend(waiting.lanes.into_iter().map(|waiting| (waiting.tenant, waiting.lane)));
    }
    for number in 0..40 {
        assert!(all.contains(&(tenant(), lane(&format!("other-{number}")))), "other-{number}");
    }
    for theirs in theirs {
        assert!(all.contains(&(theirs.clone(), lane("x"))) && !all.contains(&(theirs, lane("y"))));
    }
}

async fn calls_are_claimed_apart_from_deliveries(world: &World) {
    let store = &world.store;
    let work = DueJob::Call { session: session_id("s"), task: task_id("t"), attempt: 1 };
    let due = vec![Due::new(work.clone(), at(5)).by(Lane::tool("add")), deliver("m", 5).by(lane("a"))];
    commit(store, Decision { due, ..Decision::default() }).await.expect("added");
    assert_eq!(seen(store, 5, DueKind::Call).await, HashMap::from([((tenant(), Lane::tool("add")), 1)]));
    assert_eq!(seen(store, 5, DueKind::Delivery).await, HashMap::from([((tenant(), lane("a")), 1)]));
    let wanted = LaneClaim { tenant: tenant(), lane: Lane::tool("add"), most: 4, visible_by: at(5) };
    let claimed = store.claim_lanes(at(5), LEASE, DueKind::Call, vec![wanted]).await.expect("claimed");
    assert_eq!(claimed.iter().map(|claimed| &claimed.work).collect::<Vec<_>>(), [&work]);
}

async fn what_is_held_is_seen_again_when_its_lease_is_over(world: &World) {
    let store = &world.store;
    let lease = Lease::new(node(1), at(10), LEASE);
    let due = vec![
        deliver("a1", 10).by(lane("a")),
        deliver("a2", 99).by(lane("a")),
        deliver("b1", 10).by(lane("b")),
    ];
    let decision = Decision { due, ..Decision::default() };
    store.commit(&tenant(), decision, at(10), Some(lease)).await.expect("added");
    let count = async |name: &str, most| {
        store.waiting_in_lane(&tenant(), DueKind::Delivery, &lane(name), most).await.expect("counted")
    };
    let waiting = store.waiting_lanes(at(69), DueKind::Delivery).await.expect("read");
    assert_eq!((waiting.lanes.len(), waiting.next), (0, Some(at(70))), "both are held until 70");
    assert_eq!(store.next_due(DueKind::Delivery).await.expect("read"), Some(at(70)));
    assert_eq!(store.backlog().await.expect("read").pending, 3);
    assert_eq!(count("a", 9).await, 2, "what is held waits too");
    assert_eq!(count("a", 1).await, 1);
    let decision = Decision { done: vec![deliver("b1", 0).work.id()], ..Decision::default() };
    commit(store, decision).await.expect("done");
    assert_eq!(count("b", 9).await, 0);
    let expected = HashMap::from([((tenant(), lane("a")), 1)]);
    assert_eq!(seen(store, 70, DueKind::Delivery).await, expected);
    assert_eq!(count("a", 9).await, 2);
    assert_eq!(ids(&claim(store, 70, &[("a", 9, 70), ("b", 9, 70)]).await), ["deliver:a1"]);
    assert_eq!(ids(&claim(store, 129, &[("a", 9, 129)]).await), ["deliver:a2"]);
    assert_eq!(ids(&claim(store, 130, &[("a", 9, 130)]).await), ["deliver:a1"], "the second lease is over");
}
