//! Destinations that are slow, dead or hanging: each costs only itself, and what waits for it ends in time.

use std::time::Duration;

use serde_json::json;

use crate::support::{Agent, AgentReply, Database, PATIENCE, Server, Setup, eventually, on_each_database};

on_each_database![
    slow_endpoints_hold_up_nobody_else,
    what_waits_for_a_dead_endpoint_ends_in_time,
    a_hanging_tool_holds_up_no_delivery,
    what_waits_for_one_destination_is_bounded,
];

/// Much less than the 15 s that a slow endpoint takes its place for.
const SOON: Duration = Duration::from_secs(5);

/// A number of messages to a new agent goes out, each soon.
fn all_go_out_soon(server: &Server) {
    let good = Agent::start();
    let id = server.register("good", &good, &[]);
    for n in 0..10 {
        let message = server.run(&id, &json!({"n": n}));
        assert_eq!(good.next_within(SOON).header("x-message-id"), message);
    }
}

fn slow_endpoints_hold_up_nobody_else(database: &Database) {
    let setup = Setup::new(database).arg("--deliveries-max").arg("256");
    let server = setup.arg("--deliveries-per-destination-max").arg("16").start();
    let slow: Vec<_> = (0..20).map(|_| Agent::answering(|_, _| AgentReply::Hang)).collect();
    for (n, agent) in slow.iter().enumerate() {
        let id = server.register(&format!("slow {n}"), agent, &[]);
        for n in 0..20 {
            server.run(&id, &json!({"n": n}));
        }
    }
    eventually("the room is used", || {
        let count: usize = slow.iter().map(Agent::count).sum();
        if count >= 140 { Ok(()) } else { Err(format!("{count} are in flight")) }
    });
    all_go_out_soon(&server);
}

fn what_waits_for_a_dead_endpoint_ends_in_time(database: &Database) {
    let setup = Setup::new(database).arg("--delivery-backoff-initial").arg("50ms");
    let server = setup.arg("--delivery-backoff-max").arg("200ms").start();
    let mut dead = Agent::start();
    let id = server.register("dead", &dead, &[]);
    dead.stop();
    let sent: Vec<_> = (0..60).map(|n| server.run(&id, &json!({"n": n}))).collect();
    for message in &sent {
        let shown = server.message_becomes(message, "dead", PATIENCE * 4);
        assert!(shown["attempts"].as_u64().is_some_and(|attempts| attempts <= 8), "{shown}");
    }
    assert_eq!(server.all_pages("/v1/dead-letters", 100).len(), sent.len());
    let told = server.stderr();
    assert!(told.contains("a message is given up") && told.contains(&id), "{told}");
    dead.resume();
    server.replace("dead", &dead.url(), &[]);
    let message = server.run(&id, &json!({"n": "new"}));
    assert_eq!(dead.next_within(SOON).header("x-message-id"), message, "it is back, and tried at once");
}

fn a_hanging_tool_holds_up_no_delivery(database: &Database) {
    let setup = Setup::new(database).arg("--deliveries-max").arg("16");
    let server = setup.start();
    let hangs = Agent::answering(|_, _| AgentReply::Hang);
    let tool = json!({"name": "hangs", "description": "", "parameters": {}, "endpoint": hangs.url()});
    server.post("/v1/tools", &tool).succeeded();
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "tool": "hangs"}]});
    let idle = server.register_at("idle", "http://127.0.0.1:9/", &[]);
    for _ in 0..40 {
        server.trigger(&idle, &definition, &json!({}));
    }
    let call = hangs.next();
    assert!(call.header("x-message-id").ends_with("-1"), "{}", call.header("x-message-id"));
    assert_eq!(call.header("x-attempt"), "1");
    all_go_out_soon(&server);
}

fn what_waits_for_one_destination_is_bounded(database: &Database) {
    let server = Setup::new(database).arg("--waiting-per-destination-max").arg("64").start();
    let mut agent = Agent::start();
    let id = server.register("away", &agent, &[]);
    agent.stop();
    let numbered = |n: u32| {
        json!({
            "senderId": "test", "messageType": "text", "payload": {"n": n}, "messageId": format!("msg_number-{n}"),
        })
    };
    let accepted = (0..100)
        .map(|n| server.post(&format!("/v1/agents/{id}/run"), &numbered(n)))
        .take_while(|answer| answer.status == 202)
        .count();
    assert_eq!(accepted, 64);
    let refused = server.post(
        &format!("/v1/agents/{id}/run"),
        &json!({"senderId": "test", "messageType": "text", "payload": {}}),
    );
    let problem = refused.problem(429);
    assert!(problem.kind.ends_with("/too-many-waiting"), "{}", problem.kind);
    assert!(problem.detail.contains("waiting_per_destination_max"), "{}", problem.detail);
    // What was accepted is answered as it was then, also now; and what differs is told as what it is.
    let run = format!("/v1/agents/{id}/run");
    assert_eq!(server.post(&run, &numbered(0)).is(202)["data"]["messageId"], "msg_number-0");
    let mut other = numbered(0);
    other["payload"] = json!({"n": "another"});
    server.post(&run, &other).problem(409);
    server.post(&run, &numbered(1_000)).problem(429);
    all_go_out_soon(&server);
    agent.resume();
    server.replace("away", &agent.url(), &[]);
    for _ in 0..accepted {
        agent.next();
    }
    eventually("messages are accepted again", || {
        let answer = server.post(
            &format!("/v1/agents/{id}/run"),
            &json!({"senderId": "test", "messageType": "text", "payload": {}}),
        );
        if answer.status == 202 { Ok(()) } else { Err(answer.status.to_string()) }
    });
}
