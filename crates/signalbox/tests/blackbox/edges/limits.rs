//! What a tenant may have and take: its own limits, the server's, and what is said of one that is reached.

use std::io;

use serde_json::{Value, json};

use super::{make_tenant, text, with_platform_key};
use crate::artcafe::client::{Socket, register};
use crate::support::{
    Api, Database, PLATFORM_KEY, Request, Response, Server, Setup, SshKey, on_each_database,
};

on_each_database![
    limits_are_shown_and_changed_by_the_platform_key_alone,
    a_tenant_has_no_more_agents_than_it_may,
    a_tenant_has_no_more_keys_than_it_may,
    a_tenant_has_no_more_ssh_keys_than_it_may,
    a_tenant_sends_no_more_messages_in_a_day_than_it_may,
    a_tenant_asks_no_faster_than_it_may,
    agents_that_register_at_once_stay_within_the_limit,
    a_tenant_has_no_more_channels_than_it_may,
    whatever_is_sent_is_a_message_of_the_day,
    what_comes_over_a_connection_counts_as_requests,
    callers_that_are_refused_take_no_agents_room,
];

fn registration(name: &str) -> Value {
    json!({"agentName": name, "version": "1", "capabilities": [], "contactEndpoint": "http://127.0.0.1:9/"})
}

#[track_caller]
fn change(server: &Server, tenant: &str, limits: &Value) -> Value {
    let path = format!("/api/v1/tenants/{tenant}");
    server.with_key(PLATFORM_KEY).patch(&path, &json!({"limits": limits})).is(200)
}

/// What is said of a limit that is reached.
#[track_caller]
fn reached(response: &Response, limit: &str) -> String {
    let problem = response.problem(429);
    assert_eq!(problem.kind, "/problems/limit-reached");
    assert!(problem.detail.contains(limit), "{problem:?}");
    problem.detail
}

fn limits_are_shown_and_changed_by_the_platform_key_alone(database: &Database) {
    let mut server = with_platform_key(database).arg("--limit-agents").arg("7").start();
    let (tenant, api) = make_tenant(&server, &json!({"name": "acme", "limits": {"api_keys": 3}}));
    let platform = server.with_key(PLATFORM_KEY);
    let path = format!("/api/v1/tenants/{tenant}");
    let shown = platform.get(&path).is(200);
    assert_eq!(shown["limits"], json!({"api_keys": 3}));
    assert_eq!(shown["effective_limits"], json!({"agents": 7, "api_keys": 3}));
    assert_eq!(
        change(&server, &tenant, &json!({"agents": 0, "api_keys": null}))["limits"],
        json!({"agents": 0})
    );
    assert_eq!(platform.patch(&path, &json!({"name": "ACME"})).is(200)["name"], "ACME");
    assert_eq!(platform.get("/api/v1/tenants").is(200)["tenants"][0]["limits"], json!({"agents": 0}));
    assert_eq!(api.get("/api/v1/usage-metrics").is(200)["limits"], json!({"agents": 0}));

    // The tenant that is always there can be limited, and is still not in the list.
    assert!(platform.get("/api/v1/tenants/default").is(200)["created_at"].is_null());
    change(&server, "default", &json!({"channels": 1}));
    server.kill();
    server.restart();
    assert_eq!(platform.get("/api/v1/tenants/default").is(200)["limits"], json!({"channels": 1}));
    assert_eq!(platform.get("/api/v1/tenants").is(200)["tenants"].as_array().map(Vec::len), Some(1));

    for wrong in [json!({"agents": -1}), json!({"agents": "many"}), json!({"agents": 1.5})] {
        assert_eq!(platform.patch(&path, &json!({"limits": wrong})).faults(), ["/limits/agents"]);
        let body = json!({"name": "n", "limits": wrong});
        assert_eq!(platform.post("/api/v1/tenants", &body).faults(), ["/limits/agents"]);
    }
    for other in [api, server.api()] {
        other.get(&path).problem(403);
        other.patch(&path, &json!({"limits": {}})).problem(403);
    }
    platform.get("/api/v1/tenants/nobody").absent();
    platform.patch("/api/v1/tenants/nobody", &json!({"name": "x"})).absent();
}

fn a_tenant_has_no_more_agents_than_it_may(database: &Database) {
    let server = with_platform_key(database).arg("--limit-agents").arg("2").start();
    let (tenant, api) = make_tenant(&server, &json!({"name": "acme", "limits": {"agents": 1}}));
    let register = |name: &str| api.post("/v1/agents/register", &registration(name));
    let first = text(&register("a").is(201)["data"]["agentId"]);
    let told = reached(&register("b"), "agents of 1 (its own; the server's is 2)");
    assert!(told.contains(&tenant), "{told}");
    api.post("/v1/agents/register?replace=true", &registration("a")).is(200);
    register("a").problem(409);
    change(&server, &tenant, &json!({"agents": null}));
    register("b").is(201);
    reached(&register("c"), "agents of 2 (the server's; it has none of its own)");
    api.delete(&format!("/v1/agents/{first}")).succeeded();
    register("c").is(201);
    let connectable = api.post("/api/v1/agents", &json!({"name": "d", "type": "t"}));
    reached(&connectable, "agents of 2");
    change(&server, &tenant, &json!({"agents": 0}));
    reached(&register("d"), "agents of 0");
    // Of another tenant nothing is counted.
    server.post("/v1/agents/register", &registration("d")).is(201);
}

fn agents_that_register_at_once_stay_within_the_limit(database: &Database) {
    let server = with_platform_key(database).start();
    let (_, api) = make_tenant(&server, &json!({"name": "acme", "limits": {"agents": 3}}));
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let register = |number: usize| {
            let api = api.clone();
            move || api.post("/v1/agents/register", &registration(&format!("agent {number}"))).status
        };
        let all: Vec<_> = (0..12).map(|number| scope.spawn(register(number))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let made = answers.iter().filter(|status| **status == 201).count();
    assert!(made <= 3 && answers.iter().all(|status| [201, 429].contains(status)), "{answers:?}");
    let listed = crate::support::items(&api.get("/v1/agents").is(200));
    assert_eq!(listed.len(), made);
}

fn a_tenant_has_no_more_keys_than_it_may(database: &Database) {
    let server = with_platform_key(database).start();
    let (tenant, api) = make_tenant(&server, &json!({"name": "acme", "limits": {"api_keys": 2}}));
    let key = json!({"name": "ci", "scope": "read"});
    let made = text(&api.post("/v1/keys", &key).is(201)["keyId"]);
    reached(&api.post("/v1/keys", &key), "api_keys of 2 (its own; the server has none)");
    api.post(&format!("/v1/keys/{made}/rotate"), &json!({})).is(200);
    api.delete(&format!("/v1/keys/{made}")).is(200);
    api.post("/v1/keys", &key).is(201);
    change(&server, &tenant, &json!({"api_keys": null}));
    api.post("/v1/keys", &key).is(201);
}

fn a_tenant_has_no_more_ssh_keys_than_it_may(database: &Database) {
    let server = with_platform_key(database).start();
    let (tenant, api) = make_tenant(&server, &json!({"name": "acme", "limits": {"ssh_keys": 1}}));
    let add = || {
        let public = SshKey::make("ed25519").public();
        let body = json!({"name": "k", "public_key": public, "key_type": "access"});
        api.post("/api/v1/ssh-keys", &body)
    };
    let first = text(&add().is(201)["key_id"]);
    let over = add();
    reached(&over, "ssh_keys of 1 (its own; the server has none)");
    assert!(over.header("retry-after").is_some());
    api.delete(&format!("/api/v1/ssh-keys/{first}")).succeeded();
    add().is(201);
    change(&server, &tenant, &json!({"ssh_keys": null}));
    add().is(201);
}

fn message(id: &str) -> Value {
    json!({"senderId": "s", "messageType": "text", "payload": {}, "messageId": id})
}

fn a_tenant_sends_no_more_messages_in_a_day_than_it_may(database: &Database) {
    let mut server = with_platform_key(database).start();
    let (tenant, api) = make_tenant(&server, &json!({"name": "acme", "limits": {"messages_per_day": 2}}));
    let agent = api.register_at("a", "http://127.0.0.1:9/", &[]);
    let path = format!("/v1/agents/{agent}/run");
    let send = |api: &Api, id: &str| api.post(&path, &message(id));
    // What is refused is not counted.
    api.post("/v1/agents/nobody/run", &message("m0")).absent();
    send(&api, "m1").is(202);
    send(&api, "m2").is(202);
    let over = send(&api, "m3");
    reached(&over, "messages_per_day of 2 (its own;");
    let wait: u32 = over.header("retry-after").expect("when to come again").parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
    send(&api, "m2").is(202);
    api.get("/v1/agents").is(200);
    server.stop_and_restart();
    reached(&send(&api, "m3"), "messages_per_day");
    change(&server, &tenant, &json!({"messages_per_day": 3}));
    send(&api, "m3").is(202);
    reached(&send(&api, "m4"), "messages_per_day of 3");
}

fn a_tenant_asks_no_faster_than_it_may(database: &Database) {
    let server = with_platform_key(database).start();
    let (tenant, api) = make_tenant(&server, &json!({"name": "acme", "limits": {"requests_per_second": 1}}));
    let (_, neighbour) = make_tenant(&server, &json!({"name": "neighbour"}));
    let answers: Vec<Response> = (0..40).map(|_| api.get("/v1/agents")).collect();
    let refused: Vec<&Response> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty() && answers.iter().any(|answer| answer.status == 200));
    let problem = refused[0].problem(429);
    assert_eq!(problem.kind, "/problems/too-many-requests");
    assert!(problem.detail.contains("requests_per_second of 1 (its own;"), "{problem:?}");
    assert!(refused[0].header("retry-after").is_some());
    for _ in 0..40 {
        neighbour.get("/v1/agents").is(200);
    }

    // Zero is zero, on every way that a request can take; the platform key can still help.
    change(&server, &tenant, &json!({"requests_per_second": 0}));
    let run = Request::post("/v1/agents/a/run", &message("m"));
    api.send(run.clone()).problem(429);
    api.send(run.header("idempotency-key", "k")).problem(429);
    api.get("/v1/opscore/sessions").problem(429);
    let in_tenant = Request::get("/v1/agents").header("x-tenant-id", &*tenant);
    server.with_key(PLATFORM_KEY).send(in_tenant).is(200);
    change(&server, &tenant, &json!({"requests_per_second": null}));
    api.get("/v1/agents").is(200);
}

fn a_tenant_has_no_more_channels_than_it_may(database: &Database) {
    let server = with_platform_key(database).start();
    let (tenant, api) = make_tenant(&server, &json!({"name": "acme", "limits": {"channels": 1}}));
    let make = |name: &str| api.post("/api/v1/channels", &json!({"name": name}));
    make("one").is(201);
    reached(&make("two"), "channels of 1 (its own; the server has none)");
    change(&server, &tenant, &json!({"channels": null}));
    make("two").is(201);
}

/// An agent that is reached over its connection, and a key to connect with.
fn connectable(api: &Api, name: &str) -> (String, String) {
    let key = api.post("/v1/keys", &json!({"name": name, "scope": "agent"})).is(201);
    (register(api, name), text(&key["key"]))
}

fn whatever_is_sent_is_a_message_of_the_day(database: &Database) {
    let server = with_platform_key(database).start();
    let (_, api) = make_tenant(&server, &json!({"name": "acme", "limits": {"messages_per_day": 7}}));
    let [(one, key), (other, other_key)] = ["one", "other"].map(|name| connectable(&api, name));
    let channel = text(&api.post("/api/v1/channels", &json!({"name": "news"})).is(201)["channel_id"]);
    let mut socket = Socket::connect_by(&api, &one, &key);
    let mut peer = Socket::connect_by(&api, &other, &other_key);
    let (messages, commands) =
        (format!("/api/v1/channels/{channel}/messages"), format!("/api/v1/agents/{other}/commands"));
    let publish = || api.post(&messages, &json!({"payload": 1}));
    let command = || api.post(&commands, &json!({"command": "look"}));
    let frames = [
        ("publish", json!({"channel_id": channel, "payload": 2})),
        ("publish", json!({"subject": "live.only", "payload": 3})),
        ("message", json!({"to": other, "payload": {"number": 4}})),
        ("request", json!({"to": other, "payload": 5})),
        ("reply", json!({"reply_to": "nobody", "payload": 6})),
    ];
    publish().is(202);
    for (kind, data) in &frames[..3] {
        socket.done(kind, data);
    }
    socket.send("request", &frames[3].1);
    let asked = peer.expect("request");
    peer.done("reply", &json!({"reply_to": asked["data"]["reply_to"], "payload": 6}));
    socket.expect("reply");
    // What is refused is not counted.
    assert_eq!(peer.refused("reply", &frames[4].1)["code"], "invalid");
    command().is(202);
    let usage = api.get("/api/v1/usage-metrics?days=1").is(200);
    assert_eq!(usage["days"][0]["messages"], 7, "{usage}");

    reached(&publish(), "messages_per_day of 7");
    reached(&command(), "messages_per_day of 7");
    for (kind, data) in &frames {
        let error = socket.refused(kind, data);
        assert_eq!(error["code"], "limit-reached", "{kind}: {error}");
        assert!(error["message"].as_str().is_some_and(|told| told.contains("messages_per_day")), "{error}");
        assert!(error["retry_after"].is_u64(), "{error}");
    }
}

fn what_comes_over_a_connection_counts_as_requests(database: &Database) {
    let server = with_platform_key(database).start();
    let (tenant, api) = make_tenant(&server, &json!({"name": "acme"}));
    let [(one, key), (other, other_key)] = ["one", "other"].map(|name| connectable(&api, name));
    let mut socket = Socket::connect_by(&api, &one, &key);
    let publish = json!({"subject": "live.only", "payload": 1});
    socket.done("publish", &publish);
    api.post(&format!("/api/v1/agents/{one}/commands"), &json!({"command": "look"})).is(202);
    let command = socket.expect("command");

    change(&server, &tenant, &json!({"requests_per_second": 0}));
    for (kind, data) in [
        ("publish", publish.clone()),
        ("subscribe", json!({"subject": "live.only"})),
        ("message", json!({"to": other, "payload": 1})),
        ("request", json!({"to": other, "payload": 1})),
        ("status", json!({"status": "busy"})),
        ("unheard", json!({})),
    ] {
        let error = socket.refused(kind, &data);
        assert_eq!(
            (&error["code"], &error["retry_after"]),
            (&json!("too-many-requests"), &json!(1)),
            "{kind}"
        );
        let told = error["message"].as_str().unwrap_or_default();
        assert!(told.contains("requests_per_second of 0 (its own;"), "{error}");
    }
    // Work that was given is not lost, and the agent stays.
    socket.send("heartbeat", &json!({}));
    socket.expect("heartbeat_ack");
    socket.done("response", &json!({"command_id": command["id"], "status": "success", "result": {}}));
    // To connect is a request too, and refused as one.
    let refused = Socket::try_connect(&api, &other, &other_key).err().expect("no upgrade").to_string();
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("retry-after:"), "{refused}");

    change(&server, &tenant, &json!({"requests_per_second": null}));
    socket.done("publish", &publish);
    Socket::connect_by(&api, &other, &other_key);
}

fn callers_that_are_refused_take_no_agents_room(database: &Database) {
    let server = Setup::new(database).arg("--agent-connections-max").arg("1").start();
    let api = server.api();
    let agent = register(&api, "a");
    // None of them answers the goodbye.
    let connect = |number: usize| Socket::try_connect(&api, &agent, &format!("nobodys-key-{number}"));
    let refused: Vec<io::Result<Socket>> = (0..80).map(connect).collect();
    let told: Vec<String> =
        refused.iter().filter_map(|refused| Some(refused.as_ref().err()?.to_string())).collect();
    assert!(!told.is_empty() && told.len() < refused.len(), "some by the end of a WebSocket: {told:?}");
    assert!(told.iter().all(|told| told.starts_with("HTTP/1.1 401 ")), "the others by the answer: {told:?}");
    let mut socket = Socket::connect(&api, &agent);
    socket.send("heartbeat", &json!({}));
    socket.expect("heartbeat_ack");
}
