//! One tenant's flood beside another tenant's requests. Nothing is held against a clock: what a quiet tenant waits in the
//! flood is compared with what it waits without, in the same run, in turns.
//!
//! The flood comes at a pace: ten times what its tenant may. One that sends as fast as it can, from the same two cores that
//! the server and its tests run on, would measure only who gets the processor.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{make_tenant, with_platform_key};
use crate::support::{Api, Connection, Database, Request, now};

/// Connections of the flood.
const CONNECTIONS: u32 = 256;
/// Time between two requests of one of them.
const PACE: Duration = Duration::from_millis(500);
/// What the tenant of the flood may send in a second.
const MAY: u64 = 50;
/// Requests of the tenant that is measured, in each round.
const MEASURED: usize = 300;
const ROUNDS: usize = 3;
/// Measurements before a machine that is too busy counts as a failure.
const TRIES: usize = 5;

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

    /// The 99th of a hundred answers.
    fn p99(&self) -> Duration {
        let mut connection = Connection::open(&self.api.address()).expect("a connection");
        let request = self.request();
        let mut took: Vec<Duration> = (0..MEASURED)
            .map(|_| {
                let sent = now().instant;
                assert_eq!(connection.send(&request).expect("an answer").status, 200);
                sent.elapsed()
            })
            .collect();
        took.sort_unstable();
        took[MEASURED * 99 / 100]
    }

    /// Sends on all connections, at their pace, while `during` goes on; also how many were answered 200 and 429.
    fn flood<T>(&self, during: impl FnOnce() -> T) -> (T, u64, u64) {
        let (is_over, answered, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let total = || answered.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed);
        let outcome = std::thread::scope(|scope| {
            for number in 0..CONNECTIONS {
                let (is_over, answered, refused) = (&is_over, &answered, &refused);
                scope.spawn(move || {
                    let mut connection = Connection::open(&self.api.address()).expect("a connection");
                    let request = self.request();
                    // Spread over the time between two.
                    let mut pause = PACE * number / CONNECTIONS;
                    while !is_over.load(Ordering::Relaxed) {
                        std::thread::park_timeout(pause);
                        pause = PACE;
                        match connection.send(&request).expect("an answer").status {
                            200 => answered.fetch_add(1, Ordering::Relaxed),
                            429 => refused.fetch_add(1, Ordering::Relaxed),
                            status => panic!("{status}"),
                        };
                    }
                });
            }
            // Once as many were answered as there are connections, the flood is there.
            while total() < u64::from(CONNECTIONS) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            let _over = Over(&is_over);
            during()
        });
        (outcome, answered.into_inner(), refused.into_inner())
    }
}

/// Ends the flood when it is dropped, however that comes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

#[test]
fn a_flood_of_one_tenant_leaves_another_s_p99_within_twice_of_what_it_is_without() {
    let server = with_platform_key(&Database::sqlite()).start();
    let quiet = Tenant::new(make_tenant(&server, &json!({"name": "quiet"})).1);
    let limits = json!({"name": "flooding", "limits": {"requests_per_second": MAY}});
    let flooding = Tenant::new(make_tenant(&server, &limits).1);
    quiet.p99();
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let (mut without, mut flooded) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(quiet.p99());
            let (p99, answered, refused) = flooding.flood(|| quiet.p99());
            assert!(refused > answered, "the flood was limited: {answered} answered, {refused} refused");
            flooded.push(p99);
        }
        let (without, flooded) = (median(without), median(flooded));
        eprintln!("p99 without the flood {without:?}, in it {flooded:?}");
        if flooded <= without * 2 {
            return;
        }
        seen.push((without, flooded));
    }
    panic!("in the flood it is more than twice as slow: {seen:?}");
}

/// Refusing is cheap: without a wait, one that asks as fast as it is answered would be refused tens of thousands of times a
/// second.
#[test]
fn what_is_over_the_limit_is_answered_after_a_moment() {
    let server = with_platform_key(&Database::sqlite()).start();
    let limits = json!({"name": "flooding", "limits": {"requests_per_second": 1}});
    let flooding = make_tenant(&server, &limits).1;
    let mut connection = Connection::open(&flooding.address()).expect("a connection");
    let request = flooding.authorized(Request::get("/v1/agents"));
    let began = now().instant;
    let statuses: Vec<u16> = (0..8).map(|_| connection.send(&request).expect("an answer").status).collect();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 4, "{statuses:?}");
    let least = Duration::from_millis(100) * u32::try_from(refused).expect("few");
    assert!(began.elapsed() >= least, "{refused} were refused in {:?}", began.elapsed());
}
