//! Tasks, commands and messages over an agent's connection: at least once, whatever happens to it.

use serde_json::{Value, json};

use super::client::{Socket, register};
use crate::support::{Api, Database, KEY, Server, eventually, on_each_database};

on_each_database![
    a_task_is_a_command_and_its_response_settles_it,
    a_failed_response_fails_the_attempt,
    a_command_waits_for_its_agent_and_is_answered_once,
    what_was_sent_and_not_acknowledged_comes_again_after_a_crash,
    a_reconnecting_agent_gets_what_it_has_not_seen,
    a_connection_that_is_not_known_any_more_is_a_gap,
    how_far_a_command_is_shows,
    what_a_process_held_that_died_goes_to_the_next_under_the_same_ids,
    a_command_that_its_agent_dies_of_comes_three_times,
    a_command_that_was_acknowledged_does_not_come_again,
    what_waited_for_an_agent_comes_oldest_first,
    a_second_attempt_says_that_it_is_one,
    an_answer_without_an_id_is_acknowledged_by_what_it_names,
];

fn definition(agent: &str) -> Value {
    json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentId": agent, "parameters": {"n": 7}, "maxRetries": 0}]})
}

fn a_task_is_a_command_and_its_response_settles_it(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    let session = api.trigger(&agent, &definition(&agent), &json!({}));
    let command = socket.expect("command");
    let (id, data) = (command["id"].as_str().expect("an id").to_owned(), &command["data"]);
    assert!(id.starts_with("tsk_") && id.ends_with("-1"), "{command}");
    assert_eq!((&data["command"], &data["args"]["task_id"]), (&json!("execute_task"), &json!(id)));
    assert_eq!(data["args"]["parameters"], json!({"n": 7}));
    assert!(command["sequence"].is_u64(), "{command}");
    socket.done("status", &json!({"status": "busy", "current_task": id, "progress": 45}));
    eventually("the progress to be shown", || {
        let shown = api.session(&session);
        let task = &shown["tasks"][0];
        if task["status"] == "running" && task["progress"] == 45 { Ok(()) } else { Err(task.to_string()) }
    });
    socket.done("response", &json!({"command_id": id, "status": "success", "result": {"sum": 8}}));
    let done = api.session_becomes(&session, "completed");
    assert_eq!(done["tasks"][0]["result"], json!({"sum": 8}), "{done}");
    // Said again, it changes nothing.
    socket.done("response", &json!({"command_id": id, "status": "success", "result": {"sum": 9}}));
    assert_eq!(api.session(&session)["tasks"][0]["result"], json!({"sum": 8}));
}

fn a_failed_response_fails_the_attempt(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    let session = api.trigger(&agent, &definition(&agent), &json!({}));
    let id = socket.expect("command")["id"].clone();
    socket.done("response", &json!({"command_id": id, "status": "error", "error": "the disk is full"}));
    let failed = api.session_becomes(&session, "failed");
    assert!(failed.to_string().contains("the disk is full"), "{failed}");
}

fn command(api: &Api, agent: &str, body: &Value) -> String {
    let made = api.post(&format!("/api/v1/agents/{agent}/commands"), body).is(202);
    made["command_id"].as_str().expect("its id").to_owned()
}

fn a_command_waits_for_its_agent_and_is_answered_once(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let id = command(&api, &agent, &json!({"command": "reload", "args": {"x": 1}, "timeout": 60}));
    let mut socket = Socket::connect(&api, &agent);
    let sent = socket.expect("command");
    assert_eq!((&sent["id"], &sent["data"]["command"]), (&json!(id), &json!("reload")), "{sent}");
    assert_eq!(sent["data"]["args"], json!({"x": 1}));
    let path = format!("/api/v1/agents/{agent}/commands/{id}");
    socket.done("response", &json!({"command_id": id, "status": "success", "result": {"ok": true}}));
    let shown = api.get(&path).is(200);
    assert_eq!((&shown["status"], &shown["result"]), (&json!("success"), &json!({"ok": true})), "{shown}");
    socket.done("response", &json!({"command_id": id, "status": "error", "error": "late"}));
    assert_eq!(api.get(&path).is(200)["status"], "success", "it is answered once");
    let other = Socket::connect(&api, &register(&api, "b"))
        .refused("response", &json!({"command_id": id, "status": "success"}));
    assert_eq!(other["code"], "unknown-command", "it is another agent's");
}

/// Connects with what was seen of an earlier connection.
fn resume(api: &Api, agent: &str, connection: &str, after: u64) -> Socket {
    let path = format!("/api/v1/ws/agent/{agent}?token={KEY}&connection={connection}&after={after}");
    Socket::try_upgrade(api, &path, "").expect("an upgrade")
}

fn connection_of(socket: &mut Socket) -> String {
    socket.send("heartbeat", &json!({}));
    let ack = socket.expect("heartbeat_ack");
    ack["data"]["connection_id"].as_str().expect("its id").to_owned()
}

fn what_was_sent_and_not_acknowledged_comes_again_after_a_crash(database: &Database) {
    let mut server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    socket.answers_pings = false;
    let had = api.run(&agent, &json!({"n": 1}));
    assert_eq!(socket.expect("message")["id"], had);
    socket.send("ack", &json!({"message_id": had}));
    api.message_becomes(&had, "delivered", crate::support::PATIENCE);
    let lost = api.run(&agent, &json!({"n": 2}));
    let first = socket.expect("message");
    assert_eq!((&first["id"], &first["data"]["payload"]), (&json!(lost), &json!({"n": 2})));
    assert_eq!((&first["data"]["from"], &first["data"]["messageType"]), (&json!("test"), &json!("text")));
    server.kill();
    server.restart();
    let api = server.api();
    let mut socket = Socket::connect(&api, &agent);
    let again = socket.expect("message");
    assert_eq!((&again["id"], &again["data"]["payload"]), (&json!(lost), &json!({"n": 2})), "under its id");
    // A pong to what was sent after it says that it is there; it is sent while something is read.
    socket.has_no_message();
    api.message_becomes(&lost, "delivered", crate::support::PATIENCE);
    assert_eq!(api.message(&had)["status"], "delivered");
}

fn a_reconnecting_agent_gets_what_it_has_not_seen(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    socket.answers_pings = false;
    let connection = connection_of(&mut socket);
    let [one, two] = [1, 2].map(|n| api.run(&agent, &json!({"n": n})));
    let mut seen = [socket.expect("message"), socket.expect("message")];
    seen.sort_by_key(|message| message["sequence"].as_u64());
    drop(socket);
    // It says that it saw the first: only the second comes again, at once, under its id and sequence.
    let mut socket = resume(&api, &agent, &connection, seen[0]["sequence"].as_u64().expect("a sequence"));
    let again = socket.expect("message");
    assert_eq!((&again["id"], &again["sequence"]), (&seen[1]["id"], &seen[1]["sequence"]));
    socket.has_no_message();
    for id in [one, two] {
        api.message_becomes(&id, "delivered", crate::support::PATIENCE);
    }
}

fn a_connection_that_is_not_known_any_more_is_a_gap(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = resume(&api, &agent, "con_unknown", 5);
    let gap = socket.expect("gap");
    assert_eq!((&gap["data"]["connection_id"], &gap["data"]["after"]), (&json!("con_unknown"), &json!(5)));
    let connection = connection_of(&mut socket);
    assert!(gap["data"]["reason"].as_str().is_some_and(|reason| reason.contains("not known")), "{gap}");
    drop(socket);
    // One that is known goes on, without its subscriptions and what was live: that is said as well.
    let mut socket = resume(&api, &agent, &connection, 0);
    let gap = socket.expect("gap")["data"].clone();
    assert_eq!(gap["connection_id"], connection);
    assert!(gap["reason"].as_str().is_some_and(|reason| reason.contains("subscribe again")), "{gap}");
}

fn how_far_a_command_is_shows(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    let id = command(&api, &agent, &json!({"command": "index", "timeout": 60}));
    socket.expect("command");
    socket.done("status", &json!({"status": "busy", "current_task": id, "progress": 45}));
    let shown = api.get(&format!("/api/v1/agents/{agent}/commands/{id}")).is(200);
    assert_eq!(shown["progress"], 45, "{shown}");
}

/// Connects, and says what came: all that waited is there before the answer to a heartbeat.
fn commands_on_connecting(api: &Api, agent: &str, least: usize) -> (Socket, Vec<Value>) {
    let mut socket = Socket::connect(api, agent);
    let commands = (0..least).map(|_| socket.expect("command")).collect();
    (socket, commands)
}

fn sent(api: &Api, agent: &str, id: &str) {
    eventually("the command to be sent", || {
        let shown = api.get(&format!("/api/v1/agents/{agent}/commands/{id}")).is(200);
        if shown["status"] == "sent" { Ok(()) } else { Err(shown.to_string()) }
    });
}

fn offline(api: &Api, agent: &str) {
    eventually("the agent to be offline", || {
        let shown = api.get(&format!("/api/v1/agents/{agent}")).is(200);
        if shown["status"] == "offline" { Ok(()) } else { Err(shown.to_string()) }
    });
}

fn what_a_process_held_that_died_goes_to_the_next_under_the_same_ids(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    for is_running in [false, true] {
        let agent = register(&api, &format!("a{is_running}"));
        let mut socket = Socket::connect(&api, &agent);
        let mut workflow = definition(&agent);
        workflow["id"] = json!(format!("w{is_running}"));
        let session = api.trigger(&agent, &workflow, &json!({}));
        let task = socket.expect("command")["id"].clone();
        let id = command(&api, &agent, &json!({"command": "index", "timeout": 60}));
        assert_eq!(socket.expect("command")["id"], id);
        if is_running {
            socket.done("status", &json!({"status": "busy", "current_task": task}));
        }
        socket.send("ack", &json!({"message_id": task}));
        // Its library answers the pings while something is read.
        socket.has_no_message();
        sent(&api, &agent, &id);
        // The process dies with both in hand.
        drop(socket);
        offline(&api, &agent);
        let (mut socket, came) = commands_on_connecting(&api, &agent, 2);
        let mut ids: Vec<&Value> = came.iter().map(|command| &command["id"]).collect();
        ids.sort_by_key(|id| id.to_string());
        let id = json!(id);
        assert_eq!(ids, [&id, &task], "{came:?}");
        for id in ids {
            socket.done("response", &json!({"command_id": id, "status": "success", "result": 1}));
        }
        let done = api.session_becomes(&session, "completed");
        assert_eq!(done["tasks"][0]["attempt"], 1, "{done}");
    }
}

fn a_command_that_its_agent_dies_of_comes_three_times(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let id = command(&api, &agent, &json!({"command": "crash", "timeout": 60}));
    for _ in 0..3 {
        let (mut socket, came) = commands_on_connecting(&api, &agent, 1);
        assert_eq!(came[0]["id"], id);
        socket.has_no_message();
        sent(&api, &agent, &id);
        drop(socket);
        offline(&api, &agent);
    }
    let next = command(&api, &agent, &json!({"command": "other", "timeout": 60}));
    let (mut socket, came) = commands_on_connecting(&api, &agent, 1);
    assert_eq!(came[0]["id"], next, "and not a fourth time");
    socket.done("response", &json!({"command_id": id, "status": "error", "error": "too much"}));
    let shown = api.get(&format!("/api/v1/agents/{agent}/commands/{id}")).is(200);
    assert_eq!((&shown["status"], &shown["attempts"]), (&json!("error"), &json!(3)), "{shown}");
}

fn a_command_that_was_acknowledged_does_not_come_again(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    for by in ["message_id", "sequence"] {
        let agent = register(&api, by);
        let id = command(&api, &agent, &json!({"command": "index", "timeout": 60}));
        let (mut socket, came) = commands_on_connecting(&api, &agent, 1);
        // A pong first, as from a library.
        socket.has_no_message();
        sent(&api, &agent, &id);
        let named = if by == "sequence" { came[0]["sequence"].clone() } else { json!(id) };
        socket.send("ack", &json!({by: named}));
        socket.has_no_message();
        drop(socket);
        offline(&api, &agent);
        let next = command(&api, &agent, &json!({"command": "other", "timeout": 60}));
        let (_socket, came) = commands_on_connecting(&api, &agent, 1);
        assert_eq!(came[0]["id"], next, "by {by}");
    }
}

fn what_waited_for_an_agent_comes_oldest_first(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    for is_polled in [false, true] {
        let sent: Vec<String> = (0..100)
            .map(|n| command(&api, &agent, &json!({"command": "count", "args": {"n": n}, "timeout": 300})))
            .collect();
        let mut came: Vec<String> = Vec::new();
        let of = |envelope: &Value| envelope["id"].as_str().expect("an id").to_owned();
        if is_polled {
            let mut after = 0;
            while came.len() < sent.len() {
                let inbox = api.get(&format!("/api/v1/agents/{agent}/inbox?wait=5&after={after}")).is(200);
                after = inbox["sequence"].as_u64().expect("a sequence");
                let messages = inbox["messages"].as_array().expect("a list");
                assert!(!messages.is_empty(), "{} of them came", came.len());
                came.extend(messages.iter().map(of));
            }
        } else {
            let (mut socket, commands) = commands_on_connecting(&api, &agent, sent.len());
            came.extend(commands.iter().map(of));
            for id in &came {
                socket.done("response", &json!({"command_id": id, "status": "success"}));
            }
            drop(socket);
            offline(&api, &agent);
        }
        assert_eq!(came, sent);
    }
}

fn a_second_attempt_says_that_it_is_one(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    let mut workflow = definition(&agent);
    workflow["tasks"][0]["maxRetries"] = json!(1);
    workflow["tasks"][0]["retry"] = json!({"initial": "10ms"});
    api.trigger(&agent, &workflow, &json!({}));
    for attempt in [1, 2] {
        let command = socket.expect("command");
        assert_eq!(command["data"]["args"]["attempt"], attempt, "{command}");
        socket.done("response", &json!({"command_id": command["id"], "status": "error", "error": "no"}));
    }
}

fn an_answer_without_an_id_is_acknowledged_by_what_it_names(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    let id = command(&api, &agent, &json!({"command": "index", "timeout": 300}));
    let sent = socket.expect("command");
    assert!(sent.to_string().contains("\"timeout\":300"), "{sent}");
    assert!(sent["data"]["timeout"].is_u64(), "a whole number: {sent}");
    let response = json!({"type": "response", "data": {"command_id": id, "status": "success"}});
    socket.send_text(&response.to_string());
    assert_eq!(socket.expect("ack")["data"], json!({"message_id": id}));
    socket.send_text(r#"{"type": "status", "data": {"status": "busy"}}"#);
    assert_eq!(socket.expect("ack")["data"], json!({}));
    let shown = api.get(&format!("/api/v1/agents/{agent}/commands/{id}")).is(200);
    assert!(shown["attempts"].as_u64() >= Some(1), "{shown}");
}
