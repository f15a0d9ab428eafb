//! Direct messages, and requests with their replies.

use serde_json::json;

use super::client::{Socket, register};
use crate::support::{Agent, Database, Server, Setup, eventually, on_each_database};

on_each_database![
    a_direct_message_reaches_a_connected_agent_and_one_with_an_endpoint,
    a_direct_message_to_an_agent_that_is_away_waits_for_it,
    no_more_direct_messages_wait_for_an_agent_than_may,
    agents_whose_names_have_dots_keep_their_messages_apart,
    a_request_gets_the_first_reply_and_is_told_of_nobody,
    a_request_to_a_subject_gets_one_reply_of_many,
];

fn a_direct_message_reaches_a_connected_agent_and_one_with_an_endpoint(database: &Database) {
    let server = Server::start(database);
    let (api, endpoint) = (server.api(), Agent::start());
    let [sender, receiver] = ["sender", "receiver"].map(|name| register(&api, name));
    let posted = server.register("posted", &endpoint, &[]);
    let (mut sending, mut receiving) = (Socket::connect(&api, &sender), Socket::connect(&api, &receiver));
    // It is connected once it is answered.
    receiving.has_no_message();
    let id = sending.send("message", &json!({"to": receiver, "payload": {"hello": 1}}));
    assert_eq!(sending.answer(&id).expect("accepted")["message_id"], id);
    let message = receiving.expect("message");
    assert_eq!(
        (&message["data"]["from"], &message["data"]["payload"]),
        (&json!(sender), &json!({"hello": 1}))
    );
    sending.done("message", &json!({"to": posted, "payload": "by post"}));
    let delivery = endpoint.next().json();
    assert_eq!((&delivery["senderId"], &delivery["payload"]), (&json!(sender), &json!("by post")));
    // The same id and payload again is the same message; another payload is refused.
    sending.send_as("message", &id, &json!({"to": receiver, "payload": {"hello": 1}}));
    assert_eq!(sending.answer(&id).expect("a repeat")["message_id"], id);
    sending.send_as("message", &id, &json!({"to": receiver, "payload": {"hello": 2}}));
    assert_eq!(sending.answer(&id).expect_err("another")["code"], "message-id-reused");
    // Another sender's ids are its own.
    receiving.send_as("message", &id, &json!({"to": sender, "payload": "back"}));
    receiving.answer(&id).expect("accepted");
    assert_eq!(sending.payloads(1), [json!("back")]);
    receiving.has_no_message();
}

fn a_direct_message_to_an_agent_that_is_away_waits_for_it(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let [sender, receiver, never] = ["sender", "receiver", "never"].map(|name| register(&api, name));
    Socket::connect(&api, &receiver).has_no_message();
    let mut sending = Socket::connect(&api, &sender);
    let error = sending.refused("message", &json!({"to": never, "payload": 1}));
    assert_eq!(
        error["code"], "unreachable-agent",
        "it has neither endpoint nor ever had a connection: {error}"
    );
    eventually("the receiver to be away", || {
        let shown = api.get(&format!("/api/v1/agents/{receiver}")).is(200);
        if shown["status"] == "offline" { Ok(()) } else { Err(shown.to_string()) }
    });
    sending.done("message", &json!({"to": receiver, "payload": "later"}));
    let message = Socket::connect(&api, &receiver).expect("message")["data"].clone();
    assert_eq!((&message["payload"], &message["from"]), (&json!("later"), &json!(sender)), "{message}");
}

fn no_more_direct_messages_wait_for_an_agent_than_may(database: &Database) {
    let server = Setup::new(database).arg("--waiting-per-destination-max").arg("64").start();
    let api = server.api();
    let [sender, receiver] = ["sender", "receiver"].map(|name| register(&api, name));
    let (mut sending, mut receiving) = (Socket::connect(&api, &sender), Socket::connect(&api, &receiver));
    // What it does not acknowledge waits.
    receiving.answers_pings = false;
    sending.send_as("message", "first", &json!({"to": receiver, "payload": 1}));
    sending.answer("first").expect("accepted");
    for number in 1..64 {
        sending.done("message", &json!({"to": receiver, "payload": number}));
    }
    let error = sending.refused("message", &json!({"to": receiver, "payload": 2}));
    assert_eq!(error["code"], "too-many-waiting", "{error}");
    let path = format!("/api/v1/agents/{sender}/inbox");
    let envelope = json!({"type": "message", "id": "p", "data": {"to": receiver, "payload": 3}});
    let answers = api.post(&path, &envelope).is(200);
    assert_eq!(answers["messages"][0]["data"]["code"], "too-many-waiting", "{answers}");
    // A repeat adds nothing.
    let repeat = json!({"type": "message", "id": "first", "data": {"to": receiver, "payload": 1}});
    assert_eq!(api.post(&path, &repeat).is(200)["messages"][0]["type"], "ack");
}

fn agents_whose_names_have_dots_keep_their_messages_apart(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let mut sockets = ["a", "a.b"].map(|id| {
        let made = api.post("/api/v1/agents", &json!({"name": id, "agent_id": id})).is(201);
        Socket::connect(&api, made["agent_id"].as_str().expect("its id"))
    });
    let receiver = register(&api, "receiver");
    let mut receiving = Socket::connect(&api, &receiver);
    for (socket, id) in sockets.iter_mut().zip(["b.c", "c"]) {
        socket.send_as("message", id, &json!({"to": receiver, "payload": "the same"}));
        socket.answer(id).expect("accepted");
        receiving.expect("message");
    }
}

fn a_request_gets_the_first_reply_and_is_told_of_nobody(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let [asker, answerer, away] = ["asker", "answerer", "away"].map(|name| register(&api, name));
    let (mut asking, mut answering) = (Socket::connect(&api, &asker), Socket::connect(&api, &answerer));
    answering.has_no_message();
    let id = asking.send("request", &json!({"to": answerer, "payload": {"what": 6}, "timeout": 20}));
    let request = answering.expect("request");
    assert_eq!((&request["data"]["from"], &request["data"]["payload"]), (&json!(asker), &json!({"what": 6})));
    let reply = json!({"reply_to": request["data"]["reply_to"], "payload": 42});
    answering.done("reply", &reply);
    let replied = asking.expect("reply")["data"].clone();
    assert_eq!(replied, json!({"request_id": id, "from": answerer, "payload": 42}));
    assert_eq!(answering.refused("reply", &reply)["pointer"], "/reply_to", "nobody waits any more");
    assert_eq!(asking.refused("request", &json!({"to": away, "payload": 1}))["code"], "no-responders");
    assert_eq!(asking.refused("request", &json!({"to": "agt_none", "payload": 1}))["code"], "unknown-agent");
    assert_eq!(
        asking.refused("request", &json!({"subject": "nobody", "payload": 1}))["code"],
        "no-responders"
    );
    let silent = asking.refused("request", &json!({"to": answerer, "payload": 1, "timeout": 0.05}));
    assert_eq!(silent["code"], "reply-timeout");
}

fn a_request_to_a_subject_gets_one_reply_of_many(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let mut workers: Vec<Socket> = (0..3)
        .map(|number| {
            let agent = register(&api, &format!("worker {number}"));
            let mut socket = Socket::connect(&api, &agent);
            socket.done("subscribe", &json!({"subject": "work.*"}));
            socket
        })
        .collect();
    let asker = register(&api, "asker");
    let mut asking = Socket::connect(&api, &asker);
    let id = asking.send("request", &json!({"subject": "work.now", "payload": "who?"}));
    for worker in &mut workers {
        let request = worker.expect("request");
        assert_eq!(request["data"]["subject"], "work.now");
        worker.send("reply", &json!({"reply_to": request["data"]["reply_to"], "payload": "me"}));
    }
    assert_eq!(asking.expect("reply")["data"]["request_id"], id);
    // What comes too late is told to whoever sent it, and to nobody else.
    asking.has_no_message();
    assert!(asking.refused("request", &json!({"subject": "idle", "payload": 1}))["code"] == "no-responders");
}
