//! One tenant's flood beside another tenant's requests. Nothing is held against a clock: the two loads are compared in
//! the same run, in turns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{make_tenant, with_platform_key};
use crate::support::{Api, Connection, Database, Request, now};

/// Connections that send as fast as they are answered.
const CONNECTIONS: usize = 256;
/// Requests of the tenant that is measured, in each round.
const MEASURED: usize = 400;
const ROUNDS: usize = 3;
/// Measurements before a machine that is too busy counts as a failure.
const TRIES: usize = 3;

/// A tenant with an agent whose state it reports and reads.
struct Tenant {
    api: Api,
    path: String,
}

impl Tenant {
    fn new(api: Api) -> Self {
        let agent = api.register_at("agent", "http://127.0.0.1:9/", &[]);
        api.report(&agent, "idle", &json!({}));
        Self { api, path: format!("/v1/opscore/agent/{agent}/state") }
    }

    fn request(&self) -> Request {
        self.api.authorized(Request::get(&*self.path))
    }
}

/// The 99th of a hundred answers to `measured`, while `other` sends on all its connections; and how many of those were
/// answered 200 and 429.
fn p99_beside(measured: &Tenant, other: &Tenant) -> (Duration, u64, u64) {
    let (is_over, answered, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut took = std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = Connection::open(&other.api.address()).expect("a connection");
                let request = other.request();
                while !is_over.load(Ordering::Relaxed) {
                    match connection.send(&request).expect("an answer").status {
                        200 => answered.fetch_add(1, Ordering::Relaxed),
                        429 => refused.fetch_add(1, Ordering::Relaxed),
                        status => panic!("{status}"),
                    };
                }
            });
        }
        // Once every connection of the other has been answered, the load is there.
        while answered.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed) < CONNECTIONS as u64 {
            std::thread::yield_now();
        }
        let mut connection = Connection::open(&measured.api.address()).expect("a connection");
        let request = measured.request();
        let took: Vec<Duration> = (0..MEASURED)
            .map(|_| {
                let sent = now().instant;
                assert_eq!(connection.send(&request).expect("an answer").status, 200);
                sent.elapsed()
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        took
    });
    took.sort_unstable();
    (took[MEASURED * 99 / 100], answered.into_inner(), refused.into_inner())
}

#[test]
fn a_flood_of_one_tenant_leaves_another_s_p99_within_twice_of_a_well_behaved_neighbour_s() {
    let server = with_platform_key(&Database::sqlite()).start();
    let tenant = |name: &str| Tenant::new(make_tenant(&server, &json!({"name": name})).1);
    let (measured, well_behaved) = (tenant("measured"), tenant("well-behaved"));
    let limits = json!({"name": "flooding", "limits": {"requests_per_second": 50}});
    let flooding = Tenant::new(make_tenant(&server, &limits).1);
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let (mut beside, mut flooded) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            beside.push(p99_beside(&measured, &well_behaved).0);
            let (p99, answered, refused) = p99_beside(&measured, &flooding);
            assert!(refused > answered, "the flood was limited: {answered} answered, {refused} refused");
            flooded.push(p99);
        }
        beside.sort_unstable();
        flooded.sort_unstable();
        let (beside, flooded) = (beside[ROUNDS / 2], flooded[ROUNDS / 2]);
        eprintln!("p99 beside a well-behaved neighbour {beside:?}, in a flood {flooded:?}");
        if flooded <= beside * 2 {
            return;
        }
        seen.push((beside, flooded));
    }
    panic!("in a flood it is more than twice as slow: {seen:?}");
}
