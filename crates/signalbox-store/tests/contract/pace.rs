//! How fast retention removes things, measured beside commits. Not run by default: `cargo test -p signalbox-store --test
//! contract pace -- --ignored --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signalbox_core::Decision;
use signalbox_core::event::Level;
use signalbox_store::Prune;
use tokio::time::Instant;

use crate::samples::{event_at, tenant_id};
use crate::world::{World, at};

const TENANTS: usize = 4;
const ENTRIES: usize = 100_000;
const ENTRIES_AT_ONCE: usize = 1_000;

async fn measure(world: &World, name: &str) {
    let store = &world.store;
    let written = Instant::now();
    for number in 0..TENANTS * ENTRIES / ENTRIES_AT_ONCE {
        let events = vec![event_at("a", Level::Info, at(1)); ENTRIES_AT_ONCE];
        let decision = Decision { events, ..Decision::default() };
        let tenant = tenant_id(&format!("t{}", number % TENANTS));
        store.commit(&tenant, decision, at(0), None).await.expect("written");
    }
    let written = written.elapsed();
    let is_over = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn({
        let (store, is_over) = (store.clone(), Arc::clone(&is_over));
        async move {
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !is_over.load(Ordering::Relaxed) {
                let started = Instant::now();
                let events = vec![event_at("b", Level::Info, at(1_000))];
                let decision = Decision { events, ..Decision::default() };
                store.commit(&tenant_id("t0"), decision, at(0), None).await.expect("written");
                longest = longest.max(started.elapsed());
                count += 1;
            }
            (count, longest)
        }
    });
    let (old, piece) = (at(100), Duration::from_millis(5));
    let prune = Prune {
        events_before: old,
        sessions_before: old,
        messages_before: old,
        now: old,
        limit: 20_000,
        piece,
    };
    let (started, mut removed) = (Instant::now(), 0);
    loop {
        let pruned = store.prune(prune).await.expect("pruned");
        removed += pruned.removed;
        if !pruned.has_more {
            break;
        }
    }
    let took = started.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let (count, longest) = beside.await.expect("no panic");
    let rate = |rows: u64, took: Duration| u128::from(rows) * 1_000 / took.as_millis().max(1);
    println!(
        "{name}: written {} rows/s, removed {removed} at {} rows/s; beside it {} commits/s, the longest {longest:?}",
        rate((TENANTS * ENTRIES) as u64, written),
        rate(removed, took),
        rate(count, took),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn sqlite() {
    let world = World::sqlite().await;
    measure(&world, "SQLite").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn postgres() {
    let Some(world) = World::postgres().await else { return };
    measure(&world, "PostgreSQL").await;
    world.end().await;
}
