//! Long polls: the same guarantees as over a WebSocket.

use std::thread;

use serde_json::{Value, json};

use super::client::{Socket, register};
use crate::support::{Api, Database, PATIENCE, Server, Setup, eventually, on_each_database};

on_each_database![
    what_waits_comes_until_it_is_acknowledged,
    what_waits_comes_after_a_crash_with_word_of_what_is_lost,
    subscriptions_come_over_polls,
    what_was_live_comes_again_until_it_was_had,
    first_polls_at_once_are_of_one_connection,
    a_command_is_answered_by_post,
    an_agent_works_by_polls_alone,
    a_later_connection_ends_a_poll,
    presence_lasts_for_three_heartbeats_after_a_poll,
    what_a_process_held_that_died_comes_over_the_next_connection,
    a_wrong_after_on_a_connection_that_goes_on_is_told_as_such,
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

/// Says something that is not refused.
fn done(api: &Api, agent: &str, envelope: &Value) {
    let answers = api.post(&format!("/api/v1/agents/{agent}/inbox"), envelope).is(200);
    for answer in messages(&answers) {
        assert_ne!(answer["type"], "error", "{answers}");
    }
}

/// All that comes over polls, each acknowledged by the next.
struct Polls<'a> {
    api: &'a Api,
    agent: &'a str,
    after: u64,
    came: Vec<Value>,
}

impl Polls<'_> {
    /// The next envelope of a type.
    fn expect(&mut self, kind: &str) -> Value {
        loop {
            if let Some(at) = self.came.iter().position(|envelope| envelope["type"] == kind) {
                return self.came.remove(at);
            }
            let inbox = poll_for_some(self.api, self.agent, self.after);
            self.after = inbox["sequence"].as_u64().expect("a sequence");
            self.came.extend(messages(&inbox).iter().cloned());
        }
    }
}

fn what_waits_comes_after_a_crash_with_word_of_what_is_lost(database: &Database) {
    let mut server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    poll(&api, &agent, "?wait=0");
    let id = api.run(&agent, &json!({"n": 1}));
    let mut polls = Polls { api: &api, agent: &agent, after: 0, came: Vec::new() };
    assert_eq!(polls.expect("message")["id"], id);
    let after = polls.after;
    server.kill();
    server.restart();
    let api = server.api();
    let mut polls = Polls { api: &api, agent: &agent, after, came: Vec::new() };
    let gap = polls.expect("gap")["data"].clone();
    assert_eq!(gap["after"], after, "{gap}");
    assert!(gap["reason"].as_str().is_some_and(|reason| reason.contains("subscribe again")), "{gap}");
    assert_eq!(polls.expect("message")["id"], id);
    let after = polls.after;
    let empty = poll(&api, &agent, &format!("?wait=0&after={after}"));
    assert!(messages(&empty).is_empty(), "it was told once: {empty}");
    api.message_becomes(&id, "delivered", PATIENCE);
}

fn subscriptions_come_over_polls(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let body = json!({"name": "orders", "retention": {"max_messages": 5}});
    let channel =
        api.post("/api/v1/channels", &body).is(201)["channel_id"].as_str().expect("an id").to_owned();
    let publish = |number: u64| {
        let body = json!({"payload": number});
        api.post(&format!("/api/v1/channels/{channel}/messages"), &body).is(202);
    };
    (1..=10).for_each(publish);
    let agent = register(&api, "a");
    let mut polls = Polls { api: &api, agent: &agent, after: 0, came: Vec::new() };
    done(&api, &agent, &json!({"type": "subscribe", "id": "s", "data": {"subject": "orders", "after": 3}}));
    assert_eq!(polls.expect("ack")["data"]["message_id"], "s");
    let gap = polls.expect("gap")["data"].clone();
    assert_eq!((&gap["from_sequence"], &gap["to_sequence"]), (&json!(4), &json!(5)), "{gap}");
    publish(11);
    for expected in 6..=11 {
        let message = polls.expect("message");
        assert_eq!(
            (&message["data"]["sequence"], &message["data"]["payload"]),
            (&json!(expected), &json!(expected))
        );
    }
    done(&api, &agent, &json!({"type": "unsubscribe", "id": "u", "data": {"subject": "orders"}}));
    publish(12);
    let after = polls.after;
    let empty = poll(&api, &agent, &format!("?wait=0&after={after}"));
    assert!(messages(&empty).is_empty(), "{empty}");
}

fn what_was_live_comes_again_until_it_was_had(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let subscribe = json!({"type": "subscribe", "id": "s", "data": {"subject": "news"}});
    done(&api, &agent, &subscribe);
    let mut publisher = Socket::connect(&api, &register(&api, "publisher"));
    publisher.done("publish", &json!({"subject": "news", "payload": 1}));
    let first = poll_for_some(&api, &agent, 0);
    let kinds = |inbox: &Value| messages(inbox).iter().map(|one| one["type"].clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&first), ["ack", "message"]);
    // As though the answer had been lost.
    let again = poll_for_some(&api, &agent, 0);
    assert_eq!((messages(&again), &again["sequence"]), (messages(&first), &first["sequence"]));
    publisher.done("publish", &json!({"subject": "news", "payload": 2}));
    let after = first["sequence"].as_u64().expect("a sequence");
    let next = poll_for_some(&api, &agent, after);
    assert_eq!((kinds(&next), &messages(&next)[0]["data"]["payload"]), (vec![json!("message")], &json!(2)));
    let after = next["sequence"].as_u64().expect("a sequence");
    assert!(messages(&poll(&api, &agent, &format!("?wait=0&after={after}"))).is_empty());
    // Its subscriptions end with the connection, and it is told.
    let mut socket = Socket::connect(&api, &agent);
    socket.done("status", &json!({"status": "online"}));
    let told = poll_for_some(&api, &agent, after);
    assert_eq!((kinds(&told), &messages(&told)[0]["data"]["after"]), (vec![json!("gap")], &json!(after)));
}

fn first_polls_at_once_are_of_one_connection(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    for round in 0..8 {
        let agent = register(&api, &format!("a{round}"));
        let path = format!("/api/v1/agents/{agent}/inbox");
        let envelope = json!({"type": "heartbeat", "id": "h"});
        let (polled, posted) = thread::scope(|scope| {
            let polling = scope.spawn(|| poll(&api, &agent, "?wait=0"));
            let posting = scope.spawn(|| api.post(&path, &envelope).is(200));
            (polling.join().expect("polled"), posting.join().expect("posted"))
        });
        let connection = &posted["messages"][0]["data"]["connection_id"];
        assert_eq!(
            (connection, &poll(&api, &agent, "?wait=0")["connection_id"]),
            (&polled["connection_id"], connection)
        );
    }
}

fn a_command_is_answered_by_post(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    poll(&api, &agent, "?wait=0");
    let waiting = thread::spawn({
        let (api, path) = (api.clone(), format!("/api/v1/agents/{agent}/commands?wait=true"));
        move || api.post(&path, &json!({"command": "look", "timeout": 60})).is(200)
    });
    let inbox = poll_for_some(&api, &agent, 0);
    let id = messages(&inbox)[0]["id"].clone();
    let data = json!({"command_id": id, "status": "success", "result": {"seen": 7}});
    done(&api, &agent, &json!({"type": "response", "id": "r", "data": data}));
    let answered = waiting.join().expect("answered");
    assert_eq!(
        (&answered["status"], &answered["result"]),
        (&json!("success"), &json!({"seen": 7})),
        "{answered}"
    );
    // What it answered, it has.
    assert!(messages(&poll(&api, &agent, "?wait=0")).is_empty());
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
    let problem = polling.join().expect("answered").problem(409);
    assert!(problem.detail.contains("poll from one place only"), "{}", problem.detail);
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

fn what_a_process_held_that_died_comes_over_the_next_connection(database: &Database) {
    let server = Setup::new(database).arg("--heartbeat-interval").arg("200ms").start();
    let api = server.api();
    let agent = register(&api, "a");
    poll(&api, &agent, "?wait=0");
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentId": agent}]});
    let session = api.trigger(&agent, &definition, &json!({}));
    let inbox = poll_for_some(&api, &agent, 0);
    let task = messages(&inbox)[0]["id"].clone();
    let after = inbox["sequence"].as_u64().expect("a sequence");
    assert!(messages(&poll(&api, &agent, &format!("?wait=0&after={after}"))).is_empty());
    eventually("the agent to be offline", || {
        let status = api.get(&format!("/api/v1/agents/{agent}")).is(200)["status"].clone();
        if status == "offline" { Ok(()) } else { Err(status.to_string()) }
    });
    let mut polls = Polls { api: &api, agent: &agent, after: 0, came: Vec::new() };
    assert_eq!(polls.expect("command")["id"], task);
    let data = json!({"command_id": task, "status": "success"});
    done(&api, &agent, &json!({"type": "response", "id": "r", "data": data}));
    api.session_becomes(&session, "completed");
}

fn a_wrong_after_on_a_connection_that_goes_on_is_told_as_such(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let first = poll(&api, &agent, "?wait=0");
    let next = poll(&api, &agent, "?wait=5&after=7");
    let gap = messages(&next)[0]["data"].clone();
    assert_eq!((&gap["connection_id"], &gap["after"]), (&first["connection_id"], &json!(7)), "{gap}");
    assert!(gap["reason"].as_str().is_some_and(|reason| reason.contains("goes on")), "{gap}");
}
