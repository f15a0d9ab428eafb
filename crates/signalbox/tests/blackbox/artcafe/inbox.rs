//! Long polls: the same guarantees as over a WebSocket.

use std::thread;

use serde_json::{Value, json};

use super::client::{Socket, register};
use crate::support::{Api, Database, PATIENCE, Server, Setup, eventually, on_each_database};

on_each_database![
    what_waits_comes_until_it_is_acknowledged,
    an_agent_works_by_polls_alone,
    a_later_connection_ends_a_poll,
    presence_lasts_for_three_heartbeats_after_a_poll,
];

fn poll(api: &Api, agent: &str, query: &str) -> Value {
    api.get(&format!("/api/v1/agents/{agent}/inbox{query}")).is(200)
}

fn messages(inbox: &Value) -> &Vec<Value> {
    inbox["messages"].as_array().expect("a list")
}

/// Polls until something came.
fn poll_for_some(api: &Api, agent: &str, after: u64) -> Value {
    eventually("something in the inbox", || {
        let inbox = poll(api, agent, &format!("?wait=5&after={after}"));
        if messages(&inbox).is_empty() { Err(inbox.to_string()) } else { Ok(inbox) }
    })
}

fn what_waits_comes_until_it_is_acknowledged(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let empty = poll(&api, &agent, "?wait=0");
    assert!(messages(&empty).is_empty() && empty["connection_id"].is_string(), "{empty}");
    let id = api.run(&agent, &json!({"n": 1}));
    let first = poll_for_some(&api, &agent, 0);
    assert_eq!(
        (&messages(&first)[0]["id"], &messages(&first)[0]["data"]["payload"]),
        (&json!(id), &json!({"n": 1}))
    );
    // As though the answer had been lost.
    let again = poll_for_some(&api, &agent, 0);
    assert_eq!(messages(&again), messages(&first));
    let after = again["sequence"].as_u64().expect("a sequence");
    let next = poll(&api, &agent, &format!("?wait=0&after={after}"));
    assert!(messages(&next).is_empty(), "{next}");
    api.message_becomes(&id, "delivered", PATIENCE);
    api.get(&format!("/api/v1/agents/{agent}/inbox?wait=61")).problem(422);
    api.get("/api/v1/agents/agt_none/inbox").problem(404);
    server.without_key().get(&format!("/api/v1/agents/{agent}/inbox")).problem(401);
}

fn an_agent_works_by_polls_alone(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let path = format!("/api/v1/agents/{agent}/inbox");
    poll(&api, &agent, "?wait=0");
    let definition =
        json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentId": agent, "parameters": {}}]});
    let session = api.trigger(&agent, &definition, &json!({}));
    let inbox = poll_for_some(&api, &agent, 0);
    let id = messages(&inbox)[0]["id"].clone();
    let answers = api.post(
        &path,
        &json!([
            {"type": "heartbeat", "id": "h"},
            {"type": "response", "id": "r", "data": {"command_id": id, "status": "success", "result": 7}},
            {"type": "nonsense", "id": "n"},
        ]),
    );
    let answers = answers.is(200)["messages"].clone();
    let told: Vec<_> =
        answers.as_array().expect("a list").iter().map(|answer| answer["type"].clone()).collect();
    assert_eq!(told, ["heartbeat_ack", "ack", "error"], "{answers}");
    assert_eq!(answers[1]["data"]["message_id"], "r");
    api.session_becomes(&session, "completed");
    let one = api.post(&path, &json!({"type": "heartbeat", "id": "h"})).is(200);
    assert_eq!(one["messages"][0]["type"], "heartbeat_ack");
    api.post(&path, &json!("x")).is(200);
}

fn a_later_connection_ends_a_poll(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    poll(&api, &agent, "?wait=0");
    let polling = thread::spawn({
        let (api, agent) = (api.clone(), agent.clone());
        move || api.get(&format!("/api/v1/agents/{agent}/inbox?wait=60"))
    });
    eventually("the poll to wait", || {
        let metrics = String::from_utf8(api.get("/metrics").body).expect("text");
        let open = metrics.lines().find(|line| line.starts_with("signalbox_requests_in_flight "));
        // The poll, and this look at it.
        if open == Some("signalbox_requests_in_flight 2") { Ok(()) } else { Err(format!("{open:?}")) }
    });
    let mut socket = Socket::connect(&api, &agent);
    socket.done("status", &json!({"status": "online"}));
    assert_eq!(polling.join().expect("answered").status, 409);
}

fn presence_lasts_for_three_heartbeats_after_a_poll(database: &Database) {
    let server = Setup::new(database).arg("--heartbeat-interval").arg("200ms").start();
    let api = server.api();
    let agent = register(&api, "a");
    poll(&api, &agent, "?wait=0");
    let status = || api.get(&format!("/api/v1/agents/{agent}")).is(200)["status"].clone();
    eventually("the agent to be offline", || {
        let status = status();
        if status == "offline" { Ok(()) } else { Err(status.to_string()) }
    });
    poll(&api, &agent, "?wait=0");
    assert_eq!(status(), "online");
}
