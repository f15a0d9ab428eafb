//! Agents and channels over two nodes: work reaches an agent whichever node holds its connection, and what is published on
//! one node reaches those who are subscribed on the other, in order and whole, also when the bus was away meanwhile.

use std::thread;

use serde_json::{Value, json};

use super::client::{Socket, register};
use crate::support::{Deployment, PATIENCE, Server, bus_warning, eventually, on_the_bus};

fn channel(server: &Server, name: &str) -> String {
    let made = server.post("/api/v1/channels", &json!({"name": name})).is(201);
    made["channel_id"].as_str().expect("its id").to_owned()
}

fn connected(server: &Server, name: &str) -> (String, Socket) {
    let agent = register(&server.api(), name);
    let socket = Socket::connect(&server.api(), &agent);
    (agent, socket)
}

fn sequences(socket: &mut Socket, count: usize) -> Vec<u64> {
    (0..count).map(|_| socket.expect("message")["data"]["sequence"].as_u64().expect("a sequence")).collect()
}

/// Publishes live until the other node has it: a subscription takes a moment to be known across a network.
fn until_heard(publisher: &mut Socket, reader: &mut Socket, subject: &str) {
    let mut probe = 0;
    eventually("a live message to cross", || {
        probe += 1;
        publisher.done("publish", &json!({"subject": subject, "payload": {"probe": probe}}));
        reader.poll_message().map(drop).ok_or_else(|| format!("nothing after {probe}"))
    });
}

/// Waits until a node shows an agent with this status.
#[track_caller]
fn shows(node: &Server, agent: &str, status: &str) {
    eventually("the agent's status", || {
        let agent = node.get(&format!("/api/v1/agents/{agent}")).is(200);
        if agent["status"] == status { Ok(()) } else { Err(agent.to_string()) }
    });
}

/// A node has a command done by an agent and waits for its answer; what the agent got.
#[track_caller]
fn commands(node: &Server, agent: &str, socket: &mut Socket) -> Value {
    let (api, path) = (node.api(), format!("/api/v1/agents/{agent}/commands?wait=true"));
    let waiter = thread::spawn(move || api.post(&path, &json!({"command": "x", "timeout": 60})).is(200));
    let command = socket.expect("command");
    socket.done("response", &json!({"command_id": command["id"], "status": "success", "result": 7}));
    let answered = waiter.join().expect("an answer");
    assert_eq!((&answered["command_id"], &answered["result"]), (&command["id"], &json!(7)));
    command
}

/// A node has a task with this input done by an agent, in one try.
#[track_caller]
fn gives_a_task(node: &Server, agent: &str, socket: &mut Socket, input: &Value) {
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentId": agent}]});
    let session = node.trigger(agent, &definition, input);
    let command = socket.expect("command");
    assert_eq!(
        (&command["data"]["command"], &command["data"]["args"]["attempt"]),
        (&json!("execute_task"), &json!(1))
    );
    assert_eq!(command["data"]["args"]["parameters"], *input);
    socket.done("response", &json!({"command_id": command["id"], "status": "success", "result": 1}));
    node.session_becomes(&session, "completed");
}

#[test]
fn work_on_one_node_reaches_an_agent_that_another_holds() {
    let Some(deployment) = Deployment::new("work across nodes") else { return };
    let [one, two] = [(), ()].map(|()| deployment.setup().arg("--body-bytes-max").arg("4194304").start());
    let agent = register(&one.api(), "worker");
    let mut socket = Socket::connect(&two.api(), &agent);
    [&one, &two].into_iter().for_each(|node| shows(node, &agent, "online"));
    commands(&one, &agent, &mut socket);
    let message = one.run(&agent, &json!({"n": 1}));
    assert_eq!(socket.expect("message")["id"], message);
    socket.has_no_message();
    two.message_becomes(&message, "delivered", PATIENCE);
    gives_a_task(&one, &agent, &mut socket, &json!({"n": 2}));
    // One that is larger than what goes over the bus is sent by the node that holds the connection.
    gives_a_task(&one, &agent, &mut socket, &json!({"page": "p".repeat(3 << 19)}));

    let made = one.post(&format!("/api/v1/agents/{agent}/commands"), &json!({"command": "y"})).is(202);
    let command = socket.expect("command");
    assert_eq!(command["id"], made["command_id"]);
    let path = format!("/api/v1/agents/{agent}/commands/{}/cancel", command["id"].as_str().expect("its id"));
    one.post(&path, &json!({"reason": "no need"})).is(200);
    let cancelled = socket.expect("command")["data"].clone();
    let args = json!({"command_id": command["id"], "reason": "no need"});
    assert_eq!((&cancelled["command"], &cancelled["args"]), (&json!("cancel_command"), &args));

    drop(socket);
    [&one, &two].into_iter().for_each(|node| shows(node, &agent, "offline"));
}

#[test]
fn an_agent_holds_one_connection_on_all_nodes_and_none_once_it_is_removed() {
    let Some(deployment) = Deployment::new("takeover across nodes") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    let (agent, mut first) = connected(&one, "mover");
    shows(&two, &agent, "online");
    let mut second = Socket::connect(&two.api(), &agent);
    assert_eq!(first.end(), Some(4001));
    commands(&one, &agent, &mut second);
    one.delete(&format!("/api/v1/agents/{agent}")).succeeded();
    assert_eq!(second.end(), Some(4404));
}

#[test]
fn without_the_bus_what_is_kept_comes_and_what_is_not_is_refused() {
    let Some((mut nats, deployment)) = Deployment::with_own_nats("agents without a bus") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    let live = json!({"name": "live", "retention": {"max_messages": 0}});
    let live = one.post("/api/v1/channels", &live).is(201)["channel_id"].as_str().expect("its id").to_owned();
    let ((_, mut asker), (there, mut other)) = (connected(&one, "asker"), connected(&two, "other"));
    other.done("subscribe", &json!({"subject": "news"}));
    until_heard(&mut asker, &mut other, "news");
    nats.kill();
    for node in [&one, &two] {
        eventually("the node to miss its bus", || bus_warning(node).ok_or(String::new()));
    }
    for (kind, data) in [
        ("request", json!({"to": there, "payload": 1})),
        ("request", json!({"subject": "news", "payload": 1})),
        ("publish", json!({"subject": "news", "payload": 1})),
    ] {
        assert_eq!(asker.refused(kind, &data)["code"], "bus-unavailable", "{kind} {data}");
    }
    one.get(&format!("/api/v1/channels/{live}/presence")).problem(503);
    one.post(&format!("/api/v1/channels/{live}/messages"), &json!({"payload": 1})).problem(503);
    asker.done("message", &json!({"to": there, "payload": "kept"}));
    while other.expect("message")["data"]["payload"] != "kept" {}
    let (late, mut socket) = connected(&one, "late");
    commands(&one, &late, &mut socket);
    nats.restart();
    [&one, &two].into_iter().for_each(on_the_bus);
    until_heard(&mut asker, &mut other, "news");
    commands(&one, &there, &mut other);
}

#[test]
fn what_one_node_publishes_the_other_delivers_in_order() {
    let Some(deployment) = Deployment::new("channels across nodes") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    let id = channel(&one, "orders");
    let ((first, mut here), (second, mut there)) = (connected(&one, "here"), connected(&two, "there"));
    for reader in [&mut here, &mut there] {
        reader.done("subscribe", &json!({"subject": "orders"}));
    }
    let ((_, mut from_one), (_, mut from_two)) = (connected(&one, "a"), connected(&two, "b"));
    for number in 0..100 {
        from_one.send("publish", &json!({"subject": "orders", "payload": {"one": number}}));
        from_two.send("publish", &json!({"channel_id": id, "payload": {"two": number}}));
    }
    let expected: Vec<u64> = (1..=200).collect();
    assert_eq!((sequences(&mut here, 200), sequences(&mut there, 200)), (expected.clone(), expected));
    let presence = one.get(&format!("/api/v1/channels/{id}/presence")).is(200);
    let agents: Vec<&Value> =
        presence["agents"].as_array().expect("a list").iter().map(|one| &one["agent_id"]).collect();
    assert_eq!(agents, [&json!(first), &json!(second)], "on both nodes");
}

#[test]
fn agents_on_two_nodes_message_and_ask_each_other() {
    let Some(deployment) = Deployment::new("messages across nodes") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    let ((asker, mut asking), (answerer, mut answering)) =
        (connected(&one, "asker"), connected(&two, "answerer"));
    // It is connected once it is answered.
    answering.has_no_message();
    asking.done("message", &json!({"to": answerer, "payload": "hello"}));
    let message = answering.expect("message");
    assert_eq!((&message["data"]["from"], &message["data"]["payload"]), (&json!(asker), &json!("hello")));
    answering.done("subscribe", &json!({"subject": "work.*"}));
    until_heard(&mut asking, &mut answering, "work.probe");
    for whom in [json!({"to": answerer}), json!({"subject": "work.now"})] {
        let mut data = whom.clone();
        data["payload"] = json!("who?");
        let id = asking.send("request", &data);
        let request = answering.expect("request");
        answering.done("reply", &json!({"reply_to": request["data"]["reply_to"], "payload": "me"}));
        let reply = asking.expect("reply")["data"].clone();
        assert_eq!(reply, json!({"request_id": id, "from": answerer, "payload": "me"}), "{whom}");
    }
    assert_eq!(asking.refused("request", &json!({"subject": "idle", "payload": 1}))["code"], "no-responders");
}

#[test]
fn what_the_bus_lost_is_read_from_the_store() {
    let Some((mut nats, deployment)) = Deployment::with_own_nats("channels without a bus") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    let id = channel(&one, "orders");
    let ((_, mut reader), (_, mut publisher)) = (connected(&two, "reader"), connected(&one, "publisher"));
    reader.done("subscribe", &json!({"subject": "orders"}));
    publisher.done("publish", &json!({"subject": "orders", "payload": "before"}));
    assert_eq!(sequences(&mut reader, 1), [1]);
    nats.kill();
    for number in 0..50 {
        publisher.done("publish", &json!({"subject": "orders", "payload": number}));
    }
    assert_eq!(sequences(&mut reader, 50), (2..=51).collect::<Vec<_>>(), "without the bus, a little later");
    nats.restart();
    [&one, &two].into_iter().for_each(on_the_bus);
    one.post(&format!("/api/v1/channels/{id}/messages"), &json!({"payload": "after"})).is(202);
    assert_eq!(sequences(&mut reader, 1), [52]);
}
