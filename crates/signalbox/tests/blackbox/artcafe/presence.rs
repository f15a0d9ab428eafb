//! Who is connected: shown on every surface, waited for, and swept when a server dies.

use std::thread;

use serde_json::{Value, json};

use super::client::{Socket, register};
use crate::support::{AFTER_A_CRASH, Api, Database, Server, eventually, items, on_each_database, within};

on_each_database![
    who_is_connected_shows_on_every_surface,
    a_wait_for_a_command_ends_with_its_answer,
    agents_of_a_server_that_died_are_offline_when_it_is_back,
    a_task_that_its_agent_never_had_goes_to_another,
    an_agent_that_is_registered_anew_has_to_connect_anew,
];

fn agent(api: &Api, id: &str) -> Value {
    api.get(&format!("/api/v1/agents/{id}")).is(200)
}

fn becomes(api: &Api, id: &str, status: &str) -> Value {
    eventually("the agent's status", || {
        let agent = agent(api, id);
        if agent["status"] == status { Ok(agent) } else { Err(agent.to_string()) }
    })
}

fn who_is_connected_shows_on_every_surface(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let id = register(&api, "a");
    assert_eq!(agent(&api, &id)["status"], "offline");
    let socket = Socket::connect(&api, &id);
    let online = becomes(&api, &id, "online");
    assert!(online["connected"] == true && online["connected_since"].is_string(), "{online}");
    let shown = api.get(&format!("/v1/agents/{id}")).is(200)["data"].clone();
    assert_eq!(
        (&shown["presence"], &shown["presenceSince"]),
        (&json!("connected"), &online["connected_since"])
    );
    let state = api.get(&format!("/v1/opscore/agent/{id}/state")).is(200);
    assert_eq!((&state["presence"], &state["state"]), (&json!("connected"), &json!("unknown")));
    assert_eq!(items(&api.get("/v1/agents?presence=connected").is(200)).len(), 1);

    drop(socket);
    let offline = becomes(&api, &id, "offline");
    assert!(offline["disconnected_at"].is_string() && offline["connected"] == false, "{offline}");
    assert!(offline["last_seen"].as_str() <= offline["disconnected_at"].as_str(), "{offline}");
    let shown = api.get(&format!("/v1/agents/{id}")).is(200)["data"].clone();
    assert_eq!(
        (&shown["presence"], &shown["presenceSince"]),
        (&json!("offline"), &offline["disconnected_at"])
    );
    let message = json!({"senderId": "s", "messageType": "hello", "payload": {}});
    let problem = api.post(&format!("/v1/agents/{id}/run"), &message).problem(400);
    assert!(problem.detail.contains("has not been connected since"), "{}", problem.detail);
    let log = api.get(&format!("/v1/opscore/logs?agent={id}")).is(200).to_string();
    assert!(log.contains("connected") && log.contains("is not connected any more"), "{log}");
}

fn a_wait_for_a_command_ends_with_its_answer(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let id = register(&api, "a");
    let mut socket = Socket::connect(&api, &id);
    for (status, field) in [("success", "result"), ("error", "error")] {
        let (waiting, path) = (server.api(), format!("/api/v1/agents/{id}/commands?wait=true"));
        let waiter =
            thread::spawn(move || waiting.post(&path, &json!({"command": "x", "timeout": 60})).is(200));
        let command = socket.expect("command");
        assert_eq!(command["data"]["timeout"], 60.0, "{command}");
        socket.done("response", &json!({"command_id": command["id"], "status": status, field: {"n": 1}}));
        let answered = waiter.join().expect("an answer");
        assert_eq!((&answered["command_id"], &answered["status"]), (&command["id"], &json!(status)));
        assert_eq!(answered[field], json!({"n": 1}));
    }
}

fn agents_of_a_server_that_died_are_offline_when_it_is_back(database: &Database) {
    let mut server = Server::start(database);
    let api = server.api();
    let id = register(&api, "a");
    let _socket = Socket::connect(&api, &id);
    becomes(&api, &id, "online");
    server.kill();
    server.restart();
    // Where nodes may share a database, it takes a while until one is taken for gone.
    within(AFTER_A_CRASH, "the agent to be offline", || {
        let agent = agent(&server.api(), &id);
        if agent["status"] == "offline" { Ok(()) } else { Err(agent.to_string()) }
    });
}

fn a_task_that_its_agent_never_had_goes_to_another(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let able = |name: &str| {
        let body = json!({"name": name, "capabilities": ["read"]});
        api.post("/api/v1/agents", &body).is(201)["agent_id"].as_str().expect("its id").to_owned()
    };
    let (first, second) = (able("first"), able("second"));
    let mut socket = Socket::connect(&api, &first);
    socket.answers_pings = false;
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentCapability": "read"}]});
    let session = api.trigger(&first, &definition, &json!({}));
    socket.expect("command");
    drop(socket);
    becomes(&api, &first, "offline");
    let mut socket = Socket::connect(&api, &second);
    let command = socket.expect("command");
    assert!(command["id"].as_str().is_some_and(|id| id.ends_with("-2")), "{command}");
    socket.done("response", &json!({"command_id": command["id"], "status": "success", "result": 1}));
    api.session_becomes(&session, "completed");
}

fn an_agent_that_is_registered_anew_has_to_connect_anew(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let id = register(&api, "a");
    let mut socket = Socket::connect(&api, &id);
    becomes(&api, &id, "online");
    let body = json!({"agentName": "a", "version": "2", "capabilities": []});
    api.post("/v1/agents/register?replace=true", &body).is(200);
    assert_eq!(socket.end(), Some(4001));
    becomes(&api, &id, "offline");
    let _socket = Socket::connect(&api, &id);
    becomes(&api, &id, "online");
}
