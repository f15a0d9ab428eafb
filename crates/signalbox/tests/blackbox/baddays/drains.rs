//! `kill -9` while a server drains: who is shown as connected is, and nothing that was acknowledged is lost.

use serde_json::{Value, json};

use crate::artcafe::client::{Socket, register};
use crate::support::{
    AFTER_A_CRASH, Agent, AgentReply, Api, Database, Request, Server, Setup, on_each_database, within,
};

on_each_database![
    a_kill_as_soon_as_a_drain_begins_loses_nothing,
    a_kill_once_agents_were_sent_away_loses_nothing,
];

fn a_kill_as_soon_as_a_drain_begins_loses_nothing(database: &Database) {
    is_killed_while_it_drains(database, |_, _| {});
}

fn a_kill_once_agents_were_sent_away_loses_nothing(database: &Database) {
    is_killed_while_it_drains(database, |_, sockets| {
        for socket in sockets {
            assert_eq!(socket.end(), Some(1012));
        }
    });
}

fn definition(agent: &str) -> Value {
    json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentId": agent, "maxRetries": 0}]})
}

fn is_connected(api: &Api, id: &str) -> bool {
    api.get(&format!("/api/v1/agents/{id}")).is(200)["connected"] == true
}

/// Kills a server that drains, and cannot end as something is in flight, once `before` has returned.
fn is_killed_while_it_drains(database: &Database, before: impl FnOnce(&Server, &mut [Socket])) {
    let mut server = Setup::new(database).arg("--delivery-timeout").arg("25s").start();
    let api = server.api();
    let hangs = Agent::first([AgentReply::Hang]);
    let endpoint = server.register("hangs", &hangs, &[]);
    let ids = ["works", "deaf", "commanded"].map(|name| register(&api, name));
    let [works, deaf, commanded] = &ids;
    let mut sockets = ids.each_ref().map(|id| Socket::connect(&api, id));
    sockets[1].answers_pings = false;

    // A task at which its agent works, a message on its way to an endpoint, one that its agent does not say it has, a
    // command that is not answered, and a report, all of them acknowledged.
    let session = api.trigger(works, &definition(works), &json!({}));
    let task = sockets[0].expect("command")["id"].clone();
    sockets[0].done("status", &json!({"status": "busy", "current_task": task, "progress": 45}));
    let under_way = api.run(&endpoint, &json!({"n": 1}));
    assert_eq!(hangs.next().header("x-message-id"), under_way);
    let unheard = api.run(deaf, &json!({"n": 2}));
    assert_eq!(sockets[1].expect("message")["id"], unheard);
    let path = format!("/api/v1/agents/{commanded}/commands");
    let command = api.post(&path, &json!({"command": "x", "timeout": 600})).is(202)["command_id"].clone();
    assert_eq!(sockets[2].expect("command")["id"], command);
    sockets[2].done("status", &json!({"status": "busy", "note": "just before"}));

    server.terminate();
    // What is still acknowledged in a drain is as good as any other.
    let body = json!({"senderId": "s", "messageType": "text", "payload": {"n": 3}});
    let late = api.try_send(Request::post(format!("/v1/agents/{endpoint}/run"), &body));
    let late = late.ok().filter(|answer| answer.status == 202).map(|answer| answer.is(202));
    before(&server, &mut sockets);
    server.kill();
    let log = server.stderr();
    assert!(!log.contains("drained"), "it was killed before its drain had ended: {log}");

    server.restart();
    let api = server.api();
    within(AFTER_A_CRASH, "nobody to be connected", || {
        let held: Vec<&String> = ids.iter().filter(|id| is_connected(&api, id)).collect();
        if held.is_empty() { Ok(()) } else { Err(format!("{held:?}")) }
    });
    let mut sockets = ids.each_ref().map(|id| Socket::connect(&api, id));
    ids.iter().for_each(|id| assert!(is_connected(&api, id), "{id}"));
    let history = api.all_pages(&format!("/v1/opscore/agent/{commanded}/history"), 100);
    assert!(history.iter().any(|entry| entry["details"]["note"] == "just before"), "{history:?}");
    sockets[0].done("response", &json!({"command_id": task, "status": "success", "result": 8}));
    let done = api.session_becomes(&session, "completed");
    assert_eq!(done["tasks"][0]["result"], 8, "{done}");
    assert_eq!(sockets[1].expect("message")["id"], unheard, "it comes again");
    sockets[1].send("ack", &json!({"message_id": unheard}));
    sockets[2].done("response", &json!({"command_id": command, "status": "success", "result": 9}));
    let shown = api.get(&format!("{path}/{}", command.as_str().expect("its id"))).is(200);
    assert_eq!((&shown["status"], &shown["result"]), (&json!("success"), &json!(9)), "{shown}");
    let late = late.map(|answer| answer["data"]["messageId"].as_str().expect("its id").to_owned());
    for message in [under_way, unheard].into_iter().chain(late) {
        api.message_becomes(&message, "delivered", AFTER_A_CRASH);
    }
}
