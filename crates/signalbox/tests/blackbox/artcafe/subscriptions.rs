//! Subscriptions: what comes over them, in which order, what is told of what does not, and whom a slow reader harms.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::client::{Frame, Socket, register};
use crate::support::{Api, Database, PLATFORM_KEY, Server, Setup, eventually, on_each_database};

on_each_database![
    a_history_comes_in_order_and_then_what_is_live,
    a_subject_without_a_channel_is_live_only,
    a_message_that_matches_several_subscriptions_comes_once,
    no_pattern_leaves_its_tenant,
    a_pattern_goes_on_after_what_was_seen_of_each_channel,
    what_the_channel_keeps_no_longer_is_told,
    subscribing_anew_during_a_replay_loses_and_repeats_nothing,
    a_channel_that_is_made_later_is_heard_from_its_first_message,
    a_slow_reader_is_closed_and_publishers_go_on,
    nothing_acknowledged_is_lost_by_a_kill,
    who_is_subscribed_is_shown_and_told,
    what_does_not_fit_is_refused_and_the_connection_stays,
];

/// Makes a channel and gives its id.
fn channel(server: &Server, name: &str, max_messages: u64) -> String {
    let body = json!({"name": name, "retention": {"max_messages": max_messages}});
    let made = server.post("/api/v1/channels", &body).is(201);
    made["channel_id"].as_str().expect("its id").to_owned()
}

fn publish(api: &Api, channel: &str, payload: &Value) -> u64 {
    let body = json!({"payload": payload});
    let accepted = api.post(&format!("/api/v1/channels/{channel}/messages"), &body).is(202);
    accepted["sequence"].as_u64().expect("its place")
}

fn connected(server: &Server, name: &str) -> Socket {
    let agent = register(&server.api(), name);
    Socket::connect(&server.api(), &agent)
}

/// The sequences of the next messages.
fn sequences(socket: &mut Socket, count: usize) -> Vec<u64> {
    let one = |message: Value| message["data"]["sequence"].as_u64().expect("a sequence");
    (0..count).map(|_| one(socket.expect("message"))).collect()
}

fn a_history_comes_in_order_and_then_what_is_live(database: &Database) {
    let server = Server::start(database);
    let id = channel(&server, "orders", 1_000);
    for number in 1..=150 {
        publish(&server.api(), &id, &json!(number));
    }
    let mut reader = connected(&server, "reader");
    let begun = reader.done("subscribe", &json!({"subject": "orders", "after": 100}));
    assert_eq!(begun["sequence"], 100);
    let mut now = connected(&server, "now");
    assert_eq!(now.done("subscribe", &json!({"channel_id": id}))["sequence"], 150);
    let mut publisher = connected(&server, "publisher");
    let sent: Vec<String> = (0..200)
        .map(|number| publisher.send("publish", &json!({"subject": "orders", "payload": {"live": number}})))
        .collect();
    let acknowledged: Vec<u64> = sent
        .iter()
        .map(|id| publisher.answer(id).expect("published")["sequence"].as_u64().expect("its place"))
        .collect();
    assert_eq!(acknowledged, (151..=350).collect::<Vec<_>>(), "in the order in which they were sent");
    assert_eq!(sequences(&mut reader, 250), (101..=350).collect::<Vec<_>>());
    let first = now.expect("message");
    let agent = first["data"]["from"].as_str().expect("who").to_owned();
    assert_eq!(first["id"], sent[0]);
    assert_eq!(
        first["data"],
        json!({"subject": "orders", "channel_id": id, "from": agent, "payload": {"live": 0}, "sequence": 151})
    );
    assert_eq!(sequences(&mut now, 199), (152..=350).collect::<Vec<_>>());
    // The same id and payload again is the same message.
    publisher.send_as("publish", &sent[0], &json!({"subject": "orders", "payload": {"live": 0}}));
    assert_eq!(publisher.answer(&sent[0]).expect("a repeat")["sequence"], 151);
    now.done("unsubscribe", &json!({"subject": "orders"}));
    publish(&server.api(), &id, &json!("last"));
    assert_eq!(sequences(&mut reader, 1), [351]);
    now.has_no_message();
}

fn a_subject_without_a_channel_is_live_only(database: &Database) {
    let server = Server::start(database);
    let (mut reader, mut publisher) = (connected(&server, "reader"), connected(&server, "publisher"));
    let begun = reader.done("subscribe", &json!({"subject": "news.*"}));
    assert!(begun.get("sequence").is_none(), "{begun}");
    for number in 0..100 {
        let ack = publisher.done("publish", &json!({"subject": "news.today", "payload": number}));
        assert!(ack.get("sequence").is_none(), "{ack}");
    }
    let expected: Vec<Value> = (0..100).map(|number| json!(number)).collect();
    assert_eq!(reader.payloads(100), expected);
    // A `message` to a channel is published as well.
    publisher.done("message", &json!({"subject": "news.today", "payload": "by message"}));
    assert_eq!(reader.payloads(1), [json!("by message")]);
    let id = channel(&server, "news.kept", 0);
    assert!(publisher.done("publish", &json!({"channel_id": id, "payload": 1})).get("sequence").is_none());
    assert_eq!(reader.expect("message")["data"]["channel_id"], id);
}

fn a_message_that_matches_several_subscriptions_comes_once(database: &Database) {
    let server = Server::start(database);
    let (mut reader, mut publisher) = (connected(&server, "reader"), connected(&server, "publisher"));
    channel(&server, "a.b", 100);
    for subject in ["a.b", "a.*", "a.>", ">", "*.b"] {
        reader.done("subscribe", &json!({"subject": subject}));
    }
    for subject in ["a.b", "a.live"] {
        for number in 0..20 {
            publisher.done("publish", &json!({"subject": subject, "payload": number}));
        }
    }
    let expected: Vec<Value> = (0..20).chain(0..20).map(|number| json!(number)).collect();
    assert_eq!(reader.payloads(40), expected);
    for subject in ["a.*", "a.>", ">", "*.b"] {
        reader.done("unsubscribe", &json!({"subject": subject}));
    }
    publisher.done("publish", &json!({"subject": "a.live", "payload": "none"}));
    publisher.done("publish", &json!({"subject": "a.b", "payload": "one"}));
    assert_eq!(reader.payloads(1), [json!("one")]);
    reader.has_no_message();
}

fn no_pattern_leaves_its_tenant(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let tenant = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": "other"})).is(201);
    let key = tenant["api_key"].as_str().expect("a key");
    let other = server.with_key(key);
    let foreign = register(&other, "reader");
    let mut foreign = Socket::connect_by(&other, &foreign, key);
    foreign.done("subscribe", &json!({"subject": ">"}));
    foreign.done("subscribe", &json!({"subject": "orders"}));
    let own = channel(&server, "orders", 100);
    let mut reader = connected(&server, "reader");
    reader.done("subscribe", &json!({"subject": ">"}));
    for number in 0..10 {
        publish(&server.api(), &own, &json!(number));
    }
    let mut publisher = connected(&server, "publisher");
    publisher.done("publish", &json!({"subject": "orders.live", "payload": "live"}));
    assert_eq!(sequences(&mut reader, 10), (1..=10).collect::<Vec<_>>());
    reader.payloads(1);
    foreign.has_no_message();
    assert_eq!(foreign.refused("subscribe", &json!({"channel_id": own}))["code"], "unknown-channel");
    assert_eq!(
        foreign.refused("publish", &json!({"channel_id": own, "payload": 1}))["code"],
        "unknown-channel"
    );
}

fn a_pattern_goes_on_after_what_was_seen_of_each_channel(database: &Database) {
    let server = Server::start(database);
    let ids = ["orders.eu", "orders.us"].map(|name| channel(&server, name, 1_000));
    for number in 1..=90 {
        ids.iter().for_each(|id| {
            publish(&server.api(), id, &json!(number));
        });
    }
    let mut reader = connected(&server, "reader");
    let after = json!({"orders.eu": 10, "orders.us": 85});
    reader.done("subscribe", &json!({"subject": "orders.*", "after": after}));
    for _ in 0..10 {
        ids.iter().for_each(|id| {
            publish(&server.api(), id, &json!("live"));
        });
    }
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for _ in 0..(90 + 15) {
        let message = reader.expect("message");
        let subject = message["data"]["subject"].as_str().expect("a subject").to_owned();
        seen.entry(subject).or_default().push(message["data"]["sequence"].as_u64().expect("a sequence"));
    }
    assert_eq!(seen["orders.eu"], (11..=100).collect::<Vec<_>>());
    assert_eq!(seen["orders.us"], (86..=100).collect::<Vec<_>>());
    reader.has_no_message();
}

fn what_the_channel_keeps_no_longer_is_told(database: &Database) {
    let server = Server::start(database);
    let id = channel(&server, "few", 5);
    for number in 1..=20 {
        publish(&server.api(), &id, &json!(number));
    }
    let mut reader = connected(&server, "reader");
    reader.done("subscribe", &json!({"subject": "few", "after": 2}));
    let gap = reader.expect("gap");
    assert_eq!((&gap["data"]["from_sequence"], &gap["data"]["to_sequence"]), (&json!(3), &json!(15)));
    assert_eq!((&gap["data"]["subject"], &gap["data"]["channel_id"]), (&json!("few"), &json!(id)));
    assert_eq!(sequences(&mut reader, 5), (16..=20).collect::<Vec<_>>());
    publish(&server.api(), &id, &json!("live"));
    assert_eq!(sequences(&mut reader, 1), [21]);
}

fn subscribing_anew_during_a_replay_loses_and_repeats_nothing(database: &Database) {
    let server = Server::start(database);
    let id = channel(&server, "orders", 1_000);
    let mut publisher = connected(&server, "publisher");
    let send = |publisher: &mut Socket, count: usize| -> Vec<String> {
        let data = |number| json!({"subject": "orders", "payload": [number, "x".repeat(200)]});
        (0..count).map(|number| publisher.send("publish", &data(number))).collect()
    };
    for id in send(&mut publisher, 500) {
        publisher.answer(&id).expect("published");
    }
    let mut reader = connected(&server, "reader");
    // Nothing of a replay comes after the end of its subscription is acknowledged.
    reader.send("subscribe", &json!({"subject": "orders", "after": 0}));
    let ended = reader.send("unsubscribe", &json!({"subject": "orders"}));
    loop {
        match reader.next() {
            Frame::Text(envelope) if envelope["data"]["message_id"] == ended => break,
            Frame::Text(_) => {}
            Frame::End(code) => panic!("the connection ended with {code:?}"),
        }
    }
    reader.has_no_message();
    // From the sequence of the last answer on, all comes once, in order, while others publish.
    reader.send("subscribe", &json!({"subject": "orders", "after": 0}));
    let anew = reader.send("subscribe", &json!({"subject": "orders"}));
    send(&mut publisher, 50);
    let begun = reader.answer(&anew).expect("begun")["sequence"].as_u64().expect("a sequence");
    publish(&server.api(), &id, &json!("last"));
    let mut seen = Vec::new();
    loop {
        let message = reader.expect("message");
        seen.push(message["data"]["sequence"].as_u64().expect("a sequence"));
        if message["data"]["payload"] == "last" {
            break;
        }
    }
    let live: Vec<u64> = seen.iter().copied().filter(|sequence| *sequence > begun).collect();
    assert_eq!(live, (begun + 1..=*seen.last().expect("the last")).collect::<Vec<_>>());
    assert!(seen.is_sorted(), "{seen:?}");
}

fn a_channel_that_is_made_later_is_heard_from_its_first_message(database: &Database) {
    let server = Server::start(database);
    let (mut exact, mut wild) = (connected(&server, "exact"), connected(&server, "wild"));
    exact.done("subscribe", &json!({"subject": "later"}));
    wild.done("subscribe", &json!({"subject": ">"}));
    let mut publisher = connected(&server, "publisher");
    publisher.done("publish", &json!({"subject": "later", "payload": "live"}));
    let id = channel(&server, "later", 100);
    assert_eq!(publisher.done("publish", &json!({"subject": "later", "payload": "kept"}))["sequence"], 1);
    for reader in [&mut exact, &mut wild] {
        assert_eq!(reader.payloads(2), [json!("live"), json!("kept")]);
    }
    server.delete(&format!("/api/v1/channels/{id}")).is(204);
    channel(&server, "later", 100);
    assert_eq!(publisher.done("publish", &json!({"subject": "later", "payload": "anew"}))["sequence"], 1);
    for reader in [&mut exact, &mut wild] {
        assert_eq!(reader.payloads(1), [json!("anew")]);
    }
}

fn a_slow_reader_is_closed_and_publishers_go_on(database: &Database) {
    let server = Server::start(database);
    let id = channel(&server, "flood", 0);
    let (mut slow, mut quick) = (connected(&server, "slow"), connected(&server, "quick"));
    for reader in [&mut slow, &mut quick] {
        reader.done("subscribe", &json!({"subject": "flood"}));
    }
    let mut publisher = connected(&server, "publisher");
    let payload = "x".repeat(100_000);
    let is_closed = || {
        let presence = server.get(&format!("/api/v1/channels/{id}/presence")).is(200);
        presence["agents"].as_array().is_some_and(|agents| agents.len() == 1)
    };
    // In the end it is more than the buffers of the connection and of its sockets hold.
    for number in 0..2_000 {
        publisher.done("publish", &json!({"subject": "flood", "payload": [number, payload]}));
        assert_eq!(quick.payloads(1)[0][0], number, "the quick one gets everything");
        if number % 20 == 19 && is_closed() {
            break;
        }
    }
    assert_eq!(slow.end(), Some(4429));
    publisher.done("publish", &json!({"subject": "flood", "payload": "after"}));
    assert_eq!(quick.payloads(1), [json!("after")]);
}

fn nothing_acknowledged_is_lost_by_a_kill(database: &Database) {
    let mut server = Server::start(database);
    let id = channel(&server, "orders", 100_000);
    let readers = ["reader", "publisher", "second"].map(|name| register(&server.api(), name));
    let mut reader = Socket::connect(&server.api(), &readers[0]);
    reader.done("subscribe", &json!({"subject": "orders"}));
    let stop = AtomicBool::new(false);
    let acknowledged: Vec<(u64, Value)> = thread::scope(|scope| {
        let publishing: Vec<_> = readers[1..]
            .iter()
            .map(|agent| {
                let (api, stop) = (server.api(), &stop);
                scope.spawn(move || {
                    let mut socket = Socket::connect(&api, agent);
                    let mut payloads = BTreeMap::new();
                    for number in 0..20_000 {
                        let payload = json!({"by": agent, "number": number});
                        let id = format!("m-{number}");
                        let envelope = json!({"type": "publish", "id": id,
                            "data": {"subject": "orders", "payload": payload}});
                        if socket.try_write(1, envelope.to_string().as_bytes()).is_err() {
                            break;
                        }
                        payloads.insert(id, payload);
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    let mut acknowledged = Vec::new();
                    loop {
                        match socket.next() {
                            Frame::Text(envelope) if envelope["type"] == "ack" => {
                                let id = envelope["data"]["message_id"].as_str().expect("its id");
                                let sequence = envelope["data"]["sequence"].as_u64().expect("durable");
                                acknowledged.push((sequence, payloads[id].clone()));
                            }
                            Frame::Text(other) => panic!("{other}"),
                            Frame::End(_) => return acknowledged,
                        }
                    }
                })
            })
            .collect();
        // Some have come to the reader, more are on their way.
        sequences(&mut reader, 300);
        stop.store(true, Ordering::Relaxed);
        server.kill();
        publishing.into_iter().flat_map(|publishing| publishing.join().expect("published")).collect()
    });
    assert!(acknowledged.len() >= 100, "{} acknowledged", acknowledged.len());
    server.restart();
    let mut reader = Socket::connect(&server.api(), &readers[0]);
    reader.done("subscribe", &json!({"subject": "orders", "after": 0}));
    publish(&server.api(), &id, &json!("last"));
    let mut kept = BTreeMap::new();
    for expected in 1.. {
        let message = reader.expect("message");
        assert_eq!(message["data"]["sequence"], expected, "in sequence, without a gap");
        if message["data"]["payload"] == "last" {
            break;
        }
        kept.insert(expected, message["data"]["payload"].clone());
    }
    for (sequence, payload) in &acknowledged {
        assert_eq!(kept.get(sequence), Some(payload), "{sequence} was acknowledged");
    }
}

fn who_is_subscribed_is_shown_and_told(database: &Database) {
    let server = Server::start(database);
    let id = channel(&server, "team.room", 10);
    let mut watcher = connected(&server, "watcher");
    watcher.done("subscribe", &json!({"subject": "team.*", "presence": true}));
    watcher.expect("presence");
    let agent = register(&server.api(), "guest");
    let mut guest = Socket::connect(&server.api(), &agent);
    guest.done("subscribe", &json!({"subject": "team.room"}));
    let join = watcher.expect("presence")["data"].clone();
    assert_eq!(join, json!({"event": "join", "agent_id": agent, "subject": "team.room"}));
    let presence = server.get(&format!("/api/v1/channels/{id}/presence")).is(200);
    let agents = presence["agents"].as_array().expect("a list");
    let subjects: BTreeMap<&str, &str> =
        agents.iter().filter_map(|one| Some((one["agent_id"].as_str()?, one["subject"].as_str()?))).collect();
    assert_eq!((subjects.len(), subjects[agent.as_str()]), (2, "team.room"));
    guest.done("subscribe", &json!({"subject": "elsewhere"}));
    drop(guest);
    let leave = watcher.expect("presence")["data"].clone();
    assert_eq!(leave, json!({"event": "leave", "agent_id": agent, "subject": "team.room"}));
    eventually("the guest to be gone", || {
        let presence = server.get(&format!("/api/v1/channels/{id}/presence")).is(200);
        let count = presence["agents"].as_array().map_or(0, Vec::len);
        if count == 1 { Ok(()) } else { Err(presence.to_string()) }
    });
}

fn what_does_not_fit_is_refused_and_the_connection_stays(database: &Database) {
    let server = Server::start(database);
    let id = channel(&server, "orders", 10);
    let mut agent = connected(&server, "agent");
    for (kind, data, code) in [
        ("subscribe", json!({}), "invalid"),
        ("subscribe", json!({"subject": "a..b"}), "invalid"),
        ("subscribe", json!({"subject": "a.>.b"}), "invalid"),
        ("subscribe", json!({"subject": "a", "channel_id": id}), "invalid"),
        ("subscribe", json!({"channel_id": "chn_none"}), "unknown-channel"),
        ("subscribe", json!({"subject": "orders", "after": 7}), "invalid"),
        ("subscribe", json!({"subject": "orders", "after": {"orders": 1}}), "invalid"),
        ("subscribe", json!({"subject": "nothing", "after": 0}), "invalid"),
        ("subscribe", json!({"subject": "orders.*", "after": 3}), "invalid"),
        ("subscribe", json!({"subject": "*", "after": {"none": 3}}), "invalid"),
        ("publish", json!({"subject": "orders"}), "invalid"),
        ("publish", json!({"subject": "orders.*", "payload": 1}), "invalid"),
        ("publish", json!({"payload": 1}), "invalid"),
        ("publish", json!({"subject": "orders", "payload": "x".repeat(600_000)}), "too-large"),
        ("message", json!({"to": "agt_none", "payload": 1}), "unknown-agent"),
        ("message", json!({"payload": 1}), "invalid"),
        ("request", json!({"to": "agt_none", "payload": 1, "timeout": 0}), "invalid"),
        ("reply", json!({"reply_to": "nobody.1", "payload": 1}), "invalid"),
    ] {
        let error = agent.refused(kind, &data);
        assert_eq!(error["code"], code, "{kind} {data:.80}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    }
    for number in 0..256 {
        agent.done("subscribe", &json!({"subject": format!("many.{number}")}));
    }
    assert_eq!(agent.refused("subscribe", &json!({"subject": "one.more"}))["code"], "connection-full");
    agent.done("subscribe", &json!({"subject": "many.7"}));
    agent.done("publish", &json!({"subject": "many.7", "payload": "still here"}));
    assert_eq!(agent.payloads(1), [json!("still here")]);
}
