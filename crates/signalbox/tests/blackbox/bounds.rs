//! What all requests, and all calls, may hold in memory together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Agent, AgentReply, Connection, Database, PATIENCE, Request, Server, Setup, eventually, iso,
    on_each_database,
};

on_each_database![
    bodies_that_are_being_received_share_a_budget,
    bodies_that_are_being_sent_share_a_budget_and_wait_for_it,
    budgets_hold_what_one_body_may_take,
];

const KIB: usize = 1 << 10;

/// The value of a metric without labels.
#[track_caller]
fn metric(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("signalbox_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}

fn bodies_that_are_being_received_share_a_budget(database: &Database) {
    let budget = (1024 * KIB).to_string();
    let server = Setup::new(database).env("SIGNALBOX_INBOUND_BYTES_MAX", &budget).start();
    let agent = Agent::start();
    let id = server.register("reader", &agent, &[]);
    let path = format!("/v1/agents/{id}/run");
    let message =
        |size: usize| json!({"senderId": "s", "messageType": "text", "payload": {"x": "x".repeat(size)}});
    // One that is sent slowly takes nearly all of it.
    let mut slow = Connection::open(&server.address()).expect("a connection");
    let body = message(900 * KIB).to_string();
    let head = server.authorized(Request::new("POST", &path).header("content-type", "application/json"));
    let headers: String = head.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n", body.len());
    let (first, rest) = body.split_at(100);
    slow.write_raw(format!("{head}{first}").as_bytes()).expect("written");
    eventually("its share", || match metric(&server, "inbound_bytes") {
        held if held >= 900_000.0 => Ok(()),
        held => Err(held.to_string()),
    });

    let refused = server.post(&path, &message(200 * KIB));
    assert!(refused.problem(503).detail.contains("inbound_bytes_max"), "{}", refused.shown());
    let keyed = Request::post(&path, &message(200 * KIB)).header("idempotency-key", "k");
    server.send(keyed.clone()).problem(503);
    server.post(&path, &message(100)).is(202);
    server.try_report(&id, "idle", &json!({}), &iso()).is(202);
    assert!(metric(&server, "inbound_refused_total") >= 2.0);

    slow.write_raw(rest.as_bytes()).expect("written");
    assert_eq!(slow.read().expect("an answer").status, 202);
    server.send(keyed).is(202);
    // The larger half of it, read twice on its way, counts once.
    server.send(Request::post(&path, &message(900 * KIB)).header("idempotency-key", "l")).is(202);
    eventually("nothing held", || match metric(&server, "inbound_bytes") {
        0.0 => Ok(()),
        held => Err(held.to_string()),
    });
}

fn bodies_that_are_being_sent_share_a_budget_and_wait_for_it(database: &Database) {
    let (payload, budget) = ((1024 * KIB).to_string(), (3072 * KIB).to_string());
    let server = Setup::new(database)
        .env("SIGNALBOX_PAYLOAD_BYTES_MAX", payload)
        .env("SIGNALBOX_OUTBOUND_BYTES_MAX", budget)
        .env("SIGNALBOX_DELIVERY_TIMEOUT", "60s")
        .start();
    let released = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&released);
    let slow = Agent::answering(move |_, _| {
        while !told.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(5));
        }
        AgentReply::Status(200)
    });
    let id = server.register("slow", &slow, &[]);
    let large = json!({"x": "x".repeat(900 * KIB)});
    let sent: Vec<String> = (0..5).map(|_| server.run(&id, &large)).collect();
    eventually("one that waits", || match metric(&server, "outbound_waits_total") {
        0.0 => Err("none".to_owned()),
        _ => Ok(()),
    });
    // What is small goes at once all the same.
    let quick = Agent::start();
    let other = server.register("quick", &quick, &[]);
    server.run(&other, &json!({}));
    quick.next();
    eventually("as many as fit", || if slow.count() >= 3 { Ok(()) } else { Err(slow.count().to_string()) });
    assert_eq!(slow.count(), 3, "no more are under way than fit");
    released.store(true, Ordering::SeqCst);
    for message in &sent {
        server.message_becomes(message, "delivered", PATIENCE * 2);
    }
    let attempts: Vec<String> = slow.all().iter().map(|sent| sent.header("x-attempt").to_owned()).collect();
    assert_eq!(attempts, ["1"; 5], "waiting is no attempt");
    eventually("nothing held", || match metric(&server, "outbound_bytes") {
        0.0 => Ok(()),
        held => Err(held.to_string()),
    });
}

fn budgets_hold_what_one_body_may_take(database: &Database) {
    let setup = Setup::new(database)
        .env("SIGNALBOX_INBOUND_BYTES_MAX", (512 * KIB).to_string())
        .env("SIGNALBOX_OUTBOUND_BYTES_MAX", (8 * 1024 * KIB).to_string());
    let Err(refused) = setup.try_start() else { panic!("it started") };
    for key in ["inbound_bytes_max", "outbound_bytes_max"] {
        assert!(refused.stderr.contains(key), "{key}: {}", refused.stderr);
    }
}
