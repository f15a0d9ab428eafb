//! Decisions that take long: whoever else is connected is served meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Database, PATIENCE, Server, Setup, on_each_database};

on_each_database![others_are_served_while_decisions_take_long];

const SESSIONS: usize = 8;
const ITEMS: usize = 1_000;
/// Pairs of so many items are nearly all that one expression may look at.
const COMPARED: usize = 350;

/// What was done beside the threads that serve connections.
fn long_work(server: &Server) -> u64 {
    let text = server.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix("signalbox_long_work_total "));
    line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no such metric: {text}"))
}

fn others_are_served_while_decisions_take_long(database: &Database) {
    // One thread serves all connections.
    let server = Setup::new(database).env("TOKIO_WORKER_THREADS", "1").start();
    let starter = server.register_at("starter", "http://127.0.0.1:9/run", &[]);
    let workflow = json!({"id": "long", "name": "Long", "tasks": [
        {"taskId": "look", "when": "input.few.exists(x, input.few.exists(y, x + y > 0))"},
        {"taskId": "each", "forEach": "input.many", "when": "index < 0"}]});
    let input = json!({"few": vec![0; COMPARED], "many": vec![0; ITEMS]});
    let before = long_work(&server);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut served = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(server.get("/health").status, 200);
                served += 1;
            }
            served
        });
        let starts: Vec<_> =
            (0..SESSIONS).map(|_| scope.spawn(|| server.trigger(&starter, &workflow, &input))).collect();
        for start in starts {
            let session = start.join().expect("started");
            let done = server.session_becomes_within(PATIENCE * 4, &session, "completed");
            assert_eq!(done["tasks"].as_array().map(Vec::len), Some(ITEMS + 2));
            assert_eq!(done["tasks"][0]["status"], Value::from("skipped"), "{}", done["tasks"][0]);
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(beside.join().expect("served") > 0);
    });
    // Each of them began with a long expression, and went on with a long list.
    assert!(long_work(&server) - before >= 2 * SESSIONS as u64, "{}", long_work(&server));
}
