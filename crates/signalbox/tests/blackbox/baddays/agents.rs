//! Agents that refuse, hang, answer half, or answer ten megabytes: each costs only itself.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Agent, AgentReply, Database, Server, eventually, on_each_database};

on_each_database![
    misbehaving_agents_cost_only_themselves,
    a_session_whose_agent_never_answers_can_be_ended,
    an_agent_that_fails_for_a_while_gets_everything_in_the_end,
];

/// Resident memory of the server at the most, in a debug build with ten-megabyte answers under way.
const MEMORY_MAX_KIB: u64 = 300 * 1024;

fn resident_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn misbehaving_agents_cost_only_themselves(database: &Database) {
    let server = Server::start(database);
    let hangs = Agent::answering(|_, _| AgentReply::Hang);
    let half = Agent::answering(|_, _| AgentReply::Half);
    let huge = Agent::answering(|_, _| AgentReply::Huge);
    let mut refuses = Agent::start();
    refuses.stop();
    let mut ids = Vec::new();
    for (name, agent) in [("hangs", &hangs), ("half", &half), ("huge", &huge), ("refuses", &refuses)] {
        ids.push(server.register(name, agent, &[]));
    }
    let good = Agent::start();
    let good_id = server.register("good", &good, &[]);
    for n in 0..40 {
        for id in &ids {
            server.run(id, &json!({"n": n}));
        }
        let message = server.run(&good_id, &json!({"n": n}));
        assert_eq!(good.next().header("x-message-id"), message, "the good one is not held up");
    }
    eventually("ten answers of ten megabytes", || {
        let count = huge.count();
        if count >= 10 { Ok(()) } else { Err(format!("{count}")) }
    });
    let resident = resident_kib(&server);
    assert!(resident < MEMORY_MAX_KIB, "{resident} KiB are resident");
}

fn a_session_whose_agent_never_answers_can_be_ended(database: &Database) {
    let server = Server::start(database);
    let silent = Agent::start();
    let id = server.register("silent", &silent, &[]);
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t"}]});
    let session = server.trigger(&id, &definition, &json!({}));
    let stopped = silent.next();
    server.post(&format!("/v1/opscore/sessions/{session}/cancel"), &json!({})).succeeded();
    server.session_becomes(&session, "cancelled");
    assert_eq!(silent.next().json()["messageType"], "workflow_cancel");
    let next = server.trigger(&id, &definition, &json!({}));
    // It gets nothing else until it says that it has stopped.
    server.complete(&id, &stopped, &Value::Null);
    let given = silent.next();
    server.complete(&id, &given, &Value::Null);
    server.session_becomes(&next, "completed");
}

fn an_agent_that_fails_for_a_while_gets_everything_in_the_end(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::answering(|_, number| AgentReply::Status(if number <= 4 { 503 } else { 200 }));
    let id = server.register("recovers", &agent, &[]);
    let sent: Vec<_> = (0..20).map(|n| server.run(&id, &json!({"n": n}))).collect();
    for message in &sent {
        server.message_becomes(message, "delivered", crate::support::PATIENCE * 4);
    }
}
