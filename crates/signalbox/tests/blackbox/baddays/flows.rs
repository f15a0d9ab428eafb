//! `kill -9` in the middle of a hundred sessions of every kind: each ends, and each task is settled once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{AFTER_A_CRASH, Database, Server, Worker, eventually, items, on_each_database, within};

on_each_database![a_hundred_sessions_survive_a_kill];

const SESSIONS: usize = 100;

/// Lists, joins, a tool, a sleep, a child, and undoing: what is in the middle of anything when the process dies.
fn workflow(n: usize) -> Value {
    let mut workflow = json!({"id": format!("mixed-{}", n % 2), "name": "Mixed", "maxParallel": 3, "tasks": [
        {"taskId": "read", "agentCapability": "load", "forEach": "input.list", "parameters": {"n": "${item}"},
            "compensate": {"tool": "echo", "parameters": {"n": "${item}"}}},
        {"taskId": "say", "tool": "echo", "dependsOn": ["read"], "parameters": {"all": "${tasks.read.result}"}},
        {"taskId": "nap", "sleep": "20ms", "dependsOn": ["read"]},
        {"taskId": "inner", "workflow": "inner", "dependsOn": ["nap"], "parameters": {"n": 1}},
        {"taskId": "join", "agentCapability": "load", "dependsOn": ["say", "inner"]}]});
    if n % 2 == 1 {
        let fails = json!({"taskId": "fails", "tool": "nowhere", "dependsOn": ["join"], "maxRetries": 0});
        workflow["tasks"].as_array_mut().expect("tasks").push(fails);
    }
    workflow
}

fn a_hundred_sessions_survive_a_kill(database: &Database) {
    let mut server = Server::start(database);
    let workers: Vec<Worker> =
        (0..6).map(|n| Worker::start(&server.api(), &format!("worker {n}"), &["load"])).collect();
    let inner =
        json!({"id": "inner", "name": "Inner", "tasks": [{"taskId": "do", "agentCapability": "load"}]});
    server.post("/v1/opscore/workflows", &inner).is(201);
    let input = json!({"list": [1, 2, 3]});
    let sessions: Vec<String> =
        (0..SESSIONS).map(|n| server.trigger(&workers[0].id, &workflow(n), &input)).collect();
    for share in [4, 2] {
        eventually("some of the sessions to end", || {
            let over = sessions.iter().filter(|session| is_over(&server.session(session))).count();
            if over >= SESSIONS / 10 / share { Ok(()) } else { Err(format!("{over} ended")) }
        });
        server.kill();
        server.restart();
    }
    for (n, session) in sessions.iter().enumerate() {
        let expected = if n % 2 == 0 { "completed" } else { "failed" };
        let ended = within(AFTER_A_CRASH * 2, "the session to end", || {
            let session = server.session(session);
            if is_over(&session) { Ok(session) } else { Err(session.to_string()) }
        });
        assert_eq!(ended["status"], expected, "{ended}");
        let undone = ended["tasks"].as_array().expect("tasks").iter();
        let undone = undone.filter(|task| task["taskId"].as_str().is_some_and(|id| id.starts_with("undo:")));
        assert_eq!(undone.count(), if n % 2 == 0 { 0 } else { 3 });
        assert_settled_once(&server, session, &ended);
    }
    let open = items(&server.get("/v1/opscore/sessions?status=running&limit=1000").is(200));
    assert_eq!(open, Vec::<Value>::new(), "no session within a session is left");
}

fn is_over(session: &Value) -> bool {
    ["completed", "failed", "cancelled"].iter().any(|status| session["status"] == *status)
}

/// Each task of a session has one end in its history.
fn assert_settled_once(server: &Server, session: &str, ended: &Value) {
    let history = server.all_pages(&format!("/v1/opscore/sessions/{session}/events"), 1_000);
    let ends = ["task.completed", "task.failed", "task.skipped", "task.cancelled"];
    let mut settled = BTreeMap::new();
    for event in history.iter().filter(|event| ends.iter().any(|end| event["type"] == *end)) {
        *settled.entry(event["taskId"].to_string()).or_insert(0) += 1;
    }
    assert!(settled.values().all(|count| *count == 1), "{session}: {settled:?}");
    assert_eq!(settled.len(), ended["tasks"].as_array().expect("tasks").len(), "{session}: {settled:?}");
}
