//! Who is connected: shown on every surface, waited for, and swept when a server dies.

use std::thread;

use serde_json::{Value, json};

use super::client::{Frame, Socket, register};
use crate::support::{
    AFTER_A_CRASH, Agent, AgentReply, Api, Database, PATIENCE, Server, Setup, eventually, items,
    on_each_database, within,
};

on_each_database![
    who_is_connected_shows_on_every_surface,
    a_wait_for_a_command_ends_with_its_answer,
    agents_of_a_server_that_died_are_offline_when_it_is_back,
    a_task_that_its_agent_never_had_goes_to_another,
    an_agent_that_is_registered_anew_has_to_connect_anew,
    the_last_sign_of_life_is_the_same_on_every_surface,
    what_an_agent_says_of_itself_shows_on_every_surface,
    a_heartbeat_that_tells_another_state_is_a_report,
    connections_that_race_leave_nobody_online_who_is_not,
    what_the_last_heartbeat_told_outlives_a_stop,
    an_agent_that_never_connected_says_so,
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
    assert!(online["connection_id"].as_str().is_some_and(|id| id.starts_with("con_")), "{online}");
    assert!(online["node"].as_str().is_some_and(|node| node.starts_with("nod_")), "{online}");
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
    assert!(offline["connection_id"].is_null() && offline["node"].is_null(), "{offline}");
    assert!(offline["last_seen"].as_str() <= offline["disconnected_at"].as_str(), "{offline}");
    let shown = api.get(&format!("/v1/agents/{id}")).is(200)["data"].clone();
    assert_eq!(
        (&shown["presence"], &shown["presenceSince"]),
        (&json!("offline"), &offline["disconnected_at"])
    );
    let message = json!({"senderId": "s", "messageType": "hello", "payload": {}});
    let accepted = api.post(&format!("/v1/agents/{id}/run"), &message).is(202);
    let waiting = accepted["data"]["messageId"].as_str().expect("its id");
    assert_eq!(api.message(waiting)["status"], "scheduled", "it may be back");
    assert_eq!(Socket::connect(&api, &id).expect("message")["id"], waiting);
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

/// When an agent was last seen, by each surface.
fn seen(api: &Api, id: &str) -> [Option<String>; 3] {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    [
        text(&agent(api, id)["last_seen"]),
        text(&api.get(&format!("/v1/agents/{id}")).is(200)["data"]["lastSeen"]),
        text(&api.get(&format!("/v1/opscore/agent/{id}/state")).is(200)["lastSeen"]),
    ]
}

fn the_last_sign_of_life_is_the_same_on_every_surface(database: &Database) {
    let server = Setup::new(database).arg("--heartbeat-interval").arg("3s").start();
    let api = server.api();
    let id = register(&api, "a");
    // Whatever it is: a heartbeat, a message of any kind, a poll.
    let mut socket = Some(Socket::connect(&api, &id));
    for sign in ["heartbeat", "nonsense", "poll"] {
        let since = agent(&api, &id)["connected_since"].as_str().map(str::to_owned);
        let before = seen(&api, &id)[0].clone().max(since);
        eventually("the sign of life to show", || {
            match (sign, &mut socket) {
                ("poll", held) => {
                    drop(held.take());
                    drop(api.get(&format!("/api/v1/agents/{id}/inbox?wait=0")));
                }
                (sign, Some(socket)) => drop(socket.send(sign, &json!({}))),
                _ => {}
            }
            let seen = seen(&api, &id);
            let is_moved = seen[0] > before && seen[1] == seen[0] && seen[2] == seen[0];
            let since = agent(&api, &id)["connected_since"].as_str().map(str::to_owned);
            if is_moved && seen[0] > since { Ok(()) } else { Err(format!("{sign}: {before:?}, {seen:?}")) }
        });
    }
}

fn what_an_agent_says_of_itself_shows_on_every_surface(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let id = register(&api, "a");
    let mut socket = Socket::connect(&api, &id);
    for (said, state) in [("busy", "active"), ("error", "error"), ("online", "idle")] {
        socket.done("status", &json!({"status": said, "note": said}));
        assert_eq!(agent(&api, &id)["status"], said);
        let shown = api.get(&format!("/v1/agents/{id}")).is(200)["data"].clone();
        assert_eq!((&shown["state"], &shown["presence"]), (&json!(state), &json!("connected")));
        let shown = api.get(&format!("/v1/opscore/agent/{id}/state")).is(200);
        assert_eq!((&shown["state"], &shown["presence"]), (&json!(state), &json!("connected")));
    }
}

fn a_heartbeat_that_tells_another_state_is_a_report(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let id = register(&api, "a");
    let mut socket = Socket::connect(&api, &id);
    let history = |api: &Api| api.all_pages(&format!("/v1/opscore/agent/{id}/history"), 100).len();
    let mut beat = |status: &str| {
        socket.send("heartbeat", &json!({"agent_id": id, "status": status, "cpu_usage": 0.5}));
        socket.expect("heartbeat_ack");
        agent(&api, &id)["status"].clone()
    };
    let mut reports = history(&api);
    // All at the same moment by the agent's clock: it is coarse.
    for (status, is_new) in
        [("online", false), ("busy", true), ("busy", false), ("error", true), ("error", false)]
    {
        assert_eq!(beat(status), status);
        reports += usize::from(is_new);
        assert_eq!(history(&api), reports, "{status}");
    }
    socket.send("heartbeat", &json!({"status": "x".repeat(65)}));
    assert_eq!(socket.expect("error")["data"]["pointer"], "/status");
    // What it is given is not ended by what it says with every heartbeat.
    socket.done("status", &json!({"status": "online"}));
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentId": id}]});
    let session = api.trigger(&id, &definition, &json!({}));
    let command = socket.expect("command")["id"].clone();
    socket.done("status", &json!({"status": "busy", "current_task": command}));
    for status in ["online", "error"] {
        socket.send("heartbeat", &json!({"status": status}));
        socket.expect("heartbeat_ack");
    }
    let running = api.get(&format!("/v1/opscore/sessions/{session}")).is(200);
    assert_eq!(running["tasks"][0]["status"], "running", "{running}");
    socket.done("response", &json!({"command_id": command, "status": "success", "result": 1}));
    api.session_becomes(&session, "completed");
}

/// Which connection a socket is, where it still is one.
fn alive(socket: &mut Socket) -> Option<Value> {
    socket.try_write(1, br#"{"type":"heartbeat"}"#).ok()?;
    loop {
        match socket.next() {
            Frame::Text(envelope) if envelope["type"] == "heartbeat_ack" => {
                return Some(envelope["data"]["connection_id"].clone());
            }
            Frame::Text(_) => {}
            Frame::End(_) => return None,
        }
    }
}

fn connections_that_race_leave_nobody_online_who_is_not(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let id = register(&api, "a");
    for _ in 0..4 {
        let racing: Vec<_> = (0..6)
            .map(|_| {
                let (api, id) = (server.api(), id.clone());
                thread::spawn(move || Socket::connect(&api, &id))
            })
            .collect();
        let mut sockets: Vec<_> = racing.into_iter().map(|one| one.join().expect("connected")).collect();
        eventually("the agent to be shown as it is", || {
            let held: Vec<Value> = sockets.iter_mut().filter_map(alive).collect();
            let shown = agent(&api, &id);
            let is_so = match held.as_slice() {
                [] => shown["connected"] == false,
                [held] => shown["connection_id"] == *held,
                _ => false,
            };
            if is_so { Ok(()) } else { Err(format!("{held:?}, {shown}")) }
        });
    }
}

fn what_the_last_heartbeat_told_outlives_a_stop(database: &Database) {
    let mut server = Server::start(database);
    let api = server.api();
    let id = register(&api, "a");
    let mut socket = Socket::connect(&api, &id);
    socket.send("heartbeat", &json!({"cpu_usage": 12.5, "queue": 7}));
    socket.expect("heartbeat_ack");
    server.stop_and_restart();
    let figures = agent(&api, &id)["figures"].clone();
    assert_eq!(
        (&figures["cpu_usage"], &figures["metrics"]),
        (&json!(12.5), &json!({"queue": 7})),
        "{figures}"
    );
}

fn an_agent_that_never_connected_says_so(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let id = register(&api, "a");
    let shown = api.get(&format!("/v1/agents/{id}")).is(200)["data"].clone();
    assert_eq!((&shown["presence"], shown.get("presenceSince")), (&json!("offline"), None), "{shown}");
    let shown = api.get(&format!("/v1/opscore/agent/{id}/state")).is(200);
    assert_eq!((&shown["presence"], shown.get("presenceSince")), (&json!("offline"), None), "{shown}");
    let message = json!({"senderId": "s", "messageType": "hello", "payload": {}});
    let problem = api.post(&format!("/v1/agents/{id}/run"), &message).problem(400);
    assert!(problem.detail.contains("has not connected yet"), "{}", problem.detail);
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentId": id}]});
    let session = api.trigger(&id, &definition, &json!({}));
    let waiting = api.get(&format!("/v1/opscore/sessions/{session}")).is(200).to_string();
    assert!(waiting.contains("has not connected yet"), "{waiting}");
}

#[test]
fn a_connection_whose_end_was_not_written_down_is_ended_later() {
    let Some(database) = Database::postgres("a connection whose end was not written down") else { return };
    let server = Setup::new(&database).arg("--heartbeat-interval").arg("1s").start();
    let api = server.api();
    let id = register(&api, "a");
    let socket = Socket::connect(&api, &id);
    becomes(&api, &id, "online");
    database.execute(
        "CREATE TABLE held AS SELECT * FROM agent_statuses; CREATE TABLE offered AS SELECT * FROM available",
    );
    drop(socket);
    becomes(&api, &id, "offline");
    // As though the store had not taken the end; as any other process that commits, it takes the writer's name away.
    database.execute(
        "BEGIN; UPDATE tenant_locks SET writer = NULL; \
         UPDATE held SET version = (SELECT version + 1 FROM agent_statuses); DELETE FROM agent_statuses; \
         INSERT INTO agent_statuses SELECT * FROM held; INSERT INTO available SELECT * FROM offered; COMMIT",
    );
    eventually("the end to be told", || {
        let log = server.stderr();
        if log.contains("connections nobody holds") { Ok(()) } else { Err(log) }
    });
    becomes(&api, &id, "offline");
}

#[test]
fn agents_of_a_node_that_nobody_knows_any_more_are_offline() {
    let Some(database) = Database::postgres("agents of a node that nobody knows") else { return };
    let mut dies = Server::start(&database);
    let id = register(&dies.api(), "a");
    let _socket = Socket::connect(&dies.api(), &id);
    becomes(&dies.api(), &id, "online");
    dies.kill();
    database.execute("DELETE FROM nodes");
    let lives = Server::start(&database);
    becomes(&lives.api(), &id, "offline");
}

#[test]
fn a_node_is_known_until_it_has_drained() {
    let Some(database) = Database::postgres("a node that drains") else { return };
    let mut server = Setup::new(&database).arg("--delivery-timeout").arg("2s").start();
    let silent = Agent::first([AgentReply::Hang]);
    let id = server.register("silent", &silent, &[]);
    server.run(&id, &json!({}));
    silent.next();
    server.terminate();
    eventually("the server to drain", || {
        let known = database.query("SELECT count(*) FROM nodes");
        let log = server.stderr();
        if log.contains("drained") {
            return Ok(());
        }
        assert_eq!(known.as_deref(), Some("1"), "it may be killed yet");
        Err(log)
    });
    server.ended(PATIENCE);
    assert_eq!(database.query("SELECT count(*) FROM nodes").as_deref(), Some("0"));
}

#[test]
fn an_agent_that_cannot_be_read_holds_up_no_other() {
    let Some(database) = Database::postgres("an agent that cannot be read") else { return };
    let mut server = Server::start(&database);
    let api = server.api();
    let spoilt = register(&api, "spoilt");
    let mut socket = Socket::connect(&api, &spoilt);
    socket.answers_pings = false;
    let receives = Agent::first([AgentReply::Hang]);
    let other = server.register("other", &receives, &[]);
    server.run(&spoilt, &json!({}));
    socket.expect("message");
    let message = server.run(&other, &json!({}));
    receives.next();
    server.kill();
    database.execute(&format!("UPDATE agent_statuses SET body = '[]', node = NULL WHERE agent = '{spoilt}'"));
    server.restart();
    assert_eq!(receives.next().header("x-message-id"), message);
    server.message_becomes(&message, "delivered", PATIENCE);
}
