//! The engine in a simulated world: thousands of seeds, each a storm of faults and the calm after it.
//!
//! Every seed gives one world (see [`world`]) and always the same one. `SIGNALBOX_SIM_SEEDS` says how many are
//! run (default 10,000), `SIGNALBOX_SIM_START` which is the first; `SIGNALBOX_SIM_SEED` runs a single one and
//! tells its story. A seed that breaks an invariant is printed with the command that runs it again.

#![cfg(test)]

mod agents;
mod calls;
mod calm;
mod check;
mod check_decisions;
mod check_rows;
mod check_wholes;
mod connections;
mod dice;
mod driver;
mod due;
mod line;
mod lives;
mod people;
mod schedules;
mod store;
mod weather;
mod workflows;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Figures, World};

const SEEDS: u64 = 10_000;
/// Threads that run seeds.
const THREADS: u64 = 2;

#[test]
fn every_world_keeps_the_promises() {
    if let Some(seed) = number("SIGNALBOX_SIM_SEED") {
        let figures = World::new(seed, true).run();
        println!("{figures:?}");
        return;
    }
    let (start, count) =
        (number("SIGNALBOX_SIM_START").unwrap_or(0), number("SIGNALBOX_SIM_SEEDS").unwrap_or(SEEDS));
    let next = AtomicU64::new(start);
    let failed = AtomicU64::new(u64::MAX);
    let total = std::thread::scope(|scope| {
        let run = || run_seeds(&next, start.saturating_add(count), &failed);
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread that ends"))
            .fold(Figures::default(), add)
    });
    println!("{count} worlds: {total:?}");
    let failed = failed.into_inner();
    assert!(
        failed == u64::MAX,
        "seed {failed} breaks a promise; run it again with\n\n    SIGNALBOX_SIM_SEED={failed} cargo test -p signalbox-core --test sim -- --nocapture\n"
    );
}

#[test]
fn a_seed_always_gives_the_same_world() {
    for seed in 0..20 {
        assert_eq!(World::new(seed, false).run(), World::new(seed, false).run(), "seed {seed}");
    }
}

fn run_seeds(next: &AtomicU64, end: u64, failed: &AtomicU64) -> Figures {
    let mut total = Figures::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || failed.load(Ordering::Relaxed) != u64::MAX {
            return total;
        }
        match catch_unwind(AssertUnwindSafe(|| World::new(seed, false).run())) {
            Ok(figures) => total = add(total, figures),
            Err(_) => drop(failed.fetch_min(seed, Ordering::Relaxed)),
        }
    }
}

fn add(one: Figures, other: Figures) -> Figures {
    Figures {
        commits: one.commits + other.commits,
        conflicts: one.conflicts + other.conflicts,
        folds: one.folds + other.folds,
        crashes: one.crashes + other.crashes,
        sessions: one.sessions + other.sessions,
        completed: one.completed + other.completed,
        dispatches: one.dispatches + other.dispatches,
        digest: one.digest ^ other.digest,
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
