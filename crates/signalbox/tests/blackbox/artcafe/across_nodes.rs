//! Channels over two nodes: what is published on one reaches those who are subscribed on the other, in order and whole,
//! also when the bus was away meanwhile.

use serde_json::{Value, json};

use super::client::{Socket, register};
use crate::support::{Deployment, Server, eventually, on_the_bus};

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
