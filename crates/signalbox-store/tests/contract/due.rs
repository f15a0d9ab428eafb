//! Due work: claimed once until its lease is over, released, moved, removed, born leased.

use std::collections::HashSet;
use std::time::Duration;

use signalbox_core::Decision;
use signalbox_core::due::{Due, DueJob, Lane};
use signalbox_core::lease::Lease;
use signalbox_store::{Claimed, DueKind, Store};
use signalbox_wire::time::Timestamp;

use crate::samples::{deliver, session_id, task_id, tenant_id};
use crate::world::{World, at, commit, contract, node, tenant};

contract! {
    work_is_claimed_when_it_is_due_the_oldest_first,
    a_lease_keeps_others_away_until_it_is_over,
    a_release_frees_what_this_process_holds,
    adding_twice_is_adding_once_and_moves_it,
    done_work_is_gone,
    work_can_be_born_leased,
    leases_and_restarts,
    two_claimers_never_get_the_same,
    a_lease_is_moved_by_its_holder_alone,
    what_cannot_be_read_holds_up_nothing_else,
    a_clock_that_is_ahead_takes_nothing_from_others,
    tenants_take_turns_while_more_is_due_than_can_be_taken,
    what_is_over_is_a_timer_whoever_holds_it,
    an_attempt_is_one_row_from_its_delivery_to_its_timeout,
    what_is_over_leaves_room_for_timers,
    what_is_over_and_set_free_is_over_at_once,
}

const LEASE: Duration = Duration::from_secs(60);

async fn add(store: &Store, due: Vec<Due>) {
    commit(store, Decision { due, ..Decision::default() }).await.expect("added");
}

async fn claim(store: &Store, now: i64, limit: usize) -> Vec<Claimed> {
    store.claim(at(now), LEASE, DueKind::Delivery, limit).await.expect("claimed")
}

async fn claim_timers(store: &Store, now: i64, limit: usize) -> Vec<Claimed> {
    store.claim(at(now), LEASE, DueKind::Timer, limit).await.expect("claimed")
}

fn timer(session: &str, due_at: i64) -> Due {
    Due::new(DueJob::Begin { session: session_id(session) }, at(due_at))
}

fn ids(claimed: &[Claimed]) -> Vec<String> {
    claimed.iter().map(|claimed| claimed.work.id()).collect()
}

async fn work_is_claimed_when_it_is_due_the_oldest_first(world: &World) {
    let store = &world.store;
    let timeout = DueJob::Timeout { session: session_id("s"), task: task_id("t"), attempt: 2 };
    add(store, vec![deliver("c", 30), deliver("a", 10), deliver("b", 20)]).await;
    let decision = Decision { due: vec![Due::new(timeout.clone(), at(15))], ..Decision::default() };
    store.commit(&tenant_id("other"), decision, at(0), None).await.expect("added");
    assert_eq!(ids(&claim(store, 9, 10).await), [""; 0]);
    let backlog = store.backlog().await.expect("read");
    assert_eq!((backlog.pending, backlog.next), (4, Some(at(10))));
    let expected = |tenant, work, due_at| Claimed {
        tenant,
        work,
        due_at: at(due_at),
        lane: Lane::default(),
        lease: Lease { node: node(1), until: at(80) },
    };
    assert_eq!(claim(store, 20, 1).await, [expected(tenant(), deliver("a", 0).work, 10)]);
    assert_eq!(store.next_due(DueKind::Timer).await.expect("read"), Some(at(15)), "timers are claimed apart");
    let timers = store.claim(at(20), LEASE, DueKind::Timer, 10).await.expect("claimed");
    assert_eq!(timers, [expected(tenant_id("other"), timeout, 15)]);
    assert_eq!(ids(&claim(store, 20, 10).await), ["deliver:b"]);
    let backlog = store.backlog().await.expect("read");
    assert_eq!((backlog.pending, backlog.next), (4, Some(at(30))));
}

async fn a_lease_keeps_others_away_until_it_is_over(world: &World) {
    let store = &world.store;
    add(store, vec![deliver("a", 10)]).await;
    assert_eq!(claim(store, 10, 10).await.len(), 1);
    assert_eq!(claim(store, 69, 10).await.len(), 0, "held until 70");
    let again = claim(store, 70, 10).await;
    assert_eq!((again.len(), again[0].due_at, again[0].lease.until), (1, at(10), at(130)));
}

async fn a_release_frees_what_this_process_holds(world: &World) {
    let store = &world.store;
    add(store, vec![deliver("a", 10), deliver("b", 20)]).await;
    assert_eq!(claim(store, 20, 10).await.len(), 2);
    let foreign = Lease { node: node(9), until: at(100) };
    let decision = Decision { due: vec![deliver("c", 5)], ..Decision::default() };
    store.commit(&tenant(), decision, at(5), Some(foreign)).await.expect("added");
    store.release().await.expect("released");
    assert_eq!(
        ids(&claim(store, 15, 10).await),
        ["deliver:a"],
        "free at its own time, and not another's work"
    );
}

async fn adding_twice_is_adding_once_and_moves_it(world: &World) {
    let store = &world.store;
    add(store, vec![deliver("a", 10)]).await;
    add(store, vec![deliver("a", 10)]).await;
    assert_eq!(store.backlog().await.expect("read").pending, 1);
    assert_eq!(claim(store, 10, 10).await.len(), 1);
    add(store, vec![deliver("a", 30)]).await;
    assert_eq!(claim(store, 29, 10).await.len(), 0, "moved to a later moment");
    let moved = claim(store, 30, 10).await;
    assert_eq!((moved.len(), moved[0].due_at), (1, at(30)), "and free of the lease it had");
}

async fn done_work_is_gone(world: &World) {
    let store = &world.store;
    add(store, vec![deliver("a", 10), deliver("b", 10)]).await;
    let mut decision = Decision { done: vec![deliver("a", 0).work.id()], ..Decision::default() };
    decision.done.push("deliver:never-there".into());
    store.commit(&tenant_id("other"), decision.clone(), at(0), None).await.expect("nothing of that tenant");
    assert_eq!(store.backlog().await.expect("read").pending, 2);
    commit(store, decision).await.expect("removed");
    assert_eq!(ids(&claim(store, 10, 10).await), ["deliver:b"]);
}

async fn work_can_be_born_leased(world: &World) {
    let store = &world.store;
    let lease = Lease::new(node(1), at(20), LEASE);
    let decision = Decision { due: vec![deliver("now", 20), deliver("later", 21)], ..Decision::default() };
    store.commit(&tenant(), decision, at(20), Some(lease)).await.expect("added");
    assert_eq!(ids(&claim(store, 50, 10).await), ["deliver:later"], "what is due at once is held already");
    assert_eq!(ids(&claim(store, 80, 10).await), ["deliver:now"], "until that lease is over");
    add(store, vec![deliver("free", 0)]).await;
    assert_eq!(ids(&claim(store, 0, 10).await), ["deliver:free"], "without a lease it is free at once");
}

async fn leases_and_restarts(world: &World) {
    add(&world.store, vec![deliver("a", 10)]).await;
    assert_eq!(claim(&world.store, 10, 10).await.len(), 1);
    let store = world.reopened().await;
    let after = claim(&store, 11, 10).await;
    match store.kind() {
        "sqlite" => {
            assert_eq!(after[0].lease.node, node(2), "the only process is gone, and its lease with it")
        }
        _ => assert_eq!(after.len(), 0, "another process may still be at it"),
    }
    store.close().await.expect("closed");
}

async fn tenants_take_turns_while_more_is_due_than_can_be_taken(world: &World) {
    let store = &world.store;
    let backlog = (0..500).map(|number| timer(&format!("m{number:03}"), 0)).collect();
    add(store, backlog).await;
    let others: Vec<_> = (0..9).map(|number| tenant_id(&format!("other-{number}"))).collect();
    for other in &others {
        let due = (0..3).map(|number| timer(&format!("late{number}"), 50)).collect();
        store.commit(other, Decision { due, ..Decision::default() }, at(0), None).await.expect("added");
    }
    assert_eq!(claim_timers(store, 100, 16).await.len(), 16, "more is due than was asked for");
    let mut taken: Vec<Claimed> = Vec::new();
    for _ in 0..5 {
        let some = claim_timers(store, 100, 16).await;
        assert_eq!(some.len(), 16);
        taken.extend(some);
    }
    for other in &others {
        let count = taken.iter().filter(|claimed| claimed.tenant == *other).count();
        assert_eq!(count, 3, "{other} does not wait for all that was due before");
    }
    let first = taken.iter().filter(|claimed| claimed.tenant == tenant()).count();
    assert_eq!(first, 80 - 27, "and all that could be taken was");
    let rest = claim_timers(store, 100, 1_000).await;
    assert_eq!(rest.len(), 500 - 16 - first, "the rest is there still, and nothing twice");
    let distinct: HashSet<String> = taken
        .iter()
        .chain(&rest)
        .map(|claimed| format!("{} {}", claimed.tenant, claimed.work.id()))
        .collect();
    assert_eq!(distinct.len(), taken.len() + rest.len());
}

async fn two_claimers_never_get_the_same(world: &World) {
    const COUNT: usize = 300;
    let due = (0..COUNT).map(|number| deliver(&format!("m{number}"), 0)).collect();
    add(&world.store, due).await;
    let claimers: Vec<_> = (0..4)
        .map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move {
                let mut got = Vec::new();
                loop {
                    let some = store
                        .claim(Timestamp::from_seconds(2_000_000), LEASE, DueKind::Delivery, 7)
                        .await
                        .expect("claimed");
                    if some.is_empty() {
                        return got;
                    }
                    got.extend(ids(&some));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.expect("finished"));
    }
    let distinct: HashSet<&String> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (COUNT, COUNT));
}

async fn a_lease_is_moved_by_its_holder_alone(world: &World) {
    let store = &world.store;
    add(store, vec![deliver("a", 10), deliver("b", 10)]).await;
    let mine = claim(store, 10, 10).await;
    assert_eq!(store.postpone(&mine[1..], at(20)).await.expect("moved"), 1);
    assert_eq!(ids(&claim(store, 20, 10).await), [mine[1].work.id()], "due again");
    let longer = store.extend(&mine[0], at(100)).await.expect("held").expect("mine");
    assert_eq!(
        (longer.until, claim(store, 99, 10).await.len()),
        (at(100), 1),
        "only what the other lease held"
    );
    assert_eq!(store.extend(&mine[0], at(300)).await.expect("answered"), None, "the lease is another by now");
    let others = claim(store, 100, 10).await;
    assert_eq!(ids(&others), [mine[0].work.id()], "as old as it was");
    assert_eq!(others[0].due_at, at(10));
    let late = Claimed { lease: longer, ..mine[0].clone() };
    assert_eq!(store.postpone(&[late], at(0)).await.expect("answered"), 0, "another holds it");
    assert_eq!(claim(store, 150, 10).await.len(), 0);
    assert_eq!(store.postpone(&[], at(0)).await.expect("answered"), 0);
}

async fn what_cannot_be_read_holds_up_nothing_else(world: &World) {
    let store = &world.store;
    add(store, vec![deliver("a", 1), deliver("b", 2), deliver("c", 3)]).await;
    world.execute("UPDATE due SET body = '{\"work\":\"of a later version\"}' WHERE id = 'deliver:a'").await;
    assert_eq!(ids(&claim(store, 10, 2).await), ["deliver:b"], "the first is not for this program");
    assert_eq!(ids(&claim(store, 10, 2).await), ["deliver:c"]);
    assert_eq!(store.figures().due_unreadable, 1);
    assert_eq!(store.backlog().await.expect("read").pending, 3, "it is kept for one that can read it");
    world
        .execute("UPDATE due SET body = replace(body, 'of a later version', '') WHERE id = 'deliver:a'")
        .await;
    assert_eq!(claim(store, 69, 2).await.len(), 0, "and comes again after a while");
    assert_eq!(store.figures().due_unreadable, if store.kind() == "sqlite" { 1 } else { 2 });
}

async fn a_clock_that_is_ahead_takes_nothing_from_others(world: &World) {
    let store = &world.store;
    let Some(now) = store.database_time().await.expect("answered") else { return };
    let after = |seconds| Due { at: now + Duration::from_secs(seconds), ..deliver("a", 0) };
    add(store, vec![after(0)]).await;
    let two_minutes_ahead = now + Duration::from_secs(120);
    let claim = || store.claim(two_minutes_ahead, LEASE, DueKind::Delivery, 10);
    assert_eq!(claim().await.expect("claimed").len(), 1, "it is due for the database too");
    add(store, vec![after(60)]).await;
    assert_eq!(claim().await.expect("claimed").len(), 0, "another may hold it for a minute");
}

fn dispatch(due_at: i64, ends: i64) -> Due {
    let work = DueJob::Dispatch { session: session_id("s"), task: task_id("t"), attempt: 1 };
    Due::new(work, at(due_at)).until(at(ends))
}

async fn what_is_over_is_a_timer_whoever_holds_it(world: &World) {
    let store = &world.store;
    add(store, vec![dispatch(10, 30)]).await;
    assert_eq!(store.next_due(DueKind::Timer).await.expect("read"), Some(at(30)));
    assert_eq!(claim(store, 10, 10).await.len(), 1, "it is being sent until 70");
    assert_eq!(ids(&claim_timers(store, 29, 10).await), [""; 0]);
    let over = claim_timers(store, 30, 10).await;
    assert_eq!(ids(&over), ["attempt:t-1"]);
    assert_eq!(over[0].work, dispatch(0, 0).work);
    assert_eq!(ids(&claim_timers(store, 31, 10).await), [""; 0], "once, as long as the lease lasts");
    assert_eq!(ids(&claim(store, 89, 10).await), [""; 0]);
    assert_eq!(ids(&claim_timers(store, 90, 10).await), ["attempt:t-1"], "then another takes over");
}

async fn an_attempt_is_one_row_from_its_delivery_to_its_timeout(world: &World) {
    let store = &world.store;
    add(store, vec![dispatch(10, 30)]).await;
    let timeout = DueJob::Timeout { session: session_id("s"), task: task_id("t"), attempt: 1 };
    add(store, vec![Due::new(timeout.clone(), at(30))]).await;
    assert_eq!(store.backlog().await.expect("read").pending, 1);
    assert_eq!(ids(&claim(store, 20, 10).await), [""; 0], "it is not sent any more");
    assert_eq!(ids(&claim_timers(store, 29, 10).await), [""; 0]);
    let over = claim_timers(store, 30, 10).await;
    assert_eq!(over.iter().map(|claimed| &claimed.work).collect::<Vec<_>>(), [&timeout]);
}

async fn what_is_over_leaves_room_for_timers(world: &World) {
    let store = &world.store;
    let ended = |number: u32| {
        let work = DueJob::Dispatch { session: session_id("s"), task: task_id("t"), attempt: number };
        Due::new(work, at(10)).until(at(30))
    };
    add(store, (1..=20).map(ended).chain([timer("other", 40)]).collect()).await;
    let claimed = claim_timers(store, 40, 8).await;
    assert!(ids(&claimed).contains(&timer("other", 0).work.id()), "{:?}", ids(&claimed));
    assert_eq!(claimed.len(), 5, "a part of them is what is over");
}

async fn what_is_over_and_set_free_is_over_at_once(world: &World) {
    let store = &world.store;
    add(store, vec![dispatch(10, 30)]).await;
    assert_eq!(claim_timers(store, 30, 10).await.len(), 1);
    store.release().await.expect("released");
    assert_eq!(ids(&claim_timers(store, 31, 10).await), ["attempt:t-1"]);
}
