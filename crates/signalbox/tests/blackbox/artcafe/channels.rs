//! Channels over HTTP: made, changed, published to, read, removed; each tenant's own.

use serde_json::{Value, json};

use super::client::{Socket, register};
use crate::support::{Database, PLATFORM_KEY, Request, Server, Setup, eventually, on_each_database};

on_each_database![
    a_channel_is_made_shown_changed_and_removed,
    messages_are_numbered_kept_and_read_in_pages,
    a_repeat_is_the_same_message_also_after_a_crash,
    a_channel_keeps_as_many_messages_as_it_says,
    a_channel_keeps_messages_as_long_as_it_says,
    what_a_channel_keeps_is_not_everybodys_to_change,
    what_does_not_fit_is_refused,
    channels_of_another_tenant_are_unknown,
    a_channel_is_named_by_its_name_too,
];

const CHANNELS: &str = "/api/v1/channels";

/// Makes a channel and gives its path.
fn make(server: &Server, body: &Value) -> String {
    let made = server.post(CHANNELS, body).is(201);
    format!("{CHANNELS}/{}", made["channel_id"].as_str().expect("its id"))
}

fn publish(server: &Server, channel: &str, payload: &Value) -> Value {
    server.post(&format!("{channel}/messages"), &json!({"payload": payload})).is(202)
}

fn sequences(server: &Server, path: &str) -> Vec<u64> {
    let page = server.get(path).is(200);
    page["messages"].as_array().expect("a page").iter().filter_map(|one| one["sequence"].as_u64()).collect()
}

fn a_channel_is_made_shown_changed_and_removed(database: &Database) {
    let server = Server::start(database);
    let body =
        json!({"name": "orders.eu", "description": "what is ordered", "retention": {"max_messages": 5}});
    let made = server.post(CHANNELS, &body).is(201);
    assert_eq!((&made["name"], &made["description"]), (&json!("orders.eu"), &json!("what is ordered")));
    assert_eq!(made["retention"], json!({"max_messages": 5, "max_age_s": 604_800}));
    let path = format!("{CHANNELS}/{}", made["channel_id"].as_str().expect("its id"));
    assert_eq!(server.get(&path).is(200), made);
    server
        .post(CHANNELS, &body)
        .problem(409)
        .kind
        .ends_with("/channel-taken")
        .then_some(())
        .expect("channel-taken");
    let changed = server.patch(&path, &json!({"description": null, "retention": {"max_age_s": 60}})).is(200);
    assert_eq!((&changed["description"], &changed["retention"]["max_messages"]), (&Value::Null, &json!(5)));
    assert_eq!(changed["retention"]["max_age_s"], 60);
    for name in ["a", "b.c"] {
        make(&server, &json!({"name": name}));
    }
    let first = server.get(&format!("{CHANNELS}?limit=2")).is(200);
    let token = first["next_token"].as_str().expect("a further page");
    let second = server.get(&format!("{CHANNELS}?limit=2&next_token={token}")).is(200);
    let names = [&first, &second].map(|page| page["channels"].as_array().expect("a page").clone()).concat();
    let names: Vec<&str> = names.iter().filter_map(|channel| channel["name"].as_str()).collect();
    assert_eq!((names, &second["next_token"]), (vec!["a", "b.c", "orders.eu"], &Value::Null));
    server.delete(&path).is(204);
    server.get(&path).problem(404).kind.ends_with("/unknown-channel").then_some(()).expect("unknown-channel");
    server.delete(&path).problem(404);
    server.get(&format!("{path}/messages")).problem(404);
    make(&server, &body);
}

fn messages_are_numbered_kept_and_read_in_pages(database: &Database) {
    let mut server = Server::start(database);
    let channel = make(&server, &json!({"name": "orders"}));
    for number in 1..=25 {
        let accepted = publish(&server, &channel, &json!({"number": number, "exact": 1.50}));
        assert_eq!(accepted["sequence"], number);
    }
    server.kill();
    server.restart();
    let path = format!("{channel}/messages");
    let page = server.get(&format!("{path}?limit=10")).is(200);
    let first = &page["messages"][0];
    assert_eq!((&first["sequence"], &first["payload"]), (&json!(1), &json!({"number": 1, "exact": 1.5})));
    assert_eq!((&first["subject"], &first["from"]), (&json!("orders"), &Value::Null));
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{path}?limit=10&after=3{token}")).is(200);
        all.extend(
            page["messages"].as_array().expect("a page").iter().filter_map(|one| one["sequence"].as_u64()),
        );
        match page["next_token"].as_str() {
            Some(next) => token = format!("&next_token={next}"),
            None => break,
        }
    }
    assert_eq!(all, (4..=25).collect::<Vec<_>>());
    assert!(sequences(&server, &format!("{path}?after=25")).is_empty());
}

fn a_repeat_is_the_same_message_also_after_a_crash(database: &Database) {
    let mut server = Server::start(database);
    let channel = make(&server, &json!({"name": "orders"}));
    let path = format!("{channel}/messages");
    let keyed = || Request::post(path.clone(), &json!({"payload": 1})).header("idempotency-key", "k1");
    let first = server.send(keyed()).is(202);
    assert_eq!(server.send(keyed()).is(202), first);
    let named = json!({"payload": {"a": 1}, "message_id": "order-7"});
    let second = server.post(&path, &named).is(202);
    assert_eq!((&second["message_id"], &second["sequence"]), (&json!("order-7"), &json!(2)));
    server.kill();
    server.restart();
    assert_eq!(server.send(keyed()).is(202), first);
    assert_eq!(server.post(&path, &named).is(202), second);
    let other = json!({"payload": {"a": 2}, "message_id": "order-7"});
    server
        .post(&path, &other)
        .problem(409)
        .kind
        .ends_with("/message-id-reused")
        .then_some(())
        .expect("message-id-reused");
    assert_eq!(sequences(&server, &path), [1, 2]);
}

fn a_channel_keeps_as_many_messages_as_it_says(database: &Database) {
    let server = Server::start(database);
    let channel = make(&server, &json!({"name": "few", "retention": {"max_messages": 3}}));
    let path = format!("{channel}/messages");
    for number in 1..=10 {
        publish(&server, &channel, &json!(number));
    }
    assert_eq!(sequences(&server, &path), [8, 9, 10]);
    server.patch(&channel, &json!({"retention": {"max_messages": 1}})).is(200);
    assert_eq!(sequences(&server, &path), [10]);
    let live = make(&server, &json!({"name": "live", "retention": {"max_messages": 0}}));
    let accepted = publish(&server, &live, &json!(1));
    assert!(accepted["message_id"].is_string() && accepted.get("sequence").is_none(), "{accepted}");
    assert!(sequences(&server, &format!("{live}/messages")).is_empty());
}

fn a_channel_keeps_messages_as_long_as_it_says(database: &Database) {
    let server = Server::start(database);
    let channel = make(&server, &json!({"name": "brief", "retention": {"max_age_s": 1}}));
    let path = format!("{channel}/messages");
    publish(&server, &channel, &json!(1));
    eventually("the message to be too old", || {
        let kept = sequences(&server, &path);
        if kept.is_empty() { Ok(()) } else { Err(format!("{kept:?}")) }
    });
    // It is no part of a replay either, however long it takes until it is removed.
    let agent = register(&server.api(), "reader");
    let mut reader = Socket::connect(&server.api(), &agent);
    reader.done("subscribe", &json!({"subject": "brief", "after": 0}));
    let gap = reader.expect("gap")["data"].clone();
    assert_eq!((&gap["from_sequence"], &gap["to_sequence"]), (&json!(1), &json!(1)), "{gap}");
    reader.has_no_message();
}

fn what_a_channel_keeps_is_not_everybodys_to_change(database: &Database) {
    let server = Server::start(database);
    let channel = make(&server, &json!({"name": "orders"}));
    publish(&server, &channel, &json!(1));
    let made = server.post("/v1/keys", &json!({"name": "agents", "scope": "agent"})).is(201);
    let agents = server.with_key(made["key"].as_str().expect("a key"));
    for retention in [json!({"max_messages": 0}), json!({"max_age_s": 1})] {
        let refused = agents.patch(&channel, &json!({"retention": retention}));
        assert!(refused.problem(403).detail.contains("admin"), "{}", refused.shown());
    }
    agents.patch(&channel, &json!({"description": "what is ordered"})).is(200);
    agents.patch("/api/v1/channels/chn_none", &json!({"retention": {"max_messages": 0}})).problem(404);
    assert_eq!(sequences(&server, &format!("{channel}/messages")), [1]);
}

fn what_does_not_fit_is_refused(database: &Database) {
    let server = Server::start(database);
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "a..b"}),
        json!({"name": "a.*"}),
        json!({"name": ">"}),
        json!({"name": "a", "retention": {"max_messages": -1}}),
        json!({"name": "a", "retention": {"max_age_s": 0}}),
        json!({"name": "a", "retention": 7}),
    ] {
        server.post(CHANNELS, &body).problem(422);
    }
    let channel = make(&server, &json!({"name": "a"}));
    let path = format!("{channel}/messages");
    server.post(&path, &json!({})).problem(422);
    server.post(&path, &json!({"payload": 1, "message_id": ""})).problem(422);
    server.post(&path, &json!({"payload": "x".repeat(600_000)})).problem(413);
    assert_eq!(server.post(&path, &json!({"payload": null})).is(202)["sequence"], 1);
    for query in ["after=-1", "after=x", "limit=0", "next_token=mine", "afterr=1"] {
        server.get(&format!("{path}?{query}")).problem(422);
    }
    server.get(&format!("{CHANNELS}?next_token=mine")).problem(422);
    server.post(&format!("{CHANNELS}/chn_none/messages"), &json!({"payload": 1})).problem(404);
    server.get(&format!("{CHANNELS}/chn_none/presence")).problem(404);
    server.patch(&format!("{CHANNELS}/chn_none"), &json!({})).problem(404);
    assert_eq!(server.get(&format!("{channel}/presence")).is(200), json!({"agents": []}));
}

fn channels_of_another_tenant_are_unknown(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let platform = server.with_key(PLATFORM_KEY);
    let tenant = platform.post("/api/v1/tenants", &json!({"name": "other"})).is(201);
    let other = server.with_key(tenant["api_key"].as_str().expect("a key"));
    let channel = make(&server, &json!({"name": "orders"}));
    publish(&server, &channel, &json!(1));
    let unknown = other.get(&format!("{CHANNELS}/chn_unknown")).problem(404).detail;
    for path in [channel.clone(), format!("{channel}/messages"), format!("{channel}/presence")] {
        let detail = other.get(&path).problem(404).detail;
        let own = channel.rsplit('/').next().expect("its id");
        assert_eq!(detail.replace(own, "chn_unknown"), unknown, "{path}");
    }
    other.post(&format!("{channel}/messages"), &json!({"payload": 1})).problem(404);
    other.patch(&channel, &json!({})).problem(404);
    other.delete(&channel).problem(404);
    assert_eq!(other.get(CHANNELS).is(200)["channels"], json!([]));
    other.post(CHANNELS, &json!({"name": "orders"})).is(201);
    assert_eq!(sequences(&server, &format!("{channel}/messages")), [1]);
}

fn a_channel_is_named_by_its_name_too(database: &Database) {
    let server = Server::start(database);
    let by_id = make(&server, &json!({"name": "orders.eu"}));
    let by_name = format!("{CHANNELS}/orders.eu");
    assert_eq!(server.get(&by_name).is(200), server.get(&by_id).is(200));
    publish(&server, &by_name, &json!(1));
    assert_eq!(sequences(&server, &format!("{by_name}/messages")), [1]);
    server.get(&format!("{by_name}/presence")).is(200);
    let changed = server.patch(&by_name, &json!({"description": "what is ordered"})).is(200);
    assert_eq!(changed["description"], "what is ordered");
    for nobody in ["orders", "orders.*", "chn_none", "a..b"] {
        server.get(&format!("{CHANNELS}/{nobody}")).absent();
        server.post(&format!("{CHANNELS}/{nobody}/messages"), &json!({"payload": 1})).absent();
    }
    assert_eq!(server.delete(&by_name).status, 204);
    server.get(&by_id).absent();
}
